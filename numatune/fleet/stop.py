"""Stopping a run: a flag that wakes the process that waits for the run's sockets, and the signals that set it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout -s INT` and some supervisors signal a process and then its group: nobody asks twice within a second.
_AGAIN_S = 1.0


class Stop:
    """A flag with a file descriptor that becomes readable when it is set; safe to set from a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._set = False

    def __del__(self) -> None:
        for descriptor in (self._read, self._write):
            with suppress(OSError):
                os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read

    def set(self) -> None:
        """Ask the run to hand out no more hosts and to end within about a second."""
        if not self._set:
            self._set = True
            os.write(self._write, b"x")

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._set


@contextmanager
def on_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP set `stop`; one that comes a second or more later raises KeyboardInterrupt.

    For the main thread only.
    """
    first: float | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        first = now if first is None else first
        if stop.is_set() and now - first >= _AGAIN_S:
            raise KeyboardInterrupt
        stop.set()

    # An ignored signal is left ignored: a shell's background job starts with Ctrl-C ignored, nohup's with SIGHUP.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
