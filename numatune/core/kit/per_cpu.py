"""One file of each serving CPU with one wanted value: judged by CPU, set at every boot by numatune's own service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable, Optional

from ..change import Change
from ..cpuset import CpuSet
from ..host import Host
from ..machine import agents
from ..machine.agents import NONE, Agents
from ..machine.topology import CPU
from ..model import Finding, Reading, Severity, State, Status, ValueGroup
from ..parsers import choices
from ..setting import Planned
from ..sources import File, Source
from ..status import Plane, combine, outcome
from .apply_service import ApplyService, of
from .said import Right, Said, doubted, undecided
from .starts import Start
from .value import integer
from .words import NOT_NOW, cpu_words, evidence, group, sentence, summary, tuned


@dataclass(frozen=True)
class PerCpu:
    """What is wanted of a file below /sys/devices/system/cpu/cpuN; the fields are those of `Value`."""

    setting: str
    file: str
    wanted: str
    starts: Start
    harm: str
    absent: str
    severity: Severity = Severity.INFO
    read: Callable[[str], Optional[str]] = integer
    by_default: bool = False
    agents: Agents = NONE

    @property
    def keeper(self) -> ApplyService:
        """Who keeps the value through reboots."""
        return ApplyService(self.setting, self.file)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What all of it is read from."""
        found = (File(f"{CPU}/cpu[0-9]*/{self.file}"), *self.keeper.sources, *self.starts.sources)
        return (*found, *agents.SOURCES) if self.agents.units else found

    def expected(self, host: Host) -> str:
        """Return the value that is wanted of a host."""
        said = host.option(self.setting, "expected")
        return self.wanted if said is None else str(said)

    def right(self, host: Host) -> Right:
        """Return the test whether a written or shown value is the wanted one."""
        wanted = self.expected(host)
        return lambda text: self.read(text) == wanted

    def persisted(self, host: Host) -> Said:
        """Return what the service comes to, with what else sets the files at boot."""
        right = self.right(host)
        said = self.keeper.said(host, host.roles.serving, right)
        agent = agents.decides(host.snapshot, self.agents)
        if agent:
            return undecided(said, agent)
        return doubted(said, self.starts.of(host, right), agents.unseen(host.snapshot, self.agents))

    def judge(self, host: Host) -> Finding:
        """Judge the file of every serving CPU, and what sets it at the next boot."""
        serving, right = host.roles.serving, self.right(host)
        readings = {cpu: host.snapshot.read(of(cpu, self.file)) for cpu in serving}
        nowhere = absent(readings.values(), self.absent)
        if nowhere:
            return Finding(self.setting, nowhere[0], self.severity, expected=self.expected(host), reason=nowhere[1])
        values = {cpu: self.read(one.text) if one.present else None for cpu, one in readings.items()}
        groups = group("cpus", values)
        runtime = plane_of(groups, right)
        said, boot = self.persisted(host), self.starts.of(host, right)
        status = combine(runtime, outcome(said.plane, boot.plane))
        first = next((cpu for cpu in serving if values[cpu] is None or not right(values[cpu] or "")), serving.first())
        return Finding(
            self.setting,
            status,
            self.severity,
            runtime=summary(groups),
            persisted=None if said.plane is Plane.UNREAD else said.value,
            next_boot=boot.value,
            expected=self.expected(host),
            values=groups if len(groups) > 1 else (),
            reason=sentence(
                self.harm if runtime is Plane.WRONG else "",
                f"{cpu_words(unread_in(groups), 'show')} no value" if unread_in(groups) else "",
                *_later(status, said, boot),
            ),
            evidence=evidence(readings[first], said.where, host.next_boot.where),
            remedy=self._remedy(host, status, said, runtime),
        )

    def _remedy(self, host: Host, status: Status, said: Said, runtime: Plane) -> str:
        if status is Status.OK:
            return ""
        fought = () if runtime is Plane.UNREAD else agents.conflicts(host.snapshot, self.setting, self.agents)
        # Nothing that is written lasts while they set it again.
        first = "; ".join(one.message for one in fought)
        if first or status is Status.UNKNOWN or said.remedy:
            return first or said.remedy
        write = f"write {self.expected(host)} to {self.file} of {cpu_words(host.roles.serving)}"
        again = "" if said.plane is Plane.RIGHT else ", at every boot too"
        return f"{tuned(self.setting, self.by_default)}, or {write}{again}"

    def changes(self, host: Host, finding: Finding) -> Planned:
        """Plan the service's line for the CPUs that have the file, and the running values."""
        readings = {cpu: host.snapshot.read(of(cpu, self.file)) for cpu in host.roles.serving}
        there = CpuSet.of(cpu for cpu, one in readings.items() if one.state is not State.ABSENT)
        right, wanted = self.right(host), self.expected(host)
        if not finding.bad or not any(one.present for one in readings.values()):
            return (), ()
        planned: tuple[Change, ...] = ()
        if self.persisted(host).plane is not Plane.RIGHT:
            planned, refused = self.keeper.keep(host, there, wanted, f"{wanted} at every boot")
            if refused:
                return (), refused
        for cpu, one in readings.items():
            if one.present and not right(one.text):
                before = choices.chosen(one.text)
                path = of(cpu, self.file)
                planned += (Change(self.setting, "runtime", path, f"{wanted}\n", before, f"{wanted} now"),)
        fought = agents.conflicts(host.snapshot, self.setting, self.agents) if planned else ()
        return ((), fought) if fought else (planned, ())


def absent(readings: Iterable[Reading], why: str) -> Optional[tuple[Status, str]]:
    """Return the status and reason of a host on which no serving CPU shows the file, None where one does."""
    found = list(readings)
    if any(one.present or one.unread for one in found) and not all(one.state is State.NOT_CAPTURED for one in found):
        return None
    if not found or any(one.unread for one in found):
        return Status.UNKNOWN, found[0].why() if found else "the online CPUs are not known"
    return Status.NOT_APPLICABLE, why


def plane_of(groups: Iterable[ValueGroup], right: Right) -> Plane:
    """Return what the running values of all CPUs come to."""
    values = [item.value for item in groups]
    if any(value is not None and not right(value) for value in values):
        return Plane.WRONG
    return Plane.UNREAD if None in values or not values else Plane.RIGHT


def unread_in(groups: Iterable[ValueGroup]) -> str:
    """Return the CPUs that show no value, "" for none."""
    return ",".join(item.ids for item in groups if item.value is None)


def _later(status: Status, said: Said, boot: Said) -> tuple[str, ...]:
    if status is Status.OK:
        by = f"{said.where.path} keeps it" if said.where else "the next kernel starts with it"
        return (f"{said.value or boot.value} now, and {by}",)
    if said.plane is Plane.UNREAD:
        return (f"what is persisted is not known: {said.why}",)
    nothing = said.why or "nothing persists it"
    if said.plane is Plane.NONE and boot.plane is Plane.UNREAD:
        return (nothing, f"the next boot: {boot.why}")
    if status is Status.LOST_AT_REBOOT:
        return ("" if said.where else nothing, f"the next boot comes up with {said.value or boot.value}")
    if status is Status.PENDING_REBOOT:
        return (NOT_NOW if said.plane is Plane.RIGHT else "the next kernel starts right",)
    return (said.why,)
