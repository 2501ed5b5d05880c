"""Counters of tier C: what NUMA balancing did on the whole host, from /proc/vmstat, a raw reading after each iteration.

The file counts all processes: it corroborates a process's own page faults, and proves nothing alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from .. import counted
from ..parsers import parse_vmstat
from .sources import Read, Source, why_not

_PATH = "/proc/vmstat"
COUNTERS = counted.of(counted.VMSTAT)

_FIRST = COUNTERS[0].encode() + b" "
_LAST = COUNTERS[-1].encode() + b" "
_SCRATCH_BYTES = 1 << 16

LEAST_WINDOW, MOST_WINDOW = 512, 2048
"""Bounds of what is kept of each reading. The kernel lists the counters of NUMA balancing in a row, 243 bytes at the
longest, and those of compaction and huge pages some 400 bytes after them, where it has these."""

_GROWTH_BYTES = 128  # the numbers between the first and the last counter get longer as they grow


class VmstatReadings(Source):
    """Raw readings of the part of /proc/vmstat that counts NUMA balancing, compaction and huge pages."""

    def __init__(self, readings: int = 0) -> None:
        super().__init__()
        self._file = -1
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._reads = 0
        self._window = LEAST_WINDOW
        self._kept = bytearray()
        why = self._open()
        if why:
            self.unavailable = dict.fromkeys(filter(missed, COUNTERS), why)
        self.room(readings)

    def bytes_each(self) -> int:
        return self._window

    def room(self, readings: int) -> None:
        self._kept = bytearray(self._window * readings)

    def reader(self) -> Read:
        if self._file < 0:
            return lambda _index: None
        preadv, file, reads = os.preadv, self._file, range(self._reads)
        scratch, view, kept, window = self._scratch, memoryview(self._scratch), self._kept, self._window
        find = scratch.find

        def read(index: int) -> None:
            filled = 0
            for _ in reads:
                filled += preadv(file, (view[filled:],), filled)
            begin = find(_FIRST, 0, filled)
            place = index * window
            # What is missing at the end of the file stays as zero bytes: the slices must be of one length.
            length = min(window, filled - begin)
            kept[place : place + length] = view[begin : begin + length]

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        window = self._window
        return [parse_vmstat(bytes(self._kept[place : place + window])) for place in range(0, count * window, window)]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> str:
        """Open the file, and find out how much of it is needed; why not, where it cannot be used.

        A read gives a page at most, whatever is asked for, so it also counts the reads that reach the counters.
        """
        try:
            self._file = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return why_not(_PATH, error)
        filled, ends, view = 0, [], memoryview(self._scratch)
        while True:
            got = os.preadv(self._file, (view[filled:],), filled)
            if got == 0:
                break
            filled += got
            ends.append(filled)
        begin, last = self._scratch.find(_FIRST, 0, filled), self._scratch.find(_LAST, 0, filled)
        if begin < 0:
            self.close()
            return f"{_PATH}: this kernel has no NUMA balancing"
        wanted = last - begin + len(_LAST) + _GROWTH_BYTES
        self._window = wanted if LEAST_WINDOW < wanted <= MOST_WINDOW else LEAST_WINDOW
        self._reads = sum(end < begin + self._window for end in ends[:-1]) + 1
        found = parse_vmstat(bytes(self._scratch[begin : min(begin + self._window, filled)]))
        self.names = tuple(name for name in COUNTERS if name in found)
        self.unavailable = not_counted(_PATH, found)
        return ""


def missed(name: str) -> bool:
    """Return whether its absence is worth a word: a kernel may be built without compaction or huge pages."""
    return not counted.BY_NAME[name].optional


def not_counted(path: str, found: Collection[str]) -> dict[str, str]:
    """Return counter -> why, for those that a kernel does not count in its /proc/vmstat."""
    return {name: f"{path}: this kernel does not count it" for name in COUNTERS if name not in found and missed(name)}
