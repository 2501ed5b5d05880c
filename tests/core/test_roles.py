"""Who serves and who keeps house, from the topology or as asked for."""

from __future__ import annotations

import pytest

from numatune.core.cpuset import CpuSet, parse_list
from numatune.core.errors import InputError
from numatune.core.machine.roles import assign
from numatune.core.machine.topology import Node, Topology


def shape(*cores: str, nodes: tuple[str, ...] | None = None) -> Topology:
    """Return a topology from each core's threads and each node's CPUs."""
    sets = tuple(map(parse_list, cores))
    online = CpuSet.of(cpu for core in sets for cpu in core)
    found = None if nodes is None else {ident: Node(parse_list(cpus), 1) for ident, cpus in enumerate(nodes)}
    return Topology(online, sets, None, found)


def cpus(text: str | None) -> CpuSet | None:
    return None if text is None else parse_list(text)


SMT = shape("0,4", "1,5", "2,6", "3,7", nodes=("0-1,4-5", "2-3,6-7"))
FLAT = shape("0", "1", "2", "3")
DEFAULTS = {
    "a core of each node": (SMT, 1, "1,3,5,7", "0,2,4,6"),
    "two cores of each node leave none": (SMT, 2, "0-7", ""),
    "no nodes shown": (FLAT, 1, "1-3", "0"),
    "three of four": (FLAT, 3, "3", "0-2"),
    "too small": (shape("0,2", "1,3"), 1, "0-3", ""),
    "memory-only node": (shape("0", "1", "2", nodes=("0-2", "")), 1, "1-2", "0"),
    "CPU 0 not the first of a node": (shape("0", "1", "2", "3", "4", nodes=("1-2", "0,3-4")), 1, "2-4", "0-1"),
    "CPU 0 offline": (shape("1", "2", "3", nodes=("1-3",)), 1, "2-3", "1"),
    "asymmetric threads": (shape("0-1", "2-3", "4", "5", nodes=("0-5",)), 1, "2-5", "0-1"),
    "a node of one core": (shape("0", "1", "2", "3", nodes=("0-2", "3")), 1, "1-2", "0,3"),
}


@pytest.mark.parametrize(("topology", "per_node", "serving", "housekeeping"), DEFAULTS.values(), ids=DEFAULTS)
def test_roles_from_the_topology(topology: Topology, per_node: int, serving: str, housekeeping: str) -> None:
    roles = assign(topology, cores_per_node=per_node)
    assert (str(roles.serving), str(roles.housekeeping)) == (serving, housekeeping)
    assert roles.split is bool(housekeeping)
    assert roles.note


def test_host_whose_cpus_are_not_known_has_no_roles() -> None:
    roles = assign(Topology(None, (), None, None))
    assert (str(roles.serving), roles.split) == ("", False)
    assert "not known" in roles.note


ASKED = [
    ("1,3,5,7", None, "1,3,5,7", "0,2,4,6"),
    (None, "0,2,4,6", "1,3,5,7", "0,2,4,6"),
    ("1,5", "0,2,4", "1,5", "0,2,4"),
]


@pytest.mark.parametrize(("serving", "housekeeping", "serves", "keeps"), ASKED)
def test_roles_as_asked_for(serving: str | None, housekeeping: str | None, serves: str, keeps: str) -> None:
    roles = assign(SMT, cpus(serving), cpus(housekeeping))
    assert (str(roles.serving), str(roles.housekeeping)) == (serves, keeps)


REFUSED = {
    "none serves": ("", None, "no CPU would serve"),
    "all keep house": (None, "0-7", "no CPU would serve"),
    "serving is not online": ("1,5,8-9", None, "serving CPUs 8-9 do not exist or are offline"),
    "housekeeping is not online": ("1,5", "0,4,9", "housekeeping CPUs 9 do not exist"),
    "both": ("1,5", "0-1,2,4", "CPUs 1 are both"),
    "CPU 0 serves": ("0,4", None, "CPU 0 cannot serve"),
    "half a core": ("1", None, "CPUs 1,5 are threads of one core"),
    "node without housekeeping": ("1,3,5,7,2,6", None, r"node 1 \(CPUs 2-3,6-7\) would have no housekeeping CPU"),
}


@pytest.mark.parametrize(("serving", "housekeeping", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(serving: str | None, housekeeping: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(SMT, cpus(serving), cpus(housekeeping))
