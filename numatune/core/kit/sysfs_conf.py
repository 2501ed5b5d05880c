"""What Debian's sysfsutils writes at boot, as far as its service starts: after whatever systemd-tmpfiles wrote."""

from __future__ import annotations

from collections.abc import Iterator

from ..machine import agents
from ..model import Reading, Snapshot
from ..parsers.sysfs_conf import CONF, FOLDER, applied
from ..parsers.tmpfiles import Write
from ..sources import Directory, File, Source

SOURCES: tuple[Source, ...] = (File(CONF), Directory(FOLDER), File(f"{FOLDER}/*.conf"))
_ALONE = agents.Agents(units=(agents.Agent(agents.SYSFSUTILS),))


def starts(snapshot: Snapshot) -> bool:
    """Return whether the service is known to start at boot, and may have something to write."""
    folder, file = snapshot.directory(FOLDER), snapshot.read(CONF)
    some = file.present or file.unread or folder.unread or bool(snapshot.below(FOLDER))
    # Its files first: most hosts have none, and need not be asked about the service.
    return some and bool(agents.unit(snapshot, agents.SYSFSUTILS).enabled)


def unseen(snapshot: Snapshot) -> str:
    """Say that a captured tree does not tell whether it starts, "" where that is known."""
    return agents.unseen(snapshot, _ALONE)


def of_it(path: str) -> bool:
    """Return whether a file is one of its own."""
    return path == CONF or path.startswith(f"{FOLDER}/")


def writes(snapshot: Snapshot, unread: list[Reading]) -> Iterator[Write]:
    """Yield what its files write, in order; add to `unread` what could not be read."""
    folder = snapshot.directory(FOLDER)
    unread += [folder] if folder.unread else []
    for path in (CONF, *(path for path in snapshot.below(FOLDER) if path.endswith(".conf"))):
        reading = snapshot.read(path)
        if reading.unread:
            unread.append(reading)
        found = applied(path, reading.text)
        yield from found.writes
        if found.ended:
            return
