"""What happened around the target, from files whose numbers are known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench.test_counters import CONTAINER, V1, V2
from watch.tree import Process, Thread, Tree

from numatune.bench import counted
from numatune.bench.watching import windows as windows_module
from numatune.bench.watching.around import Interrupts, PerCpuFiles, Quota, Stat, Vmstat, open_readers
from numatune.bench.watching.readers import Reader, Totals
from numatune.bench.watching.windows import Windows

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def test_vmstat_grows_and_what_is_not_counted_is_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/vmstat", "nr_free_pages 5\nnuma_pte_updates 7\nnuma_hint_faults 40\ncompact_stall 1\n")
    reader = Vmstat(tree.roots)
    assert reader.growth(()) == {}
    tree.put("proc/vmstat", "nr_free_pages 99999\nnuma_pte_updates 7\nnuma_hint_faults 1040\ncompact_stall 3\n")
    assert reader.growth(()) == {"numa_pte_updates": 0, "numa_hint_faults": 1000, "compact_stall": 2}
    reader.close()
    assert "this kernel does not count it" in reader.unavailable["numa_pages_migrated"]


def test_stolen_time_is_that_of_the_cpus_asked_about(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    text = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 9 0 9 9 9 {} {} {} 0 0\ncpu1 9 0 9 9 9 50 50 50 0 0\nintr 5 1\nctxt {}\n"
    tree.put("proc/stat", text.format(1, 2, 3, 1000))
    reader = Stat(tree.roots)
    reader.growth([0])
    tree.put("proc/stat", text.format(3, 2, 8, 1500))
    assert reader.growth([0]) == {"steal_ns": 5 * TICK_NS, "irq_ns": 2 * TICK_NS, "softirq_ns": 0, "host_switches": 500}
    assert reader.growth([1])["steal_ns"] == 0
    reader.close()


def test_interrupts_are_those_of_the_cpus_asked_about(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    text = "           CPU0       CPU2\n 24:   {}   7   IO-APIC  5-edge\nLOC:   10   {}   Local timer\nERR:   900\n"
    tree.put("proc/interrupts", text.format(1, 20))
    reader = Interrupts(tree.roots)
    reader.growth([0, 2])
    tree.put("proc/interrupts", text.format(5, 120))
    assert reader.growth([2]) == {"interrupts": 100}
    tree.put("proc/interrupts", text.format(6, 120))
    assert reader.growth([0, 1]) == {"interrupts": 1}
    reader.close()


def test_polling_is_no_idle_state(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for state, name in ((0, "POLL"), (1, "C1")):
        tree.put(f"sys/devices/system/cpu/cpu0/cpuidle/state{state}/name", name + "\n")
        tree.put(f"sys/devices/system/cpu/cpu0/cpuidle/state{state}/usage", "100\n")
        tree.put(f"sys/devices/system/cpu/cpu0/cpuidle/state{state}/time", "100\n")
    reader = PerCpuFiles(counted.IDLE, [0], tree.roots)
    reader.growth([0])
    for state in (0, 1):
        tree.put(f"sys/devices/system/cpu/cpu0/cpuidle/state{state}/usage", "103\n")
        tree.put(f"sys/devices/system/cpu/cpu0/cpuidle/state{state}/time", "150\n")
    assert reader.growth([0]) == {"idle_exits": 3, "idle_ns": 50_000}
    reader.close()


@pytest.mark.parametrize(
    ("cgroup", "mounts", "folder", "text", "spent"),
    [
        ("0::/a/b\n", V2, "a", "nr_throttled {}\nthrottled_usec {}\n", 20_000),
        ("5:cpu,cpuacct:/a\n1:memory:/x\n0::/\n", V1, "cpu,cpuacct/a", "nr_throttled {}\nthrottled_time {}\n", 20),
        # In a container the groups are mounted from the container's own on.
        ("4:cpu:/docker/abc/x\n", CONTAINER, "cpu/x", "nr_throttled {}\nthrottled_time {}\n", 20),
    ],
)
def test_quota_of_either_hierarchy_and_of_a_group_above(
    tmp_path: Path, cgroup: str, mounts: str, folder: str, text: str, spent: int
) -> None:
    tree = Tree(tmp_path)
    tree.mount(mounts)
    tree.put("proc/7/cgroup", cgroup)
    tree.put(f"sys/fs/cgroup/{folder}/cpu.stat", text.format(4, 10))
    reader = Quota(7, tree.roots)
    reader.growth(())
    tree.put(f"sys/fs/cgroup/{folder}/cpu.stat", text.format(6, 30))
    assert reader.growth(()) == {"quota_throttled": 2, "quota_throttled_ns": spent}
    reader.close()


def test_a_bare_host_names_everything(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.show(7, Process(threads={7: Thread()}))
    readers = open_readers(7, [0], tree.roots)
    for reader in readers:
        assert reader.growth([0]) == {}
        assert set(reader.unavailable) == set(reader.names)
        assert all(why.partition(": ")[2] for why in reader.unavailable.values())
        reader.close()


def test_what_needs_root_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_rest: int) -> int:
        raise PermissionError(13, "Permission denied")

    roots = Tree(tmp_path).roots
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in Interrupts(roots).unavailable["interrupts"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # in a container, say: more of the same does not help
    assert Interrupts(roots).unavailable["interrupts"].endswith("/interrupts: Permission denied")


class Counter(Reader):
    """Counts up by one a call on each of two CPUs."""

    names = ("ticks",)
    calls = 0

    def totals(self) -> Totals:
        self.calls += 1
        return {"ticks": {0: self.calls, 1: 10 * self.calls}}


def test_a_dear_reader_reads_in_fewer_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "_stride", lambda *_what: 3)
    windows = Windows([Counter()], [0], 0.25)
    windows.start([0])
    for index, cpus in enumerate(([0], [0], [1], [0], [0], [0], [0])):
        windows.close_one(index * 10, 10, {"minor_faults": index}, cpus)
    assert windows.strides() == {"ticks": 3}
    assert windows.counters(()) == {
        "minor_faults": [0, 1, 2, 3, 4, 5, 6],
        "ticks": [None, None, 11, None, None, 1, None],  # on the CPUs where it was seen meanwhile
    }
    assert "ticks" not in windows.counters({"ticks"})


def test_a_sample_above_its_share_asks_for_a_longer_interval() -> None:
    windows = Windows([], [0], 0.1)
    limit = int(0.01 * 0.1 * 1e9)
    assert [windows.too_dear(limit, 0.1) for _ in range(5)] == [None] * 5
    # Single dear samples do not count; most of five do.
    assert [windows.too_dear(cost, 0.1) for cost in (limit, 90 * limit, limit, 90 * limit, limit)] == [None] * 5
    assert [windows.too_dear(4 * limit, 0.1) for _ in range(5)] == [None] * 4 + [pytest.approx(0.5)]


def test_cpus_of_one_frequency_policy_count_once(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    base = "sys/devices/system/cpu"
    for policy, cpus in ((0, (0, 1)), (2, (2,))):
        tree.put(f"{base}/cpufreq/policy{policy}/stats/total_trans", "40\n")
        for cpu in cpus:
            (tree.sys / f"devices/system/cpu/cpu{cpu}").mkdir()
            (tree.sys / f"devices/system/cpu/cpu{cpu}/cpufreq").symlink_to(f"../cpufreq/policy{policy}")
    reader = PerCpuFiles(counted.FREQUENCY, [0, 1, 2], tree.roots)
    reader.growth([0, 1, 2])
    tree.put(f"{base}/cpufreq/policy0/stats/total_trans", "47\n")
    assert reader.growth([0, 1, 2]) == {"frequency_changes": 7}
    tree.put(f"{base}/cpufreq/policy0/stats/total_trans", "49\n")
    assert reader.growth([1]) == {"frequency_changes": 2}
    assert reader.growth([2]) == {"frequency_changes": 0}
    reader.close()


GARBLED = ("cpu0 1 2 3\n", "cpu0 1 2 3 4 5 x 7 x 9\n", "cpu0 1 2 3\nctxt x\n", "cpu0 1 2\nctxt\n")


@pytest.mark.parametrize("text", GARBLED)
def test_a_garbled_stat_ends_no_watch(tmp_path: Path, text: str) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/stat", text)
    reader = Stat(tree.roots)
    reader.growth([0])
    assert set(reader.growth([0])) <= {"irq_ns", "softirq_ns", "steal_ns"}
    reader.close()
