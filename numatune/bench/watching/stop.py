"""How a watch is told to end in good order: by a signal or from another thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Stop:
    """Tells a watch to end: `now` may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self.handle, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def now(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._write, b"x")

    def close(self) -> None:
        os.close(self.handle)
        os.close(self._write)


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a lost terminal end the watch in good order; a second one ends the program as ever.

    Main thread only. Under nohup a lost terminal ends nothing.
    """
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]

    def end(number: int, _frame: Any) -> None:
        signal.signal(number, before[number])
        stop.now()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
