"""The memory that the hosts of one process may fill together: hostile hosts are bounded as a crowd, not one by one.

What has come of every host's output is counted. Beyond the room's bytes the largest goes, until the rest fits. A host
whose output is no larger than the average that the room has place for is never the one that goes, whatever others send.
Of large outputs one at a time is decoded and judged; the interpreter would not do two at once any faster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .failure import Failure
from .limits import MIB, Deadline

PER_HOST = 3 * MIB // 2
"""Bytes of output that every host in flight may have kept. A host of 512 CPUs prints 1.4 MiB."""

LARGE = MIB
"""Bytes of memory, estimated, from which on an output is worked on alone."""

TEXT = 4
"""Bytes of memory for each byte of output: the bytes, the text, its lines, the snapshot."""


class Room:
    """The room of one process for so many hosts in flight at once; threads share it."""

    def __init__(self, hosts: int) -> None:
        self.most = hosts * PER_HOST
        self.used = 0
        self.lock = threading.Lock()
        self.large = threading.Lock()
        self.waiting: set[Place] = set()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give one host its place, until what is made of its output is done."""
        place = Place(self)
        with self.lock:
            self.waiting.add(place)
        try:
            yield place
        finally:
            place.leave()


class Place:
    """What one host has of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0
        self._kept = bytearray()
        self._gone = False
        self._alone = False

    def keep(self, kept: bytearray, data: bytes) -> None:
        """Append to `kept`, which is emptied when this host has to go; raises Failure("output") from then on."""
        room = self._room
        with room.lock:
            self._kept = kept
            self._check()
            kept += data
            self._size += len(data)
            room.used += len(data)
            while room.used > room.most:
                max(room.waiting, key=lambda place: place._size)._go()
            self._check()

    def settle(self, memory: int, deadline: Deadline | None = None) -> None:
        """Begin the work on an output that takes `memory` bytes; of LARGE ones wait until no other is worked on.

        May be called again when more is known. From here on this host is not told to go. Raises Failure("output")
        if it was, Failure("timeout") past the deadline.
        """
        if memory >= LARGE and not self._alone:
            self._alone = self._room.large.acquire(timeout=-1 if deadline is None else deadline.left())
            if not self._alone:
                what = "its output waited too long for those of other hosts: use fewer forks"
                raise Failure("timeout", what, late=True)
        with self._room.lock:
            gone = self._gone
            self._forget()
        if gone:
            self.leave()
            self._check()

    def leave(self) -> None:
        """Give everything back."""
        with self._room.lock:
            self._forget()
        if self._alone:
            self._alone = False
            self._room.large.release()

    def _check(self) -> None:
        if self._gone:
            raise Failure(
                "output",
                f"the host sent {self._size / MIB:.1f} MiB, as others did at the same time, which together is more than"
                " is kept here; look at what its login prints, or use fewer forks",
            )

    def _go(self) -> None:
        self._gone = True
        self._kept.clear()
        self._forget()

    def _forget(self) -> None:
        if self in self._room.waiting:
            self._room.waiting.remove(self)
            self._room.used -= self._size
