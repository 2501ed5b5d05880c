"""What the host is and does, read from /proc and /sys: identity, tunables, load."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from typing import Any, Optional

from .cpus import format_cpu_list, node_of_cpus, parse_cpu_list
from .parsers import parse_cpu_times

_CPU = "/sys/devices/system/cpu"


def read_text(path: str) -> Optional[str]:
    """The stripped content of a small file; None where it cannot be read. Bytes that are no text, as in the name of
    a mount point or a device, are replaced.
    """
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def machine_id() -> Optional[str]:
    """A name of this machine that tells nothing else: the machine id is confidential, so a keyed hash of it."""
    text = read_text("/etc/machine-id") or platform.node()
    return hashlib.sha256(("numatune/machine/" + text).encode()).hexdigest()[:16] if text else None


def identity(cpus: Sequence[int]) -> dict[str, Any]:
    """The machine, its kernel and the tunables that matter for latency; null where a value could not be read."""
    uname, nodes = os.uname(), node_of_cpus()
    return {
        "machine": machine_id(),
        "cpu_model": _cpu_model(),
        "arch": uname.machine,
        "kernel": uname.release,
        "boot_id": read_text("/proc/sys/kernel/random/boot_id"),
        "topology": {
            "online": read_text(_CPU + "/online"),
            "serving": format_cpu_list(cpus),
            "nodes": sorted({nodes.get(cpu, 0) for cpu in cpus}),
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
    """CPU -> its ticks by kind, as /proc/stat counts them."""
    return parse_cpu_times(read_text("/proc/stat") or "", cpus)


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


def online_cpus() -> set[int]:
    """CPUs that are online; empty where the kernel does not say."""
    text = read_text(_CPU + "/online")
    return set(parse_cpu_list(text)) if text else set()


def online_count() -> int:
    return len(online_cpus()) or os.cpu_count() or 1


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


def seconds_since_start() -> float:
    """Seconds since the kernel started this process, to a hundredth: the start of Python itself is in it."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[19])  # starttime, field 22 of the whole line, since boot
    elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return round(elapsed, 2)


def plain_name(raw: bytes) -> str:
    """A task's name as its comm has it, which may be any bytes: escapes of a terminal, half a letter at the end."""
    return "".join(sign if sign.isprintable() else "?" for sign in raw.decode("utf-8", "replace").strip())
