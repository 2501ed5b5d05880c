"""Runs of tune and reverts that were interrupted: what a journal says of itself, as far as an audit reads it."""

from __future__ import annotations

import re

from .journal import UNFINISHED
from .model import Snapshot
from .parsers.numbers import natural
from .sources import Directory, Extract, Source

FOLDER = "/var/lib/numatune/journal"
# The generation's own state stands one space deep; those of its entries are deeper.
_STATE = re.compile(r'^ "state": "(\w+)"', re.M)

SOURCES: tuple[Source, ...] = (
    Directory("/var/lib/numatune"),
    Directory(FOLDER),
    Extract(f"{FOLDER}/[0-9]*.json", keep='^ "state": '),
)


def interrupted(snapshot: Snapshot) -> tuple[int, ...]:
    """Return the generations whose run of tune, or whose revert, did not end, oldest first."""
    return tuple(sorted(number for number, _ in _unfinished(snapshot)))


def _unfinished(snapshot: Snapshot) -> list[tuple[int, str]]:
    found = []
    for path in snapshot.below(FOLDER):
        number = natural(path.rpartition("/")[2].removesuffix(".json"))
        state = _STATE.search(snapshot.read(path).text)
        if number is not None and state and state[1] in UNFINISHED:
            found.append((number, state[1]))
    return sorted(found)


_SAID = {
    "recorded": "a run of tune was interrupted ({}): run playbooks/tune.yml, which finishes it, or "
    "playbooks/revert.yml, which undoes it",
    "reverting": "a revert was interrupted, or could not put all back ({}): run playbooks/revert.yml, which finishes "
    "it, or playbooks/tune.yml, which keeps what is back and tunes anew from there",
}


def notes(snapshot: Snapshot) -> tuple[str, ...]:
    """Return what an audit says of the journal."""
    found = _unfinished(snapshot)
    if found:
        numbers = {wanted: ", ".join(str(number) for number, state in found if state == wanted) for wanted in _SAID}
        where = {state: f"generation {these} in {FOLDER}" for state, these in numbers.items() if these}
        return tuple(_SAID[state].format(text) for state, text in where.items())
    folder = snapshot.directory(FOLDER)
    if folder.unread and snapshot.complete and snapshot.directory("/var/lib/numatune").state.value != "absent":
        return (f"whether a run of tune or a revert was interrupted is not known: {folder.why()}",)
    return ()
