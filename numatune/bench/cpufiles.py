"""The small files of tier D: idle states, frequency changes, throttling for heat, and the CPU quota of the cgroups."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from .host import read_text
from .sources import SmallFiles, Totals, why_not

CPU_FOLDER = "/sys/devices/system/cpu"
SMALL_LIMIT_NS = 100_000
"""Above this, files are read more rarely: with 52 CPUs and three idle states there are 312 of them for those alone."""


class Idle(SmallFiles):
    """How often the serving CPUs left an idle state, and how long they were in one; polling is no idle state."""

    limit_ns = SMALL_LIMIT_NS
    COUNTERS = ("idle_exits", "idle_ns")

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER) -> None:
        super().__init__()
        self.names = self.COUNTERS
        path = f"{base}/cpu*/cpuidle"
        try:
            for cpu in cpus:
                for state in sorted(glob.glob(f"{base}/cpu{cpu}/cpuidle/state*")):
                    if read_text(f"{state}/name") == "POLL":
                        continue
                    path = f"{state}/usage"
                    self.open(path, lambda text: {"idle_exits": int(text)})
                    path = f"{state}/time"
                    self.open(path, lambda text: {"idle_ns": 1000 * int(text)})  # the kernel gives us
        except OSError as error:
            self.give_up(self.COUNTERS, why_not(path, error))
            return
        if not self._files:
            self.give_up(
                self.COUNTERS, f"{path}: the kernel counts no idle states here (a guest, or no cpuidle driver)"
            )


class Frequency(SmallFiles):
    """How often the frequency of the serving CPUs was changed. CPUs of one policy share its file."""

    limit_ns = SMALL_LIMIT_NS
    COUNTERS = ("frequency_changes",)

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER) -> None:
        super().__init__()
        self.names = self.COUNTERS
        policies = {os.path.realpath(f"{base}/cpu{cpu}/cpufreq") for cpu in cpus}
        _open_all(
            self,
            sorted(f"{policy}/stats/total_trans" for policy in policies),
            "frequency_changes",
            # A driver that lets the hardware choose, such as intel_pstate with HWP, makes no transitions to count.
            f"{base}/cpu*/cpufreq/stats/total_trans: this kernel or its frequency driver does not count them",
        )


class Throttling(SmallFiles):
    """How often the serving CPUs, or the package that they are in, were slowed down for heat; x86 has the files."""

    limit_ns = SMALL_LIMIT_NS
    COUNTERS = ("throttle_events",)

    def __init__(self, cpus: Sequence[int], base: str = CPU_FOLDER) -> None:
        super().__init__()
        self.names = self.COUNTERS
        _open_all(
            self,
            [path for cpu in cpus for path in sorted(glob.glob(f"{base}/cpu{cpu}/thermal_throttle/*_throttle_count"))],
            "throttle_events",
            f"{base}/cpu*/thermal_throttle: this kernel does not count it (a guest, or another architecture)",
        )


class Quota(SmallFiles):
    """Periods in which a CPU quota on this process's cgroup, or one above it, stopped it, and for how long."""

    slot = 512
    limit_ns = SMALL_LIMIT_NS
    COUNTERS = ("quota_throttled", "quota_throttled_ns")

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


def cpu_stat_files(cgroup: str, mountinfo: str) -> list[str]:
    """cpu.stat of the process's cgroup and of those above it, from its /proc files: version 2, and version 1's "cpu".

    A quota on a cgroup further up stops the process as well, and is counted there only.
    """
    mounts: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        fields, _dash, kind = line.partition(" - ")
        words, kinds = fields.split(), kind.split()
        if len(words) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            mounts.setdefault("", (words[3], words[4]))
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            mounts.setdefault("cpu", (words[3], words[4]))
    found: list[str] = []
    for line in cgroup.splitlines():
        _number, _colon, rest = line.partition(":")
        controllers, _colon, own = rest.partition(":")
        controller = "cpu" if "cpu" in controllers.split(",") else controllers
        if controller in mounts and ".." not in own.split("/"):
            top, mount = mounts[controller]
            below = PurePosixPath(own).relative_to(top) if _is_below(own, top) else PurePosixPath()
            found += [str(PurePosixPath(mount, folder, "cpu.stat")) for folder in (below, *below.parents)]
    return list(dict.fromkeys(found))


def parse_cpu_stat(text: bytes) -> Totals:
    """The counts of throttling in a cpu.stat; version 2 has the time in microseconds, version 1 in nanoseconds."""
    found: Totals = {}
    for line in text.decode("ascii", "replace").splitlines():
        name, _space, value = line.partition(" ")
        if not value.isdecimal():
            continue
        if name == "nr_throttled":
            found["quota_throttled"] = int(value)
        elif name == "throttled_usec":
            found["quota_throttled_ns"] = 1000 * int(value)
        elif name == "throttled_time":
            found["quota_throttled_ns"] = int(value)
    return found


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _open_all(source: SmallFiles, paths: Iterable[str], name: str, missing: str) -> None:
    """Open files of one number each, which add to counter `name`; `missing` says why where there are none."""
    opened = 0
    try:
        for path in paths:
            source.open(path, lambda text: {name: int(text)})
            opened += 1
    except OSError as error:
        source.give_up([name], missing if isinstance(error, FileNotFoundError) else why_not(path, error))
        return
    if not opened:
        source.give_up([name], missing)
