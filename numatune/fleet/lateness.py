"""How late a worker is by itself: what a starved controller takes from its hosts' deadlines.

Two things are measured, and neither is the load of the machine. The kernel counts how long a host's own thread was
ready and got no CPU. The worker's main thread wakes several times a second and sees how late: that also tells of a
thread that was put aside while it held the interpreter, and of a process that was stopped as a whole.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from ..transport.delay import OWN, run_delay

BEAT_S = 0.25
"""The main thread sleeps no longer than this while hosts are in flight."""

# Threads that take turns with the interpreter wake each other late by some tens of milliseconds on an idle machine too.
_NOTABLE_S = 0.1


class Mark(NamedTuple):
    """Where a host began: the worker's lateness, the host's thread and its delay by then."""

    process_s: float
    thread_s: float
    thread: int


class Lateness:
    """The lateness of one worker process: its main thread writes it, the threads of its hosts ask."""

    def __init__(self) -> None:
        # The seconds so far, and when the main thread is due: assigned together, or a host's thread that looks in
        # between would count the same lateness twice.
        self._state = (0.0, float("inf"))

    def beat(self, sleeps_s: float | None) -> None:
        """Note that the main thread is about to sleep; None where it waits for no host, so that nothing can be late."""
        now = time.monotonic()
        self._state = (self._until(now), float("inf") if sleeps_s is None else now + sleeps_s)

    def mark(self) -> Mark:
        """Return where the calling thread's host begins."""
        return Mark(self._now(), run_delay(OWN), threading.get_native_id())

    def since(self, mark: Mark, waited_s: float = 0.0) -> float:
        """Return for how many seconds the host has waited for this process; `waited_s` is that of its program here.

        The largest of the three: what they measure overlaps.
        """
        thread_s = run_delay(f"self/task/{mark.thread}") - mark.thread_s
        return max(0.0, self._now() - mark.process_s, thread_s, waited_s)

    def _now(self) -> float:
        # A host's thread may be the first to run after a stop, before the main thread has seen it.
        return self._until(time.monotonic())

    def _until(self, now: float) -> float:
        total, due = self._state
        late = now - due
        return total + late if late >= _NOTABLE_S else total
