"""What the host is and does, read from /proc and /sys: identity, tunables, load, time stolen, throttling."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
from collections.abc import Sequence
from typing import Any, Optional

from .cpus import format_cpu_list, node_of_cpus, parse_cpu_list

_CPU = "/sys/devices/system/cpu"
VMSTAT = ("numa_pte_updates", "numa_hint_faults", "numa_hint_faults_local", "numa_pages_migrated", "pgmigrate_success")
_STAT = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def read_text(path: str) -> Optional[str]:
    """The stripped content of a small file; None where it cannot be read."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def machine_id() -> Optional[str]:
    """A name of this machine that tells nothing else: the machine id is confidential, so a keyed hash of it."""
    text = read_text("/etc/machine-id") or platform.node()
    return hashlib.sha256(("numatune/machine/" + text).encode()).hexdigest()[:16] if text else None


def identity(cpus: Sequence[int]) -> dict[str, Any]:
    """The machine, its kernel and the tunables that matter for latency; null where a value could not be read."""
    uname = os.uname()
    return {
        "machine": machine_id(),
        "cpu_model": _cpu_model(),
        "arch": uname.machine,
        "kernel": uname.release,
        "boot_id": read_text("/proc/sys/kernel/random/boot_id"),
        "topology": {
            "online": read_text(_CPU + "/online"),
            "serving": format_cpu_list(cpus),
            "nodes": sorted({node_of_cpus().get(cpu, 0) for cpu in cpus}),
            "thread_siblings": {str(cpu): read_text(_topology(cpu, "thread_siblings_list")) for cpu in cpus},
            "packages": {str(cpu): read_text(_topology(cpu, "physical_package_id")) for cpu in cpus},
        },
        "numa_balancing": read_text("/proc/sys/kernel/numa_balancing"),
        "governor": _each(cpus, "cpufreq/scaling_governor"),
        "idle_latency_cap_us": _each(cpus, "power/pm_qos_resume_latency_us"),
        "transparent_hugepage": read_text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "clock_source": clock_source(),
        "load_average": list(os.getloadavg()),
    }


def clock_source() -> Optional[str]:
    return read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def cpu_times(cpus: Sequence[int]) -> dict[int, dict[str, int]]:
    """CPU -> its jiffies by kind, as /proc/stat counts them."""
    wanted = set(cpus)
    times: dict[int, dict[str, int]] = {}
    for line in (read_text("/proc/stat") or "").splitlines():
        fields = line.split()
        if fields[0].startswith("cpu") and fields[0][3:].isdecimal() and int(fields[0][3:]) in wanted:
            times[int(fields[0][3:])] = dict(zip(_STAT, map(int, fields[1:])))
    return times


def shares_between(before: dict[int, dict[str, int]], after: dict[int, dict[str, int]]) -> dict[int, float]:
    """How busy each CPU was between two `cpu_times`: CPU -> 0.0 to 1.0."""
    shares: dict[int, float] = {}
    for cpu in sorted(set(before) & set(after)):
        spent = {kind: after[cpu][kind] - before[cpu][kind] for kind in after[cpu]}
        total = sum(spent.values())
        rest = spent.get("idle", 0) + spent.get("iowait", 0)
        shares[cpu] = (total - rest) / total if total > 0 else 0.0
    return shares


def running_tasks() -> int:
    """Tasks that run or wait for a CPU now, this one included."""
    for line in (read_text("/proc/stat") or "").splitlines():
        if line.startswith("procs_running "):
            return int(line.split()[1])
    return 1


def online_count() -> int:
    text = read_text(_CPU + "/online")
    return len(parse_cpu_list(text)) if text else os.cpu_count() or 1


def totals(cpus: Sequence[int]) -> dict[str, Any]:
    """Counts since boot whose growth over the run is recorded: interrupts, throttling, NUMA balancing, time by kind."""
    return {
        "cpu_times": cpu_times(cpus),
        "interrupts": _interrupts(cpus),
        "thermal_throttles": _throttles(cpus),
        "vmstat": _vmstat(),
        "cgroup_throttled": _cgroup_throttled(),
    }


def growth(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The difference of two `totals`: steal as a share of the CPUs' time; null where a source does not exist."""
    spent = dict.fromkeys(_STAT, 0)
    for cpu, times in after["cpu_times"].items():
        for kind, value in times.items():
            spent[kind] += value - before["cpu_times"].get(cpu, times)[kind]
    total = sum(spent.values())
    grown: dict[str, Any] = {"steal_share": spent["steal"] / total if total else 0.0, "cpu_jiffies": spent}
    for name in ("interrupts", "thermal_throttles", "cgroup_throttled"):
        known = before[name] is not None and after[name] is not None
        grown[name] = after[name] - before[name] if known else None
    grown["vmstat"] = {name: value - before["vmstat"].get(name, 0) for name, value in after["vmstat"].items()}
    return grown


def _topology(cpu: int, name: str) -> str:
    return f"{_CPU}/cpu{cpu}/topology/{name}"


def _each(cpus: Sequence[int], name: str) -> Optional[str]:
    """The value of a per-CPU file where all CPUs agree, the distinct values joined by a comma where they do not."""
    values = {read_text(f"{_CPU}/cpu{cpu}/{name}") for cpu in cpus}
    known = sorted(value for value in values if value is not None)
    return ",".join(known) if known else None


def _cpu_model() -> Optional[str]:
    """x86's name of the model, or the register values that name an Arm core."""
    arm: list[str] = []
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _colon, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
        if key.strip() in ("CPU implementer", "CPU part", "CPU variant") and len(arm) < 3:
            arm.append(f"{key.strip()[4:]} {value.strip()}")
    return ", ".join(arm) or None


def _interrupts(cpus: Sequence[int]) -> Optional[int]:
    lines = (read_text("/proc/interrupts") or "").splitlines()
    if not lines:
        return None
    columns = [index for index, name in enumerate(lines[0].split()) if name[3:].isdecimal() and int(name[3:]) in cpus]
    total = 0
    for line in lines[1:]:
        fields = line.split()[1:]
        total += sum(int(fields[column]) for column in columns if column < len(fields) and fields[column].isdecimal())
    return total


def _throttles(cpus: Sequence[int]) -> Optional[int]:
    counts = [
        int(text)
        for cpu in cpus
        for path in glob.glob(f"{_CPU}/cpu{cpu}/thermal_throttle/*_throttle_count")
        for text in [read_text(path)]
        if text and text.isdecimal()
    ]
    return sum(counts) if counts else None


def _vmstat() -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (read_text("/proc/vmstat") or "").splitlines():
        name, _space, value = line.partition(" ")
        if name in VMSTAT:
            found[name] = int(value)
    return found


def _cgroup_throttled() -> Optional[int]:
    """Periods in which this process's control group hit its CPU quota (version 2 of the hierarchy)."""
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            text = read_text("/sys/fs/cgroup{}/cpu.stat".format(line[3:].rstrip("/"))) or ""
            for entry in text.splitlines():
                if entry.startswith("nr_throttled "):
                    return int(entry.split()[1])
    return None
