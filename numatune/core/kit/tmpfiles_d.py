"""tmpfiles.d as a keeper: kernel files that are there from the start of every boot, written by systemd-tmpfiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..change import Conflict
from ..host import Host
from ..machine import agents, tuned, units
from ..machine.tuned import Sysfs
from ..model import Reading, Snapshot
from ..ours import HEADER
from ..parsers import cmdline, sysctl, tmpfiles
from ..setting import Planned
from ..sources import Directory, File, Source
from ..status import Plane
from . import sysfs_conf
from .drop_ins import foreign, outdone, placed
from .said import Right, Said, said, unread

TMPFILES: tuple[Source, ...] = (
    # A plan must not write through a link under /etc; elsewhere one only matters as what masks a name.
    *(File(f"{folder}/*.conf", links=folder == "/etc/tmpfiles.d", masks=True) for folder in tmpfiles.DIRECTORIES),
    *(Directory(folder) for folder in tmpfiles.DIRECTORIES),
    *units.SOURCES,
    *sysfs_conf.SOURCES,
)
"""What systemd-tmpfiles applies at every boot, and what sysfsutils does after it."""


@dataclass(frozen=True)
class TmpfilesD:
    """One line of tmpfiles.d, in a file of its own, for one kernel file.

    `tuned` are the options of a TuneD profile that set the same, as (plugin, name): TuneD starts later, and leaves it
    alone where the kernel argument `unless` is given.
    """

    path: str
    drop_in: str
    tuned: tuple[tuple[str, str], ...] = ()
    unless: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it is read from."""
        return (*TMPFILES, *agents.SOURCES)

    @property
    def by_hand(self) -> str:
        """What a person writes so that it is kept."""
        return "a line in /etc/tmpfiles.d"

    @property
    def how(self) -> str:
        """How the file comes to count."""
        return "systemd-tmpfiles writes it"

    def said(self, host: Host, right: Right) -> Said:
        """Return what the configuration comes to at the next boot."""
        if agents.unit(host.snapshot, agents.TUNED).enabled:
            by_tuned = self._by_tuned(host, right)
            if by_tuned.plane is not Plane.NONE:
                return by_tuned
        found = written_at_boot(host, {0: (self.path,)}, right)
        masked = found.plane is Plane.WRONG and any(right(write.value) for write in self._writes(host.snapshot))
        return found._replace(masked=masked)

    def _writes(self, snapshot: Snapshot) -> Iterator[tmpfiles.Write]:
        return (write for write in _applied(snapshot, []) if write.covers(self.path))

    def _by_tuned(self, host: Host, right: Right) -> Said:
        """Return what TuneD sets when it starts."""
        does = self._does(host)
        profile = f"TuneD's profile {tuned.profile(host.snapshot) or '(none is named)'}"
        if not does.known:
            return unread(f"{profile} may set it, and was not read whole")
        if does.option is None:
            return Said(Plane.NONE)
        where = does.option.where
        at = f"{where.path} line {where.line}"
        if does.option.value is None:
            return Said(Plane.UNREAD, None, where, f"{profile} sets it, and what {at} comes to is not known")
        if not does.chosen:
            why = f"{profile} sets it ({at}), but TuneD chooses a profile anew at each start (profile_mode auto)"
            return Said(Plane.UNREAD, None, where, why)
        return said(does.option.value, right, where)._replace(holder=f"TuneD ({at})")

    def _does(self, host: Host) -> Sysfs:
        given = self.unless and cmdline.last(host.next_boot.arguments or "", self.unless) is not None
        return tuned.sysfs(host.snapshot, self.path, () if given else self.tuned)

    def doubt(self, host: Host, right: Right) -> str:
        """Say that TuneD or sysfsutils may start and set another value, where neither is known."""
        unseen = agents.unseen(host.snapshot, agents.TUNED_ALONE)
        spoils = unseen and self._by_tuned(host, right).plane in (Plane.WRONG, Plane.UNREAD)
        return unseen if spoils else unseen_at_boot(host.snapshot, {0: (self.path,)}, right)

    def fought(self, host: Host, setting: str, value: str, right: Right) -> tuple[Conflict, ...]:
        """Return the conflict with the line by which TuneD sets another value, or one that is not known."""
        where = self._by_tuned(host, right).where
        enabled = agents.unit(host.snapshot, agents.TUNED).enabled
        if not enabled or where is None or self._by_tuned(host, right).plane is Plane.RIGHT:
            return ()
        at, off = f"{where.path} line {where.line}", f"or `systemctl disable --now {agents.TUNED}`"
        message = f"{agents.TUNED} sets {where.text!r} at every start ({at}): make that {value} or take it out, {off}"
        if not self._does(host).chosen:
            message = (
                f"{agents.TUNED} chooses a profile anew at each start (profile_mode auto), and sets {where.text!r} now "
                f"({at}): name a profile that sets {value}, or nothing (`tuned-adm profile NAME`), {off}"
            )
        return (Conflict(setting, where.path, where.line, where.text, f"{message}; then run again"),)

    def keep(self, host: Host, setting: str, value: str, why: str, right: Right) -> Planned:
        """Plan the file; what would win over it, or keep it from being applied, is a conflict."""
        snapshot = host.snapshot
        applied = units.applier(snapshot, units.TMPFILES, host.next_boot.arguments)
        text = f"{HEADER}w {self.path} - - - - {value}\n"
        refused = self.fought(host, setting, value, right) or units.refusals(setting, applied, self.drop_in)
        refused = refused or foreign(snapshot, setting, self.drop_in)
        if not refused:
            # What the next boot would come to with the file in place: systemd-tmpfiles has its own order of lines.
            after = replace(snapshot, files={**snapshot.files, self.drop_in: text})
            wrong = wrong_at_boot(after, {0: (self.path,)}, right)
            refused = tuple(outdone(setting, self.drop_in, write.where) for write in wrong)
        return ((), refused) if refused else (placed(snapshot, setting, self.drop_in, text, why), ())


def _applied(snapshot: Snapshot, unread: list[Reading]) -> Iterator[tmpfiles.Write]:
    """Yield the lines that systemd-tmpfiles applies, in its order, then those of sysfsutils where that starts.

    What could not be read is added to `unread`.

    Measured with systemd 252: of lines that name one path (or one pattern) the first counts and the others are
    ignored as duplicates; of different names for one file the last stays.
    """
    paths = [path for folder in tmpfiles.DIRECTORIES for path in snapshot.below(folder)]
    unread.extend(reading for reading in map(snapshot.directory, tmpfiles.DIRECTORIES) if reading.unread)
    seen: set[str] = set()
    for path in sysctl.files_in_order(paths, tmpfiles.DIRECTORIES):
        reading = snapshot.read(path)
        if reading.unread and snapshot.links.get(path) != "/dev/null":
            unread.append(reading)
        for write in tmpfiles.writes(path, reading.text):
            pattern = re.sub("/+", "/", write.pattern)
            if pattern not in seen:
                seen.add(pattern)
                yield replace(write, pattern=pattern)
    if sysfs_conf.starts(snapshot):
        # A script of the default runlevels, long after sysinit.target.
        yield from sysfs_conf.writes(snapshot, unread)


def writes_at_boot(
    snapshot: Snapshot, targets: Mapping[int, tuple[str, ...]]
) -> tuple[dict[int, tmpfiles.Write], list[Reading]]:
    """Return the tmpfiles.d line that each number's paths end with, and the files that could not be read."""
    numbers: dict[str, list[int]] = {}
    for number, names in targets.items():
        for name in names:
            numbers.setdefault(name, []).append(number)
    last: dict[int, tmpfiles.Write] = {}
    unread: list[Reading] = []
    for write in _applied(snapshot, unread):
        # Only patterns are tried on every path: a file of ours has a line for each of many CPUs.
        if any(sign in write.pattern for sign in "*?["):
            reached = [number for number, names in targets.items() if any(map(write.covers, names))]
        else:
            reached = numbers.get(write.pattern, [])
        last.update(dict.fromkeys(reached, write))
    return last, unread


def written_at_boot(host: Host, targets: Mapping[int, tuple[str, ...]], right: Right) -> Said:
    """Return what tmpfiles.d comes to for each number's paths.

    A write that reaches only some of the numbers persists nothing unless it is wrong, and none persists anything where
    the service that applies them does not run.
    """
    last, closed = writes_at_boot(host.snapshot, targets)
    applied = units.applier(host.snapshot, units.TMPFILES, host.next_boot.arguments)
    later = {number: write for number, write in last.items() if sysfs_conf.of_it(write.where.path)}
    if applied.plane is Plane.NONE and last and not later:
        path = next(iter(last.values())).where.path
        return Said(Plane.NONE, why=f"{applied.why}, so nothing applies {path}", remedy=applied.remedy)
    last = later if applied.plane is Plane.NONE else last
    for write in last.values():
        if not right(write.value):
            return Said(Plane.WRONG, write.value, write.where)
    if closed:
        return unread(closed[0].why())
    if last and len(last) == len(targets):
        write = next((write for number, write in last.items() if number not in later), write)
        if applied.plane is not Plane.RIGHT and write not in later.values():
            return Said(Plane.UNREAD, why=applied.why, remedy=applied.remedy)
        return Said(Plane.RIGHT, write.value, write.where)
    return Said(Plane.NONE)


def wrong_at_boot(
    snapshot: Snapshot, targets: Mapping[int, tuple[str, ...]], right: Callable[[str], bool]
) -> list[tmpfiles.Write]:
    """Return the tmpfiles.d lines that leave a number with a wrong value, each once."""
    last, _ = writes_at_boot(snapshot, targets)
    return list({write.where: write for write in last.values() if not right(write.value)}.values())


def unseen_at_boot(snapshot: Snapshot, targets: Mapping[int, tuple[str, ...]], right: Callable[[str], bool]) -> str:
    """Say that sysfsutils may start and spoil a value, where a captured tree tells neither; "" for no doubt."""
    unseen = sysfs_conf.unseen(snapshot)
    unread: list[Reading] = []
    paths = [path for names in targets.values() for path in names]
    wrong = [write for write in sysfs_conf.writes(snapshot, unread) if not right(write.value)] if unseen else []
    return unseen if unread or any(write.covers(path) for write in wrong for path in paths) else ""
