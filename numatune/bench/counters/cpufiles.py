"""The small files of tier D: idle states, frequency changes, throttling for heat, and the CPU quota of the cgroups."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from functools import partial

from .. import counted
from ..host import read_text
from ..parsers import cpu_stat_files, parse_cpu_stat
from .sources import SmallFiles, why_not

CPU_FOLDER = "/sys/devices/system/cpu"
SMALL_LIMIT_NS = 100_000
"""Above this, files are read more rarely: with 52 CPUs and three idle states there are 312 of them for those alone."""


_NOT_COUNTED = {
    counted.IDLE: "cpuidle: the kernel counts no idle states here (a guest, or no cpuidle driver)",
    # A driver that lets the hardware choose, such as intel_pstate with HWP, makes no transitions to count.
    counted.FREQUENCY: "cpufreq/stats/total_trans: this kernel or its frequency driver does not count them",
    counted.THROTTLE: "thermal_throttle: this kernel does not count it (a guest, or another architecture)",
}


def cpu_files(name: str, cpu: int, base: str = CPU_FOLDER) -> list[str]:
    """Return the files of one CPU that count `name`, each by its real path: CPUs of one policy share its file."""
    counter = counted.BY_NAME[name]
    found = sorted(glob.glob(f"{base}/cpu{cpu}/{counter.file}/{counter.field}"))
    # Polling is no idle state: leaving it costs nothing.
    return [os.path.realpath(path) for path in found if read_text(os.path.dirname(path) + "/name") != "POLL"]


def parse_cpu_file(name: str, text: bytes) -> int:
    """Return the number in such a file, a time in ns; the kernel gives us."""
    return int(text) * (1000 if counted.BY_NAME[name].is_time else 1)


def not_counted(name: str, base: str = CPU_FOLDER) -> str:
    """Return why no CPU has a file that counts `name`."""
    return f"{base}/cpu*/{_NOT_COUNTED[counted.BY_NAME[name].file]}"


class PerCpu(SmallFiles):
    """Counters of the serving CPUs that are in small files of each CPU, or of the CPUs of one policy."""

    limit_ns = SMALL_LIMIT_NS
    file = ""

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER) -> None:
        super().__init__()
        self.names = counted.of(self.file)
        path = ""
        try:
            for name in self.names:
                paths = dict.fromkeys(path for cpu in cpus for path in cpu_files(name, cpu, base))
                for path in sorted(paths):
                    self.open(path, partial(_named, name))
        except OSError as error:
            self.give_up(self.names, why_not(path, error))
            return
        if not self._files:
            self.give_up(self.names, not_counted(self.names[0], base))


class Idle(PerCpu):
    """How often the serving CPUs left an idle state, and how long they were in one; polling is no idle state."""

    file = counted.IDLE


class Frequency(PerCpu):
    """How often the frequency of the serving CPUs was changed."""

    file = counted.FREQUENCY


class Throttling(PerCpu):
    """How often the serving CPUs, or the package that they are in, were slowed down for heat; x86 has the files."""

    file = counted.THROTTLE


class Quota(SmallFiles):
    """Periods in which a CPU quota on this process's cgroup, or one above it, stopped it, and for how long."""

    slot = 512
    limit_ns = SMALL_LIMIT_NS
    COUNTERS = counted.of(counted.QUOTA)

    def __init__(self, proc: str = "/proc/self", root: str = "") -> None:
        """`root` goes before the mount points that `proc` names."""
        super().__init__()
        self.names = self.COUNTERS
        paths = cpu_stat_files(read_text(f"{proc}/cgroup") or "", read_text(f"{proc}/mountinfo") or "")
        for path in paths:
            # A cgroup without the CPU controller, such as the root, has no quota and no count of it.
            if "nr_throttled" in (read_text(root + path) or ""):
                try:
                    self.open(root + path, parse_cpu_stat)
                except OSError:
                    continue  # it went away: so did its quota
        if not self._files:
            self.give_up(self.COUNTERS, "cpu.stat: no cgroup of this process can have a CPU quota")


def _named(name: str, text: bytes) -> dict[str, int]:
    return {name: parse_cpu_file(name, text)}
