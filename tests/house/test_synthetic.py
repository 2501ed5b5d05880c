"""The made-up hosts are what they claim to be, in memory and on disk."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import synthetic

from numatune.core.audit import judge
from numatune.core.collecting.replay import collect
from numatune.core.machine.topology import read
from numatune.core.model import Status
from numatune.core.profile import builtin

TODAY = date(2026, 1, 1)


@pytest.mark.parametrize(("cpus", "nodes", "threads"), [(2, 1, 1), (8, 2, 2), (128, 2, 2), (512, 8, 2)])
def test_its_topology_is_read_back(cpus: int, nodes: int, threads: int) -> None:
    snapshot = collect(synthetic.Tree(synthetic.host(cpus, nodes, threads)), complete=True)
    found = read(snapshot)
    assert len(found.online) == cpus
    assert len(found.cores) == cpus // threads
    assert {len(core) for core in found.cores} == {threads}
    assert [len(node.cpus) for node in found.nodes.values()] == [cpus // nodes] * nodes


def test_what_is_asked_for_is_judged() -> None:
    def statuses(**wanted: str) -> dict[str, Status]:
        snapshot = collect(synthetic.Tree(synthetic.host(8, 2, **wanted)), complete=True)
        return {
            finding.setting: finding.status for finding in judge(snapshot, builtin("inference-latency"), TODAY).findings
        }

    assert statuses()["numa_balancing"] is Status.OK
    assert statuses(numa_balancing="1")["numa_balancing"] is not Status.OK
    assert statuses(governor="powersave")["cpu_governor"] is Status.WRONG


def test_on_disk_it_is_the_same(tmp_path: Path) -> None:
    files = synthetic.host(4, 2, 1)
    synthetic.write(files, tmp_path)
    laid = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()
    }
    assert laid == set(files)
    assert (tmp_path / "proc/cmdline").read_text() == files["proc/cmdline"]
    assert (tmp_path / "sys/devices/system/cpu/cpu3/node1").readlink() == Path("../../node/node1")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        synthetic.host(6, 2, 2)
