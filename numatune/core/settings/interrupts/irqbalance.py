"""irqbalance: the daemon that moves interrupts around, onto serving CPUs too unless they are banned."""

from __future__ import annotations

from ... import ours
from ...change import Change, Conflict
from ...host import Host
from ...kit import boot_service
from ...kit.said import Said
from ...kit.words import evidence, sentence
from ...machine import agents
from ...model import Finding, Severity, Snapshot, Status
from ...setting import Planned, Setting
from ...sources import Command
from ...status import Plane, combine
from ...text import lines
from .irq_placement import nowhere_to_move
from .irqbalance_files import (
    LIST,
    MASK,
    SOURCES,
    UNIT,
    ban_value,
    banned_by,
    configured,
    file,
    variables,
    with_ban,
)


def judge(host: Host) -> Finding:
    """Judge whether the running daemon, and the one that the next boot starts, keep off the serving CPUs.

    With the method "place" of irq_affinity it must not run at all: interrupts are placed one by one then.
    """
    snapshot, roles = host.snapshot, host.roles
    unit = agents.unit(snapshot, UNIT)
    if not roles.split:
        return nowhere_to_move("irqbalance", roles)
    if unit.installed is False:
        why = "irqbalance neither runs nor starts at boot; irq_affinity judges where interrupts go"
        return Finding("irqbalance", Status.NOT_APPLICABLE, Severity.WARNING, reason=why)
    placed = _placed(host)
    running = _running(host, unit)
    runtime = running.plane
    next_ban = configured(host)
    after = _after(unit, next_ban, placed)
    status = combine(runtime, after)
    return Finding(
        "irqbalance",
        status,
        Severity.WARNING,
        runtime=running.value,
        persisted=None if unit.enabled is False else next_ban.value,
        next_boot=None if unit.enabled is None else "starts at boot" if unit.enabled else "does not start at boot",
        expected="not running" if placed else f"not running, or CPUs {roles.serving} banned",
        reason=_reason(host, unit, status, runtime, after, next_ban),
        evidence=evidence(
            None if unit.enabled is False else next_ban.where, snapshot.command("irqbalance_environment")
        ),
        remedy="" if status is Status.OK else _remedy(host, status, next_ban),
    )


def _reason(host: Host, unit: agents.Unit, status: Status, runtime: Plane, after: Plane, next_ban: Said) -> str:
    placed = _placed(host)
    wrong = (
        "it moves interrupts that are placed one by one" if placed else "it may move any interrupt onto a serving CPU"
    )
    lost = "the next boot starts it" if placed else "the next boot starts it without the ban"
    pending = "it does not start at boot, but runs: stop it" if placed else ""
    right = "it neither runs nor starts at boot" if placed else "it keeps off the serving CPUs, also after a reboot"
    unread = sentence("what is configured is not known", "" if unit.enabled is False else next_ban.why)
    return sentence(
        wrong if runtime is Plane.WRONG else "",
        _unknown(host.snapshot, unit, runtime),
        unread if after is Plane.UNREAD else "",
        lost if status is Status.LOST_AT_REBOOT else "",
        (pending or "right on disk, but the daemon has not read it: restart it")
        if status is Status.PENDING_REBOOT
        else "",
        right if status is Status.OK else "",
    )


def _remedy(host: Host, status: Status, next_ban: Said) -> str:
    if next_ban.remedy or status is Status.UNKNOWN:
        return next_ban.remedy
    if status is Status.PENDING_REBOOT and not _placed(host) and next_ban.plane is Plane.RIGHT:
        return f"run playbooks/tune.yml, or: systemctl restart {UNIT}; no reboot is needed"
    if _placed(host):
        return f"run playbooks/tune.yml, or: systemctl disable --now {UNIT}"
    name = variables(host.snapshot)[0]
    ban = f"set {name}={ban_value(name, host.roles.serving)} in {file(host.snapshot)}"
    return f"run playbooks/tune.yml, or: {ban} and restart irqbalance, or stop and disable it"


def _placed(host: Host) -> bool:
    return bool(host.option("irq_affinity", "method") == "place")


def _running(host: Host, unit: agents.Unit) -> Said:
    if unit.active is None:
        return Said(Plane.UNREAD)
    if not unit.active:
        return Said(Plane.RIGHT, "not running")
    environment = host.snapshot.command("irqbalance_environment")
    if not environment.present:
        return Said(Plane.WRONG if _placed(host) else Plane.UNREAD, "running" if _placed(host) else None)
    # What the kernel shows of a process is no shell's text: nothing is quoted there.
    values = dict(line.partition("=")[::2] for line in lines(environment.text))
    banned = banned_by(host.snapshot, values.get(MASK), values.get(LIST))
    said = f"running, banned CPUs: {'not known' if banned is None else banned or 'none'}"
    if _placed(host):
        return Said(Plane.WRONG, said)
    if banned is None:
        return Said(Plane.UNREAD)
    return Said(Plane.RIGHT if host.roles.serving <= banned else Plane.WRONG, said)


def running_ban(host: Host) -> Plane:
    """Return whether the running daemon is none, or bans the serving CPUs."""
    return _running(host, agents.unit(host.snapshot, UNIT)).plane


def _after(unit: agents.Unit, next_ban: Said, placed: bool) -> Plane:
    """Return the outcome of the next boot."""
    if unit.enabled is False:
        return Plane.RIGHT
    if next_ban.plane is Plane.UNREAD and not placed:
        return Plane.UNREAD
    if unit.enabled is None:
        return Plane.UNREAD
    return Plane.WRONG if placed else next_ban.plane


def _unknown(snapshot: Snapshot, unit: agents.Unit, runtime: Plane) -> str:
    if runtime is not Plane.UNREAD:
        return ""
    if unit.active is None:
        return "whether it runs is not known"
    environment = snapshot.command("irqbalance_environment")
    return "needs root to read the running daemon's environment" if not environment.present else "its ban is not known"


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the ban in irqbalance's own file, or with the method "place" that it neither runs nor starts at boot."""
    unit = agents.unit(host.snapshot, UNIT)
    if not finding.bad or not host.roles.split or not (unit.active or unit.enabled):
        return (), ()
    return _stop(host.snapshot, unit) if _placed(host) else _ban(host, unit)


def _stop(snapshot: Snapshot, unit: agents.Unit) -> Planned:
    links = sorted(path for path in snapshot.links if path.endswith(f".wants/{UNIT}"))
    if unit.enabled and not links:
        message = f"{UNIT} starts at boot, by no link under /etc/systemd/system: systemctl disable it, then run again"
        return (), (Conflict("irqbalance", "", 0, "", message),)
    why = "not started at boot: interrupts are placed one by one"
    made = [Change("irqbalance", "link", path, None, snapshot.links[path], why) for path in links]
    if unit.active and boot_service.systemd_runs(snapshot):
        made.append(Change("irqbalance", "service", UNIT, "stopped", "active", "it would move what is placed"))
    return tuple(made), ()


def _ban(host: Host, unit: agents.Unit) -> Planned:
    snapshot = host.snapshot
    path = file(snapshot)
    reading = snapshot.read(path)
    if reading.unread:
        return (), ()
    made = []
    if configured(host).plane is not Plane.RIGHT:
        text = with_ban(host, path, reading.text)
        if isinstance(text, Conflict):
            return (), (text,)
        before, mode = (reading.text, None) if reading.present else (None, "0644")
        text = text if reading.present else ours.HEADER + text
        why = f"irqbalance keeps off CPUs {host.roles.serving}, besides what was banned already"
        made.append(Change("irqbalance", "file", path, text, before, why, mode))
    # It reads its environment when it starts; that it could not be read is no reason to start it again each time.
    stale = _running(host, unit).plane is not Plane.RIGHT and snapshot.command("irqbalance_environment").present
    if (made or stale) and unit.active and boot_service.systemd_runs(snapshot):
        made.append(Change("irqbalance", "service", UNIT, "restarted", "active", "it reads the ban when it starts"))
    return tuple(made), ()


# `read` of a NUL-separated file needs tr; the pid file is not everywhere, systemd or else the process list is.
_ENVIRONMENT = r"""# What irqbalance was started with: of its environment, its own variables alone.
case $daemons in
  *:irqbalance"$newline"*)
    pid=${daemons%%:irqbalance"$newline"*}
    pid=${pid##*/proc/}
    pid=${pid%%/*};;
  *)
    pid=${units#*MainPID=}
    pid=${pid%%"$newline"*};;
esac
[ "${pid:-0}" != 0 ] && [ -r "/proc/$pid/environ" ] &&
  answer=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n '/^IRQBALANCE_/p')"""

IRQBALANCE = Setting(
    name="irqbalance",
    # The ban alone makes interrupts right: were it written before the boot service's lines, a run that is cut between
    # them would be taken for a whole one.
    after=("irq_affinity",),
    tuned_with="irq_affinity",
    title="irqbalance",
    severity=Severity.WARNING,
    why="irqbalance moves interrupts every ten seconds to spread their load. A serving CPU that takes a device "
    "interrupt stalls its thread, and every other thread of the same inference waits for it at the next barrier.",
    remedy="Ban the serving CPUs in irqbalance's own file, or stop it and place each interrupt.",
    references=("https://github.com/Irqbalance/irqbalance/blob/master/irqbalance.1",),
    sources=(
        *SOURCES,
        Command("irqbalance_environment", _ENVIRONMENT, needs="tr", shown="IRQBALANCE_* in /proc/PID/environ"),
        *agents.SOURCES,
    ),
    judge=judge,
    options={},
    changes=changes,
)
