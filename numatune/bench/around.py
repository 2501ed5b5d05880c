"""What happened on the host around a watched service: one reader for each kernel file, its growth from call to call.

Watching goes on for as long as the user likes, so the text is parsed at once, unlike the benchmark's. Readers that
count by CPU give the growth on the CPUs that they are asked about: a service that is not pinned wanders.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from typing import Optional

from .readers import OneFile, Reader, Totals, why_not
from .target import Roots
from .vmstat import COUNTERS as VMSTAT

STOLEN = ("steal_ns", "irq_ns", "softirq_ns")
_STOLEN_COLUMNS = (8, 6, 7)
HOST_SWITCHES, INTERRUPTS = "host_switches", "interrupts"
FREQUENCY, THROTTLE = "frequency_changes", "throttle_events"
QUOTA = ("quota_throttled", "quota_throttled_ns")


class Vmstat(OneFile):
    """NUMA balancing and the like, for the whole host."""

    names = VMSTAT

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/vmstat")

    def totals(self) -> Totals:
        text = b"\n" + self.text()
        found: Totals = {}
        for name in self.names:
            place = text.find(b"\n" + name.encode() + b" ")
            if place >= 0:
                end = text.find(b"\n", place + 1)
                found[name] = {-1: int(text[place + len(name) + 2 : end])}
            elif name not in self.unavailable:
                self.unavailable[name] = f"{self._path}: this kernel does not count it"
        return found


class Stat(OneFile):
    """Time that the hypervisor and interrupts took, by CPU, and switches on the whole host."""

    names = (*STOLEN, HOST_SWITCHES)

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/stat")
        self._tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def totals(self) -> Totals:
        stolen: Totals = {name: {} for name in STOLEN}
        found: Totals = {}
        for line in self.text().split(b"\n"):
            if line.startswith(b"cpu") and line[3:4].isdigit():
                fields = line.split()
                for name, column in zip(STOLEN, _STOLEN_COLUMNS):
                    stolen[name][int(fields[0][3:])] = int(fields[column]) * self._tick_ns
            elif line.startswith(b"ctxt "):
                found[HOST_SWITCHES] = {-1: int(line[5:])}
        return {**stolen, **found} if found else {}


class Interrupts(OneFile):
    """All interrupts, by CPU."""

    names = (INTERRUPTS,)

    def __init__(self, roots: Roots) -> None:
        super().__init__(f"{roots.proc}/interrupts")

    def totals(self) -> Totals:
        lines = self.text().split(b"\n")
        cpus = [int(name[3:]) for name in lines[0].split() if name[3:].isdigit()]
        sums = [0] * len(cpus)
        for line in lines[1:]:
            fields = line.split(None, len(cpus) + 1)[1 : len(cpus) + 1]
            # ERR and MIS have one number for the whole host.
            if len(fields) == len(cpus) and fields[-1].isdigit():
                sums = list(map(int.__add__, sums, map(int, fields)))
        return {INTERRUPTS: dict(zip(cpus, sums))} if cpus else {}


class PerCpuFiles(Reader):
    """Counters that are a file for each CPU, such as those of cpuidle, cpufreq and the thermal throttle."""

    def __init__(self, patterns: dict[str, str], cpus: Collection[int], roots: Roots) -> None:
        """`patterns`: counter -> path below the CPU's folder; a name that ends in "_ns" is a file of microseconds."""
        super().__init__()
        self.names = tuple(patterns)
        self._handles: dict[str, list[tuple[int, int]]] = {}
        self._counts_for: dict[int, int] = {}
        owners: dict[str, int] = {}
        base = f"{roots.sys}/devices/system/cpu"
        for name, pattern in patterns.items():
            where = f"{base}/cpu*/{pattern}"
            self._handles[name] = []
            for cpu in sorted(cpus):
                for path in sorted(glob.glob(f"{base}/cpu{cpu}/{pattern}")):
                    if _polls(path):
                        continue
                    # CPUs of one cpufreq policy share its file, which counts once.
                    owner = owners.setdefault(os.path.realpath(path), cpu)
                    self._counts_for[cpu] = owner
                    if owner == cpu:
                        self._open(name, cpu, path, where)
            if not self._handles[name]:
                self.unavailable.setdefault(name, f"{where}: this host does not have it")

    def growth(self, cpus: Collection[int]) -> dict[str, int]:
        return super().growth({self._counts_for.get(cpu, cpu) for cpu in cpus})

    def totals(self) -> Totals:
        found: Totals = {}
        for name, handles in self._handles.items():
            sums: dict[int, int] = {}
            factor = 1000 if name.endswith("_ns") else 1
            for cpu, handle in handles:
                try:
                    sums[cpu] = sums.get(cpu, 0) + factor * int(os.pread(handle, 64, 0))
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

    def _open(self, name: str, cpu: int, path: str, where: str) -> None:
        try:
            self._handles[name].append((cpu, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError as error:
            self.unavailable.setdefault(name, why_not(error, where))


class Quota(Reader):
    """Throttling by the CPU quotas of the control groups above the target, version 2 or 1 of the hierarchy."""

    names = QUOTA

    def __init__(self, pid: int, roots: Roots) -> None:
        super().__init__()
        self._handles: list[int] = []
        why = "no control group of the target has a CPU quota"
        for folder in _cpu_groups(pid, roots):
            try:
                self._handles.append(os.open(f"{folder}/cpu.stat", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                why = why_not(error, f"{folder}/cpu.stat")
        if not self.totals():
            self.lose(why)

    def totals(self) -> Totals:
        periods = spent = 0
        known = False
        for handle in self._handles:
            try:
                fields = os.pread(handle, 4096, 0).split()
            except OSError:  # the group went away
                continue
            values = dict(zip(fields[::2], fields[1::2]))
            known = known or b"nr_throttled" in values
            periods += int(values.get(b"nr_throttled", 0))
            # Version 2 counts microseconds, version 1 nanoseconds.
            spent += int(values.get(b"throttled_usec", 0)) * 1000 + int(values.get(b"throttled_time", 0))
        return {QUOTA[0]: {-1: periods}, QUOTA[1]: {-1: spent}} if known else {}

    def close(self) -> None:
        for handle in self._handles:
            os.close(handle)
        self._handles = []


def open_readers(pid: int, cpus: Collection[int], roots: Roots) -> list[Reader]:
    """All of them, for a target that `pid` belongs to and that may run on `cpus`."""
    idle = {"idle_exits": "cpuidle/state*/usage", "idle_ns": "cpuidle/state*/time"}
    return [
        Vmstat(roots),
        Stat(roots),
        Interrupts(roots),
        PerCpuFiles(idle, cpus, roots),
        PerCpuFiles({FREQUENCY: "cpufreq/stats/total_trans"}, cpus, roots),
        PerCpuFiles({THROTTLE: "thermal_throttle/*_throttle_count"}, cpus, roots),
        Quota(pid, roots),
    ]


def _polls(path: str) -> bool:
    """Whether it is a file of the idle state that spins: leaving it costs nothing."""
    name = os.path.join(os.path.dirname(path), "name")
    if "/cpuidle/" not in path or not os.path.exists(name):
        return False
    with open(name) as file:
        return file.read().strip() == "POLL"


def _cpu_groups(pid: int, roots: Roots) -> Sequence[str]:
    """The folders of the process's control groups that may have a quota, from its own up to the root."""
    found: list[str] = []
    try:
        with open(f"{roots.proc}/{pid}/cgroup", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        bases: tuple[str, ...] = ()
        if not controllers:
            bases = ("", "/unified")
        elif "cpu" in controllers.split(","):
            bases = ("/cpu", "/cpu,cpuacct")
        folder: Optional[str] = path.rstrip("/")
        while folder is not None:
            paths = (f"{roots.sys}/fs/cgroup{base}{folder}/cpu.stat" for base in bases)
            found.extend([os.path.dirname(path) for path in paths if os.path.exists(path)][:1])
            folder = folder.rpartition("/")[0] if folder else None
    return found
