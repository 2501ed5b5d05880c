"""One kernel file with one wanted value: judged in three planes, planned, and refused where another file would win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

from ..change import Change, Conflict
from ..host import Host
from ..machine import agents
from ..machine.agents import NONE, Agents
from ..model import Finding, Reading, Severity, State, Status
from ..parsers import choices, sysctl
from ..setting import Option, Planned, Setting
from ..sources import File, Source
from ..status import Plane, combine, outcome
from .said import Declared, Keeper, Right, Said, doubted, undecided
from .starts import Start
from .words import NOT_NOW, evidence, sentence, tuned

LISTING = "/sos_commands/kernel/sysctl_-a"
Words = Union[str, Callable[[Host], str]]


def integer(text: str) -> Optional[str]:
    """Return the number that the kernel takes from a text, None for none."""
    number = sysctl.integer(text)
    return None if number is None else str(number)


def bracketed(text: str) -> Optional[str]:
    """Return the chosen word of a file that shows its choices, or the one word of a line that sets it."""
    words = choices.chosen(text).split()
    return words[0] if len(words) == 1 else None


@dataclass(frozen=True)
class Value:
    """What is wanted of one file under /proc or /sys.

    `harm` says what a value that is not wanted does, `absent` why a kernel may lack the file. `read` makes of a text
    the value, None where it is none. `named` is what the wanted value is called, `effect` what setting it brings.
    `accepts` takes more values than `wanted`; what a profile expects is taken as it is. `key` is a sysctl's name, by
    which a captured listing is read; `shows` reads the running value of what has no file of its own. Without a
    `keeper` it is report only: judged by what the boot starts with. It is tuned where somebody names it, and
    `by_default` where nobody does.
    """

    setting: str
    path: str
    wanted: str
    keeper: Optional[Keeper]
    starts: Start
    harm: Words
    absent: str
    severity: Severity = Severity.INFO
    read: Callable[[str], Optional[str]] = integer
    named: str = ""
    effect: str = ""
    accepts: Optional[Callable[[str], bool]] = None
    key: str = ""
    shows: Optional[Callable[[Host], Reading]] = None
    by_default: bool = False
    agents: Agents = NONE
    missing: Callable[[Host, Reading], bool] = field(default=lambda host, reading: reading.state is State.ABSENT)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What all of it is read from."""
        kept = self.keeper.sources if self.keeper else ()
        listed = (File(LISTING, captured_only=True),) if self.key else ()
        return (File(self.path), *kept, *listed, *self.starts.sources)

    def expected(self, host: Host) -> str:
        """Return the value that is wanted of a host."""
        said = host.option(self.setting, "expected")
        return self.wanted if said is None else str(said)

    def right(self, host: Host) -> Right:
        """Return the test whether a written or shown value is one that is wanted."""
        wanted = self.expected(host)
        accepts = self.accepts if self.accepts and host.option(self.setting, "expected") is None else None

        def right(text: str) -> bool:
            value = self.read(text)
            return value is not None and (accepts(value) if accepts else value == wanted)

        return right

    def running(self, host: Host) -> Reading:
        """Return the reading of the running value."""
        reading = self.shows(host) if self.shows else host.snapshot.read(self.path)
        if reading.state is State.NOT_CAPTURED and self.key:
            listing = host.snapshot.read(LISTING)
            value = sysctl.listing(listing.text, self.key) if listing.present else None
            if value is not None:
                return Reading(LISTING, State.PRESENT, value)
        return reading

    def persisted(self, host: Host) -> Said:
        """Return what the configuration comes to, with what else sets it at boot."""
        if self.keeper is None:
            return Said(Plane.NONE)
        right = self.right(host)
        said = self.keeper.said(host, right)
        agent = agents.decides(host.snapshot, self.agents)
        if agent:
            return undecided(said, agent)
        unseen = agents.unseen(host.snapshot, self.agents) or self.keeper.doubt(host, right)
        return doubted(said, self.starts.of(host, right), unseen)

    def fought(self, host: Host) -> tuple[Conflict, ...]:
        """Return the conflicts with whoever would set another value again, now or at the next boot."""
        found = agents.conflicts(host.snapshot, self.setting, self.agents)
        if self.keeper:
            found += self.keeper.fought(host, self.setting, self.expected(host), self.right(host))
        return found

    def judge(self, host: Host) -> Finding:
        """Judge the running value, what keeps it, and what the next kernel starts with."""
        reading, right = self.running(host), self.right(host)
        if self.missing(host, reading):
            return Finding(
                self.setting, Status.NOT_APPLICABLE, self.severity, expected=self.shown(host), reason=self.absent
            )
        value = self.read(reading.text) if reading.present else None
        runtime = Plane.UNREAD if value is None else Plane.RIGHT if right(reading.text) else Plane.WRONG
        said, boot = self.persisted(host), self.starts.of(host, right)
        status = combine(runtime, outcome(said.plane, boot.plane), said.masked)
        return Finding(
            self.setting,
            status,
            self.severity,
            runtime=value,
            persisted=None if said.plane is Plane.UNREAD else said.value,
            next_boot=boot.value,
            expected=self.shown(host),
            masked_by=said.where if said.masked else None,
            reason=sentence(
                *self._now(host, runtime, reading),
                *self._later(host, status, said, boot),
                self._holds(value, said) if status is Status.OK else "",
                said.note,
            ),
            evidence=evidence(reading, said.where, host.next_boot.where),
            remedy=self._remedy(host, status, said, () if runtime is Plane.UNREAD else self.fought(host)),
        )

    def shown(self, host: Host) -> str:
        """Return what is expected, for people."""
        return self.expected(host)

    def _now(self, host: Host, runtime: Plane, reading: Reading) -> tuple[str, ...]:
        if runtime is Plane.WRONG:
            return (self.harm if isinstance(self.harm, str) else self.harm(host),)
        if runtime is Plane.UNREAD:
            odd = "not a number" if self.read is integer else "not a value that is known"
            return (f"the running value: {odd if reading.present else reading.why()}",)
        return ()

    def _later(self, host: Host, status: Status, said: Said, boot: Said) -> tuple[str, ...]:
        plane, where = said.plane, said.where
        nothing = said.why or ("no file persists it" if self.keeper else "")
        parts: tuple[str, ...] = ()
        if status is Status.MASKED and where:
            who = "TuneD sets it: " if said.holder else ""
            parts = (f"{who}{where.path} line {where.line} wins over the file that says {self.expected(host)}",)
        elif status is Status.LOST_AT_REBOOT and where:
            parts = (f"{where.path} line {where.line} sets {said.value} at the next boot",)
        elif status is Status.LOST_AT_REBOOT:
            parts = (nothing, f"the next kernel starts with {boot.value}")
        elif status is Status.PENDING_REBOOT:
            by_itself = plane is Plane.NONE and boot.where is None
            later = (
                f"the next kernel starts with {boot.value}"
                if by_itself
                else "right on disk, not yet in the running kernel"
            )
            parts = (NOT_NOW if plane is Plane.RIGHT else later,)
        if plane is Plane.UNREAD:
            return (*parts, f"what is persisted: {said.why}")
        if plane is Plane.NONE and boot.plane is Plane.UNREAD:
            return (*parts, nothing, f"the next boot: {boot.why}")
        return (*parts, said.why if status is Status.WRONG and plane is Plane.NONE else "")

    def _holds(self, value: Optional[str], said: Said) -> str:
        by = f"{said.holder or said.where.path} keeps it" if said.where else "the next kernel starts with it"
        return (
            f"{self.named}, and {by} {self.named}" if self.named and value == self.wanted else f"{value} now, and {by}"
        )

    def _remedy(self, host: Host, status: Status, said: Said, fought: Iterable[Conflict]) -> str:
        if status is Status.OK:
            return ""
        # Nothing that is written lasts while they set it again.
        first = "; ".join(one.message for one in fought)
        if first or status is Status.UNKNOWN or said.remedy:
            return first or said.remedy
        if self.keeper is None:
            return "nothing that numatune changes: see `numatune explain " + self.setting + "`"
        wanted = self.expected(host)
        now = f"sysctl {self.key}={wanted}" if self.key else f"write {wanted} to {self.path}"
        tune = tuned(self.setting, self.by_default)
        if status is Status.MASKED and said.where:
            return f"remove line {said.where.line} from {said.where.path}, then {tune}"
        if status is Status.PENDING_REBOOT and said.plane is Plane.RIGHT:
            return f"{tune}, which sets it now, or: {now}; no reboot is needed"
        return f"{tune}, or: {now} and {self.keeper.by_hand}"

    def changes(self, host: Host, finding: Finding) -> Planned:
        """Plan what keeps the value and the running value; whoever would set it again is a conflict."""
        reading, right, wanted = self.running(host), self.right(host), self.expected(host)
        if self.keeper is None or not finding.bad or not reading.present:
            return (), ()
        named = self.named if self.named and wanted == self.wanted else wanted
        planned: tuple[Change, ...] = ()
        if self.persisted(host).plane is not Plane.RIGHT:
            why = f"{named} at every boot: {self.keeper.how}"
            planned, refused = self.keeper.keep(host, self.setting, wanted, why, right)
            if refused:
                return (), refused
        if not right(reading.text):
            why = f"{named} now" + (f": {self.effect}" if self.effect else "")
            before = choices.chosen(reading.text)
            planned += (Change(self.setting, "runtime", self.path, f"{wanted}\n", before, why),)
        fought = agents.conflicts(host.snapshot, self.setting, self.agents) if planned else ()
        return ((), fought) if fought else (planned, ())


def setting_of(
    value: Declared,
    *,
    title: str,
    why: str,
    remedy: str,
    references: tuple[str, ...],
    choices: tuple[str, ...] = (),
) -> Setting:
    """Return the setting of a value: what people read of it, and an option `expected` for a profile that differs."""
    kind: type = int if value.read is integer else str
    options: Mapping[str, Option] = {"expected": Option(kind, "the wanted value", choices, value.wanted)}
    return Setting(
        name=value.setting,
        title=title,
        severity=value.severity,
        why=why,
        remedy=remedy,
        references=references,
        sources=value.sources,
        judge=value.judge,
        options=dict(options),
        changes=value.changes if value.keeper else None,
        by_default=value.by_default,
        agents=value.agents,
        value=value,
    )
