"""The memory that the outputs of all hosts of one process may take together: many hostile hosts share one limit.

Each process counts the bytes of every host's output. Beyond the limit it drops the largest output, until the rest fits.
It never drops an output that is no larger than the average share, whatever other hosts send. It decodes and judges
large outputs one at a time; the interpreter would not do two at once any faster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .failure import Failure
from .limits import MIB, Deadline

PER_HOST = 3 * MIB // 2
"""Bytes of output that may be in memory for every host in flight. A host of 512 CPUs prints 1.4 MiB."""

LARGE = MIB
"""Bytes of memory, estimated, from which on an output is decoded and judged alone."""

TEXT = 4
"""Bytes of memory for each byte of output: the bytes, the text, its lines, the snapshot."""


class OutputMemory:
    """The memory of one process for the outputs of so many hosts in flight at once; threads share it."""

    def __init__(self, hosts: int) -> None:
        self.most = hosts * PER_HOST
        self.used = 0
        self.lock = threading.Lock()
        self.large = threading.Lock()
        self.waiting: set[Place] = set()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Count one host's output, until the work on it is done."""
        place = Place(self)
        with self.lock:
            self.waiting.add(place)
        try:
            yield place
        finally:
            place.leave()


class Place:
    """One host's share of the memory."""

    def __init__(self, memory: OutputMemory) -> None:
        self._memory = memory
        self._size = 0
        self._kept = bytearray()
        self._gone = False
        self._alone = False

    def keep(self, kept: bytearray, data: bytes) -> None:
        """Append to `kept`; where this output is dropped, empty `kept`, and raise Failure("output") from then on."""
        memory = self._memory
        with memory.lock:
            self._kept = kept
            self._check()
            kept += data
            self._size += len(data)
            memory.used += len(data)
            while memory.used > memory.most:
                max(memory.waiting, key=lambda place: place._size)._go()
            self._check()

    def settle(self, memory: int, deadline: Deadline | None = None) -> None:
        """Begin the work on an output that takes `memory` bytes; of LARGE ones wait until no other is worked on.

        May be called again when more is known. From here on this output is not dropped. Raises Failure("output")
        if it was dropped, Failure("timeout") past the deadline.
        """
        if memory >= LARGE and not self._alone:
            self._alone = self._memory.large.acquire(timeout=-1 if deadline is None else deadline.left())
            if not self._alone:
                what = "its output waited too long for those of other hosts: use fewer forks"
                raise Failure("timeout", what, late=True)
        with self._memory.lock:
            gone = self._gone
            self._forget()
        if gone:
            self.leave()
            self._check()

    def leave(self) -> None:
        """Stop counting this host."""
        with self._memory.lock:
            self._forget()
        if self._alone:
            self._alone = False
            self._memory.large.release()

    def _check(self) -> None:
        if self._gone:
            raise Failure(
                "output",
                f"the host sent {self._size / MIB:.1f} MiB, which with what other hosts sent meanwhile is more than is"
                " held in memory; look at what its login prints, or use fewer forks",
            )

    def _go(self) -> None:
        self._gone = True
        self._kept.clear()
        self._forget()

    def _forget(self) -> None:
        if self in self._memory.waiting:
            self._memory.waiting.remove(self)
            self._memory.used -= self._size
