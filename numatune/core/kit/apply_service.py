"""numatune's own boot service as a keeper: one file of each CPU, set after its driver and whoever else writes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .. import ours
from ..cpuset import CpuSet, parse_list
from ..errors import InputError
from ..host import Host
from ..machine.topology import CPU
from ..model import Line, Snapshot, State
from ..setting import Planned
from ..sources import Source
from ..status import Plane
from . import boot_service
from .said import Right, Said, unread
from .words import cpu_words


@dataclass(frozen=True)
class ApplyService:
    """A line of the service's data file for one file below /sys/devices/system/cpu/cpuN."""

    setting: str
    file: str

    @property
    def sources(self) -> tuple[Source, ...]:
        """What it is read from."""
        return boot_service.SOURCES

    def said(self, host: Host, cpus: CpuSet, right: Right) -> Said:
        """Return what the service comes to, NONE where it does not reach each of these CPUs that has the file.

        It runs after drivers, TuneD and tmpfiles.d, so its word is the last one.
        """
        path = boot_service.conf(self.setting)
        reading = host.snapshot.read(path)
        if reading.state in (State.DENIED, State.ERROR):
            return unread(reading.why())
        found = lines(host.snapshot, self.setting, self.file)
        runs = boot_service.starts(host.snapshot)
        if runs.plane is Plane.NONE or not found:
            idle = f"{runs.why}, so nothing applies {path}" if found and runs.why else ""
            return Said(Plane.NONE, why=idle, remedy=runs.remedy if idle else "")
        if runs.plane is Plane.UNREAD:
            return Said(Plane.UNREAD, why=runs.why, remedy=runs.remedy)
        wrong = [item for cpu, item in found.items() if cpu in cpus and not right(item[0])]
        if wrong:
            return Said(Plane.WRONG, *wrong[0])
        there = [cpu for cpu in cpus if host.snapshot.read(of(cpu, self.file)).state is not State.ABSENT]
        if not there or any(cpu not in found for cpu in there):
            return Said(Plane.NONE)
        missing = gone(host, found, self.file)
        if missing:
            return unread(fails(self.setting, missing))
        return Said(Plane.RIGHT, *found[there[0]])

    def keep(self, host: Host, cpus: CpuSet, value: str, why: str) -> Planned:
        """Plan the service with this line; what would keep it from running is a conflict."""
        refused = boot_service.refusals(host.snapshot, self.setting)
        if refused:
            return (), refused
        return boot_service.changes(host.snapshot, self.setting, [f"cpus {cpus} {self.file} {value}"], why), ()


def of(cpu: int, file: str) -> str:
    """Return the path of one of a CPU's files."""
    return f"{CPU}/cpu{cpu}/{file}"


def lines(snapshot: Snapshot, setting: str, file: str) -> dict[int, tuple[str, Line]]:
    """Return the value that a setting's data file gives each CPU's file last, with its line."""
    found: dict[int, tuple[str, Line]] = {}
    for words, where in boot_service.words(snapshot, setting):
        if len(words) == 4 and words[0] == "cpus" and words[2] == file:
            try:
                found.update(dict.fromkeys(parse_list(words[1]), (words[3], where)))
            except InputError:
                continue
    return found


def gone(host: Host, named: Iterable[int], file: str) -> CpuSet:
    """Return the CPUs for which the service would wait in vain (siblings gone offline, CPUs removed)."""
    return CpuSet.of(cpu for cpu in named if host.snapshot.read(of(cpu, file)).state is State.ABSENT)


def fails(setting: str, missing: CpuSet) -> str:
    """Say why the service fails at boot."""
    return f"{ours.UNIT} fails: {boot_service.conf(setting)} names a file that {cpu_words(missing, 'lack')}"
