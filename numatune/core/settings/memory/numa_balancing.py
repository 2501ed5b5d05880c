"""Automatic NUMA balancing: the kernel unmaps pages to see who touches them, and moves pages and threads."""

from __future__ import annotations

import re
from dataclasses import replace

from ...host import Host
from ...kit.said import Right, Said, said, unread
from ...kit.starts import Start, argument, built, first, kernel_config, sysctl_argument
from ...kit.sysctl_d import SysctlD
from ...kit.value import Value, integer, setting_of
from ...machine import agents
from ...machine.topology import NODE
from ...model import Finding, Reading, Severity, State
from ...setting import Option, Planned, Setting
from ...sources import BuildOption
from . import numa_policy

KEY = "kernel.numa_balancing"
_BY_DEFAULT = "CONFIG_NUMA_BALANCING_DEFAULT_ENABLED"


def _none(host: Host, reading: Reading) -> bool:
    if reading.state is State.ABSENT:
        return True
    version = host.snapshot.read("/proc/version").text
    # Kernels of real-time distributions carry it in their release.
    named = re.search(r"[.+-]rt[0-9]*\b", host.kernel or "")
    return not reading.present and bool("PREEMPT_RT" in version or "PREEMPT RT" in version or named)


def _harm(host: Host) -> str:
    nodes = host.topology.nodes
    spread = "" if nodes is None else " (even on one node)" if len(nodes) < 2 else f" between {len(nodes)} nodes"
    return f"the kernel unmaps pages to sample accesses and moves pages and threads{spread}"


def _by_nodes(host: Host, right: Right) -> Said:
    """Return the kernel's default (mempolicy.c, check_numabalancing_enable()): on with more than one node online."""
    nodes = host.topology.nodes
    if nodes is not None and len(nodes) == 1:
        return said("0", right)
    config = kernel_config(host)
    if not config.present:
        return unread(f"the kernel's default is not known: {config.why()}")
    if not built(config, _BY_DEFAULT):
        return said("0", right)
    if nodes is None:
        return unread("the kernel's default depends on the number of nodes, which is not known")
    return said("1", right)


VALUE = Value(
    setting="numa_balancing",
    path="/proc/sys/kernel/numa_balancing",
    key=KEY,
    wanted="0",
    named="off",
    effect="no page is unmapped to sample accesses",
    keeper=SysctlD(
        KEY,
        "/etc/sysctl.d/99-zz-numatune.conf",
        "Automatic NUMA balancing unmaps pages of a serving process to sample its accesses.",
    ),
    starts=first(
        sysctl_argument(KEY, integer),
        argument("numa_balancing", {"enable": "1", "disable": "0"}.get),
        Start(_by_nodes, (BuildOption(_BY_DEFAULT, where=f"{NODE}/node[1-9]*"),)),
    ),
    harm=_harm,
    absent="this kernel has no automatic NUMA balancing (built without it, or PREEMPT_RT)",
    missing=_none,
    severity=Severity.CRITICAL,
    by_default=True,
    # TuneD is none: it applies /etc/sysctl.d again after its own sysctls (reapply_sysctl, the default).
    agents=agents.Agents(KEY, (agents.Agent(agents.SAPTUNE), agents.Agent(agents.SAPCONF))),
)


def judge(host: Host) -> Finding:
    """Judge the running value, the sysctl files, and what the next kernel starts with; or the one unit's policy."""
    severity = _severity(host)
    unit, reading = host.option(VALUE.setting, "unit"), VALUE.running(host)
    if unit and not _none(host, reading) and integer(reading.text) != "0":
        return numa_policy.judge(host, unit, severity, reading)
    return replace(VALUE.judge(host), severity=severity)


def _severity(host: Host) -> Severity:
    # Measured: hinting faults on one node too, once it is switched on; but nothing to migrate between.
    # Nodes of memory alone (CXL, a GPU's) count: the kernel migrates from them too, and asks how many are online.
    nodes = host.topology.nodes
    return Severity.INFO if nodes is not None and len(nodes) < 2 else Severity.CRITICAL


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the value; with a unit named, its memory policy instead, and leave the sysctl alone."""
    unit = host.option(VALUE.setting, "unit")
    return numa_policy.changes(host, unit) if unit else VALUE.changes(host, finding)


_SETTING = setting_of(
    VALUE,
    title="Automatic NUMA balancing",
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
)

NUMA_BALANCING: Setting = replace(
    _SETTING,
    sources=(*_SETTING.sources, *numa_policy.SOURCES),
    judge=judge,
    changes=changes,
    options={
        "unit": Option(str, "a service that gets NUMAPolicy=local, where the sysctl may not be changed", default="none")
    },
)
