"""The large files of tier D: /proc/stat and /proc/interrupts, of which only the serving CPUs' part is counted."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from .cpus import format_cpu_list
from .sources import Read, Source, why_not

TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
PER_CPU = {"steal_ns": "steal", "irq_ns": "irq", "softirq_ns": "softirq"}
SWITCHES = "host_switches"
LARGE_LIMIT_NS = 100_000
"""A large file that takes longer than this to read is read after every n-th iteration only: the kernel words each of
its numbers again, and with 100 CPUs and 500 interrupt lines that is some milliseconds."""

_MOST_BYTES = 1 << 22
_SLACK_BYTES = 24
_CHUNK = 1 << 16


def parse_cpu_times(text: str, cpus: Sequence[int]) -> dict[int, dict[str, int]]:
    """CPU -> its ticks by kind, from /proc/stat or a part of it; a CPU without a line is left out."""
    wanted = set(cpus)
    times: dict[int, dict[str, int]] = {}
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0].startswith("cpu") and fields[0][3:].isdecimal() and int(fields[0][3:]) in wanted:
            times[int(fields[0][3:])] = dict(zip(TIMES, map(int, filter(str.isdecimal, fields[1:]))))
    return times


def parse_interrupts(text: str, cpus: Sequence[int]) -> dict[str, dict[int, int]]:
    """Line of /proc/interrupts -> CPU -> count, for the CPUs in `cpus`; a line without a column for each is left out.

    A line is called by its label and what the kernel says last about it, such as "36 virtio1-req.0" or "LOC Local
    timer interrupts".
    """
    lines = text.splitlines()
    if not lines:
        return {}
    shown = [int(name[3:]) for name in lines[0].split() if name[3:].isdecimal()]
    wanted = set(cpus)
    columns = [(place, cpu) for place, cpu in enumerate(shown) if cpu in wanted]
    found: dict[str, dict[int, int]] = {}
    for line in lines[1:]:
        label, _colon, rest = line.partition(":")
        fields = rest.split(None, len(shown))
        if len(fields) < len(shown) or not all(map(str.isdecimal, fields[: len(shown)])):
            continue  # ERR and MIS have one number for the whole host; the last line of a reading may be cut off
        words = re.split(r"\s{2,}", fields[len(shown)].strip()) if len(fields) > len(shown) else [""]
        found[f"{label.strip()} {words[-1]}".strip()] = {cpu: int(fields[place]) for place, cpu in columns}
    return found


def interrupts_between(before: dict[str, dict[int, int]], after: dict[str, dict[int, int]]) -> list[dict[str, object]]:
    """The lines of /proc/interrupts that grew, most first: name, the CPUs on which they did, and by how much."""
    grown = []
    for name, counts in after.items():
        earlier = before.get(name, {})
        more = {cpu: count - earlier.get(cpu, 0) for cpu, count in counts.items() if count > earlier.get(cpu, 0)}
        if more:
            grown.append((sum(more.values()), name, format_cpu_list(more)))
    return [
        {"name": name, "cpus": cpus, "count": count}
        for count, name, cpus in sorted(grown, key=lambda one: (-one[0], one[1]))
    ]


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
    COUNTERS = ("interrupts",)

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
            self.unavailable = {"interrupts": why_not(path, error)}
            return
        if not parse_interrupts(text.decode("utf-8", "replace"), self._cpus):
            self.close()
            self.unavailable = {"interrupts": f"{path}: it has no lines of counts"}
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
        return [{"interrupts": sum(sums[name] for name in lasting)} if sums else {} for sums in readings]

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
