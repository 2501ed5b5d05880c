"""The cpufreq governor: how a serving CPU's frequency follows its load. The driver gives each name its meaning."""

from __future__ import annotations

import re
from typing import Optional

from .. import agents
from ..cpuset import CpuSet
from ..host import Host, Option, Setting
from ..model import Finding, Line, Severity, Status, ValueGroup
from ..parsers import cmdline, shell, tmpfiles
from ..sources import Directory, File
from ..status import Plane, combine, outcome
from ..topology import CPU
from .common import KERNEL_CONFIG, evidence, group, kernel_config, sentence, summary, written_at_boot

_FILES = ("scaling_governor", "scaling_driver", "energy_performance_preference")
# (unit, environment file, variable, expression that takes the governor from its value)
_SERVICES = (
    ("cpupower.service", "/etc/default/cpupower", "governor", r"(\w+)"),
    ("cpupower.service", "/etc/sysconfig/cpupower", "CPUPOWER_START_OPTS", r"(?:-g|--governor)[ =]*(\w+)"),
    ("cpufrequtils.service", "/etc/default/cpufrequtils", "GOVERNOR", r"(\w+)"),
)
_AGENTS = ("tuned.service", "power-profiles-daemon.service", "tuned-ppd.service")
_BUILT_IN = {"intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp"}
"""Drivers that no kernel builds as a module, so that they are there before tmpfiles.d is applied."""
_OWN_SCALING = ("intel_pstate", "amd-pstate-epp")


def judge(host: Host) -> Finding:
    """Judge governor and energy preference of every serving CPU, and what sets them at the next boot."""
    expected = host.option("cpu_governor", "expected") or "performance"
    serving = host.roles.serving
    absent = _without_driver(host, serving, expected)
    if absent:
        return absent
    files = host.snapshot.files
    values: dict[int, Optional[str]] = {}
    drivers: dict[int, Optional[str]] = {}
    for cpu in serving:
        governor, found, preference = (files.get(f"{CPU}/cpu{cpu}/cpufreq/{name}", "").strip() for name in _FILES)
        drivers[cpu] = found or None
        values[cpu] = _value(governor, preference, expected)
    groups = group("cpus", values)
    seen = {item.value for item in groups}
    wrong = {value for value in seen if value is not None and value != expected}
    runtime = Plane.WRONG if wrong else Plane.UNREAD if None in seen or not seen else Plane.RIGHT
    persisted, said, where, unknown = _persisted(host, serving, expected)
    boot, boot_value, boot_unknown = _next_boot(host, expected)
    status = combine(runtime, outcome(persisted, boot))
    driver = summary(group("cpus", drivers))
    first = next((cpu for cpu in serving if values[cpu] != expected), serving.first() if serving else 0)
    return Finding(
        "cpu_governor",
        status,
        Severity.CRITICAL,
        runtime=summary(groups),
        persisted=said,
        next_boot=boot_value,
        expected=expected,
        values=groups if len(groups) > 1 else (),
        reason=sentence(
            _meaning(wrong, driver, expected),
            _unread_cpus(groups),
            _later(status, persisted, boot, unknown, boot_unknown, boot_value, said),
        ),
        evidence=evidence(
            *(host.snapshot.read(f"{CPU}/cpu{first}/cpufreq/{name}") for name in _FILES), where, host.next_boot.where
        ),
        remedy="" if status is Status.OK else f"set governor {expected} on CPUs {serving} at every boot",
    )


def _without_driver(host: Host, serving: CpuSet, expected: str) -> Optional[Finding]:
    """Return the finding of a host on which no serving CPU shows a governor file."""
    readings = [host.snapshot.read(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor") for cpu in serving]
    if any(reading.present or reading.unread for reading in readings) and not all(
        reading.state.value == "not captured" for reading in readings
    ):
        return None
    status, why = Status.NOT_APPLICABLE, "no cpufreq driver: firmware or the hypervisor sets the frequency"
    if not serving or any(reading.unread for reading in readings):
        status, why = Status.UNKNOWN, readings[0].why() if readings else "the online CPUs are not known"
    return Finding("cpu_governor", status, Severity.CRITICAL, expected=expected, reason=why)


def _value(governor: str, preference: str, expected: str) -> Optional[str]:
    if not governor:
        return None
    if expected == "performance" and governor == expected and preference not in ("", "performance", "0"):
        return f"{governor}, energy preference {preference}"
    return governor


def _meaning(wrong: set[str], driver: Optional[str], expected: str) -> str:
    if not wrong:
        return ""
    names = " and ".join(sorted(wrong))
    if driver in _OWN_SCALING and "powersave" in wrong:
        return f"{driver}'s powersave scales with load and energy preference: a CPU is slow when a request arrives"
    if "powersave" in wrong:
        return "powersave pins the lowest frequency"
    return f"{names} lowers the frequency between requests, so a request starts slow (driver {driver or 'not known'})"


def _unread_cpus(groups: tuple[ValueGroup, ...]) -> str:
    unread = [item.ids for item in groups if item.value is None]
    return f"CPUs {','.join(unread)} show no governor" if unread else ""


def _persisted(host: Host, serving: CpuSet, expected: str) -> tuple[Plane, Optional[str], Optional[Line], str]:
    """Return the plane, the governor that the configuration sets, its line, and why it is not known."""
    snapshot = host.snapshot
    for name in _AGENTS:
        if agents.unit(snapshot, name).enabled:
            profile = snapshot.read("/etc/tuned/active_profile").text.strip() if name == "tuned.service" else ""
            return (
                Plane.UNREAD,
                None,
                None,
                f"{name} starts at boot and decides{' by profile ' + profile if profile else ''}",
            )
    for name, path, variable, expression in _SERVICES:
        if agents.unit(snapshot, name).enabled:
            found = shell.variable(path, snapshot.read(path).text, variable)
            match = re.search(expression, found[0]) if found else None
            if found and match:
                return (Plane.RIGHT if match[1] == expected else Plane.WRONG), match[1], found[1], ""
    targets = {
        cpu: tuple(f"{CPU}/{base}/scaling_governor" for base in (f"cpu{cpu}/cpufreq", f"cpufreq/policy{cpu}"))
        for cpu in serving
    }
    plane, value, line, unknown = written_at_boot(snapshot, targets, lambda value: value == expected)
    drivers = {snapshot.files.get(f"{CPU}/cpu{cpu}/cpufreq/scaling_driver", "").strip() for cpu in serving}
    if plane is Plane.RIGHT and not drivers <= _BUILT_IN:
        # Seen in a guest: systemd-tmpfiles ran before the driver's module, matched nothing, and said nothing.
        late = ", ".join(sorted(drivers - _BUILT_IN)) or "not known"
        return Plane.UNREAD, value, line, f"tmpfiles.d writes it, but lost where the driver ({late}) loads later"
    return plane, value, line, unknown


def _next_boot(host: Host, expected: str) -> tuple[Plane, Optional[str], str]:
    boot = host.next_boot
    if boot.arguments is None:
        return Plane.UNREAD, None, boot.reason
    value = cmdline.last(boot.arguments, "cpufreq.default_governor")
    if value is None:
        config = kernel_config(host)
        match = re.search(r"^CONFIG_CPU_FREQ_DEFAULT_GOV_(\w+)=y", config.text, re.M)
        if not match:
            return Plane.UNREAD, None, f"the kernel's default is not known: {config.why()}"
        value = match[1].lower()
    return (Plane.RIGHT if value == expected else Plane.WRONG), value, ""


def _later(
    status: Status,
    persisted: Plane,
    boot: Plane,
    unknown: str,
    boot_unknown: str,
    boot_value: Optional[str],
    said: Optional[str],
) -> str:
    if status is Status.OK:
        return f"{said or boot_value} now, and at the next boot"
    if persisted is Plane.UNREAD:
        return "what is persisted is not known: " + unknown
    if persisted is Plane.NONE and boot is Plane.UNREAD:
        return "nothing persists it; the next boot: " + boot_unknown
    if status is Status.LOST_AT_REBOOT:
        return f"the next boot comes up with {said or boot_value}"
    return "right on disk, not yet in the running kernel" if status is Status.PENDING_REBOOT else ""


CPU_GOVERNOR = Setting(
    name="cpu_governor",
    title="CPU frequency governor",
    severity=Severity.CRITICAL,
    why="A governor that follows load lets an idle CPU drop its frequency; the next request starts slow and ramps up. "
    "The driver gives each name its meaning: under intel_pstate and amd-pstate-epp `powersave` scales with load, "
    "under acpi-cpufreq it pins the lowest frequency.",
    remedy="Governor (and energy preference) performance on every serving CPU, set after the driver has loaded.",
    references=(
        "https://docs.kernel.org/admin-guide/pm/cpufreq.html",
        "https://docs.kernel.org/admin-guide/pm/intel_pstate.html",
    ),
    sources=(
        *(File(f"{CPU}/cpu[0-9]*/cpufreq/{name}") for name in _FILES),
        *(File(f"{folder}/*.conf", links=True) for folder in tmpfiles.DIRECTORIES),
        *(Directory(folder) for folder in tmpfiles.DIRECTORIES),
        *(File(path) for _, path, _, _ in _SERVICES),
        File("/etc/tuned/active_profile"),
        *agents.SOURCES,
        *KERNEL_CONFIG,
    ),
    judge=judge,
    options={"expected": Option(str, "the wanted governor (default performance)")},
)
