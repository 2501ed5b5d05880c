"""Firmware's oddities, as small trees."""

from __future__ import annotations

import pytest
import synthetic

from numatune.core.collecting import replay
from numatune.core.machine import topology
from numatune.core.machine.topology import Topology

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"


def read(files: dict[str, str]) -> Topology:
    return topology.read(replay.collect(synthetic.Tree(files), complete=True))


def test_siblings_that_do_not_name_the_cpu_leave_it_a_core_of_its_own() -> None:
    found = read({f"{CPU}/cpu{cpu}/topology/thread_siblings_list": "5-6" for cpu in (0, 1)})
    assert [str(core) for core in found.cores] == ["0", "1"]


def test_a_package_id_of_minus_one_is_not_known() -> None:
    found = read({f"{CPU}/cpu{cpu}/topology/physical_package_id": "-1" for cpu in (0, 1)})
    assert found.packages is None


def test_eight_nodes_that_each_list_all_cpus() -> None:
    found = read({f"{CPU}/online": "0-3", **{f"{NODE}/node{node}/cpulist": "0-3" for node in range(8)}})
    assert found.nodes is not None
    assert {str(node.cpus) for node in found.nodes.values()} == {"0-3"}


@pytest.mark.parametrize("name", ["cpulist", "cpumap"])
def test_a_node_by_list_or_by_mask(name: str) -> None:
    found = read({f"{CPU}/online": "0-39", f"{NODE}/node1/{name}": {"cpulist": "4-39", "cpumap": "ff,fffffff0"}[name]})
    assert found.nodes is not None
    assert str(found.nodes[1].cpus) == "4-39"


def test_a_node_by_links_alone() -> None:
    found = read({f"{CPU}/cpu{cpu}/node1/x": "" for cpu in (2, 3)})
    assert found.nodes is not None
    assert str(found.nodes[1].cpus) == "2-3"


def test_absurd_numbers_are_left_out() -> None:
    found = read({f"{CPU}/cpu9999999999/online": "1", f"{NODE}/node9999999999/cpulist": "0", f"{CPU}/cpu0/online": "1"})
    assert str(found.online) == "0"
    assert found.nodes is None
