"""The recorder and the watch read one host alike: on one tree they count the same, also where it is an odd one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench.test_counters import INTERRUPTS, STAT, V2, idle_state
from watch.tree import Process, Thread, Tree

from numatune.bench import counted
from numatune.bench.counters import cpufiles, procstat, vmstat
from numatune.bench.counters.sources import Schedstat, Source
from numatune.bench.parsers import NO_ACCOUNTS, parse_interrupts
from numatune.bench.watching import around
from numatune.bench.watching.process import Processes
from numatune.bench.watching.readers import Reader

CPU = "sys/devices/system/cpu"
V2_SELF = "0::/a/b\n"


def both(watch: Reader, recorder: Source, change: Callable[[], None], cpus: list[int]) -> dict[str, int]:
    """Return what the watch counts over a change, which is what the recorder counts."""
    watch.growth(cpus)
    recorder.room(2)
    recorder.reader()(0)
    change()
    grown = watch.growth(cpus)
    recorder.reader()(1)
    assert {name: values[0] for name, values in recorder.deltas(2).items()} == grown
    watch.close()
    recorder.close()
    return grown


def test_ticks_and_switches(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/stat", STAT)
    after = STAT.replace(" 1669 0 0", " 1671 0 0").replace(" 8811 ", " 8812 ").replace("124371086", "124371099")
    grown = both(
        around.Stat(tree.roots),
        procstat.ProcStat([0, 1], str(tree.proc / "stat")),
        lambda: tree.put("proc/stat", after),
        [0, 1],
    )
    assert grown["host_switches"] == 13
    assert grown["steal_ns"] == 2 * grown["softirq_ns"] > 0


def test_an_interrupt_line_that_goes_hides_nothing_and_one_that_comes_is_no_jump(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/interrupts", INTERRUPTS)
    after = INTERRUPTS.replace("14575214", "14575220")
    after = "".join(line for line in after.splitlines(keepends=True) if "virtio1-req.0" not in line)
    after = after.replace("NMI:", " 38:   1000000    1000000          0  PCI-MSIX   0-edge      new-device\nNMI:")
    grown = both(
        around.Interrupts(tree.roots),
        procstat.Interrupts([0, 1], str(tree.proc / "interrupts")),
        lambda: tree.put("proc/interrupts", after),
        [0, 1],
    )
    assert grown == {"interrupts": 6}


def test_a_number_that_another_device_gets_is_no_jump(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/interrupts", INTERRUPTS)
    reader = around.Interrupts(tree.roots)
    reader.growth([0, 1])
    tree.put(
        "proc/interrupts",
        INTERRUPTS.replace("          5    8759430 ", "          9    9999999 ").replace("virtio1-req.0", "nvme0q1"),
    )
    assert reader.growth([0, 1]) == {"interrupts": 0}
    reader.close()


def test_errors_of_a_host_with_one_cpu_are_no_interrupts(tmp_path: Path) -> None:
    text = "           CPU0\nLOC:   10   Local timer interrupts\nERR:   {}\nMIS:   {}\n"
    assert parse_interrupts(text.format(900, 900), [0]) == {"LOC Local timer interrupts": {0: 10}}
    tree = Tree(tmp_path)
    tree.put("proc/interrupts", text.format(0, 0))
    grown = both(
        around.Interrupts(tree.roots),
        procstat.Interrupts([0], str(tree.proc / "interrupts")),
        lambda: tree.put("proc/interrupts", text.format(7, 8)),
        [0],
    )
    assert grown == {"interrupts": 0}


def test_a_garbled_interrupt_line_stops_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/interrupts", "     CPU0   CPU1\n 24:   what   7\nLOC:  1  2  Local timer interrupts\n")
    reader = around.Interrupts(tree.roots)
    reader.growth([0, 1])
    tree.put("proc/interrupts", "     CPU0   CPU1\n 24:   else   9\nLOC:  1  5  Local timer interrupts\n")
    assert reader.growth([0, 1]) == {"interrupts": 3}
    reader.close()


def test_idle_states_without_polling(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    base = tmp_path / CPU
    for cpu in (0, 1):
        idle_state(base, cpu, 0, "POLL", 1_000_000, 1_000_000)
        idle_state(base, cpu, 1, "C1", 100, 2_000)

    def change() -> None:
        for state in (0, 1):
            tree.put(f"{CPU}/cpu1/cpuidle/state{state}/usage", "1000107\n" if state == 0 else "107\n")
            tree.put(f"{CPU}/cpu1/cpuidle/state{state}/time", "2009\n")

    grown = both(around.PerCpuFiles(counted.IDLE, [0, 1], tree.roots), cpufiles.Idle([0, 1], str(base)), change, [0, 1])
    assert grown == {"idle_exits": 7, "idle_ns": 9_000}


@pytest.mark.parametrize("file", [counted.IDLE, counted.FREQUENCY, counted.THROTTLE])
def test_what_no_cpu_counts_has_one_reason(tmp_path: Path, file: str) -> None:
    tree = Tree(tmp_path)
    kind = {one.file: one for one in (cpufiles.Idle, cpufiles.Frequency, cpufiles.Throttling)}[file]
    reader, source = around.PerCpuFiles(file, [0], tree.roots), kind([0], str(tmp_path / CPU))
    assert reader.unavailable == source.unavailable
    assert tuple(reader.unavailable) == counted.of(file)


@pytest.mark.parametrize(
    ("mounts", "place"), [(V2, "sys/fs/cgroup"), ("25 30 0:22 / {}/groups rw - cgroup2 cgroup2 rw\n", "groups")]
)
def test_the_quota_is_that_of_the_groups_as_they_are_mounted(tmp_path: Path, mounts: str, place: str) -> None:
    tree = Tree(tmp_path)
    tree.mount(mounts.format(tmp_path))
    tree.put("proc/7/cgroup", V2_SELF)
    tree.put("proc/self/cgroup", V2_SELF)
    tree.put(f"{place}/cpu.stat", "usage_usec 1\n")
    tree.put(f"{place}/a/cpu.stat", "nr_throttled 5\nthrottled_usec 10\n")
    tree.put(f"{place}/a/b/cpu.stat", "nr_throttled 1\nthrottled_usec 1\n")
    root = str(tmp_path) if place.startswith("sys") else ""
    grown = both(
        around.Quota(7, tree.roots),
        cpufiles.Quota(str(tree.proc / "self"), root),
        lambda: tree.put(f"{place}/a/cpu.stat", "nr_throttled 7\nthrottled_usec 30\n"),
        [],
    )
    assert grown == {"quota_throttled": 2, "quota_throttled_ns": 20_000}


def test_a_group_that_goes_away_does_not_hide_the_quota_above_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.put("proc/7/cgroup", V2_SELF)
    tree.put("sys/fs/cgroup/a/cpu.stat", "nr_throttled 5\nthrottled_usec 10\n")
    tree.put("sys/fs/cgroup/a/b/cpu.stat", "nr_throttled 900\nthrottled_usec 900\n")
    reader = around.Quota(7, tree.roots)
    reader.growth(())
    tree.put("sys/fs/cgroup/a/cpu.stat", "nr_throttled 7\nthrottled_usec 30\n")
    tree.put("sys/fs/cgroup/a/b/cpu.stat", "")
    assert reader.growth(()) == {"quota_throttled": 2, "quota_throttled_ns": 20_000}
    reader.close()


def test_a_kernel_without_huge_pages_needs_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path)
    text = "numa_pte_updates 7\nnuma_hint_faults {}\nnuma_hint_faults_local 1\nnuma_pages_migrated 2\n"
    text += "pgmigrate_success 4\n"
    tree.put("proc/vmstat", text.format(40))
    monkeypatch.setattr(vmstat, "_PATH", str(tree.proc / "vmstat"))
    reader, source = around.Vmstat(tree.roots), vmstat.VmstatReadings()
    grown = both(reader, source, lambda: tree.put("proc/vmstat", text.format(43)), [])
    assert grown["numa_hint_faults"] == 3
    assert reader.unavailable == source.unavailable == {}


def test_a_scheduler_without_accounts_is_said_by_both(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.show(7, Process(threads={7: Thread(slices=0), 8: Thread(slices=0)}))
    processes = Processes(str(tree.proc))
    processes.read([7])
    processes.close()
    source = Schedstat([7, 8], str(tree.proc / "7"))
    assert source.names == ()
    assert source.unavailable == dict.fromkeys(("cpu_time_ns", "run_delay_ns"), NO_ACCOUNTS)
    assert source.unavailable.items() <= processes.unavailable.items()


def test_migrations_that_the_kernel_does_not_count_are_not_none(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.show(7, Process(threads={7: Thread(cpu_ns=5, voluntary=3)}))
    tree.put(
        "proc/7/task/7/sched", "x (7, #threads: 1)\n----\nnr_voluntary_switches :  3\nnr_involuntary_switches : 0\n"
    )
    processes = Processes(str(tree.proc))
    processes.read([7])
    tree.put("proc/7/task/7/schedstat", "9 0 2\n")
    tree.put(
        "proc/7/task/7/status", "Cpus_allowed_list:\t0\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t0\n"
    )
    processes.read([7])
    processes.close()
    assert "does not count them" in processes.unavailable["cpu_migrations"]
    assert processes.totals["voluntary_switches"] == 2
