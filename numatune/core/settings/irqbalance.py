"""irqbalance: the daemon that moves interrupts around, onto serving CPUs too unless they are banned."""

from __future__ import annotations

from typing import Optional

from .. import agents
from ..cpuset import EMPTY, CpuSet, parse_list, parse_mask
from ..errors import InputError
from ..host import Host, Setting
from ..model import Finding, Line, Severity, Snapshot, Status
from ..parsers import shell
from ..sources import Command, File
from ..status import Plane, combine
from ..topology import CPU
from .common import evidence, nowhere_to_move, sentence

UNIT = "irqbalance.service"
_FILES = ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance", "/etc/conf.d/irqbalance")
_LIST, _MASK = "IRQBALANCE_BANNED_CPULIST", "IRQBALANCE_BANNED_CPUS"


def judge(host: Host) -> Finding:
    """Judge whether the running daemon, and the one that the next boot starts, keep off the serving CPUs."""
    snapshot, roles = host.snapshot, host.roles
    unit = agents.unit(snapshot, UNIT)
    if not roles.split:
        return nowhere_to_move("irqbalance", roles)
    if unit.installed is False:
        why = "irqbalance neither runs nor starts at boot; irq_affinity judges where interrupts go"
        return Finding("irqbalance", Status.NOT_APPLICABLE, Severity.WARNING, reason=why)
    expected = f"not running, or CPUs {roles.serving} banned"
    runtime, running = _runtime(host, unit)
    after, configured, where = _persisted(host, unit)
    status = combine(runtime, after)
    return Finding(
        "irqbalance",
        status,
        Severity.WARNING,
        runtime=running,
        persisted=configured,
        next_boot=None if unit.enabled is None else "starts at boot" if unit.enabled else "does not start at boot",
        expected=expected,
        reason=sentence(
            "it may move any interrupt onto a serving CPU" if runtime is Plane.WRONG else "",
            _unknown(snapshot, unit, runtime),
            "what is configured is not known" if after is Plane.UNREAD else "",
            "the next boot starts it without the ban" if status is Status.LOST_AT_REBOOT else "",
            "right on disk, but the daemon has not read it: restart it" if status is Status.PENDING_REBOOT else "",
            "it keeps off the serving CPUs, also after a reboot" if status is Status.OK else "",
        ),
        evidence=evidence(where, snapshot.command("irqbalance_environment")),
        remedy=""
        if status is Status.OK
        else f"set {_LIST}={roles.serving} in {_file(snapshot)} and restart irqbalance, or stop and disable it",
    )


def _runtime(host: Host, unit: agents.Unit) -> tuple[Plane, Optional[str]]:
    if unit.active is None:
        return Plane.UNREAD, None
    if not unit.active:
        return Plane.RIGHT, "not running"
    environment = host.snapshot.command("irqbalance_environment")
    if not environment.present:
        return Plane.UNREAD, None
    banned = _banned(host.snapshot, "", environment.text)
    if banned is None:
        return Plane.UNREAD, None
    plane = Plane.RIGHT if host.roles.serving <= banned else Plane.WRONG
    return plane, f"running, banned CPUs: {banned or 'none'}"


def _persisted(host: Host, unit: agents.Unit) -> tuple[Plane, Optional[str], Optional[Line]]:
    """Return the outcome of the next boot, the configured ban, and its line."""
    if unit.enabled is False:
        return Plane.RIGHT, None, None
    path = _file(host.snapshot)
    reading = host.snapshot.read(path)
    if reading.unread:
        return Plane.UNREAD, None, None
    banned = _banned(host.snapshot, path, reading.text)
    mask = shell.variable(path, reading.text, _MASK)
    found = mask if mask and mask[0] else shell.variable(path, reading.text, _LIST)
    where = found[1] if found else None
    if banned is None:
        return Plane.UNREAD, None, where
    said = f"banned CPUs: {banned or 'none'}"
    if host.roles.serving <= banned:
        return (Plane.RIGHT if unit.enabled else Plane.UNREAD), said, where
    return (Plane.WRONG if unit.enabled else Plane.UNREAD), said, where


def _banned(snapshot: Snapshot, path: str, text: str) -> Optional[CpuSet]:
    """Return the CPUs that the daemon bans by an environment, None when it cannot be told.

    A mask that is not empty hides the list. With neither, the daemon bans isolated and nohz_full CPUs by itself;
    an empty list meant that too in some releases and "none" in others, so it is not known.
    """
    mask, cpus = shell.variable(path, text, _MASK), shell.variable(path, text, _LIST)
    try:
        if mask and mask[0]:
            return parse_mask(mask[0])
        if cpus and cpus[0]:
            return parse_list(cpus[0])
        if cpus:
            return None
        banned = EMPTY
        for name in ("isolated", "nohz_full"):
            reading = snapshot.read(f"{CPU}/{name}")
            if reading.unread:
                return None
            banned = banned | parse_list(reading.text)
        return banned
    except InputError:
        return None


def _file(snapshot: Snapshot) -> str:
    return next((path for path in _FILES if snapshot.read(path).present), _FILES[0])


def _unknown(snapshot: Snapshot, unit: agents.Unit, runtime: Plane) -> str:
    if runtime is not Plane.UNREAD:
        return ""
    if unit.active is None:
        return "whether it runs is not known"
    environment = snapshot.command("irqbalance_environment")
    return "needs root to read the running daemon's environment" if not environment.present else "its ban is not known"


# `read` of a NUL-separated file needs tr; the pid file is not everywhere, the process list is.
_ENVIRONMENT = (
    "p=$(grep -lxs irqbalance /proc/[0-9]*/comm | sed -n 's|/comm$||p' | sed q); "
    "[ -n \"$p\" ] && [ -r \"$p/environ\" ] && tr '\\0' '\\n' <\"$p/environ\" | sed -n '/^IRQBALANCE_/p'"
)

IRQBALANCE = Setting(
    name="irqbalance",
    title="irqbalance",
    severity=Severity.WARNING,
    why="irqbalance moves interrupts every ten seconds to spread their load. A serving CPU that takes a device "
    "interrupt stalls its thread, and every other thread of the same inference waits for it at the next barrier.",
    remedy="Ban the serving CPUs in irqbalance's own file, or stop it and place each interrupt.",
    references=("https://github.com/Irqbalance/irqbalance/blob/master/irqbalance.1",),
    sources=(
        *(File(path) for path in _FILES),
        File(f"{CPU}/isolated"),
        File(f"{CPU}/nohz_full"),
        Command("irqbalance_environment", _ENVIRONMENT, needs="tr"),
        *agents.SOURCES,
    ),
    judge=judge,
    options={},
)
