"""Counters of tier C: what NUMA balancing did on the whole host, from /proc/vmstat, a raw reading after each iteration.

The file counts all processes: it corroborates a process's own page faults, and proves nothing alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Optional

from .errors import reason
from .host import VMSTAT

_PATH = "/proc/vmstat"
_FIRST = VMSTAT[0].encode() + b" "
_SCRATCH_BYTES = 1 << 16

WINDOW_BYTES = 512
"""What is kept of each reading: the kernel lists all of these counters in a row, 243 bytes at the longest and some
more on kernels that have put others between them."""

Deltas = list[Optional[int]]


class VmstatReadings:
    """Raw readings of the part of /proc/vmstat that counts NUMA balancing, parsed when the run is over."""

    def __init__(self, readings: int) -> None:
        self.unavailable: dict[str, str] = {}
        self._file = -1
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._reads = 0
        why = self._open()
        if why:
            self.unavailable = dict.fromkeys(VMSTAT, why)
        self._kept = bytearray(WINDOW_BYTES * readings if self._file >= 0 else 0)

    def reader(self) -> Optional[Callable[[int], None]]:
        """The function that keeps reading number `index`; None where there is nothing to read."""
        if self._file < 0:
            return None
        preadv, file, reads = os.preadv, self._file, range(self._reads)
        scratch, view, kept = self._scratch, memoryview(self._scratch), self._kept
        find = scratch.find

        def read(index: int) -> None:
            filled = 0
            for _ in reads:
                filled += preadv(file, (view[filled:],), filled)
            begin = find(_FIRST, 0, filled)
            place = index * WINDOW_BYTES
            # What is missing at the end of the file stays as zero bytes: the slices must be of one length.
            length = min(WINDOW_BYTES, filled - begin)
            kept[place : place + length] = view[begin : begin + length]

        return read

    def deltas(self, count: int) -> dict[str, Deltas]:
        """Name -> the difference between each of the first `count` readings and the one before it."""
        if self._file < 0 or count == 0:
            return {}
        rows = [
            parse_window(bytes(self._kept[place : place + WINDOW_BYTES]))
            for place in range(0, count * WINDOW_BYTES, WINDOW_BYTES)
        ]
        found: dict[str, Deltas] = {}
        for name in VMSTAT:
            if name in rows[0]:
                values = [row[name] for row in rows]
                found[name] = [later - earlier for earlier, later in zip(values, values[1:])]
            else:
                self.unavailable[name] = f"{_PATH}: this kernel does not count it"
        return found

    def close(self) -> None:
        """Close the file; the readings stay."""
        if self._file >= 0:
            os.close(self._file)

    def _open(self) -> str:
        """Open the file and find out how many reads reach the counters; why not, where it cannot be used.

        A read gives a page at most, whatever is asked for.
        """
        try:
            self._file = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return f"{_PATH}: {reason(error)}"
        filled, view = 0, memoryview(self._scratch)
        while True:
            got = os.preadv(self._file, (view[filled:],), filled)
            filled += got
            self._reads += got > 0
            begin = self._scratch.find(_FIRST, 0, filled)
            if got == 0 or (begin >= 0 and filled >= begin + WINDOW_BYTES):
                break
        if begin < 0:
            os.close(self._file)
            self._file = -1
            return f"{_PATH}: this kernel has no NUMA balancing"
        return ""


def parse_window(window: bytes) -> dict[str, int]:
    """The counters in one raw reading: lines of a name and a number, the last of which may be cut off."""
    found: dict[str, int] = {}
    for line in window.rstrip(b"\0").split(b"\n")[:-1]:
        name, _space, value = line.partition(b" ")
        if name.decode("ascii", "replace") in VMSTAT and value.isdigit():
            found[name.decode("ascii")] = int(value)
    return found
