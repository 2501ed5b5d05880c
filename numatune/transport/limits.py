"""How long each phase of one host may take, and how much it may say."""

from __future__ import annotations

import time
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Seconds for each phase of one host, for the host as a whole (retries included), and bytes of output.

    A phase's limit is for the phase, not for one read: a host that drips a byte a second does not outlast it.
    """

    resolve_s: float = 5.0
    connect_s: float = 5.0
    banner_s: float = 10.0
    kex_s: float = 10.0
    auth_s: float = 15.0
    channel_s: float = 10.0
    total_s: float = 60.0
    output_bytes: int = 8 * MIB

    def start(self, at: float | None = None) -> Deadline:
        """Return the host's total deadline, counted from `at` (time.monotonic) or from now."""
        return Deadline(at if at is not None else time.monotonic(), self.total_s)


@dataclass(frozen=True)
class Deadline:
    """A point in time.monotonic() that no phase may pass: `started` + `seconds`."""

    started: float
    seconds: float

    @property
    def end(self) -> float:
        """The point in time.monotonic()."""
        return self.started + self.seconds

    def left(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self.end - time.monotonic())

    def passed(self) -> bool:
        """Return whether it is over."""
        return time.monotonic() >= self.end

    def within(self, seconds: float) -> Deadline:
        """Return the deadline of a phase that begins now: `seconds` from now, but not past this one."""
        now = time.monotonic()
        return Deadline(now, max(0.0, min(seconds, self.end - now)))
