"""The cpufreq governor: how a serving CPU's frequency follows its load. The driver gives each name its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from ...change import Change, Conflict
from ...cpuset import CpuSet
from ...host import Host
from ...kit import boot_service
from ...kit.per_cpu import absent, plane_of, unread_in
from ...kit.said import AtBoot
from ...kit.words import NOT_NOW, cpu_words, evidence, group, sentence, summary
from ...machine import agents
from ...machine.topology import CPU
from ...model import Finding, Severity, Status, ValueGroup
from ...setting import Option, Planned, Setting
from ...sources import File
from ...status import Plane, combine
from . import cpu_governor_boot
from .cpu_governor_boot import (
    AGENTS,
    DRIVER,
    GOVERNOR,
    GOVERNORS,
    NAME,
    OFFERED,
    OWN_SCALING,
    PREFERENCE,
    at_boot,
    path,
    shown,
    slow,
)

_FILES = (GOVERNOR, DRIVER, PREFERENCE)
_DOES = {
    "performance": "performance asks for the highest frequency at all times",
    "userspace": "userspace keeps whatever frequency a program set last",
}
"""What governors do that lower no frequency by themselves."""


def judge(host: Host) -> Finding:
    """Judge governor and energy preference of every serving CPU, and what sets them at the next boot."""
    expected, serving = _expected(host), host.roles.serving
    absent = _without_driver(host, serving, expected)
    if absent:
        return absent
    values: dict[int, Optional[str]] = {}
    drivers: dict[int, Optional[str]] = {}
    for cpu in serving:
        governor, found, preference = (shown(host, cpu, name) for name in _FILES)
        drivers[cpu] = found or None
        values[cpu] = _value(governor, preference, expected)
    groups = group("cpus", values)
    seen = {item.value for item in groups}
    wrong = {value for value in seen if value is not None and value != expected}
    runtime = plane_of(groups, lambda value: value == expected)
    boot = at_boot(host, serving, expected)
    status = combine(runtime, boot.after)
    driver = summary(group("cpus", drivers))
    first = next((cpu for cpu in serving if values[cpu] != expected), serving.first() if serving else 0)
    return Finding(
        NAME,
        status,
        Severity.CRITICAL,
        runtime=summary(groups),
        persisted=boot.persisted.value,
        next_boot=boot.kernel.value,
        expected=expected,
        values=groups if len(groups) > 1 else (),
        reason=sentence(_meaning(wrong, driver), _unread(groups), _later(status, boot), boot.persisted.holder),
        evidence=evidence(
            *(host.snapshot.read(path(first, name)) for name in _FILES), boot.persisted.where, host.next_boot.where
        ),
        remedy=_remedy(status, boot, f"set governor {expected} on {cpu_words(serving)}"),
    )


def _remedy(status: Status, boot: AtBoot, write: str) -> str:
    if status in (Status.OK, Status.UNKNOWN) or boot.persisted.remedy:
        return "" if status is Status.OK else boot.persisted.remedy
    if status is Status.PENDING_REBOOT and boot.persisted.plane is Plane.RIGHT:
        return f"run playbooks/tune.yml, which sets it now, or {write} by hand; no reboot is needed"
    return f"run playbooks/tune.yml, or {write}, at every boot too"


def _expected(host: Host) -> str:
    return host.option(NAME, "expected") or "performance"


def _without_driver(host: Host, serving: CpuSet, expected: str) -> Optional[Finding]:
    """Return the finding of a host on which no serving CPU shows a governor file."""
    readings = [host.snapshot.read(path(cpu, GOVERNOR)) for cpu in serving]
    nowhere = absent(readings, "no cpufreq driver: firmware or the hypervisor sets the frequency")
    if nowhere is None:
        return None
    return Finding(NAME, nowhere[0], Severity.CRITICAL, expected=expected, reason=nowhere[1])


def _value(governor: str, preference: str, expected: str) -> Optional[str]:
    if not governor:
        return None
    if governor == expected and slow(preference, expected):
        return f"{governor}, energy preference {preference}"
    return governor


def _meaning(wrong: set[str], driver: Optional[str]) -> str:
    if driver in OWN_SCALING and "powersave" in wrong:
        return f"{driver}'s powersave scales with load and energy preference: a CPU is slow when a request arrives"
    if "powersave" in wrong:
        return "powersave pins the lowest frequency"
    found = [_DOES[value] for value in sorted(wrong) if value in _DOES]
    lowering = sorted(wrong - set(_DOES))
    if lowering:
        verb = "lower" if len(lowering) > 1 else "lowers"
        found.append(f"{' and '.join(lowering)} {verb} the frequency between requests, so a request starts slow")
    return f"{sentence(*found)} (driver {driver or 'not known'})" if found else ""


def _unread(groups: tuple[ValueGroup, ...]) -> str:
    return f"{cpu_words(unread_in(groups), 'show')} no governor" if unread_in(groups) else ""


def _later(status: Status, boot: AtBoot) -> str:
    persisted, value = boot.persisted, boot.persisted.value or boot.kernel.value
    if status is Status.OK:
        return f"{value} now, and at the next boot"
    if persisted.plane is Plane.UNREAD:
        return "what is persisted is not known: " + persisted.why
    idle = persisted.why if persisted.plane is Plane.NONE else ""
    if persisted.plane is Plane.NONE and boot.kernel.plane is Plane.UNREAD:
        return sentence(idle or "nothing persists it", f"the next boot: {boot.kernel.why}")
    if status is Status.LOST_AT_REBOOT:
        return sentence(idle, f"the next boot comes up with {value}")
    if status is Status.PENDING_REBOOT:
        return NOT_NOW if persisted.plane is Plane.RIGHT else "right on disk, not yet in the running kernel"
    return idle


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the running values, and the boot service where nothing else sets them at every boot.

    Whoever else sets the governor is a conflict: a program that runs, a unit or a tmpfiles.d line that sets another
    one at boot. So is a governor that the driver does not offer.
    """
    expected, serving = _expected(host), host.roles.serving
    readings = {cpu: host.snapshot.read(path(cpu, GOVERNOR)) for cpu in serving}
    if not finding.bad or not any(reading.present for reading in readings.values()):
        return (), ()
    # The boot service waits for files, and fails where one never comes: it gets the CPUs that have a governor.
    governed = CpuSet.of(cpu for cpu, reading in readings.items() if reading.present or reading.unread)
    kept = at_boot(host, serving, expected).after is Plane.RIGHT
    held = cpu_governor_boot.held_by_tuned(host, serving, expected)
    with_whom = (agents.TUNED,) if held else cpu_governor_boot.cooperate(host)
    conflicts = (
        *agents.conflicts(host.snapshot, NAME, AGENTS, with_whom),
        *_not_offered(host, governed, expected),
        *(() if kept else cpu_governor_boot.set_otherwise(host, serving, expected)),
    )
    if conflicts:
        return (), conflicts
    planned: tuple[Change, ...] = ()
    if not kept:
        why = f"{expected} at every boot: after the driver, and after whoever else writes it"
        refused = boot_service.refusals(host.snapshot, NAME)
        if refused:
            return (), refused
        planned = boot_service.changes(host.snapshot, NAME, _lines(host, governed, expected), why)
    return (*planned, *_running(host, governed, expected)), ()


def _lines(host: Host, governed: CpuSet, expected: str) -> Iterator[str]:
    yield f"cpus {governed} cpufreq/{GOVERNOR} {expected}"
    preferring = CpuSet.of(cpu for cpu in governed if shown(host, cpu, PREFERENCE))
    if expected == "performance" and preferring:
        yield f"cpus {preferring} cpufreq/{PREFERENCE} performance"


def _running(host: Host, governed: CpuSet, expected: str) -> Iterator[Change]:
    for cpu in governed:
        governor, preference = shown(host, cpu, GOVERNOR), shown(host, cpu, PREFERENCE)
        if not governor:
            continue
        # In this order: intel_pstate remembers the preference when performance comes, for when it goes again.
        for name, now, value in ((GOVERNOR, governor, expected), (PREFERENCE, preference, "performance")):
            if now != value if name == GOVERNOR else slow(now, expected):
                before = host.snapshot.files[path(cpu, name)]
                why = f"{expected} now" if name == GOVERNOR else "full speed at once now"
                yield Change(NAME, "runtime", path(cpu, name), value + "\n", before, why)


def _not_offered(host: Host, governed: CpuSet, expected: str) -> Iterator[Conflict]:
    lacking: dict[str, list[int]] = {}
    for cpu in governed:
        offered = shown(host, cpu, OFFERED)
        if offered and expected not in offered.split() and shown(host, cpu, GOVERNOR) != expected:
            lacking.setdefault(offered, []).append(cpu)
    for offered, where in lacking.items():
        driver = shown(host, where[0], DRIVER)
        # A driver that scales by itself takes no governor, and schedutil is never built as a module.
        module = (
            ""
            if driver in OWN_SCALING or expected == "schedutil"
            else f"load its module (modprobe cpufreq_{expected}), or "
        )
        message = (
            f"{driver or 'the driver'} offers {cpu_words(CpuSet.of(where))} no {expected}, only "
            f"{', '.join(offered.split())}: {module}name another one in {NAME}'s option `expected`; then run again"
        )
        yield Conflict(NAME, path(where[0], OFFERED), 1, offered, message)


CPU_GOVERNOR = Setting(
    name=NAME,
    title="CPU frequency governor",
    severity=Severity.CRITICAL,
    why="A governor that follows load lets an idle CPU drop its frequency; the next request starts slow and ramps up. "
    "The driver gives each name its meaning: under intel_pstate and amd-pstate-epp `powersave` scales with load, "
    "under acpi-cpufreq it pins the lowest frequency.",
    remedy="Governor (and energy preference) performance on every serving CPU, set after the driver has loaded; "
    "playbooks/tune.yml does it, now and at every boot.",
    references=(
        "https://docs.kernel.org/admin-guide/pm/cpufreq.html",
        "https://docs.kernel.org/admin-guide/pm/intel_pstate.html",
    ),
    sources=(
        *(File(f"{CPU}/cpu[0-9]*/cpufreq/{name}") for name in (*_FILES, OFFERED)),
        *cpu_governor_boot.SOURCES,
    ),
    judge=judge,
    options={
        "expected": Option(str, "the wanted governor", GOVERNORS, "performance"),
        "tuned": Option(
            str,
            "what to do where TuneD runs: refuse, or write after it, which keeps all else that it sets",
            ("refuse", "after"),
            "refuse",
        ),
    },
    changes=changes,
    agents=AGENTS,
)
