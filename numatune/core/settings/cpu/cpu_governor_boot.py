"""What sets a CPU's governor at the next boot: agents, our boot service, other units, tmpfiles.d, else the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Optional

from ...change import Conflict
from ...cpuset import CpuSet
from ...host import Host
from ...kit import boot_service, sysfs_conf
from ...kit.apply_service import ApplyService, fails, gone, of
from ...kit.apply_service import lines as lines_of
from ...kit.said import AtBoot, Right, Said, doubted, said, unread
from ...kit.starts import kernel_config, next_release, older
from ...kit.tmpfiles_d import TMPFILES, written_at_boot, wrong_at_boot
from ...machine import agents, tuned
from ...machine.topology import CPU
from ...model import Line, State
from ...ours import UNIT
from ...parsers import cmdline, shell
from ...sources import BuildOption, File, Source
from ...status import Plane
from ...text import lines

NAME = "cpu_governor"
GOVERNOR, DRIVER, PREFERENCE = "scaling_governor", "scaling_driver", "energy_performance_preference"
OFFERED = "scaling_available_governors"
KEEPER = ApplyService(NAME, f"cpufreq/{GOVERNOR}")
AGENTS = agents.Agents(
    "the governor",
    (
        agents.Agent(agents.TUNED, "or set cpu_governor's option `tuned` to `after`, which writes after it"),
        *map(agents.Agent, (agents.TUNED_PPD, agents.POWER_PROFILES, agents.TLP, agents.AUTO_CPUFREQ)),
        *map(agents.Agent, (agents.SAPTUNE, agents.SAPCONF, agents.ONDEMAND)),
    ),
)
OWN_SCALING = ("intel_pstate", "amd-pstate-epp")
"""Drivers that scale by themselves; their `performance` takes the energy preference with it."""
_ARGUMENT_SINCE = (5, 9)
_DEFAULT = "CONFIG_CPU_FREQ_DEFAULT_GOV_"
GOVERNORS = ("performance", "powersave", "userspace", "ondemand", "conservative", "schedutil")
"""Those that the kernel has."""
_BUILT_IN = {"intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp"}
"""Drivers that no kernel builds as a module, so that they are there before tmpfiles.d is applied."""


class _Service(NamedTuple):
    """A unit that sets the governor of an environment file once, at boot."""

    unit: str
    path: str
    variable: str
    expression: str = r"(\w+)"
    """Takes the governor from the variable's value."""
    default: Optional[str] = None
    """What it sets where the file does not say."""


_SERVICES = (
    _Service("cpupower.service", "/etc/default/cpupower", "governor"),
    _Service("cpupower.service", "/etc/default/cpupower-service.conf", "GOVERNOR"),
    _Service("cpupower.service", "/etc/cpupower-service.conf", "GOVERNOR"),
    _Service("cpupower.service", "/etc/sysconfig/cpupower", "CPUPOWER_START_OPTS", r"(?:-g|--governor)[ =]*(\w+)"),
    _Service("cpufrequtils.service", "/etc/default/cpufrequtils", "GOVERNOR", default="ondemand"),
)
_BEFORE_US = {
    unit
    for line in lines(boot_service.UNIT_TEXT)
    if line.startswith("After=")
    for unit in line.partition("=")[2].split()
}

SOURCES: tuple[Source, ...] = (
    *TMPFILES,
    *(File(service.path) for service in _SERVICES),
    *agents.SOURCES,
    *boot_service.SOURCES,
    *(BuildOption(_DEFAULT + name.upper(), where=f"{CPU}/cpu[0-9]*/cpufreq") for name in GOVERNORS),
)


class _Set(NamedTuple):
    """What an enabled unit sets at boot."""

    unit: str
    governor: Optional[str]
    where: Optional[Line]
    unread: str


def path(cpu: int, name: str) -> str:
    """Return the path of one of a CPU's cpufreq files."""
    return of(cpu, f"cpufreq/{name}")


def shown(host: Host, cpu: int, name: str) -> str:
    """Return what one of a CPU's cpufreq files shows, "" for none."""
    return host.snapshot.files.get(path(cpu, name), "").strip()


def slow(preference: str, expected: str) -> bool:
    """Return whether an energy preference spoils the wanted governor; only performance implies one."""
    return expected == "performance" and preference not in ("", "performance", "0")


def cooperate(host: Host) -> tuple[str, ...]:
    """Return the agents with which the profile lives."""
    return (agents.TUNED,) if host.option(NAME, "tuned") == "after" else ()


def held_by_tuned(host: Host, serving: CpuSet, expected: str) -> Optional[Line]:
    """Return the line of TuneD's profile that gives every serving CPU the wanted governor, now and at every boot."""
    unit = agents.unit(host.snapshot, agents.TUNED)
    found = tuned.cpu_option(host.snapshot, "governor") if unit.active and unit.enabled else None
    governed = [cpu for cpu in serving if host.snapshot.read(path(cpu, GOVERNOR)).state is not State.ABSENT]
    if not found or not found.value or not governed or _loose(host, serving, expected):
        return None
    names = [name.strip() for name in found.value.split("|")]
    for offered in {shown(host, cpu, OFFERED) for cpu in governed}:
        # TuneD sets the first one that a CPU offers.
        if next((name for name in names if name in offered.split()), None) != expected:
            return None
    return found.where


def at_boot(host: Host, serving: CpuSet, expected: str) -> AtBoot:
    """Return what sets the governor of the serving CPUs at the next boot, and whether it is the wanted one."""
    persisted, kernel = _persisted(host, serving, expected), _kernel(host, partial(_takes, expected))
    persisted = doubted(persisted, kernel, _unseen(host, serving, expected, persisted))
    ours = persisted.where is not None and persisted.where.path == boot_service.conf(NAME)
    loose = _loose(host, serving, expected)
    if AtBoot(persisted, kernel).after is Plane.RIGHT and loose and not ours:
        why = f"the energy preference of CPUs {loose} after a boot: their driver does not tie it to the governor"
        persisted = persisted._replace(plane=Plane.UNREAD, why=why)
    return AtBoot(persisted, kernel)


def _unseen(host: Host, serving: CpuSet, expected: str, persisted: Said) -> str:
    """Say what a captured tree does not tell of who sets another governor at boot, "" for nothing."""
    ours = persisted.where is not None and persisted.where.path == boot_service.conf(NAME)
    with_whom = (agents.TUNED,) if held_by_tuned(host, serving, expected) else cooperate(host) if ours else ()
    services = tuple(agents.Agent(unit) for unit in (*(service.unit for service in _SERVICES), agents.SYSFSUTILS))
    return agents.unseen(host.snapshot, agents.Agents(units=(*AGENTS.units, *services)), with_whom)


def _loose(host: Host, serving: CpuSet, expected: str) -> CpuSet:
    """Return the CPUs whose energy preference does not come with the governor (intel_pstate's passive mode)."""
    if expected != "performance":
        return CpuSet()
    return CpuSet.of(
        cpu for cpu in serving if shown(host, cpu, PREFERENCE) and shown(host, cpu, DRIVER) not in OWN_SCALING
    )


def _persisted(host: Host, serving: CpuSet, expected: str) -> Said:
    ours = _by_boot_service(host, serving, expected)
    # TuneD has set its profile once it counts as started, and our unit comes after that; the others write whenever
    # they like, so what we set at boot is not the last word.
    holds = ours.plane is Plane.RIGHT
    held = held_by_tuned(host, serving, expected)
    agent = agents.decides(host.snapshot, AGENTS, (agents.TUNED,) if held else cooperate(host) if holds else ())
    if agent:
        return unread(agent)
    services = [*_services(host), *_by_sysfs(host, serving, expected)]
    if ours.plane is not Plane.NONE:
        for item in services:
            if item.governor != expected and item.unit not in _BEFORE_US:
                why = item.unread or f"{item.unit} sets {item.governor} at boot, before or after {UNIT}"
                return Said(Plane.UNREAD, item.governor, item.where, why)
        return ours
    if held:
        other = next((item for item in services if item.governor != expected), None)
        if other:
            why = other.unread or f"{other.unit} sets {other.governor} at boot, before or after {agents.TUNED}"
            return Said(Plane.UNREAD, other.governor, other.where, why)
        return Said(Plane.RIGHT, expected, held, holder="TuneD holds it")
    for item in sorted(services, key=lambda item: item.governor == expected):
        if item.unread:
            return unread(item.unread)
        return Said(Plane.RIGHT if item.governor == expected else Plane.WRONG, item.governor, item.where)
    return _by_tmpfiles(host, serving, expected, ours)


def _by_tmpfiles(host: Host, serving: CpuSet, expected: str, ours: Said) -> Said:
    found = written_at_boot(host, _targets(serving), partial(_takes, expected))
    if found.plane is Plane.NONE and ours.why:
        return ours
    drivers = {shown(host, cpu, DRIVER) for cpu in serving}
    early = found.where is not None and not sysfs_conf.of_it(found.where.path)
    if found.plane is Plane.RIGHT and early and not drivers <= _BUILT_IN:
        # Seen in a guest: systemd-tmpfiles ran before the driver's module, matched nothing, and said nothing.
        late = ", ".join(sorted(drivers - _BUILT_IN)) or "not known"
        why = f"tmpfiles.d writes it, but lost where the driver ({late}) loads later"
        return found._replace(plane=Plane.UNREAD, why=why)
    return found


def _takes(expected: str, value: str) -> bool:
    """Return whether the kernel makes the wanted governor of what is written: it reads one word (sscanf)."""
    return value.split()[:1] == [expected]


def _targets(serving: CpuSet) -> dict[int, tuple[str, ...]]:
    return {
        cpu: tuple(f"{CPU}/{base}/{GOVERNOR}" for base in (f"cpu{cpu}/cpufreq", f"cpufreq/policy{cpu}"))
        for cpu in serving
    }


def _services(host: Host) -> Iterator[_Set]:
    for service in _SERVICES:
        if not agents.unit(host.snapshot, service.unit).enabled:
            continue
        reading = host.snapshot.read(service.path)
        switch = shell.variable(service.path, reading.text, "ENABLE")
        found = shell.variable(service.path, reading.text, service.variable)
        match = re.search(service.expression, found[0]) if found else None
        if reading.state in (State.DENIED, State.ERROR):
            yield _Set(service.unit, None, None, reading.why())
        elif switch and switch[0] != "true":
            continue
        elif found and match:
            yield _Set(service.unit, match[1], found[1], "")
        elif service.default and not found:
            yield _Set(service.unit, service.default, None, "")


def _by_sysfs(host: Host, serving: CpuSet, expected: str) -> Iterator[_Set]:
    """Yield what sysfsutils sets where that is another one, for its order among the units is not known."""
    for write in wrong_at_boot(host.snapshot, _targets(serving), partial(_takes, expected)):
        if sysfs_conf.of_it(write.where.path):
            yield _Set(agents.SYSFSUTILS, write.value, write.where, "")


def _by_boot_service(host: Host, serving: CpuSet, expected: str) -> Said:
    """Return what our boot service comes to, NONE where it does not reach every serving CPU."""
    found = KEEPER.said(host, serving, partial(_takes, expected))
    if found.plane is not Plane.RIGHT:
        return found
    preferences = lines_of(host.snapshot, NAME, f"cpufreq/{PREFERENCE}")
    missing = gone(host, preferences, f"cpufreq/{PREFERENCE}")
    if missing:
        return unread(fails(NAME, missing))
    loose = _loose(host, serving, expected)
    lacking = any(cpu not in preferences or slow(preferences[cpu][0], expected) for cpu in loose)
    return Said(Plane.NONE) if lacking else found


def _kernel(host: Host, right: Right) -> Said:
    boot = host.next_boot
    if boot.arguments is None:
        return unread(boot.reason)
    value = cmdline.last(boot.arguments, "cpufreq.default_governor")
    release = next_release(host)
    if value is not None and older(release, _ARGUMENT_SINCE) is not False:
        # A distribution may have taken it into an older kernel.
        this = release or "a kernel whose release is not known"
        return unread(f"cpufreq.default_governor= came with Linux 5.9, and {this} may not know it")
    if value is None:
        config = kernel_config(host)
        match = re.search(rf"^{_DEFAULT}(\w+)=y", config.text, re.M)
        if not match:
            return unread(f"the kernel's default is not known: {config.why()}")
        value = match[1].lower()
    return said(value, right)


def set_otherwise(host: Host, serving: CpuSet, expected: str) -> Iterator[Conflict]:
    """Yield a conflict for each unit and line that is not ours and sets another governor at boot."""
    for item in _services(host):
        if item.governor not in (None, expected):
            where = item.where or Line("", 0, "")
            what = f"{where.path} line {where.line}" if item.where else "its own default"
            message = (
                f"{item.unit} sets {item.governor} at boot ({what}): make it {expected}, or disable the unit; "
                "then run again"
            )
            yield Conflict(NAME, where.path, where.line, where.text, message)
    for write in wrong_at_boot(host.snapshot, _targets(serving), partial(_takes, expected)):
        where = write.where
        message = (
            f"{where.path} line {where.line} sets {write.value} at boot: remove {where.text!r} there, then run again"
        )
        yield Conflict(NAME, where.path, where.line, where.text, message)
