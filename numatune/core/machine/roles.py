"""Which CPUs serve requests and which keep house.

Recommended by the kernel's CPU isolation guide (Documentation/admin-guide/cpu-isolation.rst) and by the vendors'
guides: whole cores, because thread siblings share one core's resources; CPU 0 keeps house, because it takes boot-time
interrupts and timers; every node keeps at least one core for the interrupts of its own devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..cpuset import EMPTY, CpuSet
from ..errors import InputError
from .topology import Topology


@dataclass(frozen=True)
class Roles:
    """Serving and housekeeping CPUs; `note` says how they came about, in one line for the report."""

    serving: CpuSet
    housekeeping: CpuSet
    note: str

    @property
    def split(self) -> bool:
        """Whether there are housekeeping CPUs at all; without them every CPU serves and nothing can be moved away."""
        return bool(self.housekeeping)


def assign(
    topology: Topology,
    serving: Optional[CpuSet] = None,
    housekeeping: Optional[CpuSet] = None,
    cores_per_node: int = 1,
) -> Roles:
    """Assign the roles from what was asked for, or from the topology.

    Raises InputError, naming the CPUs, when a set asked for holds CPUs that are not online, CPU 0 as a serving one,
    half of a core, leaves a node that serves without housekeeping, or when the two sets overlap.
    """
    online = topology.online or EMPTY
    if not online:
        return Roles(EMPTY, EMPTY, "the online CPUs are not known, so no CPU has a role")
    if serving is None and housekeeping is None:
        return _default(topology, online, cores_per_node)
    if serving is None:
        assert housekeeping is not None
        serving = online - housekeeping
    if housekeeping is None:
        housekeeping = online - serving
    _check(topology, online, serving, housekeeping)
    return Roles(serving, housekeeping, "as the profile or the inventory says")


def _default(topology: Topology, online: CpuSet, cores_per_node: int) -> Roles:
    cores = len(topology.cores) + len(topology.coreless)
    if cores <= 2:
        return Roles(online, EMPTY, f"every CPU ({online}) serves: too few cores ({cores}) to keep one apart")
    # A CPU of which it is not known whose sibling it is may be half of a core that serves.
    kept = topology.coreless if topology.cores else EMPTY
    for group in [node.cpus for node in (topology.nodes or {}).values() if node.cpus] or [online]:
        # What is kept for another node is not taken out: firmware may list every CPU in each node.
        left = group - topology.coreless if topology.cores else group
        taken = 0
        while left and taken < cores_per_node:
            core = topology.core_of(left.first())
            kept = kept | core
            left = left - core
            taken += 1
    if 0 in online:
        kept = kept | topology.core_of(0)
    kept = kept & online
    serving = online - kept
    if not serving:
        return Roles(
            online, EMPTY, f"every CPU ({online}) serves: one housekeeping core per node would leave none to serve"
        )
    plural = "core" if cores_per_node == 1 else "cores"
    return Roles(serving, kept, f"from the topology: {cores_per_node} housekeeping {plural} per node, whole cores")


def _check(topology: Topology, online: CpuSet, serving: CpuSet, housekeeping: CpuSet) -> None:
    if not serving:
        raise InputError("no CPU would serve: give serving CPUs, or fewer housekeeping CPUs")
    if serving - online:
        raise InputError(f"serving CPUs {serving - online} do not exist or are offline (online: {online})")
    if housekeeping - online:
        raise InputError(f"housekeeping CPUs {housekeeping - online} do not exist or are offline (online: {online})")
    if serving & housekeeping:
        raise InputError(f"CPUs {serving & housekeeping} are both serving and housekeeping")
    if 0 in serving:
        raise InputError("CPU 0 cannot serve: it takes boot-time interrupts and timers; leave it to housekeeping")
    for core in topology.cores:
        if core & serving and core - serving:
            raise InputError(f"CPUs {core} are threads of one core: let all of them serve, or none")
    for ident, node in (topology.nodes or {}).items():
        if node.cpus & serving and not node.cpus & housekeeping:
            raise InputError(f"node {ident} (CPUs {node.cpus}) would have no housekeeping CPU")
