"""Every captured host: its CPUs and nodes as other tools saw them, and no setting ok that its tree does not show."""

from __future__ import annotations

import json
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from numatune.core.audit import judge
from numatune.core.catalogue import setting
from numatune.core.collecting.collector import sources
from numatune.core.model import HostReport, Snapshot, Status
from numatune.core.profile import builtin
from numatune.core.sources import CONFIGS
from numatune.transport.captured.replay import from_file, from_root

HOSTS = Path(__file__).parents[1] / "hosts"
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in HOSTS.glob("*.tar.gz"))
TODAY = date(2026, 11, 23)
PROFILE = builtin("inference-latency")

# What other tools say, or the kernel's own files where they disagree: online CPUs, and each node's CPUs.
# - nvidiagpunumanodes: hwloc lists the near CPUs of memory-only nodes; the kernel's cpulist of them is empty.
# - 20s390 and huawei: hwloc makes up one node; the trees have no node directory.
# - gcp: the stored profile-creator file is of another capture (4 CPUs); cAdvisor's, in the tree, says 0-1.
ONLINE_ONLY = {"hwloc-20s390-2g6s4c", "cpuinfo-huawei-honor-6"}


def snapshot(name: str) -> Snapshot:
    return from_file(HOSTS / f"{name}.tar.gz")


def report(name: str) -> HostReport:
    return judge(snapshot(name), PROFILE, TODAY)


def wanted(name: str) -> tuple[str, dict[str, str] | None]:
    """Return the online CPUs and node CPU lists that the other tools' answers determine."""
    expected: dict[str, Any] = json.loads((HOSTS / "expected" / f"{name}.json").read_text())
    upstream = (expected["upstream_expected"] or {}).get("facts", {})
    peers = expected["live_peers"]
    lscpu, hwloc = peers["lscpu_2.38.1_sysroot"], peers["hwloc_2.9.0_fsroot"]
    online = lscpu.get("online") or hwloc["pu_os_indexes"]
    if name in ONLINE_ONLY:
        return online, None
    for said in (
        lscpu.get("node_cpulists"),
        upstream.get("lscpu_in_tree", {}).get("node_cpulists"),
        {
            str(key): node["cpus"]
            for key, node in expected.get("cadvisor_machineinfo_in_tree", {}).get("nodes", {}).items()
        },
        upstream.get("node_cpulists"),
    ):
        if said:
            return online, said
    # hwloc alone: it gives memory-only nodes (4 to 7 here) the CPUs that are near; the kernel gives them none.
    nodes = hwloc["numanode_local_pus"]
    return online, {key: cpus if int(key) < 4 else "" for key, cpus in nodes.items()}


def test_every_tree_is_here() -> None:
    rows = (HOSTS / "manifest.tsv").read_text().splitlines()[1:]
    assert sorted(row.split("\t")[0] for row in rows) == NAMES
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_cpus_and_nodes_are_those_that_other_tools_saw(name: str) -> None:
    online, nodes = wanted(name)
    shape = report(name).facts["topology"]
    assert shape["online"] == online
    found = shape["nodes"]
    assert (found and {key: node["cpus"] for key, node in found.items()}) == nodes


# (packages, cores, threads per core): hwloc's and lscpu's, the kernel's files where they disagree.
SHAPES = {
    "nto-r740xd-rt-isolated": (2, 40, 2),
    "nto-r740xd-default-smtoff": (2, 32, 1),
    "nto-gcp-vm-2of4-offline": (1, 2, 1),
    "hwloc-48amd64-4pa2n6c-sparse": (4, 48, 1),
    "hwloc-nvidiagpunumanodes": (2, 8, 4),
    "hwloc-offline-cpu0-node0": (2, 17, 1),
    "hwloc-20em64t-hybrid-1p6c2t-2ca4co1t": (1, 14, 2),
    "hwloc-nvidia-dgx-gb10": (1, 20, 1),
    "hwloc-20s390-2g6s4c": (8, 20, 1),
    "nri-2s-snc-pmem-112cpu": (2, 56, 2),
    "hotsos-openstack-sosreport": (2, 2, 1),
    "cpuinfo-huawei-honor-6": (2, 8, 1),
}


@pytest.mark.parametrize("name", NAMES)
def test_packages_cores_and_threads(name: str) -> None:
    shape = report(name).facts["topology"]
    assert (shape["packages"], shape["cores"], shape["threads_per_core"]) == SHAPES[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_setting_is_ok_that_the_tree_does_not_show(name: str) -> None:
    """None of these trees holds all of sysctl.d, tmpfiles.d, cgroups and a boot entry, so none can prove an ok.

    One holds its running and its next command line, which is all that mitigations ask for, and is enough for what is
    reported only.
    """
    findings = report(name).findings
    assert [finding.setting for finding in findings] == list(PROFILE.settings)
    for finding in findings:
        whole = (name, finding.setting) == ("hotsos-openstack-sosreport", "mitigations")
        reported = setting(finding.setting).changes is None
        assert (finding.status is Status.OK) == whole or (name == "hotsos-openstack-sosreport" and reported), finding
        assert finding.reason, finding
        if finding.status is Status.UNKNOWN:
            assert "not" in finding.reason, finding


STATUSES = {
    ("hwloc-20em64t-hybrid-1p6c2t-2ca4co1t", "cpu_governor"): "wrong",
    ("cpuinfo-huawei-honor-6", "cpu_governor"): "wrong",
    ("hwloc-nvidia-dgx-gb10", "cpu_governor"): "unknown",
    ("hwloc-48amd64-4pa2n6c-sparse", "cpu_governor"): "unknown",
    ("nri-2s-snc-pmem-112cpu", "cpu_governor"): "wrong",
    # /dev/cpu_dma_latency was not captured: a process may hold all CPUs awake.
    ("nri-2s-snc-pmem-112cpu", "cpu_idle"): "unknown",
    ("nri-2s-snc-pmem-112cpu", "core_isolation"): "wrong",
    ("nto-r740xd-rt-isolated", "core_isolation"): "wrong",
    ("nto-r740xd-rt-isolated", "irq_affinity"): "wrong",
    ("nto-r740xd-default-smtoff", "irq_affinity"): "wrong",
    ("hotsos-openstack-sosreport", "numa_balancing"): "unknown",
    ("hotsos-openstack-sosreport", "cpu_idle"): "not_applicable",
    # Of `sysctl -a`, as an sosreport keeps it.
    ("hotsos-openstack-sosreport", "swappiness"): "wrong",
    ("hotsos-openstack-sosreport", "timer_migration"): "wrong",
}


@pytest.mark.parametrize(("name", "setting"), STATUSES)
def test_what_a_tree_shows_is_judged(name: str, setting: str) -> None:
    found = {finding.setting: finding for finding in report(name).findings}
    assert found[setting].status.value == STATUSES[name, setting]


def test_mixed_governors_are_told_apart() -> None:
    found = {finding.setting: finding for finding in report("cpuinfo-huawei-honor-6").findings}
    groups = [group.as_dict() for group in found["cpu_governor"].values]
    assert groups == [{"cpus": "1-3", "value": "interactive"}, {"cpus": "4-7", "value": "ondemand"}]
    assert "interactive and ondemand lower the frequency" in found["cpu_governor"].reason


def test_an_sosreports_own_listing_gives_the_running_value() -> None:
    found = {finding.setting: finding for finding in report("hotsos-openstack-sosreport").findings}
    assert found["numa_balancing"].runtime == "0"
    assert found["numa_balancing"].evidence[0].path == "/sos_commands/kernel/sysctl_-a"


@pytest.mark.parametrize("name", ["hwloc-nvidia-dgx-gb10", "hotsos-openstack-sosreport"])
def test_a_folder_and_its_archive_are_judged_alike(name: str, tmp_path: Path) -> None:
    with tarfile.open(HOSTS / f"{name}.tar.gz") as archive:
        # Before 3.11.4 (Debian 12 has 3.11.2) there are no filters; these archives are the project's own.
        archive.extractall(
            tmp_path, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {})
        )
    assert judge(from_root(tmp_path), PROFILE, TODAY).as_dict() == report(name).as_dict()


class _Watched(Snapshot):
    """A snapshot that remembers which paths were asked for."""

    asked: set[str]

    def read(self, path: str):  # type: ignore[no-untyped-def] # the signature of the class it watches
        self.asked.add(path)
        return super().read(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_judge_reads_only_what_the_collector_collects(name: str) -> None:
    """A path outside the collector's list would count as absent on every live host."""
    from fnmatch import fnmatchcase

    plain = snapshot(name)
    watched = _Watched(**vars(plain))
    object.__setattr__(watched, "asked", set())
    judge(watched, PROFILE, TODAY)
    patterns = [CONFIGS, *(source.path for source in sources() if hasattr(source, "path"))]
    strange = {
        path
        for path in watched.asked
        if not any(fnmatchcase(path, pattern) or pattern.startswith(path + "/") for pattern in patterns)
        and "(release not known)" not in path
    }
    assert not strange
