"""What grew on the host over a run, and who else was there: the result's "run"."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

from .. import counted
from ..host import read_text
from ..parsers import TIMES, interrupts_between, parse_cpu_times, parse_interrupts, parse_vmstat
from . import tasks
from .cpufiles import CPU_FOLDER, Frequency, Idle, Quota, Throttling
from .kmsg import KernelLog
from .sources import SmallFiles

MOST_INTERRUPTS = 20

FREQUENCIES_AT_ONCE = 4
"""CPUs whose frequency is read at one report of the progress, in turns. Some kernels interrupt the CPU to tell it,
so all of them at once would hold the workload up; at the start and at the end they are read together."""

SLOW_READING_NS = 1_000_000
"""A CPU whose frequency takes longer to read is left alone during the run. Linux 4.13 to 5.16 on x86 sleep 10 ms to
measure one that was not asked about for a second, and the workload would be cold after it."""

_SECTOR_BYTES = 512  # the unit of /proc/diskstats, whatever the disk's own sector is


_SMALL_FILES = (counted.THROTTLE, counted.QUOTA, counted.IDLE, counted.FREQUENCY)
SMALL = {one.name: one.total[0] for file in _SMALL_FILES for one in counted.ALL if one.file == file}
"""Counter of the small files -> where its growth stands in the result."""


class Surroundings:
    """`start` before the run, `sample` now and then between two iterations, `stop` after it for what grew."""

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER, own: Collection[int] = ()) -> None:
        """`cpus` are the serving CPUs; `own` are processes that are no foreign load, besides this one."""
        self._cpus = list(cpus)
        self._base = base
        self._own = own
        self._log = KernelLog()
        self._frequencies = Frequencies(cpus, base)
        self._tasks = tasks.Snapshot({}, False)
        self._before: dict[str, Any] = {}
        self._slow = False

    def start(self) -> None:
        """Take the counts from which growth is counted, the slow ones first."""
        self._tasks = tasks.snapshot(own=self._own)
        self._before = totals(self._cpus, self._base)
        begin = time.perf_counter_ns()
        self._frequencies.sample(len(self._cpus))
        self._slow = time.perf_counter_ns() - begin > SLOW_READING_NS * len(self._cpus)

    def sample(self) -> None:
        """Read the frequency of a few CPUs, some microseconds; nothing where the host has none, or is slow to tell."""
        if not self._slow:
            self._frequencies.sample(FREQUENCIES_AT_ONCE)

    def stop(self) -> dict[str, Any]:
        """What grew since `start`, and what was seen; null where a source does not exist."""
        self._frequencies.sample(len(self._cpus))
        grown = growth(self._before, totals(self._cpus, self._base))
        grown["frequency_khz"] = self._frequencies.seen()
        grown["dmesg"] = self._log.lines()
        after = tasks.snapshot(own=self._own)
        grown["foreign_load"] = tasks.foreign_load(self._tasks, after, self._cpus)
        grown["foreign_load_whole"] = self._tasks.whole and after.whole
        return grown

    def close(self) -> None:
        self._log.close()
        self._frequencies.close()


class Frequencies:
    """The lowest and highest frequency seen of each CPU, kHz, from scaling_cur_freq."""

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER) -> None:
        self._files: list[tuple[int, int]] = []
        self._range: dict[int, list[int]] = {}
        self._next = 0
        for cpu in cpus:
            try:
                file = os.open(f"{base}/cpu{cpu}/cpufreq/scaling_cur_freq", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            self._files.append((cpu, file))

    def sample(self, at_most: int) -> None:
        """Read the next `at_most` CPUs, in turns."""
        for _ in range(min(at_most, len(self._files))):
            cpu, file = self._files[self._next]
            self._next = (self._next + 1) % len(self._files)
            try:
                text = os.pread(file, 32, 0).strip()
            except OSError:
                continue  # the CPU went offline
            if text.isdigit():  # a driver that does not know says "<unknown>"
                value = int(text)
                seen = self._range.setdefault(cpu, [value, value])
                seen[0], seen[1] = min(seen[0], value), max(seen[1], value)

    def seen(self) -> Optional[dict[str, list[int]]]:
        """CPU number as text -> [lowest, highest]; None where none could be read."""
        return {str(cpu): list(span) for cpu, span in sorted(self._range.items())} or None

    def close(self) -> None:
        for _cpu, file in self._files:
            os.close(file)
        self._files = []


def totals(cpus: Sequence[int], base: str = CPU_FOLDER) -> dict[str, Any]:
    """Counts since boot whose growth over the run is recorded; None where a source does not exist."""
    vmstat = parse_vmstat(f"{read_text('/proc/vmstat')}\n".encode())
    small: dict[str, int] = {}
    sources: list[SmallFiles] = [Idle(cpus, base), Frequency(cpus, base), Throttling(cpus, base), Quota()]
    for source in sources:
        small.update(source.now())
        source.close()
    return {
        "cpu_times": parse_cpu_times(read_text("/proc/stat") or "", cpus),
        "interrupts": parse_interrupts(read_text("/proc/interrupts") or "", cpus) or None,
        "disks": parse_diskstats(read_text("/proc/diskstats") or "", whole_disks()),
        "vmstat": vmstat,
        "small": small,
    }


def growth(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of two `totals`: steal as a share of the CPUs' time; null where a source does not exist."""
    spent = dict.fromkeys(TIMES, 0)
    for cpu, times in after["cpu_times"].items():
        for kind, value in times.items():
            spent[kind] += max(0, value - before["cpu_times"].get(cpu, times)[kind])
    total = sum(spent.values())
    lines = None
    if before["interrupts"] is not None and after["interrupts"] is not None:
        lines = interrupts_between(before["interrupts"], after["interrupts"])
    disks = None
    if before["disks"] is not None and after["disks"] is not None:
        disks = {name: max(0, value - before["disks"][name]) for name, value in after["disks"].items()}

    def grew(name: str) -> Optional[int]:
        known = name in before["small"] and name in after["small"]
        # A CPU that went offline takes its counts along: what is left is no growth, and no throttling below zero.
        return max(0, after["small"][name] - before["small"][name]) if known else None

    return {
        "steal_share": spent["steal"] / total if total else 0.0,
        "steal_ns": spent["steal"] * 10**9 // os.sysconf("SC_CLK_TCK"),
        "cpu_jiffies": spent,
        "interrupts": None if lines is None else sum(line["count"] for line in lines),
        "interrupts_by_name": (lines or [])[:MOST_INTERRUPTS],
        **{place: grew(name) for name, place in SMALL.items()},
        "disk_io": disks,
        "vmstat": {name: max(0, value - before["vmstat"].get(name, value)) for name, value in after["vmstat"].items()},
    }


def whole_disks(folder: str = "/sys/block") -> set[str]:
    """Disks with a device behind them: what a partition, a mapping or a RAID moves is counted on its disk already."""
    try:
        return {name for name in os.listdir(folder) if os.path.exists(f"{folder}/{name}/device")}
    except OSError:
        return set()


def parse_diskstats(text: str, disks: set[str]) -> Optional[dict[str, int]]:
    """Bytes read and written, and requests done, summed over `disks`; None where the text has none of them."""
    read = written = requests = lines = 0
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 10 and fields[2] in disks:
            lines += 1
            requests += int(fields[3]) + int(fields[7])
            read += int(fields[5]) * _SECTOR_BYTES
            written += int(fields[9]) * _SECTOR_BYTES
    return {"read_bytes": read, "written_bytes": written, "ops": requests} if lines else None
