"""Automatic NUMA balancing: the kernel unmaps pages to see who touches them, and moves pages and threads."""

from __future__ import annotations

import re
from typing import Optional

from .. import agents, tuned, units
from ..host import Host, Option, Planned, Setting
from ..model import Change, Conflict, Finding, Reading, Severity, State, Status
from ..parsers import cmdline, sysctl
from ..parsers.text import lines
from ..sources import BuildOption, File
from ..status import Plane, combine, outcome
from ..topology import NODE
from . import numa_policy
from .common import NOT_NOW, built, evidence, kernel_config, sentence
from .numa_balancing_boot import AGENTS, CONF, KEY, Persisted
from .numa_balancing_boot import SOURCES as FILES

RUNTIME = "/proc/sys/kernel/numa_balancing"
DROP_IN = "/etc/sysctl.d/99-zz-numatune.conf"
_HEADER = "# Written by numatune; `playbooks/revert.yml` puts back what was here."
_CONTENT = (
    f"{_HEADER}\n# Automatic NUMA balancing unmaps pages of a serving process to sample its accesses.\n{KEY} = 0\n"
)
_LISTING = "/sos_commands/kernel/sysctl_-a"
_BY_DEFAULT = "CONFIG_NUMA_BALANCING_DEFAULT_ENABLED"


def judge(host: Host) -> Finding:
    """Judge the running value, the sysctl files, and what the next kernel starts with."""
    severity = _severity(host)
    reading = _running(host)
    if reading.state is State.ABSENT or _realtime(host, reading):
        return Finding(
            "numa_balancing",
            Status.NOT_APPLICABLE,
            severity,
            expected="0",
            reason="this kernel has no automatic NUMA balancing (built without it, or PREEMPT_RT)",
        )
    value = sysctl.integer(reading.text) if reading.present else None
    unit = host.option("numa_balancing", "unit")
    if unit and value != 0:
        return numa_policy.judge(host, unit, severity, reading)
    persisted, (boot, boot_value, boot_reason) = Persisted(host), _next_boot(host)
    runtime = Plane.UNREAD if value is None else Plane.RIGHT if value == 0 else Plane.WRONG
    after = outcome(persisted.plane, boot)
    status = combine(runtime, after, persisted.masked)
    winner = persisted.winner
    line = winner.where if winner else None
    return Finding(
        "numa_balancing",
        status,
        severity,
        runtime=None if value is None else str(value),
        persisted=None if winner is None or persisted.plane is Plane.UNREAD else winner.value,
        next_boot=boot_value,
        expected="0",
        masked_by=winner.where if winner and persisted.masked else None,
        reason=_reason(host, status, reading, value, persisted, boot, boot_reason),
        evidence=evidence(reading, line, host.next_boot.where),
        remedy=_remedy(status, persisted),
    )


def _severity(host: Host) -> Severity:
    # Measured: hinting faults on one node too, once it is switched on; but nothing to migrate between.
    # Nodes of memory alone (CXL, a GPU's) count: the kernel migrates from them too, and asks how many are online.
    nodes = host.topology.nodes
    return Severity.INFO if nodes is not None and len(nodes) < 2 else Severity.CRITICAL


def _running(host: Host) -> Reading:
    reading = host.snapshot.read(RUNTIME)
    if reading.state is State.NOT_CAPTURED:
        listing = host.snapshot.read(_LISTING)
        value = sysctl.listing(listing.text, KEY) if listing.present else None
        if value is not None:
            return Reading(_LISTING, State.PRESENT, f"{KEY} = {value}")._replace(text=value)
    return reading


def _realtime(host: Host, reading: Reading) -> bool:
    version = host.snapshot.read("/proc/version").text
    # Kernels of real-time distributions carry it in their release.
    named = re.search(r"[.+-]rt[0-9]*\b", host.kernel or "")
    return not reading.present and bool("PREEMPT_RT" in version or "PREEMPT RT" in version or named)


def _next_boot(host: Host) -> tuple[Plane, Optional[str], str]:
    """Return the plane, the value that the next kernel starts with, and why it is not known."""
    boot = host.next_boot
    if boot.arguments is None:
        return Plane.UNREAD, None, boot.reason
    # The kernel applies sysctl.KEY= arguments just before it starts init, so they come after its own switch.
    early = cmdline.last(boot.arguments, f"sysctl.{KEY}") or cmdline.last(
        boot.arguments, f"sysctl.{KEY.replace('.', '/')}"
    )
    if early is not None and sysctl.integer(early) is not None:
        return (Plane.WRONG if sysctl.integer(early) else Plane.RIGHT), early, ""
    argument = cmdline.last(boot.arguments, "numa_balancing")
    if argument in ("enable", "disable"):
        value = "0" if argument == "disable" else "1"
        return (Plane.RIGHT if value == "0" else Plane.WRONG), value, ""
    nodes = host.topology.nodes
    # mempolicy.c, check_numabalancing_enable(): on by default only with more than one node online.
    if nodes is not None and len(nodes) == 1:
        return Plane.RIGHT, "0", ""
    config = kernel_config(host)
    if not config.present:
        return Plane.UNREAD, None, f"the kernel's default is not known: {config.why()}"
    if not built(config, _BY_DEFAULT):
        return Plane.RIGHT, "0", ""
    if nodes is None:
        return Plane.UNREAD, None, "the kernel's default depends on the number of nodes, which is not known"
    return Plane.WRONG, "1", ""


def _reason(
    host: Host,
    status: Status,
    reading: Reading,
    value: Optional[int],
    persisted: Persisted,
    boot: Plane,
    boot_reason: str,
) -> str:
    parts = []
    if value:
        nodes = host.topology.nodes
        spread = "" if nodes is None else " (even on one node)" if len(nodes) < 2 else f" between {len(nodes)} nodes"
        parts.append(f"the kernel unmaps pages to sample accesses and moves pages and threads{spread}")
    elif value is None:
        parts.append(f"the running value: {reading.why() if not reading.present else 'not a number'}")
    winner = persisted.winner
    if status is Status.MASKED and winner:
        who = "TuneD sets it: " if persisted.by_tuned else ""
        parts.append(f"{who}{winner.where.path} line {winner.where.line} wins over the file that says 0")
    elif status is Status.LOST_AT_REBOOT:
        if winner:
            parts.append(f"{winner.where.path} line {winner.where.line} sets {winner.value} at the next boot")
        else:
            parts.append(persisted.why or "no file persists it")
            parts.append("the next kernel starts with 1")
    elif status is Status.PENDING_REBOOT:
        parts.append(NOT_NOW if persisted.plane is Plane.RIGHT else "right on disk, not yet in the running kernel")
    if persisted.plane is Plane.UNREAD:
        parts.append("what is persisted: " + persisted.why)
    elif persisted.plane is Plane.NONE and boot is Plane.UNREAD:
        parts += [persisted.why or "no file persists it", "the next boot: " + boot_reason]
    elif status is Status.WRONG and persisted.plane is Plane.NONE:
        parts.append(persisted.why)
    if status is Status.OK:
        if winner:
            holder = (
                f"TuneD ({winner.where.path} line {winner.where.line})" if persisted.by_tuned else winner.where.path
            )
            parts.append(f"off, and {holder} keeps it off")
        else:
            parts.append("off, and the next kernel starts with it off")
    parts.append(persisted.other_order)
    return sentence(*parts)


def _remedy(status: Status, persisted: Persisted) -> str:
    if status in (Status.OK, Status.UNKNOWN) or persisted.remedy:
        return "" if status is Status.OK else persisted.remedy
    if status is Status.MASKED and persisted.winner:
        where = persisted.winner.where
        return f"remove line {where.line} from {where.path}, then run playbooks/tune.yml"
    if status is Status.PENDING_REBOOT and persisted.plane is Plane.RIGHT:
        return "run playbooks/tune.yml, which sets it now, or: sysctl kernel.numa_balancing=0; no reboot is needed"
    return "run playbooks/tune.yml, or: sysctl kernel.numa_balancing=0 and a file in /etc/sysctl.d"


def changes(host: Host, finding: Finding) -> Planned:
    """Plan a drop-in that sorts last and the running value; a line that would win all the same is a conflict.

    With a unit named, plan its memory policy instead, and leave the sysctl alone.
    """
    reading = _running(host)
    unit = host.option("numa_balancing", "unit")
    if unit:
        return numa_policy.changes(host, unit)
    if not finding.bad or not reading.present:
        return (), ()
    persisted = Persisted(host)
    planned = []
    if persisted.plane is not Plane.RIGHT:
        conflict = _conflict(host, persisted)
        refused = (conflict,) if conflict else units.refusals("numa_balancing", persisted.applied, DROP_IN)
        if refused:
            return (), refused
        current = host.snapshot.read(DROP_IN)
        if current.text != _CONTENT:
            before = current.text if current.present else None
            why = "off at every boot: a file that sorts after every other"
            planned.append(Change("numa_balancing", "file", DROP_IN, _CONTENT, before, why, "0644"))
    if sysctl.integer(reading.text) != 0:
        why = "off now: no page is unmapped to sample accesses"
        planned.append(Change("numa_balancing", "runtime", RUNTIME, "0\n", reading.text, why))
    fought = agents.conflicts(host.snapshot, "numa_balancing", AGENTS) if planned else ()
    return ((), fought) if fought else (tuple(planned), ())


def _conflict(host: Host, persisted: Persisted) -> Optional[Conflict]:
    current = host.snapshot.read(DROP_IN)
    if current.present and current.text and not current.text.startswith(_HEADER):
        first = lines(current.text)[0]
        message = f"{DROP_IN} exists and is not numatune's: move it away, then run again"
        return Conflict("numa_balancing", DROP_IN, 1, first, message)
    winner = persisted.winner
    if winner is None or winner.pattern or sysctl.integer(winner.value) == 0:
        return None
    where = winner.where
    if persisted.by_tuned and not tuned.sysctl(host.snapshot, KEY).again:
        message = (
            f"TuneD sets {where.text!r} after every file ({where.path} line {where.line}): make that 0, or set "
            "reapply_sysctl = 1 in /etc/tuned/tuned-main.conf; then run again"
        )
        return Conflict("numa_balancing", where.path, where.line, where.text, message)
    name = where.path.rpartition("/")[2]
    if where.path == CONF or (not persisted.by_tuned and name > DROP_IN.rpartition("/")[2]):
        message = (
            f"{where.path} line {where.line} would win over {DROP_IN}: remove {where.text!r} there, then run again"
        )
        return Conflict("numa_balancing", where.path, where.line, where.text, message)
    return None


NUMA_BALANCING = Setting(
    name="numa_balancing",
    title="Automatic NUMA balancing",
    severity=Severity.CRITICAL,
    why="To learn which node uses a page, the kernel unmaps parts of a process and takes a fault at the next access, "
    "then moves pages and threads between nodes. Each scan stalls the threads of a request in bursts of minor "
    "faults and context switches: single inferences take many times the median. Pinning CPUs does not stop it; "
    "an explicit memory policy (numactl --membind, NUMAPolicy=local in a unit) does, for that process.",
    remedy="kernel.numa_balancing = 0 in /etc/sysctl.d and in the running kernel; playbooks/tune.yml does both.",
    references=(
        "https://docs.kernel.org/admin-guide/sysctl/kernel.html#numa-balancing",
        "https://nvidia.github.io/grace-cpu-benchmarking-guide/platform/index.html",
        "https://github.com/deepseek-ai/DeepEP/issues/624",
    ),
    sources=(
        File(RUNTIME),
        *FILES,
        File(_LISTING, captured_only=True),
        *numa_policy.SOURCES,
        # Of one node nothing is balanced.
        BuildOption(_BY_DEFAULT, where=f"{NODE}/node[1-9]*"),
    ),
    judge=judge,
    options={
        "unit": Option(str, "a service that gets NUMAPolicy=local, where the sysctl may not be changed (default: none)")
    },
    changes=changes,
    agents=AGENTS,
)
