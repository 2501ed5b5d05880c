"""What the threads of a process did, from a tree whose numbers are known."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from watch.tree import Process, Thread, Tree

from numatune.bench.errors import BenchError
from numatune.bench.watching.process import Processes


def service() -> Process:
    return Process(
        minor=500,
        major=7,
        threads={
            10: Thread(cpu_ns=1000, delay_ns=50, voluntary=3, involuntary=1, migrations=2),
            11: Thread(cpu_ns=2000, delay_ns=60, voluntary=4, involuntary=2, migrations=5, allowed="3"),
        },
    )


def test_only_growth_counts_and_it_is_exact(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    assert taken.read([10]) == 1
    assert set(taken.totals.values()) == {0}
    assert (taken.threads, taken.allowed, taken.comms) == (2, {0, 1, 3}, {10: "serve"})
    process.minor, process.major = 530, 9
    process.threads[10] = Thread(1700, 90, 4, 5, 2, 3)
    process.threads[11] = Thread(2005, 61, 2, 4, 3, 5)
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert taken.totals == {
        "minor_faults": 30,
        "major_faults": 2,
        "voluntary_switches": 2,
        "involuntary_switches": 2,
        "cpu_migrations": 1,
        "cpu_time_ns": 705,
        "run_delay_ns": 41,
    }
    assert taken.unavailable == {}


def test_threads_come_and_go_and_no_sum_falls(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    taken.read([10])
    process.threads[11].cpu_ns += 400
    process.threads[12] = Thread(cpu_ns=90, delay_ns=5, voluntary=6)  # started since: all of it counts
    tree.show(10, process)
    taken.read([10])
    assert (taken.totals["cpu_time_ns"], taken.totals["voluntary_switches"], taken.threads) == (490, 6, 3)
    del process.threads[11], process.threads[12]
    process.threads[10].cpu_ns += 10
    tree.show(10, process)
    taken.read([10])
    assert (taken.totals["cpu_time_ns"], taken.totals["voluntary_switches"], taken.threads) == (500, 6, 1)
    process.threads[11] = Thread(cpu_ns=30)  # the number again, another thread
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert (taken.totals["cpu_time_ns"], taken.most_threads) == (530, 3)


def test_a_process_that_was_started_since_counts_whole_and_one_that_was_moved_in_does_not(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.show(10, service())
    taken = Processes(str(tree.proc), since_ticks=1000)
    taken.read([10])
    tree.show(20, Process(started=1000, minor=40, threads={20: Thread(cpu_ns=70)}))
    tree.show(30, Process(started=999, minor=8000, threads={30: Thread(cpu_ns=9000)}))
    assert taken.read([10, 20, 30]) == 3
    assert (taken.totals["minor_faults"], taken.totals["cpu_time_ns"]) == (40, 70)
    tree.remove(20)
    assert taken.read([10, 30]) == 2
    taken.close()
    assert (taken.totals["minor_faults"], taken.totals["cpu_time_ns"]) == (40, 70)


def test_a_dead_process_is_not_alive(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    assert taken.read([10]) == 1
    process.state = "Z"
    tree.show(10, process)
    assert taken.read([10]) == 1  # its first thread ended, another goes on
    del process.threads[11]
    tree.show(10, process)
    assert taken.read([10]) == 0
    tree.remove(10)
    assert taken.read([10]) == 0
    taken.close()


def test_a_kernel_without_sched_has_switches_and_names_the_migrations(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path, sched=False), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    taken.read([10])
    process.threads[10] = Thread(1001, 50, 2, 13, 21)
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert (taken.totals["voluntary_switches"], taken.totals["involuntary_switches"]) == (10, 20)
    assert list(taken.unavailable) == ["cpu_migrations"]
    assert "this kernel does not have it" in taken.unavailable["cpu_migrations"]


def test_a_scheduler_that_keeps_no_accounts_is_named(tmp_path: Path) -> None:
    """It shows zeros: then a thread that ran looks like one that did not, and is read nevertheless."""
    tree, process = Tree(tmp_path), service()
    process.threads = {10: Thread(slices=0, voluntary=3)}
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    taken.read([10])
    process.threads[10].voluntary = 9
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert taken.totals["voluntary_switches"] == 6
    assert set(taken.unavailable) == {"cpu_time_ns", "run_delay_ns"}


def test_what_needs_root_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path)
    tree.show(10, service())
    real = os.open

    def refuse(path: str, flags: int, *rest: int) -> int:
        if str(path).endswith("/schedstat"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    taken = Processes(str(tree.proc))
    assert taken.read([10]) == 1
    taken.close()
    assert set(taken.unavailable) == {"cpu_time_ns", "run_delay_ns"}
    assert "needs root" in taken.unavailable["run_delay_ns"]


def test_the_last_cpus_are_those_of_threads_that_ran(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    taken.follow_cpus = True
    taken.read([10])
    process.threads[11].cpu_ns += 1
    process.threads[11].last_cpu = 5
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert taken.last_cpus == {5}


def test_real_threads_that_end_leave_their_sums_and_no_open_file() -> None:
    files = len(list(Path("/proc/self/fd").iterdir()))
    taken = Processes()
    assert taken.read([os.getpid()]) == 1
    may_end, ready = threading.Event(), threading.Barrier(9)

    def work() -> None:
        sum(range(200_000))
        ready.wait()
        may_end.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    taken.read([os.getpid()])
    before, seen = dict(taken.totals), taken.threads
    may_end.set()
    for thread in threads:
        thread.join()
    taken.read([os.getpid()])
    after = dict(taken.totals)
    taken.close()
    assert before["cpu_time_ns"] > 0
    assert all(after[name] >= before[name] for name in before)
    assert seen >= 9
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_a_count_that_falls_takes_nothing_away(tmp_path: Path) -> None:
    tree, process = Tree(tmp_path), service()
    tree.show(10, process)
    taken = Processes(str(tree.proc))
    taken.read([10])
    process.threads[10] = Thread(cpu_ns=1500, delay_ns=50, voluntary=1, involuntary=1, migrations=0)
    tree.show(10, process)
    taken.read([10])
    taken.close()
    assert (taken.totals["voluntary_switches"], taken.totals["cpu_migrations"], taken.totals["cpu_time_ns"]) == (
        0,
        0,
        500,
    )


def test_a_name_may_be_any_bytes(tmp_path: Path) -> None:
    """The kernel cuts a name after 15 bytes, in the middle of a letter too, and a process may set what it likes."""
    tree = Tree(tmp_path)
    tree.show(10, service())
    (tree.proc / "10/comm").write_bytes("日本語サー".encode()[:14] + b"\x1b\n")
    taken = Processes(str(tree.proc))
    taken.read([10])
    taken.close()
    assert taken.comms == {10: "日本語サ\ufffd?"}


def test_too_few_open_files_are_not_taken_for_a_kernel_that_lacks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path)
    tree.show(10, service())
    taken = Processes(str(tree.proc))
    taken.read([10])
    tree.show(20, service())

    def refuse(path: str, *_rest: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BenchError, match=r"2 threads need more open files .* raise `ulimit -n`"):
        taken.read([10, 20])
    assert taken.unavailable == {}
    taken.close()


@pytest.mark.parametrize("ended", ["stat", "schedstat"])
def test_what_ends_while_it_is_opened_leaves_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """A service that starts a process for each request meets this all day."""
    tree = Tree(tmp_path)
    tree.show(10, service())
    real_open, real_read, last = os.open, os.pread, [""]

    def note(path: str, *rest: int) -> int:
        last[0] = str(path)
        return real_open(path, *rest)

    def read(handle: int, length: int, place: int) -> bytes:
        if last[0].endswith("/" + ended):
            raise ProcessLookupError(3, "No such process")
        return real_read(handle, length, place)

    files = len(list(Path("/proc/self/fd").iterdir()))
    taken = Processes(str(tree.proc))
    monkeypatch.setattr(os, "open", note)
    monkeypatch.setattr(os, "pread", read)
    taken.read([10])
    taken.close()
    monkeypatch.undo()
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    assert taken.unavailable == {}
