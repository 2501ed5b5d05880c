"""Which CPUs are isolated: by kernel arguments, by the kernel's own lists, and by cpuset partitions."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ...cpuset import EMPTY, CpuSet, parse_list
from ...errors import InputError
from ...host import Host
from ...kit.words import sentence
from ...machine.topology import CPU
from ...model import Snapshot
from ...parsers import cmdline

CGROUP = "/sys/fs/cgroup"
SLICE = "numatune.slice"
"""Ours: it may be a partition of the type root, which is load balanced."""


class Isolation(NamedTuple):
    """Isolated CPUs by each means; None is "not read"."""

    domain: Optional[CpuSet]
    nohz: Optional[CpuSet]
    callbacks: Optional[CpuSet]

    def words(self) -> Optional[str]:
        """Return what is known to be isolated; None where none is, and isolcpus or nohz_full was not read."""
        named = (("isolated", self.domain), ("nohz_full", self.nohz), ("rcu_nocbs", self.callbacks))
        parts = [f"{name}={cpus}" for name, cpus in named if cpus]
        if not parts and (self.domain is None or self.nohz is None):
            return None
        return " ".join(parts) or "none"


def running(snapshot: Snapshot) -> Isolation:
    """Return what is isolated now."""
    arguments = snapshot.read("/proc/cmdline")
    said = by_arguments(arguments.text) if arguments.present else None
    domain, nohz = (
        listed(snapshot, f"{CPU}/isolated"),
        listed(snapshot, f"{CPU}/nohz_full"),
    )
    return Isolation(
        domain if domain is not None else said and said.domain,
        nohz if nohz is not None else said and said.nohz,
        said and said.callbacks,
    )


def by_arguments(text: str) -> Isolation:
    """Return what a command line isolates.

    Of several lists the kernel keeps the first of isolcpus and of nohz_full (housekeeping_setup), and the last of
    rcu_nocbs (rcu_nocb_setup).
    """
    domain: Optional[CpuSet] = EMPTY
    nohz = _named(cmdline.values(text, "nohz_full")[:1])
    callbacks = _named(cmdline.values(text, "rcu_nocbs")[-1:])
    for value in cmdline.values(text, "isolcpus")[:1]:
        try:
            flags, cpus = cmdline.isolcpus(value)
        except InputError:
            domain = None
            continue
        domain = cpus if "domain" in flags else EMPTY
        if "nohz" in flags and nohz is not None:
            nohz = nohz | cpus
    return Isolation(domain, nohz, callbacks)


def _named(values: list[str]) -> Optional[CpuSet]:
    """Return the CPUs of a list; None for one such as "all" or "1-N", which the kernel alone resolves."""
    try:
        return parse_list(values[0]) if values else EMPTY
    except InputError:
        return None


def partitions(snapshot: Snapshot) -> tuple[CpuSet, str]:
    """Return the CPUs of valid isolated partitions, and what is wrong with the others."""
    isolated, notes = EMPTY, []
    if CGROUP not in snapshot.dirs:
        return EMPTY, ""
    for path, text in snapshot.files.items():
        if not path.startswith(CGROUP) or not path.endswith("/cpuset.cpus.partition"):
            continue
        kind = text.strip()
        name = path[len(CGROUP) + 1 :].rpartition("/")[0]
        if "invalid" in kind:
            notes.append(f"cpuset partition {name}: {kind}")
        elif kind == "isolated" or (kind == "root" and name == SLICE):
            isolated = isolated | (listed(snapshot, path.removesuffix("partition") + "effective") or EMPTY)
    # Newer kernels sum them up at the root, remote partitions of any depth included.
    return isolated | (listed(snapshot, f"{CGROUP}/cpuset.cpus.isolated") or EMPTY), sentence(*notes)


def in_force(host: Host) -> list[str]:
    """Return the kernel arguments that isolate CPUs, of the running kernel's and of the next boot's."""
    said = [host.snapshot.read("/proc/cmdline").text, host.next_boot.arguments or ""]
    found = {key for text in said for key in ("nohz_full", "rcu_nocbs") if cmdline.values(text, key)}
    for value in (value for text in said for value in cmdline.values(text, "isolcpus")[:1]):
        # With other flags alone (managed_irq) it isolates nothing that is judged here.
        alone = by_arguments(f"isolcpus={value}")
        found |= {"isolcpus"} if alone.domain != EMPTY or alone.nohz else set()
    now = running(host.snapshot)
    shown = [name for name, cpus in (("isolcpus", now.domain), ("nohz_full", now.nohz)) if cpus]
    return [name for name in ("isolcpus", "nohz_full", "rcu_nocbs") if name in found] or shown


def has_nohz(snapshot: Snapshot) -> bool:
    """Return whether the kernel can stop the tick, as far as it is known."""
    reading = snapshot.read(f"{CPU}/nohz_full")
    return reading.present or reading.unread


def listed(snapshot: Snapshot, path: str) -> Optional[CpuSet]:
    """Return a list, the empty one where the kernel lacks the file (nothing can be isolated), None unread."""
    reading = snapshot.read(path)
    if reading.unread:
        return None
    try:
        return parse_list(reading.text)
    except InputError:
        return None
