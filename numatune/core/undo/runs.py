"""Runs of tune and reverts that were interrupted: what a host's journal and mark say, as far as an audit reads them."""

from __future__ import annotations

import re
from typing import Optional

from ..model import NO_FILE, RUN_UNKNOWN, Reading, Snapshot, State
from ..numbers import natural
from ..sources import Directory, Extract, File, Source
from . import run_mark
from .journal import UNFINISHED
from .run_mark import Mark, MarkError

_ABOVE = "/var/lib/numatune"
FOLDER = f"{_ABOVE}/journal"
# The generation's own state stands one space deep; those of its entries are deeper.
_STATE = re.compile(r'^ "state": "(\w+)"', re.M)

SOURCES: tuple[Source, ...] = (
    Directory(_ABOVE),
    Directory(FOLDER),
    Extract(f"{FOLDER}/[0-9]*.json", keep='^ "state": '),
    File(run_mark.PATH, masks=True),
)


def interrupted(snapshot: Snapshot) -> tuple[int, ...]:
    """Return the generations whose run of tune, or whose revert, did not end, oldest first."""
    return tuple(sorted(number for number, _ in _unfinished(snapshot)))


def mark(snapshot: Snapshot) -> Optional[Mark]:
    """Return the mark of a run that was cut, is under way, or left the host out of service.

    Raises MarkError for what stands in its place and is none.
    """
    reading = snapshot.read(run_mark.PATH)
    if run_mark.PATH in snapshot.dirs:
        raise run_mark.odd("it is a directory")
    if run_mark.PATH in snapshot.links or reading.detail == NO_FILE:
        raise run_mark.odd(NO_FILE)
    return run_mark.load(reading.text) if reading.present else None


def status(snapshot: Snapshot, under_way: bool = False) -> str:
    """Return the status that a host has at best, "ok" where no run was interrupted and none left it out of service.

    With `under_way` the mark is that of the run which asks, and does not count.
    """
    try:
        marked = not under_way and mark(snapshot) is not None
    except MarkError:
        return "incomplete"
    if any(item.state is State.ERROR for item in _unread(snapshot, under_way)):
        return "incomplete"
    marked = marked or (_closed(snapshot) and not under_way)
    # What an interrupted run left may be right, but nobody has seen it whole.
    return "findings" if marked or _unfinished(snapshot) else "ok"


def _closed(snapshot: Snapshot) -> bool:
    """Return whether a mark is there that may not be read: its folder was looked into."""
    problem = snapshot.problems.get(run_mark.PATH)
    return problem is not None and problem.state is State.DENIED


def _unread(snapshot: Snapshot, under_way: bool) -> list[Reading]:
    """Return the readings that leave open whether a run was cut."""
    generations = [path for path in snapshot.below(FOLDER) if path.endswith(".json")]
    paths = [*generations] if under_way else [run_mark.PATH, *generations]
    found = (snapshot.directory(FOLDER), *map(snapshot.read, paths))
    return [item for item in found if item.unread]


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
    f"playbooks/revert.yml, which {run_mark.UNDOES}",
    "reverting": "a revert was interrupted, or could not put all back ({}): run playbooks/revert.yml, which finishes "
    "it, or playbooks/tune.yml, which keeps what is back and tunes anew from there",
}


def notes(snapshot: Snapshot, under_way: bool = False) -> tuple[str, ...]:
    """Return what an audit says of the journal and of the mark; `under_way` as in `status`."""
    found = _unfinished(snapshot)
    numbers = {wanted: ", ".join(str(number) for number, state in found if state == wanted) for wanted in _SAID}
    where = {state: f"generation {these} in {FOLDER}" for state, these in numbers.items() if these}
    lines = [_SAID[state].format(text) for state, text in where.items()]
    try:
        marked = None if under_way else mark(snapshot)
        lines += [run_mark.said(marked)] if marked else []
    except MarkError as error:
        lines.append(str(error))
    unread = _unread(snapshot, under_way)
    if _closed(snapshot) and not under_way:
        lines.append(
            "a run of a playbook was interrupted, is under way or left this host out of service: "
            f"{snapshot.read(run_mark.PATH).why()}, which says what to do"
        )
    elif not lines and unread and snapshot.complete and snapshot.directory(_ABOVE).state is not State.ABSENT:
        root = "; run the audit as root (--become over SSH)" if unread[0].state is State.DENIED else ""
        lines.append(f"{RUN_UNKNOWN}: {unread[0].why()}{root}")
    return tuple(lines)
