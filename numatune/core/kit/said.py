"""What one plane says of a setting, which judges, keepers and starts hand each other; what keepers and builders are."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Protocol

from ..change import Conflict
from ..host import Host
from ..machine.agents import Agents
from ..model import Finding, Line, Severity
from ..setting import Planned
from ..sources import Source
from ..status import Plane, outcome

Right = Callable[[str], bool]
"""Whether a value, as it is written or shown, is one that is wanted."""


class Said(NamedTuple):
    """What one plane says: right, wrong, nothing (NONE) or unread; the value, and the line that says it.

    `why` says why it is not known, or why a line that stands is nothing. `masked` is the line of a wanted value over
    which `where` wins. `holder` names who else keeps the value right, `note` is worth saying beside any status, and
    `remedy` is what would let a line be applied.
    """

    plane: Plane
    value: Optional[str] = None
    where: Optional[Line] = None
    why: str = ""
    masked: bool = False
    holder: str = ""
    note: str = ""
    remedy: str = ""


class AtBoot(NamedTuple):
    """What the next boot comes to: by the configuration and by the kernel, `kernel` NONE where it does not count."""

    persisted: Said
    kernel: Said = Said(Plane.NONE)

    @property
    def after(self) -> Plane:
        """Return what both come to."""
        return outcome(self.persisted.plane, self.kernel.plane)


def said(value: str, right: Right, where: Optional[Line] = None) -> Said:
    """Return what a plane says that holds this value."""
    return Said(Plane.RIGHT if right(value) else Plane.WRONG, value, where)


def unread(why: str) -> Said:
    """Return what a plane says of which nothing is known."""
    return Said(Plane.UNREAD, why=why)


def undecided(found: Said, why: str) -> Said:
    """Return what a plane says whose value somebody else decides later: its line stands, and settles nothing."""
    return Said(Plane.UNREAD, found.value, found.where, why, note=found.note)


def doubted(found: Said, boot: Said, why: str) -> Said:
    """Return what a plane says where `why` keeps a right outcome from being known, "" for nothing that does.

    What was not captured may spoil what is right, and proves nothing of what is wrong.
    """
    right = outcome(found.plane, boot.plane) is Plane.RIGHT
    return undecided(found, why) if why and right else found


class Keeper(Protocol):
    """Who keeps a value through reboots: what the configuration comes to, and the plan that makes it right."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return what it is read from."""

    @property
    def by_hand(self) -> str:
        """Return what a person writes so that it is kept."""

    @property
    def how(self) -> str:
        """Return how the file comes to count."""

    def said(self, host: Host, right: Right) -> Said:
        """Return what the configuration comes to at the next boot."""

    def doubt(self, host: Host, right: Right) -> str:
        """Say why the next boot may come to another value than `said` tells, "" for no doubt.

        That is so in a captured tree which does not tell whether TuneD starts.
        """

    def fought(self, host: Host, setting: str, value: str, right: Right) -> tuple[Conflict, ...]:
        """Return the conflict with what TuneD sets after whatever is kept here."""

    def keep(self, host: Host, setting: str, value: str, why: str, right: Right) -> Planned:
        """Plan what keeps the value."""


class Declared(Protocol):
    """What a builder of the kit gives of a setting, whatever kind of value it judges; `Value` says what each is."""

    @property
    def setting(self) -> str:
        """Return its name."""

    @property
    def wanted(self) -> str:
        """Return the value that is wanted where a profile says nothing."""

    @property
    def severity(self) -> Severity:
        """Return how much a wrong value matters."""

    @property
    def read(self) -> Callable[[str], Optional[str]]:
        """Return what makes of a text the value."""

    @property
    def by_default(self) -> bool:
        """Return whether it is tuned where nobody names it."""

    @property
    def agents(self) -> Agents:
        """Return who else sets it."""

    @property
    def keeper(self) -> object:
        """Return who keeps it through reboots, None for a value that is reported only."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return what all of it is read from."""

    def judge(self, host: Host) -> Finding:
        """Judge it in three planes."""

    def changes(self, host: Host, finding: Finding) -> Planned:
        """Plan what makes it right."""
