"""The large files of tier D: /proc/stat and /proc/interrupts, of which only the serving CPUs' part is counted."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import counted
from ..parsers import parse_cpu_times, parse_interrupts
from .sources import Read, Source, why_not

*_TIMES, SWITCHES = counted.of(counted.STAT)
PER_CPU = {name: counted.BY_NAME[name].field for name in _TIMES}
(INTERRUPTS,) = counted.of(counted.INTERRUPTS)
LARGE_LIMIT_NS = 100_000
"""A large file that takes longer than this to read is read after every n-th iteration only: the kernel words each of
its numbers again, and with 100 CPUs and 500 interrupt lines that is some milliseconds."""

_MOST_BYTES = 1 << 22
_SLACK_BYTES = 24
_CHUNK = 1 << 16


class ProcStat(Source):
    """Ticks of the serving CPUs by kind, and the switches of the whole host, from /proc/stat.

    Two parts of each reading are kept: the lines from the first to the last serving CPU, and the line of switches.
    The text between the two, a number for each interrupt line of the host, may be longer than all the rest.
    """

    limit_ns = LARGE_LIMIT_NS
    COUNTERS = (*PER_CPU, SWITCHES)

    def __init__(self, cpus: Sequence[int], path: str = "/proc/stat") -> None:
        super().__init__()
        self._cpus = sorted(cpus)
        self._file = -1
        self._kept = bytearray()
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            text = _read_whole(self._file)
        except OSError as error:
            self.close()
            self.unavailable = dict.fromkeys(self.COUNTERS, why_not(path, error))
            return
        self._scratch = bytearray(len(text) + _CHUNK)
        self._first = f"cpu{self._cpus[0]} ".encode()
        begin, end = text.find(self._first), text.find(b"\n", text.find(f"cpu{self._cpus[-1]} ".encode()))
        lines = text[begin:end].count(b"\n") + 1
        self._times = max(0, end - begin) + _SLACK_BYTES * lines
        if len(parse_cpu_times(text.decode("ascii", "replace"), self._cpus)) < len(self._cpus):
            self.close()
            self.unavailable = dict.fromkeys(self.COUNTERS, f"{path}: it has no line for each of the CPUs")
            return
        self.names = self.COUNTERS
        self._tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")

    def bytes_each(self) -> int:
        return self._times + 32

    def room(self, readings: int) -> None:
        self._kept = bytearray(self.bytes_each() * readings)

    def reader(self) -> Read:
        preadv, file, scratch, view = os.preadv, self._file, self._scratch, memoryview(self._scratch)
        kept, first, times, width, find = self._kept, self._first, self._times, self.bytes_each(), scratch.find

        def read(index: int) -> None:
            filled = got = preadv(file, (view,), 0)
            while got:
                got = preadv(file, (view[filled:],), filled)
                filled += got
            place = index * width
            begin, switches = find(first, 0, filled), find(b"\nctxt ", 0, filled)
            if begin >= 0:
                length = min(times, filled - begin)
                kept[place : place + length] = view[begin : begin + length]
            if switches >= 0:
                length = min(32, filled - switches)
                kept[place + times : place + times + length] = view[switches : switches + length]

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        rows = []
        for place in range(0, count * self.bytes_each(), self.bytes_each()):
            row: dict[str, int] = {}
            # The last line may be cut off, or the first of the next part: the lines that count end before it.
            text = bytes(self._kept[place : place + self._times]).rstrip(b"\0").decode("ascii", "replace")
            times = parse_cpu_times(text, self._cpus)
            if len(times) == len(self._cpus):
                for name, kind in PER_CPU.items():
                    row[name] = self._tick_ns * sum(one.get(kind, 0) for one in times.values())
            switches = bytes(self._kept[place + self._times : place + self.bytes_each()]).split(b"\n")
            if len(switches) > 2 and switches[1][5:].isdigit():
                row[SWITCHES] = int(switches[1][5:])
            rows.append(row)
        return rows

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Interrupts(Source):
    """All interrupts that the serving CPUs took, from /proc/interrupts."""

    limit_ns = LARGE_LIMIT_NS
    COUNTERS = (INTERRUPTS,)

    def __init__(self, cpus: Sequence[int], path: str = "/proc/interrupts") -> None:
        super().__init__()
        self._cpus = sorted(cpus)
        self._file = -1
        self._width = 0
        self._kept = bytearray()
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            text = _read_whole(self._file)
        except OSError as error:
            self.close()
            self.unavailable = {INTERRUPTS: why_not(path, error)}
            return
        if not parse_interrupts(text.decode("utf-8", "replace"), self._cpus):
            self.close()
            self.unavailable = {INTERRUPTS: f"{path}: it has no lines of counts"}
            return
        self.names = self.COUNTERS
        self._width = len(text) + 512  # the columns are of one width; a device that comes up adds a line

    def bytes_each(self) -> int:
        return self._width

    def room(self, readings: int) -> None:
        self._kept = bytearray(self._width * readings)

    def reader(self) -> Read:
        preadv, file, width, view = os.preadv, self._file, self._width, memoryview(self._kept)

        def read(index: int) -> None:
            place, end = index * width, (index + 1) * width
            offset = 0
            while True:  # a page at most comes at a time
                got = preadv(file, (view[place + offset : end],), offset)
                if not got:
                    break
                offset += got

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        """Sums over the lines that every reading has: one that came up later would show as a jump."""
        readings = [
            _sums(bytes(self._kept[place : place + self._width]).rstrip(b"\0").decode("utf-8", "replace"), self._cpus)
            for place in range(0, count * self._width, self._width)
        ]
        whole = [set(sums) for sums in readings if sums]
        lasting = whole[0].intersection(*whole[1:]) if whole else set()
        return [{INTERRUPTS: sum(sums[name] for name in lasting)} if sums else {} for sums in readings]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _sums(text: str, cpus: Sequence[int]) -> dict[str, int]:
    """Line of /proc/interrupts -> count over `cpus`; empty where one of these has no column, since it went offline."""
    lines = parse_interrupts(text, cpus)
    if any(len(counts) < len(cpus) for counts in lines.values()):
        return {}
    return {name: sum(counts.values()) for name, counts in lines.items()}


def _read_whole(file: int) -> bytes:
    """The whole of a file in /proc, a page or so at a time; OSError where it cannot be read."""
    parts: list[bytes] = []
    offset = 0
    while offset < _MOST_BYTES:
        part = os.pread(file, _CHUNK, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
