"""What grew on the host over a run and who else was there: on captures, fake folders and this host's own files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from numatune.bench.counters import kmsg, surroundings, tasks
from numatune.bench.counters.kmsg import KernelLog, parse_record
from numatune.bench.counters.surroundings import Frequencies, Surroundings, growth, parse_diskstats
from numatune.bench.counters.tasks import Snapshot, foreign_load, snapshot
from numatune.bench.host import read_text

HERE = sorted(os.sched_getaffinity(0))


def counts(**changes: object) -> dict[str, object]:
    return {
        "cpu_times": {0: {"user": 10, "idle": 90, "steal": 0}},
        "interrupts": {"LOC timer": {0: 5}, "36 disk": {0: 1}},
        "disks": {"read_bytes": 512, "written_bytes": 0, "ops": 1},
        "vmstat": {"numa_hint_faults": 1},
        "small": {"idle_exits": 4, "quota_throttled": 0, "quota_throttled_ns": 0},
        **changes,
    }


def test_growth_of_the_hosts_counts() -> None:
    after = counts(
        cpu_times={0: {"user": 100, "idle": 98, "steal": 2}},
        interrupts={"LOC timer": {0: 25}, "36 disk": {0: 1}, "40 new": {0: 30}},
        disks={"read_bytes": 1024, "written_bytes": 4096, "ops": 3},
        vmstat={"numa_hint_faults": 8},
        small={"idle_exits": 9, "quota_throttled": 3, "quota_throttled_ns": 7_000},
    )
    grown = growth(counts(), after)
    assert grown["steal_share"] == pytest.approx(0.02)
    assert grown["steal_ns"] == 2 * 10**9 // os.sysconf("SC_CLK_TCK")
    assert grown["interrupts"] == 50
    assert grown["interrupts_by_name"] == [
        {"name": "40 new", "cpus": "0", "count": 30},
        {"name": "LOC timer", "cpus": "0", "count": 20},
    ]
    assert grown["disk_io"] == {"read_bytes": 512, "written_bytes": 4096, "ops": 2}
    assert (grown["idle_exits"], grown["cgroup_throttled"], grown["cgroup_throttled_ns"]) == (5, 3, 7_000)
    assert (grown["thermal_throttles"], grown["frequency_changes"]) == (None, None)
    assert grown["vmstat"] == {"numa_hint_faults": 7}


def test_what_a_host_does_not_have_is_null() -> None:
    bare = counts(interrupts=None, disks=None, small={}, vmstat={})
    grown = growth(bare, bare)
    assert grown["interrupts"] is grown["disk_io"] is grown["idle_exits"] is None
    assert grown["interrupts_by_name"] == []
    assert grown["vmstat"] == {}


def test_a_cpu_that_comes_back_spoils_nothing() -> None:
    after = counts(cpu_times={0: {"user": 20, "idle": 90, "steal": 0}, 1: {"user": 999, "idle": 0, "steal": 999}})
    assert growth(counts(), after)["steal_share"] == 0.0


def test_a_cpu_that_goes_offline_is_no_throttling() -> None:
    before, after = counts(small={"throttle_events": 900}), counts(small={"throttle_events": 400})
    assert growth(before, after)["thermal_throttles"] == 0


def test_a_kernel_that_sleeps_to_tell_a_frequency_is_not_asked_during_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frequency(tmp_path, 0, "2000000\n")
    around = Surroundings([0], str(tmp_path))
    monkeypatch.setattr(surroundings, "SLOW_READING_NS", -1)
    try:
        around.start()
        frequency(tmp_path, 0, "3000000\n")
        around.sample()
        frequency(tmp_path, 0, "2500000\n")
        assert around.stop()["frequency_khz"] == {"0": [2000000, 2500000]}
    finally:
        around.close()


def test_a_mount_point_that_is_no_text_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_bytes(b"41 31 8:1 / /media/caf\xe9 rw - ext4 /dev/sda1 rw\n")
    assert "/media/caf" in str(read_text(str(tmp_path / "mountinfo")))


DISKSTATS = """   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9
 254       0 vda 100 5 800 9 50 6 400 7 0 8 9 1 0 2 3
 254       1 vda1 90 5 700 9 40 6 300 7 0 8 9
 259       0 nvme0n1 1 0 8 0 1 0 8 0 0 0 0
 253       0 dm-0 100 0 800 0 50 0 400 0 0 0 0
"""


def test_disk_io_counts_each_disk_once() -> None:
    found = parse_diskstats(DISKSTATS, {"vda", "nvme0n1"})
    assert found == {"read_bytes": 808 * 512, "written_bytes": 408 * 512, "ops": 152}
    assert parse_diskstats("", {"vda"}) is None
    assert parse_diskstats(DISKSTATS, set()) is None


def test_disks_are_those_with_a_device(tmp_path: Path) -> None:
    (tmp_path / "vda/device").mkdir(parents=True)
    (tmp_path / "dm-0").mkdir()
    assert surroundings.whole_disks(str(tmp_path)) == {"vda"}
    assert surroundings.whole_disks(str(tmp_path / "none")) == set()


def frequency(base: Path, cpu: int, text: str) -> None:
    path = base / f"cpu{cpu}/cpufreq/scaling_cur_freq"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+" if path.exists() else "w") as file:
        file.write(text)
        file.truncate()


def test_frequencies_are_sampled_in_turns(tmp_path: Path) -> None:
    for cpu in range(3):
        frequency(tmp_path, cpu, "2000000\n")
    seen = Frequencies([0, 1, 2], str(tmp_path))
    try:
        seen.sample(3)
        for cpu in range(3):
            frequency(tmp_path, cpu, "3100000\n")
        seen.sample(2)
        assert seen.seen() == {"0": [2000000, 3100000], "1": [2000000, 3100000], "2": [2000000, 2000000]}
        frequency(tmp_path, 2, "<unknown>\n")
        seen.sample(100)
        assert seen.seen() == {"0": [2000000, 3100000], "1": [2000000, 3100000], "2": [2000000, 2000000]}
    finally:
        seen.close()
    assert Frequencies([0], str(tmp_path / "none")).seen() is None


def test_a_record_of_the_kernel_is_one_clean_line() -> None:
    record = b"4,1052,318472,-;perf: interrupt took too long\\x1b[31m (2512 > 2500)\n SUBSYSTEM=cpu\n DEVICE=+cpu:0\n"
    assert parse_record(record) == "perf: interrupt took too long\\x1b[31m (2512 > 2500)"
    assert parse_record(b"6,1,2,-;\x1b[31mred\xff\tx\n") == "?[31mred\\xff?x"
    assert len(parse_record(b"6,1,2,-;" + b"a" * 5000)) == kmsg.MOST_CHARACTERS


def test_the_log_of_a_run_is_limited_and_keeps_no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A FIFO stands in for /dev/kmsg: what came before the start is gone, what comes later is read in records."""
    monkeypatch.setattr(os, "lseek", lambda *_what: 0)
    records = [f"6,{number},1,-;line {number}\n".encode() for number in range(25)]
    records.insert(1, b"4,99,1,-;[UFW BLOCK] IN=eth0 SRC=192.0.2.7 DST=192.0.2.9\n")
    before: list[bytes] = [b"6,0,1,-;long ago\n"]

    def read(_file: int, _most: int) -> bytes:
        if not before:
            raise BlockingIOError
        return before.pop(0)

    monkeypatch.setattr(os, "read", read)
    (tmp_path / "kmsg").touch()
    log = KernelLog(str(tmp_path / "kmsg"))
    before.extend(records)
    found = log.lines()
    log.close()
    assert found["lines"] == [f"line {number}" for number in range(20)]
    assert found["left_out"] == 6
    assert found["unavailable"] is None


def test_a_log_that_may_not_be_read_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_what: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "open", refuse)
    assert KernelLog().lines() == {"lines": [], "left_out": 0, "unavailable": "/dev/kmsg: needs root"}
    monkeypatch.undo()
    assert "No such file" in str(KernelLog(str(tmp_path / "none")).lines()["unavailable"])


def task(proc: Path, pid: int, tid: int, name: str, spent: int, cpu: int, schedstat: bool = True) -> None:
    folder = proc / f"{pid}/task/{tid}"
    folder.mkdir(parents=True, exist_ok=True)
    after_name = ["R", *["0"] * 10, str(spent // 10_000_000), "0", *["0"] * 23, str(cpu), "0", "0"]
    (folder / "stat").write_text(f"{tid} ({name}) {' '.join(after_name)}\n")
    if schedstat:
        (folder / "schedstat").write_text(f"{spent} 0 1\n")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, set[int]]], None]:
    def use(sets: dict[int, set[int]]) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda tid: sets.get(tid, {0, 1, 2, 3}))

    return use


def test_foreign_tasks_on_the_serving_cpus_are_named(
    tmp_path: Path, allowed: Callable[[dict[int, set[int]]], None]
) -> None:
    allowed({21: {0}})
    task(tmp_path, 10, 10, "CPU 0/KVM) x", 5_000_000, cpu=0)
    task(tmp_path, 10, 11, "idle", 7_000_000, cpu=0)
    task(tmp_path, 20, 21, "kworker/0:1", 1_000_000, cpu=3)
    task(tmp_path, 30, 30, "elsewhere", 0, cpu=3)
    task(tmp_path, 40, 40, "old\x1bkernel", 20_000_000, cpu=1, schedstat=False)
    (tmp_path / "self").mkdir()
    before = snapshot(str(tmp_path))
    task(tmp_path, 10, 10, "CPU 0/KVM) x", 905_000_000, cpu=0)
    task(tmp_path, 20, 21, "kworker/0:1", 3_500_000, cpu=3)
    task(tmp_path, 30, 30, "elsewhere", 800_000_000, cpu=3)
    task(tmp_path, 40, 40, "old\x1bkernel", 50_000_000, cpu=1, schedstat=False)
    task(tmp_path, 50, 50, "new", 400_000_000, cpu=1)
    found = foreign_load(before, snapshot(str(tmp_path)), [0, 1], str(tmp_path))
    tick = 100 // os.sysconf("SC_CLK_TCK")
    assert found == [
        {"task": "CPU 0/KVM) x", "pid": 10, "cpu_ms": 900.0, "cpus": "0-3"},
        {"task": "new", "pid": 50, "cpu_ms": 400.0, "cpus": "0-3"},
        {"task": "old?kernel", "pid": 40, "cpu_ms": 30.0 * tick, "cpus": "0-3"},
        {"task": "kworker/0:1", "pid": 20, "cpu_ms": 2.5, "cpus": "0"},
    ]


def test_a_host_of_many_tasks_is_seen_in_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(1, 41):
        task(tmp_path, 9000 + number, 9000 + number, "many", 10**9 * number, cpu=0)
    monkeypatch.setattr(tasks, "MOST_TASKS", 30)
    part = snapshot(str(tmp_path))
    assert len(part.times) == 30
    assert not part.whole
    # A task that was not looked at before is not new, and its whole life is not the run's.
    monkeypatch.setattr(tasks, "MOST_TASKS", 100)
    assert foreign_load(part, snapshot(str(tmp_path)), [0], str(tmp_path)) == []
    shown = foreign_load(Snapshot({}, True), snapshot(str(tmp_path)), [0], str(tmp_path))
    assert len(shown) == tasks.MOST_SHOWN
    assert shown[0]["cpu_ms"] == 40_000.0
    monkeypatch.setattr(tasks, "MOST_SECONDS", -1.0)
    assert not snapshot(str(tmp_path)).whole


def test_a_real_task_that_spins_is_found() -> None:
    before = snapshot()
    cpu = HERE[0]
    program = f"import os, time\nos.sched_setaffinity(0, {{{cpu}}})\n"
    program += "while time.process_time() < 0.15:\n pass\nprint('spun', flush=True)\ninput()"
    spinner = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert spinner.stdout is not None
        assert spinner.stdout.readline() == b"spun\n"
        found = foreign_load(before, snapshot(), [cpu])
        mine = [one for one in found if one["pid"] == spinner.pid]
        assert mine[0]["cpu_ms"] >= 140
        assert mine[0]["cpus"] == str(cpu)
        assert [one for one in found if one["pid"] == os.getpid()] == []
        assert [one for one in snapshot(own=[spinner.pid]).times if one[0] == spinner.pid] == []
    finally:
        spinner.send_signal(signal.SIGKILL)
        spinner.communicate()


def test_the_surroundings_of_this_host() -> None:
    around = Surroundings(HERE[:1])
    try:
        around.start()
        around.sample()
        grown = around.stop()
    finally:
        around.close()
    assert {
        *("steal_share", "steal_ns", "cpu_jiffies", "interrupts", "interrupts_by_name", "thermal_throttles"),
        *("cgroup_throttled", "cgroup_throttled_ns", "idle_exits", "idle_ns", "frequency_changes", "frequency_khz"),
        *("disk_io", "dmesg", "foreign_load", "foreign_load_whole", "vmstat"),
    } == {*grown}
    assert 0.0 <= grown["steal_share"] <= 1.0
    assert len(grown["interrupts_by_name"]) <= surroundings.MOST_INTERRUPTS
