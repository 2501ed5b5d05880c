"""What happened on the host around a watched service: one reader for each kernel file, its growth from call to call.

Watching goes on for as long as the user likes, so the text is parsed at once, unlike the benchmark's; the parsers are
the same. Readers that count by CPU give the growth on the CPUs that they are asked about: a service that is not pinned
wanders.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Optional

from .. import counted
from ..counters.cpufiles import cpu_files, not_counted, parse_cpu_file
from ..counters.vmstat import not_counted as not_in_vmstat
from ..host import read_text
from ..parsers import (
    TIMES,
    cpu_stat_files,
    cpu_ticks,
    interrupt_columns,
    parse_cpu_stat,
    parse_interrupt_line,
    parse_vmstat,
)
from .readers import OneFile, Reader, Totals, why_not
from .target import Roots

_COLUMNS = {name: TIMES.index(field) for name, field in counted.fields(counted.STAT).items() if field in TIMES}
(HOST_SWITCHES,) = (name for name in counted.of(counted.STAT) if name not in _COLUMNS)
(INTERRUPTS,) = counted.of(counted.INTERRUPTS)
QUOTA = counted.of(counted.QUOTA)


class Vmstat(OneFile):
    """NUMA balancing and the like, for the whole host."""

    names = counted.of(counted.VMSTAT)

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/vmstat")

    def totals(self) -> Totals:
        found = parse_vmstat(self.text())
        self.unavailable = {**not_in_vmstat(self._path, found), **self.unavailable}
        return {name: {-1: value} for name, value in found.items()}


class Stat(OneFile):
    """Time that the hypervisor and interrupts took, by CPU, and switches on the whole host."""

    names = counted.of(counted.STAT)

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/stat")
        self._tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def totals(self) -> Totals:
        text = self.text().decode("ascii", "replace")
        found: Totals = {name: {} for name in _COLUMNS}
        for cpu, columns in cpu_ticks(text):
            for name, place in _COLUMNS.items():
                if place < len(columns) and columns[place].isdecimal():
                    found[name][cpu] = int(columns[place]) * self._tick_ns
        switches = text.partition("\nctxt ")[2].split(None, 1)[:1]
        found = {name: counts for name, counts in found.items() if counts}
        return {**found, HOST_SWITCHES: {-1: int(switches[0])}} if switches and switches[0].isdecimal() else found


class Interrupts(OneFile):
    """All interrupts, by CPU."""

    names = (INTERRUPTS,)

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/interrupts")
        self._columns: list[int] = []
        self._lines: dict[bytes, bytes] = {}

    def growth(self, cpus: Collection[int]) -> dict[str, int]:
        """Line by line: one that came up meanwhile would show as a jump, and one that went hides what the others did.

        Most lines are as they were, and are not parsed: the file of a large host is some megabytes.
        """
        head, *lines = self.text().split(b"\n")
        before, columns_before = self._lines, self._columns
        self._lines = {label: rest for label, _colon, rest in (line.partition(b":") for line in lines)}
        self._columns = interrupt_columns(head.decode("ascii", "replace"))
        if not columns_before or not self._columns:
            return {}
        grown = 0
        for label, rest in self._lines.items():
            earlier = before.get(label)
            if earlier is not None and earlier != rest:
                then, now = _counts(label, earlier, columns_before), _counts(label, rest, self._columns)
                if then is not None and now is not None and then[0] == now[0]:
                    grown += sum(max(0, now[1][cpu] - then[1][cpu]) for cpu in now[1] if cpu in cpus and cpu in then[1])
        return {INTERRUPTS: grown}


def _counts(label: bytes, rest: bytes, columns: list[int]) -> Optional[tuple[str, dict[int, int]]]:
    """Return (name, CPU -> count) of a line; None where it has no column for each CPU."""
    parsed = parse_interrupt_line((label + b":" + rest).decode("utf-8", "replace"), len(columns))
    return None if parsed is None else (parsed[0], dict(zip(columns, parsed[1])))


class PerCpuFiles(Reader):
    """Counters that are a file for each CPU: those of one of `counted`'s IDLE, FREQUENCY and THROTTLE."""

    def __init__(self, file: str, cpus: Collection[int], roots: Roots) -> None:
        super().__init__()
        self.names = counted.of(file)
        self._handles: dict[str, list[tuple[int, int]]] = {}
        self._counts_for: dict[int, int] = {}
        owners: dict[str, int] = {}
        base = f"{roots.sys}/devices/system/cpu"
        for name in self.names:
            self._handles[name] = []
            for cpu in sorted(cpus):
                for path in cpu_files(name, cpu, base):
                    # CPUs of one cpufreq policy share its file, which counts once.
                    owner = owners.setdefault(path, cpu)
                    self._counts_for[cpu] = owner
                    if owner == cpu:
                        self._open(name, cpu, path)
            if not self._handles[name]:
                self.unavailable.setdefault(name, not_counted(name, base))

    def growth(self, cpus: Collection[int]) -> dict[str, int]:
        return super().growth({self._counts_for.get(cpu, cpu) for cpu in cpus})

    def totals(self) -> Totals:
        found: Totals = {}
        for name, handles in self._handles.items():
            sums: dict[int, int] = {}
            for cpu, handle in handles:
                try:
                    sums[cpu] = sums.get(cpu, 0) + parse_cpu_file(name, os.pread(handle, 64, 0))
                except (OSError, ValueError):  # a CPU that went offline takes its files along
                    continue
            if handles:
                found[name] = sums
        return found

    def close(self) -> None:
        for handles in self._handles.values():
            for _cpu, handle in handles:
                os.close(handle)
            handles.clear()

    def _open(self, name: str, cpu: int, path: str) -> None:
        try:
            self._handles[name].append((cpu, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError as error:
            self.unavailable.setdefault(name, why_not(error, path))


class Quota(Reader):
    """Throttling by the CPU quotas of the control groups above the target, version 2 or 1 of the hierarchy."""

    names = QUOTA

    def __init__(self, pid: int, roots: Roots) -> None:
        super().__init__()
        self._handles: list[int] = []
        why = "cpu.stat: no control group of the target can have a CPU quota"
        # Where this process sees the groups mounted; what the target sees may be another namespace's.
        mounts = read_text(f"{roots.proc}/self/mountinfo") or ""
        for path in cpu_stat_files(read_text(f"{roots.proc}/{pid}/cgroup") or "", mounts):
            place = roots.sys + path[len("/sys") :] if path.startswith("/sys/") else path
            try:
                self._handles.append(os.open(place, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue  # the root of the hierarchy has none
            except OSError as error:
                why = why_not(error, place)
        if not self.totals():
            self.lose(why)

    def totals(self) -> Totals:
        """Each group under a key of its own: one that goes away must not hide what the others count."""
        found: Totals = {}
        for number, handle in enumerate(self._handles):
            try:
                counts = parse_cpu_stat(os.pread(handle, 4096, 0))
            except OSError:  # the group went away
                continue
            for name, value in counts.items():
                found.setdefault(name, {})[-1 - number] = value
        return found

    def close(self) -> None:
        for handle in self._handles:
            os.close(handle)
        self._handles = []


def open_readers(pid: int, cpus: Collection[int], roots: Roots) -> list[Reader]:
    """All of them, for a target that `pid` belongs to and that may run on `cpus`."""
    return [
        Vmstat(roots),
        Stat(roots),
        Interrupts(roots),
        *(PerCpuFiles(file, cpus, roots) for file in (counted.IDLE, counted.FREQUENCY, counted.THROTTLE)),
        Quota(pid, roots),
    ]
