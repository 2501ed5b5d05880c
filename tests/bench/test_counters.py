"""Counters of each tier: what kernel files say, on captures of their text, and readings of this host."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from pathlib import Path

import pytest

from numatune.bench.counters import costs, perf, sources, tiers
from numatune.bench.counters.cpufiles import Frequency, Idle, Quota, Throttling
from numatune.bench.counters.procstat import Interrupts, ProcStat
from numatune.bench.counters.sources import SchedMigrations, Schedstat, SmallFiles, middle, spread
from numatune.bench.counters.tiers import Counters
from numatune.bench.counters.vmstat import COUNTERS as VMSTAT
from numatune.bench.parsers import cpu_stat_files, parse_cpu_stat, parse_interrupts, parse_vmstat

TIER_B = {*tiers.USAGE, "cpu_migrations", *Schedstat.COUNTERS}
TIER_D = {
    *("steal_ns", "irq_ns", "softirq_ns", "host_switches", "interrupts", "idle_exits", "idle_ns"),
    *("frequency_changes", "throttle_events", "quota_throttled", "quota_throttled_ns"),
}
HERE = sorted(os.sched_getaffinity(0))


def taken(tier: str, iterations: int) -> Counters:
    """Counters that have been through a warm-up on this thread, ready to read."""
    made = Counters(iterations, tier, HERE[:1])
    made.watch([threading.get_native_id()])
    made.probe()
    made.probe()
    made.settle()
    return made


@pytest.mark.parametrize(
    ("tier", "names"), [("B", TIER_B), ("C", {*TIER_B, *VMSTAT}), ("D", {*TIER_B, *VMSTAT, *TIER_D})]
)
def test_each_counter_of_a_tier_is_read_or_named(tier: str, names: set[str]) -> None:
    made = taken(tier, 8)
    try:
        read = made.reader()
        read()
        for _ in range(8):
            with mmap.mmap(-1, 200 * mmap.PAGESIZE) as fresh:
                for page in range(200):
                    fresh[page * mmap.PAGESIZE] = 1  # a page's first touch is a minor fault
            read()
        deltas = made.deltas()
    finally:
        made.close()
    extras = {"compact_stall", "thp_fault_alloc"}  # which a kernel may lack without a word
    assert ({*deltas} | {*made.unavailable}) - extras == names - extras
    assert not {*deltas} & {*made.unavailable}
    assert all(len(values) == 8 for values in deltas.values())
    assert sum(value or 0 for value in deltas["minor_faults"]) >= 100
    assert len(made.costs()) == 8
    assert all(cost > 0 for cost in made.costs())
    assert all(made.unavailable.values())
    for name, values in deltas.items():
        assert all(value is None or value >= 0 for value in values), name
        assert name in tiers.USAGE or made.strides[name] >= 1


def test_the_readings_stay_when_the_files_are_closed() -> None:
    made = taken("D", 2)
    read = made.reader()
    for _ in range(3):
        read()
    made.close()
    again = made.deltas()
    assert all(len(values) == 2 for values in again.values())
    made.close()  # closing twice is harmless


def test_reading_touches_no_new_page() -> None:
    made = taken("D", 400)
    try:
        read = made.reader()
        for _ in range(401):
            read()
        faults = made.deltas()["minor_faults"]
    finally:
        made.close()
    # Room that was touched first in the loop would fault at every second reading: each keeps some kilobytes.
    assert sorted(value or 0 for value in faults)[len(faults) // 2] == 0


@pytest.mark.parametrize(
    ("limit", "cost", "stride"),
    [(None, 10**9, 1), (50_000, 49_999, 1), (50_000, 50_000, 1), (50_000, 50_001, 2), (50_000, 520_000, 11)],
)
def test_the_stride_comes_from_the_cost(limit: int | None, cost: int, stride: int) -> None:
    source = SmallFiles()
    source.limit_ns = limit
    assert source.stride(cost) == stride


def test_no_cost_makes_readings_rarer_than_the_longest_stride() -> None:
    source = SmallFiles()
    source.limit_ns = 1
    assert source.stride(10**9) == sources.LONGEST_STRIDE


def test_the_first_cold_probe_does_not_decide() -> None:
    assert middle([900, 40]) == 40
    assert middle([900, 40, 50]) == 50
    assert middle([]) == 0


def test_counters_that_are_read_by_blocks_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Schedstat, "stride", lambda self, cost: 3)
    made = taken("B", 7)
    try:
        read = made.reader()
        for _ in range(8):
            read()
        deltas = made.deltas()
    finally:
        made.close()
    if "run_delay_ns" in made.unavailable:
        pytest.skip(made.unavailable["run_delay_ns"])
    assert [value is None for value in deltas["run_delay_ns"]] == [True, True, False, True, True, False, True]
    assert made.strides["run_delay_ns"] == made.strides["cpu_time_ns"] == 3


def test_what_would_fill_the_memory_is_read_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "MOST_BYTES", 640)
    made = taken("B", 39)
    made.close()
    if "run_delay_ns" in made.unavailable:
        pytest.skip(made.unavailable["run_delay_ns"])
    assert made.strides["run_delay_ns"] == 4  # 40 readings of 64 bytes in 640


def test_spread_puts_a_sum_at_the_iteration_after_which_it_was_read() -> None:
    assert spread([5, None], 2, 5) == [None, 5, None, None, None]
    assert spread([1, 2], 1, 2) == [1, 2]


def test_a_count_that_falls_is_not_known() -> None:
    """The kernel's counts of interrupts are of 32 bits: at 250 a second one begins again after 200 days."""
    assert sources.differences([2**32 - 5, 3, 9, None, 9]) == [None, 6, None, None]


def test_dear_migrations_are_read_rarely() -> None:
    event = perf.Migrations()
    event.close()
    assert event.stride(perf.DEAR_NS) == 1
    assert event.stride(perf.DEAR_NS + 1) == perf.DEAR_STRIDE


def test_migrations_come_from_proc_where_perf_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf, "open_migrations", lambda: (-1, "perf_event_open: needs root"))
    made = taken("B", 2)
    try:
        read = made.reader()
        for _ in range(3):
            read()
        deltas = made.deltas()
    finally:
        made.close()
    if Path("/proc/self/sched").exists():
        assert deltas["cpu_migrations"] is not None
        assert "cpu_migrations" not in made.unavailable
    else:
        assert made.unavailable["cpu_migrations"] == "perf_event_open: needs root"


def test_without_perf_and_without_proc_the_reason_is_that_of_perf() -> None:
    source = SchedMigrations([2**22 + 1], "perf_event_open: needs root")
    assert source.names == ()
    assert source.unavailable == {"cpu_migrations": "perf_event_open: needs root"}


def test_a_thread_without_schedstat_makes_the_counter_unavailable() -> None:
    source = Schedstat([threading.get_native_id(), 2**22 + 1])
    assert source.names == ()
    assert {*source.unavailable} == {"cpu_time_ns", "run_delay_ns"}
    assert "No such file" in source.unavailable["run_delay_ns"]


def test_a_thread_that_ends_in_the_run_leaves_its_counter_empty() -> None:
    stop, began, ids = threading.Event(), threading.Event(), []

    def work() -> None:
        ids.append(threading.get_native_id())
        began.set()
        stop.wait()

    worker = threading.Thread(target=work)
    worker.start()
    began.wait()
    source = Schedstat([threading.get_native_id(), *ids])
    try:
        if not source.names:
            pytest.skip(source.unavailable["run_delay_ns"])
        source.room(3)
        read = source.reader()
        read(0)
        read(1)
        stop.set()
        worker.join()
        while Path(f"/proc/self/task/{ids[0]}").exists():
            pass  # the kernel takes a moment longer than join
        read(2)
        found = source.deltas(3)
    finally:
        stop.set()
        source.close()
    assert found["run_delay_ns"][0] is not None
    assert found["run_delay_ns"][1] is None


def test_an_unknown_tier_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no tier 'E'"):
        Counters(1, "E")


@pytest.mark.parametrize(
    ("user", "number", "words"),
    [
        (0, errno.EACCES, "/a/file: Permission denied"),
        (1000, errno.EACCES, "/a/file: needs root"),
        (1000, errno.EPERM, "/a/file: needs root"),
        (1000, errno.ENOENT, "/a/file: No such file or directory"),
    ],
)
def test_what_needs_root_says_so(monkeypatch: pytest.MonkeyPatch, user: int, number: int, words: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert sources.why_not("/a/file", OSError(number, os.strerror(number))) == words


# The files of a host. Two CPUs with two idle states beside POLL, on a fake folder.


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def idle_state(base: Path, cpu: int, state: int, name: str, usage: int, spent: int) -> None:
    folder = base / f"cpu{cpu}/cpuidle/state{state}"
    put(folder / "name", name + "\n")
    put(folder / "usage", f"{usage}\n")
    put(folder / "time", f"{spent}\n")


def rewrite(path: Path, text: str) -> None:
    """Change a file in place, as the kernel does: the reader has it open."""
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def test_idle_exits_are_summed_without_polling(tmp_path: Path) -> None:
    for cpu in (0, 1, 2):
        idle_state(tmp_path, cpu, 0, "POLL", 1_000_000, 1_000_000)
        idle_state(tmp_path, cpu, 1, "C1", 100, 2_000)
        idle_state(tmp_path, cpu, 2, "C6", 10, 50_000)
    source = Idle([0, 1], str(tmp_path))
    try:
        source.room(3)
        read = source.reader()
        read(0)
        rewrite(tmp_path / "cpu0/cpuidle/state1/usage", "103\n")
        rewrite(tmp_path / "cpu1/cpuidle/state2/time", "50007\n")
        rewrite(tmp_path / "cpu2/cpuidle/state1/usage", "999\n")  # it does not serve
        read(1)
        read(2)
        assert source.deltas(3) == {"idle_exits": [3, 0], "idle_ns": [7_000, 0]}
        assert source.now() == {"idle_exits": 223, "idle_ns": 104_007_000}
    finally:
        source.close()


def test_a_host_without_idle_states_names_them(tmp_path: Path) -> None:
    idle_state(tmp_path, 0, 0, "POLL", 1, 1)
    source = Idle([0], str(tmp_path))
    assert source.names == ()
    assert "counts no idle states" in source.unavailable["idle_exits"]
    assert source.now() == {}


def test_cpus_of_one_policy_share_its_count(tmp_path: Path) -> None:
    put(tmp_path / "cpufreq/policy0/stats/total_trans", "40\n")
    put(tmp_path / "cpufreq/policy2/stats/total_trans", "2\n")
    for cpu, policy in ((0, 0), (1, 0), (2, 2)):
        (tmp_path / f"cpu{cpu}").mkdir()
        (tmp_path / f"cpu{cpu}/cpufreq").symlink_to(tmp_path / f"cpufreq/policy{policy}")
    source = Frequency([0, 1, 2], str(tmp_path))
    assert source.now() == {"frequency_changes": 42}
    source.close()
    bare = Frequency([0], str(tmp_path / "nothing"))
    assert "does not count them" in bare.unavailable["frequency_changes"]


def test_throttling_counts_core_and_package(tmp_path: Path) -> None:
    put(tmp_path / "cpu0/thermal_throttle/core_throttle_count", "3\n")
    put(tmp_path / "cpu0/thermal_throttle/package_throttle_count", "4\n")
    put(tmp_path / "cpu0/thermal_throttle/core_throttle_total_time_ms", "9999\n")
    put(tmp_path / "cpu1/thermal_throttle/core_throttle_count", "100\n")
    source = Throttling([0], str(tmp_path))
    assert source.now() == {"throttle_events": 7}
    source.close()
    assert "throttle_events" in Throttling([5], str(tmp_path)).unavailable


V2 = "25 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
CONTAINER = "700 650 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"


@pytest.mark.parametrize(
    ("cgroup", "mounts", "files"),
    [
        (
            "0::/serving.slice/infer.service",
            V2,
            ["serving.slice/infer.service/cpu.stat", "serving.slice/cpu.stat", "cpu.stat"],
        ),
        ("0::/", V2, ["cpu.stat"]),
        ("4:cpu,cpuacct:/infer\n3:cpuset:/\n0::/", V1, ["cpu,cpuacct/infer/cpu.stat", "cpu,cpuacct/cpu.stat",
                                                       "unified/cpu.stat"]),
        ("4:cpu:/docker/abc/x", CONTAINER, ["cpu/x/cpu.stat", "cpu/cpu.stat"]),
        ("4:cpu:/elsewhere", CONTAINER, ["cpu/cpu.stat"]),
        ("0::/../outside", V2, []),
        ("", "", []),
        ("garbage\n::", "x - y", []),
    ],
)  # fmt: skip
def test_the_quota_of_a_cgroup_and_of_those_above(cgroup: str, mounts: str, files: list[str]) -> None:
    assert cpu_stat_files(cgroup, mounts) == [f"/sys/fs/cgroup/{name}" for name in files]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (b"usage_usec 5\nnr_periods 9\nnr_throttled 2\nthrottled_usec 70\n", (2, 70_000)),
        (b"nr_periods 9\nnr_throttled 3\nthrottled_time 812\nnr_bursts 0\n", (3, 812)),
    ],
)
def test_both_versions_of_cpu_stat(text: bytes, counts: tuple[int, int]) -> None:
    assert tuple(parse_cpu_stat(text).values()) == counts


def test_a_quota_above_counts_as_well(tmp_path: Path) -> None:
    put(tmp_path / "proc/cgroup", "0::/a/b\n")
    put(tmp_path / "proc/mountinfo", V2)
    put(tmp_path / "sys/fs/cgroup/cpu.stat", "usage_usec 1\n")  # the root has no quota
    put(tmp_path / "sys/fs/cgroup/a/cpu.stat", "nr_throttled 5\nthrottled_usec 10\n")
    put(tmp_path / "sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 1\nthrottled_usec 1\n")
    source = Quota(str(tmp_path / "proc"), str(tmp_path))
    assert source.now() == {"quota_throttled": 6, "quota_throttled_ns": 11_000}
    source.close()
    assert "quota_throttled" in Quota(str(tmp_path), str(tmp_path)).unavailable


STAT = """cpu  2729042 2 420416 2470423 33819 0 9504 3353 0 0
cpu0 1306222 2 189001 1326164 8112 7 693 1684 0 0
cpu1 1422819 0 231414 1144258 25707 0 8811 1669 0 0
intr 47153048 0 0 0
ctxt 124371086
btime 1795503932
softirq 17168754 0 1373942
"""


def test_proc_stat_of_two_cpus(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    put(path, STAT)
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    source = ProcStat([1], str(path))
    try:
        source.room(2)
        read = source.reader()
        read(0)
        rewrite(path, STAT.replace(" 1669 0 0", " 1671 0 0").replace("124371086", "124371099"))
        read(1)
        assert source.deltas(2) == {
            "steal_ns": [2 * tick],
            "irq_ns": [0],
            "softirq_ns": [0],
            "host_switches": [13],
        }
    finally:
        source.close()


def test_proc_stat_of_many_cpus_and_one_that_goes_offline(tmp_path: Path) -> None:
    def text(missing: int = -1) -> str:
        lines = [f"cpu{cpu} {10**9} 0 5 6 7 {cpu} 2 1 0 0" for cpu in range(224) if cpu != missing]
        return "\n".join(["cpu  1 2 3 4 5 6 7 8 0 0", *lines, "intr 5" + " 0" * 9000, "ctxt 77", "btime 1", ""])

    path = tmp_path / "stat"
    put(path, text())
    source = ProcStat(range(0, 224, 2), str(path))
    try:
        source.room(2)
        read = source.reader()
        read(0)
        rewrite(path, text(missing=100))
        read(1)
        first, second = source.totals(2)
    finally:
        source.close()
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    assert first == {
        "steal_ns": 112 * tick,
        "irq_ns": sum(range(0, 224, 2)) * tick,
        "softirq_ns": 224 * tick,
        "host_switches": 77,
    }
    assert second == {"host_switches": 77}


@pytest.mark.parametrize("text", ["", "ctxt 5\n", "cpu0 1 2 3 4\n"])
def test_a_stat_without_the_serving_cpus_is_unavailable(tmp_path: Path, text: str) -> None:
    put(tmp_path / "stat", text)
    source = ProcStat([0, 9], str(tmp_path / "stat"))
    assert source.names == ()
    assert {*source.unavailable} == {"steal_ns", "irq_ns", "softirq_ns", "host_switches"}


INTERRUPTS = """           CPU0       CPU1       CPU3
 36:          5    8759430          1  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 37:          0          0          0  PCI-MSIX-0000:00:03.0   0-edge      eth0-TxRx-0, i801_smbus
 40:          1          2          3     GICv3  27 Level     arch_timer
NMI:          0          0          0   Non-maskable interrupts
LOC:   14575214   14503361         10   Local timer interrupts
ERR:          7
MIS:          0
"""


def test_interrupts_are_counted_by_line_and_cpu() -> None:
    found = parse_interrupts(INTERRUPTS, [1, 3])
    assert found == {
        "36 virtio1-req.0": {1: 8759430, 3: 1},
        "37 eth0-TxRx-0, i801_smbus": {1: 0, 3: 0},
        "40 arch_timer": {1: 2, 3: 3},
        "NMI Non-maskable interrupts": {1: 0, 3: 0},
        "LOC Local timer interrupts": {1: 14503361, 3: 10},
    }
    assert parse_interrupts("", [0]) == {}
    assert parse_interrupts(INTERRUPTS[:150], [1])  # cut off in the middle of a line: the whole ones count


def test_interrupt_lines_that_come_and_go_make_no_jump(tmp_path: Path) -> None:
    path = tmp_path / "interrupts"
    put(path, INTERRUPTS)
    source = Interrupts([0, 1], str(path))
    try:
        source.room(3)
        read = source.reader()
        read(0)
        more = " 38:    1000000    1000000          0  PCI-MSIX   0-edge      new-device\n"
        rewrite(path, INTERRUPTS.replace("14575214", "14575220") + more)
        read(1)
        rewrite(path, INTERRUPTS.replace("14575214", "14575221").replace("       CPU1", ""))  # CPU 1 went offline
        read(2)
        assert source.deltas(3) == {"interrupts": [6, None]}
    finally:
        source.close()
    assert "interrupts" in Interrupts([0], str(tmp_path / "none")).unavailable
    put(tmp_path / "empty", "")
    assert "no lines" in Interrupts([0], str(tmp_path / "empty")).unavailable["interrupts"]


def test_a_window_of_vmstat_that_is_cut_off_keeps_the_whole_lines() -> None:
    window = b"numa_pte_updates 5\nnuma_huge_pte_updates 9\nnuma_hint_faults 7\npgmigrate_succ"
    assert parse_vmstat(window + b"\0\0") == {"numa_pte_updates": 5, "numa_hint_faults": 7}


def test_each_tier_costs_what_those_before_it_cost_and_more() -> None:
    made = taken("B", 1)
    steps = []
    try:
        found = costs.measure_tiers(lambda: steps.append(1), made, HERE[:1])
    finally:
        made.close()
    assert {*found} == {"A", "B", "C", "D", "per_thread_ns"}
    assert 0 < found["A"]["p50"] < found["B"]["p50"] <= found["C"]["p50"] < found["D"]["p50"]
    assert all(found[tier]["p50"] <= found[tier]["p90"] for tier in "ABCD")
    assert 1 <= len(steps) <= costs.ROUNDS
    assert found["per_thread_ns"] is None or found["per_thread_ns"] > 0


def test_measuring_the_tiers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    made = taken("D", 1)
    steps = []
    try:
        costs.measure_tiers(lambda: steps.append(1), made, HERE[:1])
    finally:
        made.close()
    assert steps == [1]
