"""The journal: what was there before numatune's first write on a host, what numatune left, and how far it came.

A generation is one transaction of tune that changed something; core.undo.journal_file says how its file looks. Each of
its entries is one path with what stood there (`before`), what numatune left or planned to leave (`after`), and whether
it is as it was again (`back`). It is in one of four states, and each has a step that leads out of it:

    recorded    written before the first change. The run is under way, or it was cut: nobody holds the lock then.
                -> completed   by tune, when its last change was read back and judged
                -> completed   by the next tune.yml, when it was cut: closed with what it came to (`settle`)
                -> reverting   by tune itself, when a step failed; or by revert.yml
    completed   all changes were proven, or what was cut was closed.
                -> reverting   by revert.yml, before its first step
    reverting   written before the first step back. The revert is under way, or it was cut, or a step of it failed.
                -> reverted    by revert.yml, or by tune itself, when all is back
                -> completed   by revert.yml, when all is back but what somebody changed since, which stays
                -> completed   by the next tune.yml: what is back is marked, what is not stays numatune's (`settle`)
                -> reverted    by the next tune.yml, where all was back already
    reverted    all is back; the end.

Audits name what is recorded or reverting (core.undo.runs). What a step finds decides, not what the last run meant to
do: each compares what stands on disk with the `before` and `after` of the entries, so it may be cut anywhere and be
done again. Where several generations changed one path they are a chain, from the oldest one's `before` to the newest
one's `after`. A run or a revert that was cut, and a package that puts its old file back, lead to what the chain has
seen before: its first `before`, or any `after`. The chain goes on from there (core.undo.revert). Generations are marked
from the newest to the oldest, so that what is left of a chain still begins at its first `before`.

Reading and writing the files is the Ansible module's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Optional

from ..change import Change
from ..errors import NumatuneError

STATES = ("recorded", "completed", "reverting", "reverted")
UNFINISHED = ("recorded", "reverting")
"""The states that a run leaves behind only when it was cut, or could not put everything back."""
KINDS = ("file", "link", "runtime", "service", "menu", "once", "directory")
SEEN_STATES = ("absent", "file", "link", "directory", "other")
_ACTIVE = {"restarted": b"active", "started": b"active", "stopped": b"inactive"}
_SIGNED = "security.ima"
"""Hash or signature of a file's content: it goes with the content, and a kernel that wants it makes it anew."""
_MARK = ":numatune_trial"


class JournalError(NumatuneError):
    """A journal file that cannot be trusted: cut, edited, or of another version."""


@dataclass(frozen=True)
class Seen:
    """What stands, or stood, at one path; None where it is not known or does not count."""

    state: str
    content: Optional[bytes] = None
    sha256: Optional[str] = None
    mode: Optional[str] = None
    uid: Optional[int] = None
    gid: Optional[int] = None
    label: Optional[str] = None
    xattrs: Optional[tuple[tuple[str, bytes], ...]] = None
    """Extended attributes by name, raw: ACLs, capabilities, user.*; the security label is not among them."""
    names: tuple[str, ...] = ()
    """What a directory holds; never kept in the journal."""

    def satisfies(self, wanted: Seen) -> bool:
        """Whether everything that `wanted` knows is so here; a security label or signature does not count."""
        if self.state != wanted.state or self.state == "link":
            return self.state == wanted.state and self.content == wanted.content
        here = (self.digest, self.mode, self.uid, self.gid, self.kept_xattrs)
        there = (wanted.digest, wanted.mode, wanted.uid, wanted.gid, wanted.kept_xattrs)
        return all(known is None or mine == known for mine, known in zip(here, there))

    @property
    def digest(self) -> Optional[str]:
        """Return the hash of the content, where there is one."""
        return hashlib.sha256(self.content).hexdigest() if self.content is not None else self.sha256

    @property
    def kept_xattrs(self) -> Optional[tuple[tuple[str, bytes], ...]]:
        """Return the extended attributes that a file keeps when it gets other content."""
        return None if self.xattrs is None else tuple(item for item in self.xattrs if item[0] != _SIGNED)


ABSENT = Seen("absent")
NO_BLOCK = Seen("absent", content=b"")
"""A variable of GRUB's environment block where there was no such block: going back, an empty one is removed."""


@dataclass(frozen=True)
class Entry:
    """One path that a generation changes; `after` is what is planned until the run is completed."""

    setting: str
    kind: str
    path: str
    before: Seen
    after: Seen
    back: bool = False


@dataclass(frozen=True)
class Generation:
    """One run of tune that changed something; times are UTC in ISO form."""

    number: int
    state: str
    boot_id: str
    recorded: str
    entries: tuple[Entry, ...]
    completed: Optional[str] = None
    reverted: Optional[str] = None


def file_name(number: int) -> str:
    """Return the name of a generation's file, which sorts by number."""
    return f"{number:04d}.json"


def recipe_name(number: int) -> str:
    """Return the name of the text that says how to undo a generation by hand."""
    return f"{number:04d}-undo.txt"


def record(number: int, changes: Iterable[Change], seen: Mapping[str, Seen], boot_id: str, now: str) -> Generation:
    """Make the generation that a plan's changes will be; `seen` holds every path of `paths_to_record`."""
    entries: list[Entry] = []
    made: set[str] = set()
    for change in changes:
        before = seen[change.path]
        if change.kind in ("runtime", "service", "once"):
            before = Seen(before.state, content=before.content)
        entries.append(Entry(change.setting, change.kind, change.path, before, planned(change, before)))
        for path in parents(change.path) if _places(change) else ():
            if seen[path].state == "absent" and path not in made:
                made.add(path)
                entries.append(Entry(change.setting, "directory", path, ABSENT, Seen("directory")))
    return Generation(number, "recorded", boot_id, now, tuple(entries))


def planned(change: Change, before: Seen) -> Seen:
    """Return what stands at a path once a change was made, as far as it is known before."""
    if change.kind == "service":
        return Seen("file", content=_ACTIVE[str(change.content)])
    if change.content is None:
        return ABSENT
    content = change.content.encode()
    if change.kind in ("runtime", "once"):
        return Seen("file", content=content)
    if change.kind == "link":
        return Seen("link", content=content)
    if change.kind == "menu":
        # Made by the system's own tool: what it is shows afterwards.
        return Seen("file")
    mode = f"{int(change.mode, 8):04o}" if change.mode else before.mode
    return Seen("file", sha256=hashlib.sha256(content).hexdigest(), mode=mode)


def one_write(changes: Sequence[Change]) -> list[Change]:
    """Return the first of these and those right behind it that set variables of the same block: they are one write."""
    block = changes[0].path.rpartition(":")[0]
    same = takewhile(lambda item: item.kind == "once" and item.path.rpartition(":")[0] == block, changes)
    return list(same)


def _places(change: Change) -> bool:
    return change.kind in ("file", "link") and change.content is not None


def paths_to_record(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """Return (kind, path) of all whose state a recording needs: what is changed, and the directories of new files."""
    found: dict[str, str] = {}
    for change in changes:
        if _places(change):
            for path in parents(change.path):
                found.setdefault(path, "directory")
        found[change.path] = change.kind
    return [(kind, path) for path, kind in found.items()]


def parents(path: str) -> list[str]:
    """Return the directories above a path, the root left out: /etc/x/y gives /etc and /etc/x."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def complete(
    generation: Generation, current: Mapping[str, Seen], now: str, refused: Collection[str] = ()
) -> Generation:
    """Close a generation with what numatune left; raises JournalError when that is not what was planned.

    What the kernel `refused` was not changed, and is left out.
    """
    entries = []
    for entry in generation.entries:
        if entry.path in refused:
            continue
        here = current[entry.path]
        if entry.path.startswith("/proc/irq/") and here.state == "file":
            # irqbalance narrows it down at once; where it is delivered is judged.
            entry = replace(entry, after=Seen("file", content=here.content))
        # A menu may come out as it was; that it holds what it should is judged.
        if not _is_after(entry, here) and not (entry.kind == "menu" and here.state == "file"):
            raise JournalError(
                f"{entry.path} is not what was just written there: another program changes it; "
                "stop that program, then run tune again"
            )
        entries.append(_left(entry, here))
    return replace(generation, state="completed", completed=now, entries=tuple(entries))


def settle(generation: Generation, current: Mapping[str, Seen], now: str, back: Collection[str] = ()) -> Generation:
    """Close a generation whose run or revert was cut with what it came to.

    What still is as before, and the paths of `back`, counts as back; what was written stays numatune's; what is
    neither keeps what was planned, so that revert leaves it alone as somebody else's.
    """
    entries = []
    for entry in generation.entries:
        here = current[entry.path]
        untouched = generation.state == "recorded" and _is_before(entry, here) and not _is_after(entry, here)
        if entry.back or untouched or entry.path in back:
            entries.append(replace(entry, back=True))
        else:
            entries.append(_left(entry, here) if _is_after(entry, here) else entry)
    return close(replace(generation, entries=tuple(entries)), now)


def close(generation: Generation, now: str) -> Generation:
    """Return the generation as nobody works on it any more: reverted when all of it is back."""
    if all(entry.back for entry in generation.entries):
        return replace(generation, state="reverted", reverted=now)
    return replace(generation, state="completed", completed=generation.completed or now)


def undone_effects(generation: Generation, current: Mapping[str, Seen], back: Collection[str] = ()) -> list[Entry]:
    """Return what a generation that was cut may not have brought to its end, and that nothing else would.

    Of a run: the services that may not have seen their files yet, and the trial's mark. (A run that was to forget a
    trial had seen that it held, or was told to give it up: in the next boot, nothing else would say so. A menu is
    planned anew.) Of a revert: the menu too, since what it would be planned from may be gone already; and the mark,
    since a revert gives the trial up.
    """
    placed = [entry for entry in generation.entries if entry.kind in ("file", "link")]
    if generation.state == "reverting":
        effects = [entry for entry in generation.entries if entry.kind in ("menu", "service") and not entry.back]
        # Files go back before them; a menu that is as it was needs no new one once all files are.
        whole = all(entry.back or entry.path in back for entry in placed)
        marks = [item for item in generation.entries if item.path.endswith(_MARK) and not item.back]
        return [
            *(entry for entry in marks if not _is_before(entry, current[entry.path])),
            *(entry for entry in effects if placed and not (whole and entry.kind == "menu" and entry.path in back)),
        ]
    forgotten = [item for item in generation.entries if item.path.endswith(_MARK) and item.after.state == "absent"]
    seen = any(_is_after(entry, current[entry.path]) for entry in placed)
    return [
        *(entry for entry in forgotten if not _is_after(entry, current[entry.path])),
        *(entry for entry in generation.entries if entry.kind == "service" and not entry.back and seen),
    ]


def _is_before(entry: Entry, here: Seen) -> bool:
    if entry.kind in ("runtime", "service", "once"):
        return here.state == entry.before.state and value_of(here) == value_of(entry.before)
    return here.satisfies(entry.before)


def _is_after(entry: Entry, here: Seen) -> bool:
    if entry.kind in ("runtime", "service", "once"):
        return here.state == entry.after.state and value_of(here) == value_of(entry.after)
    if entry.kind == "menu" and entry.after.digest is None:
        return here.state == "file" and not here.satisfies(entry.before)
    return here.satisfies(entry.after)


def _left(entry: Entry, here: Seen) -> Entry:
    if entry.kind not in ("file", "menu", "directory"):
        return entry
    return replace(entry, after=replace(here, content=None, sha256=here.digest, names=()))


def value_of(seen: Seen) -> bytes:
    """Return a kernel file's value without the newline that some writers leave out."""
    return (seen.content or b"").strip()
