"""From the journal and what stands now to the way back; pure, so that check mode and the real run agree.

Where several generations changed one path, the way back leads to what was there before the first of them, and
only what the last of them left may be replaced: anything else was changed by somebody since, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Union

from .journal import ABSENT, Entry, Generation, Seen, value_of


@dataclass(frozen=True)
class Action:
    """One step back: "write" (a file's bytes, mode, owner, label), "remove", "rmdir" or "runtime"."""

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


def open_generations(generations: Iterable[Generation], first: int = 1) -> list[Generation]:
    """Return the generations from `first` on that are not fully reverted, oldest first."""
    chosen = [item for item in generations if item.number >= first and item.state != "reverted"]
    return sorted(chosen, key=lambda item: item.number)


def paths(generations: Iterable[Generation]) -> list[str]:
    """Return every path that a reversal of these generations must look at."""
    return sorted({entry.path for item in generations for entry in item.entries if not entry.back})


def plan_back(generations: Iterable[Generation], current: Mapping[str, Seen], boot_id: str, first: int = 1) -> Reversal:
    """Plan the way back to the state before generation `first`; `current` holds every path of `paths`."""
    chains = _chains(open_generations(generations, first))
    actions: list[Action] = []
    conflicts: list[str] = []
    notes: list[str] = []
    done: set[str] = set()
    for path, chain in sorted(chains.items(), key=_order):
        if chain[0].entry.kind == "directory":
            outcome = _directory(path, chains, current[path], actions, done)
        elif chain[0].entry.kind == "runtime":
            outcome = _runtime(chain, current[path], boot_id)
        else:
            outcome = _file(chain, current[path])
        if isinstance(outcome, Action):
            actions.append(outcome)
        elif isinstance(outcome, _Conflict):
            conflicts.append(outcome.text)
        elif isinstance(outcome, _Note):
            notes.append(outcome.text)
        if not isinstance(outcome, (_Conflict, _Blocked)):
            done.add(path)
    return Reversal(tuple(actions), tuple(conflicts), tuple(notes), frozenset(done))


def mark(generation: Generation, done: Iterable[str], now: str) -> Generation:
    """Return the generation with these paths marked as back, and reverted when none is left."""
    chosen = set(done)
    entries = tuple(replace(entry, back=entry.back or entry.path in chosen) for entry in generation.entries)
    if all(entry.back for entry in entries):
        return replace(generation, entries=entries, state="reverted", reverted=now)
    return replace(generation, entries=entries)


class _Step(NamedTuple):
    generation: Generation
    entry: Entry


class _Conflict(NamedTuple):
    text: str


class _Note(NamedTuple):
    text: str


class _Back(NamedTuple):
    """Nothing to do: it is as it was."""


class _Blocked(NamedTuple):
    """A directory that must wait for a file in it that is left alone."""


_Outcome = Union[Action, _Conflict, _Note, _Back, _Blocked]
_Chain = list[_Step]


def _chains(generations: list[Generation]) -> dict[str, _Chain]:
    chains: dict[str, _Chain] = {}
    for generation in generations:
        for entry in generation.entries:
            if not entry.back:
                chains.setdefault(entry.path, []).append(_Step(generation, entry))
    return chains


def _order(item: tuple[str, _Chain]) -> tuple[int, int, str]:
    # Files first: should the run be cut, the next boot is already as it was. Directories last, deepest first.
    rank = {"file": 0, "runtime": 1, "directory": 2}[item[1][0].entry.kind]
    return rank, -item[0].count("/") if rank == 2 else 0, item[0]


def _file(chain: _Chain, here: Seen) -> _Outcome:
    entry, last = chain[0].entry, chain[-1]
    if here.satisfies(entry.before):
        return _Back()
    if not here.satisfies(last.entry.after) and not _untouched(last, here.satisfies(last.entry.before)):
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


def _untouched(last: _Step, as_before: bool) -> bool:
    # An interrupted run may have stopped before its write.
    return last.generation.state == "recorded" and as_before


def _runtime(chain: _Chain, here: Seen, boot_id: str) -> _Outcome:
    path = chain[0].entry.path
    mine = [step for step in chain if step.generation.boot_id == boot_id]
    if here.state != "file":
        return _Note(f"{path} is not there any more: nothing to put back")
    if not mine:
        return _Note(f"{path} keeps {_value(here)} until the next boot: its old value is of an earlier boot")
    entry, last = mine[0].entry, mine[-1]
    then, value = entry.before, value_of(here)
    if value == value_of(then):
        return _Back()
    if value != value_of(last.entry.after) and not _untouched(last, value == value_of(last.entry.before)):
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
