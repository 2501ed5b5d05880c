"""Runs of tune that were interrupted: what a host's journal says of itself, as far as an audit reads it."""

from __future__ import annotations

import re

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
    """Return the generations that are neither finished nor undone, oldest first."""
    found = []
    for path in snapshot.below(FOLDER):
        number = natural(path.rpartition("/")[2].removesuffix(".json"))
        state = _STATE.search(snapshot.read(path).text)
        if number is not None and state and state[1] == "recorded":
            found.append(number)
    return tuple(sorted(found))


def notes(snapshot: Snapshot) -> tuple[str, ...]:
    """Return what an audit says of the journal."""
    found = interrupted(snapshot)
    if found:
        numbers = ", ".join(map(str, found))
        what = f"a run of tune was interrupted (generation {numbers} in {FOLDER})"
        return (f"{what}: run playbooks/tune.yml, which finishes it, or playbooks/revert.yml, which undoes it",)
    folder = snapshot.directory(FOLDER)
    if folder.unread and snapshot.complete and snapshot.directory("/var/lib/numatune").state.value != "absent":
        return (f"whether a run of tune was interrupted is not known: {folder.why()}",)
    return ()
