"""What a run of the pool tells as it goes: one `Done` or `NotDone` per alias, and `Progress` between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Done:
    """One finished host: a payload (see `work.Work`), or the failure {"phase": …, "message": …}.

    `status` is what the work made of the host ("ok", "findings", "incomplete", "changes"), with a failure "unreachable"
    or "not_judged". `seconds` runs from the first attempt to the end of the work; `attempts` is 0 where the host was
    not begun.
    `late_s` is 0.0, but for a host that a deadline ended while this machine was late by that many seconds, and that was
    therefore to be asked again at the end of the run: the rest is of its second try, where that came to an end.
    """

    alias: str
    status: str
    failure: dict[str, str] | None = None
    payload: bytes | None = None
    seconds: float = 0.0
    attempts: int = 1
    late_s: float = 0.0


@dataclass(frozen=True)
class NotDone:
    """One host that the run was stopped before: it was not asked, or its answer was not waited for."""

    alias: str


@dataclass(frozen=True)
class Progress:
    """Where the run is: hosts in all, finished ones by status, failures by phase, hosts in flight, seconds so far."""

    total: int
    statuses: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """The hosts that are finished, those with a failure included."""
        return sum(self.statuses.values())


Event = Done | NotDone | Progress
