"""From the journal and what stands now to the way back; pure, so that check mode and the real run agree.

Where several generations changed one path, they are a chain: the way back leads to what was there before the first of
them. Each link begins at what the chain has seen, its first `before` or what any generation left: mostly what the last
one left, but a run or a revert that was cut, or a package that put its old file back, starts it over. Only what the
chain has seen may be replaced: anything else was changed by somebody since, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Callable, NamedTuple, Optional, Union

from .journal import ABSENT, NO_BLOCK, UNFINISHED, Entry, Generation, Seen, close, value_of

_ENTRIES = "/boot/loader/entries/"


@dataclass(frozen=True)
class Action:
    """One step back: "write" (a file with all its attributes, or a link), "remove", "rmdir", or a change's kind.

    "menu" is made anew where it cannot be put back as it was; a "service" is restarted, started or stopped.
    """

    kind: str
    path: str
    setting: str
    now: Seen
    then: Seen


@dataclass(frozen=True)
class Reversal:
    """The steps in their order, what is left alone and why, and what is worth saying without being wrong."""

    actions: tuple[Action, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]
    done: frozenset[str]
    """The paths whose entries are back once the actions are done."""
    back: frozenset[str] = frozenset()
    """Those of them that are as they were already."""


def open_generations(generations: Iterable[Generation], first: int = 1) -> list[Generation]:
    """Return the generations from `first` on that are not fully reverted, oldest first."""
    chosen = [item for item in generations if item.number >= first and item.state != "reverted"]
    return sorted(chosen, key=lambda item: item.number)


def stay(generations: Iterable[Generation], to: int, since: str) -> tuple[int, ...]:
    """Return the generations that a way back to what `to` left does not undo, of those recorded since a time."""
    return tuple(
        sorted(
            item.number
            for item in generations
            if item.number <= to and item.state != "reverted" and item.recorded >= since
        )
    )


def paths(generations: Iterable[Generation]) -> list[tuple[str, str]]:
    """Return (kind, path) of all that a reversal of these generations must look at."""
    return sorted({(entry.kind, entry.path) for item in generations for entry in item.entries if not entry.back})


def plan_back(generations: Iterable[Generation], current: Mapping[str, Seen], boot_id: str, first: int = 1) -> Reversal:
    """Plan the way back to the state before generation `first`; `current` holds every path of `paths`."""
    opened = open_generations(generations, first)
    chains = _chains(opened)
    actions: list[Action] = []
    found: dict[str, _Outcome] = {}
    done: set[str] = set()
    # Also those that an earlier revert put back: it was cut before the daemon saw them.
    files = any(entry.kind in ("file", "link") for item in opened for entry in item.entries)
    # Within a kind as recorded: an energy preference is taken only after its governor.
    for path, chain in sorted(chains.items(), key=_order):
        kind = chain[0].entry.kind
        if kind == "directory":
            outcome = _directory(path, chains, current[path], actions, done)
        elif kind == "runtime":
            outcome = _runtime(chain, current[path], boot_id)
        elif kind == "service":
            outcome = _service(chain, current[path], files)
        else:
            outcome = _PLACED.get(kind, _file)(chain, current[path])
        found[path] = outcome
        if isinstance(outcome, Action):
            actions.append(outcome)
        if not isinstance(outcome, (_Conflict, _Blocked)):
            done.add(path)
    conflicts = tuple(outcome.text for outcome in found.values() if isinstance(outcome, _Conflict))
    notes = [outcome.text for outcome in found.values() if isinstance(outcome, _Note)]
    later = [path for path, outcome in found.items() if isinstance(outcome, _Later)]
    if later:
        more = f" and {len(later) - 1} more values" if len(later) > 1 else ""
        notes.append(f"{later[0]}{more} stay as tuned until the next boot: what was there is of an earlier boot")
    back = frozenset(path for path, outcome in found.items() if isinstance(outcome, _Back))
    return Reversal(tuple(actions), conflicts, tuple(notes), frozenset(done), back)


def begin(generation: Generation) -> Generation:
    """Return the generation as it stands before the first step back."""
    return replace(generation, state="reverting")


def mark(generation: Generation, done: Iterable[str], now: str, over: bool = True) -> Generation:
    """Return the generation with these paths marked as back; one that is not `over` is still being reverted."""
    chosen = set(done)
    entries = tuple(replace(entry, back=entry.back or entry.path in chosen) for entry in generation.entries)
    marked = replace(generation, entries=entries)
    return close(marked, now) if over or all(entry.back for entry in entries) else marked


class _Step(NamedTuple):
    generation: Generation
    entry: Entry


class _Conflict(NamedTuple):
    text: str


class _Note(NamedTuple):
    text: str


class _Later(NamedTuple):
    """A value of an earlier boot: the next one sets its own."""


class _Back(NamedTuple):
    """Nothing to do: it is as it was."""


class _Blocked(NamedTuple):
    """A directory that must wait for a file in it that is left alone."""


_Outcome = Union[Action, _Conflict, _Note, _Later, _Back, _Blocked]
_Chain = list[_Step]


def _chains(generations: list[Generation]) -> dict[str, _Chain]:
    chains: dict[str, _Chain] = {}
    for generation in generations:
        for entry in generation.entries:
            if not entry.back:
                chains.setdefault(entry.path, []).append(_Step(generation, entry))
    return chains


_ORDER = ("once", "file", "link", "menu", "runtime", "service", "directory")
"""No trial boot first; then files: should the run be cut, the next boot is already as it was. Directories last."""


def _order(item: tuple[str, _Chain]) -> tuple[int, int]:
    kind = item[1][0].entry.kind
    rank = _ORDER.index("file" if kind == "link" else kind)
    return rank, -item[0].count("/") if kind == "directory" else 0


def _file(chain: _Chain, here: Seen) -> _Outcome:
    entry = chain[0].entry
    if here.satisfies(entry.before):
        return _Back()
    if here.state == "absent" and entry.path.startswith(_ENTRIES):
        return _Note(f"{entry.path} went with its kernel: nothing to put back")
    seen, broken = _follow(chain)
    if broken:
        return _Conflict(
            f"{entry.path} was changed by somebody between generations {broken[0]} and {broken[1]}, and is left alone: "
            f"take out by hand what numatune wrote (the -undo.txt of {broken[0]} shows what was there first), then run "
            "revert again"
        )
    if not _among(here, seen):
        what = "removed" if here.state == "absent" else "changed"
        advice = (
            f"remove it by hand (there was none before {entry.setting} was tuned)"
            if entry.before.state == "absent"
            else "put back by hand what the -undo.txt in the journal shows"
        )
        return _Conflict(
            f"{entry.path} was {what} by somebody after numatune wrote it, and is left alone: {advice}, "
            "then run revert again"
        )
    kind = "remove" if entry.before.state == "absent" else "write"
    return Action(kind, entry.path, entry.setting, here, entry.before)


def _follow(chain: _Chain) -> tuple[list[Seen], Optional[tuple[int, int]]]:
    """Return what the chain has seen, and the two generations between which somebody else wrote, if any."""
    seen = [chain[0].entry.before]
    last = chain[0].generation.number
    for generation, entry in chain:
        if not _among(entry.before, seen):
            return seen, (last, generation.number)
        seen.append(entry.after)
        last = generation.number
    return seen, None


def _among(here: Seen, seen: Iterable[Seen]) -> bool:
    return any(here.satisfies(one) for one in seen)


def _menu(chain: _Chain, here: Seen) -> _Outcome:
    entry, last = chain[0].entry, chain[-1]
    if here.satisfies(entry.before):
        return _Back()
    if last.entry.after.digest is not None and here.satisfies(last.entry.after) and _follow(chain)[1] is None:
        return Action("write", entry.path, entry.setting, here, entry.before)
    # A kernel came or went since, or the run was cut: what generates the menu is as it was, so it is made anew.
    return Action("menu", entry.path, entry.setting, here, entry.before)


def _once(chain: _Chain, here: Seen) -> _Outcome:
    entry, last = chain[0].entry, chain[-1]
    if here == entry.before or (here.state == entry.before.state == "absent" and entry.before != NO_BLOCK):
        return _Back()
    # GRUB itself empties the entry of one boot, and the block that numatune made stays; the trial's mark is numatune's.
    left = value_of(here) == value_of(entry.before)
    if entry.path.endswith(":numatune_trial") and entry.before.state == "file":
        # Going back to where a trial was armed: it is armed anew, not taken for one that was tried.
        return _Back() if here.state == "absent" else Action("once", entry.path, entry.setting, here, ABSENT)
    if left or entry.path.endswith(":numatune_trial") or _same(here, last.entry.after):
        return Action("once", entry.path, entry.setting, here, entry.before)
    if _untouched(last, _same(here, last.entry.before)):
        # As the run before that one left it.
        return Action("once", entry.path, entry.setting, here, entry.before)
    # Any other entry of one boot, or variable, is somebody's.
    if entry.path.endswith(":next_entry"):
        return _Back()
    return _Conflict(
        f"{entry.path} was changed by somebody after numatune wrote it, and is left alone: set it by hand to "
        f"{_value(entry.before)} with grub2-editenv, then run revert again"
    )


def _same(one: Seen, other: Seen) -> bool:
    return one.state == other.state and value_of(one) == value_of(other)


def _service(chain: _Chain, here: Seen, files: bool) -> _Outcome:
    entry, last = chain[0].entry, chain[-1].entry
    now, before, after = value_of(here), value_of(entry.before), value_of(last.after)
    if now not in (before, after) or (now != after and before == after):
        return _Note(f"{entry.path} is {now.decode()} by somebody's doing, and stays so")
    # One that runs before and after reads its files again, also where an earlier revert was cut before that.
    if now == before and not (files and now == b"active"):
        return _Back()
    return Action("service", entry.path, entry.setting, here, entry.before)


_PLACED: dict[str, Callable[[_Chain, Seen], _Outcome]] = {"menu": _menu, "once": _once}


def _untouched(last: _Step, as_before: bool) -> bool:
    # A run that was cut may have stopped before its write.
    return last.generation.state in UNFINISHED and as_before


def _runtime(chain: _Chain, here: Seen, boot_id: str) -> _Outcome:
    path = chain[0].entry.path
    mine = [step for step in chain if step.generation.boot_id == boot_id]
    if here.state != "file":
        return _Note(f"{path} is not there any more: nothing to put back")
    if not mine:
        return _Later()
    entry, last = mine[0].entry, mine[-1]
    then, value = entry.before, value_of(here)
    if value == value_of(then):
        return _Back()
    if value != value_of(last.entry.after) and not _untouched(last, value == value_of(last.entry.before)):
        if path.startswith("/proc/irq/"):
            return _Note(f"{path} holds {_value(here)}: somebody moved that interrupt since, and it stays")
        return _Conflict(
            f"{path} holds {_value(here)}, not the {_value(last.entry.after)} that numatune wrote, and is "
            f"left alone: write {_value(then)} there by hand to have what was before, then run revert again"
        )
    return Action("runtime", path, entry.setting, here, then)


def _directory(path: str, chains: Mapping[str, _Chain], here: Seen, actions: list[Action], done: set[str]) -> _Outcome:
    if here.state != "directory":
        return _Back()
    if any(other.startswith(path + "/") and other not in done for other in chains):
        return _Blocked()
    gone = {action.path for action in actions if action.kind in ("remove", "rmdir")}
    kept = sorted(name for name in here.names if f"{path}/{name}" not in gone)
    if kept:
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        return _Note(f"{path} was made by numatune and stays: it holds {', '.join(kept[:3])}{more}")
    return Action("rmdir", path, chains[path][0].entry.setting, here, ABSENT)


def _value(seen: Seen) -> str:
    return repr(value_of(seen).decode("utf-8", "replace"))
