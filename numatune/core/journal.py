"""The journal: what was there before numatune's first write on a host, and what numatune left.

One JSON file per generation (one transaction of tune that changed something), `numatune/journal/2`:

    {"schema": "numatune/journal/2", "generation": 1, "state": "recorded | completed | reverted",
     "boot_id": "…", "recorded": "…Z", "completed": "…Z" or null, "reverted": "…Z" or null,
     "entries": [{"setting": "numa_balancing", "kind": KIND, "path": "/etc/…", "before": SEEN, "after": SEEN,
                  "back": false}]}

KIND is one of a change's kinds (core.model.Change), or "directory" for one that had to be made. SEEN is what stood at
a path: {"state": "absent | file | link | directory | other"}, for a file its "content" (base64), "sha256", "mode",
"uid", "gid" and security "label" as far as they are known, for a link its target as content. A generation is
`recorded` from before its first write until its last one was checked, so an interrupted run is seen; `back` says that
this entry is as it was before. A later version of the format gets a new schema name; an unknown one is refused, never
guessed at. (Version 1 knew three kinds, and is read.)

Reading and writing the files is the Ansible module's work.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from .errors import NumatuneError
from .model import Change

SCHEMA = "numatune/journal/2"
_READ = ("numatune/journal/1", SCHEMA)
STATES = ("recorded", "completed", "reverted")
KINDS = ("file", "link", "runtime", "service", "menu", "once", "directory")
SEEN_STATES = ("absent", "file", "link", "directory", "other")
_ACTIVE = {"restarted": b"active", "started": b"active", "stopped": b"inactive"}
_UNIT = re.compile(r"[A-Za-z0-9@._:\\-]+\.(?:service|slice)")


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
    names: tuple[str, ...] = ()
    """What a directory holds; never kept in the journal."""

    def satisfies(self, wanted: Seen) -> bool:
        """Whether everything that `wanted` knows is so here; a security label does not count."""
        if self.state != wanted.state or self.state == "link":
            return self.state == wanted.state and self.content == wanted.content
        here = (self.digest, self.mode, self.uid, self.gid)
        there = (wanted.digest, wanted.mode, wanted.uid, wanted.gid)
        return all(known is None or mine == known for mine, known in zip(here, there))

    @property
    def digest(self) -> Optional[str]:
        """Return the hash of the content, where there is one."""
        return hashlib.sha256(self.content).hexdigest() if self.content is not None else self.sha256


ABSENT = Seen("absent")


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


def settle(generation: Generation, current: Mapping[str, Seen], now: str) -> Generation:
    """Close a generation whose run was interrupted with what it came to.

    What still is as before counts as back; what was written stays numatune's; what is neither keeps what was
    planned, so that revert leaves it alone as somebody else's.
    """
    entries = []
    for entry in generation.entries:
        here = current[entry.path]
        if not entry.back and _is_before(entry, here) and not _is_after(entry, here):
            entries.append(replace(entry, back=True))
        else:
            entries.append(_left(entry, here) if _is_after(entry, here) else entry)
    if all(entry.back for entry in entries):
        return replace(generation, state="reverted", reverted=now, entries=tuple(entries))
    return replace(generation, state="completed", completed=now, entries=tuple(entries))


def undone_effects(generation: Generation, current: Mapping[str, Seen]) -> list[Entry]:
    """Return the menu and services of an interrupted generation that may not have seen its files yet."""
    placed = [entry for entry in generation.entries if entry.kind in ("file", "link")]
    if not any(_is_after(entry, current[entry.path]) for entry in placed):
        return []
    return [entry for entry in generation.entries if entry.kind in ("menu", "service")]


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


def dump(generation: Generation) -> str:
    """Return a generation as the text of its file."""
    entries = [
        {
            "setting": entry.setting,
            "kind": entry.kind,
            "path": entry.path,
            "before": _dump_seen(entry.before),
            "after": _dump_seen(entry.after),
            "back": entry.back,
        }
        for entry in generation.entries
    ]
    document = {
        "schema": SCHEMA,
        "generation": generation.number,
        "state": generation.state,
        "boot_id": generation.boot_id,
        "recorded": generation.recorded,
        "completed": generation.completed,
        "reverted": generation.reverted,
        "entries": entries,
    }
    return json.dumps(document, indent=1) + "\n"


def load(text: str, name: str) -> Generation:
    """Read a generation; `name` is the file that the one-line error names."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError("no object")
        if data.get("schema") not in _READ:
            raise JournalError(
                f"{name}: schema {str(data.get('schema'))[:40]!r} is not {SCHEMA}: use the version of "
                "numatune that wrote it; nothing was changed"
            )
        generation = Generation(
            number=_typed(data["generation"], int),
            state=_one_of(data["state"], STATES),
            boot_id=_typed(data["boot_id"], str),
            recorded=_typed(data["recorded"], str),
            entries=tuple(_load_entry(item) for item in _typed(data["entries"], list)),
            completed=_optional(data.get("completed"), str),
            reverted=_optional(data.get("reverted"), str),
        )
        if name.rsplit("/", 1)[-1] != file_name(generation.number):
            raise ValueError(f"it says generation {generation.number}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {str(error)[:80]}".replace("\n", " ")
        raise JournalError(
            f"{name}: the journal is damaged ({what}): nothing was changed; undo by hand with the -undo.txt "
            "beside it, then move both away"
        ) from None
    return generation


def _dump_seen(seen: Seen) -> dict[str, Any]:
    data: dict[str, Any] = {"state": seen.state}
    if seen.content is not None:
        data["content"] = base64.b64encode(seen.content).decode()
    known = {"sha256": seen.digest, "mode": seen.mode, "uid": seen.uid, "gid": seen.gid, "label": seen.label}
    data.update({key: value for key, value in known.items() if value is not None})
    return data


def _load_seen(data: Any) -> Seen:
    content = _optional(data.get("content"), str)
    try:
        raw = None if content is None else base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError(f"content: {error}") from None
    seen = Seen(
        state=_one_of(data["state"], SEEN_STATES),
        content=raw,
        sha256=_optional(data.get("sha256"), str),
        mode=_optional(data.get("mode"), str),
        uid=_optional(data.get("uid"), int),
        gid=_optional(data.get("gid"), int),
        label=_optional(data.get("label"), str),
    )
    if seen.mode is not None:
        int(seen.mode, 8)
    if raw is not None and seen.sha256 != seen.digest:
        raise ValueError("the content is not what its sha256 says")
    return replace(seen, sha256=None) if raw is not None else seen


def _load_entry(data: Any) -> Entry:
    entry = Entry(
        setting=_typed(data["setting"], str),
        kind=_one_of(data["kind"], KINDS),
        path=_typed(data["path"], str),
        before=_load_seen(data["before"]),
        after=_load_seen(data["after"]),
        back=_typed(data["back"], bool),
    )
    parts = entry.path.split("/")
    named = _UNIT.fullmatch(entry.path) if entry.kind == "service" else not parts[0] and len(parts) > 1
    if not named or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError(f"path {entry.path[:60]!r}")
    if entry.kind != "directory" and entry.before.state == "file" and entry.before.content is None:
        raise ValueError(f"no content for {entry.path[:60]}")
    return entry


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{str(value)[:40]!r} is no {kind.__name__}")
    return value


def _optional(value: Any, kind: type) -> Any:
    return None if value is None else _typed(value, kind)


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{str(value)[:40]!r} is none of {', '.join(choices)}")
    return str(value)
