"""The recorder's parts on made-up input: CPU lists, thread places, validity, locks, Python 3.9 syntax."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path

import pytest

from numatune.bench import cpus, validity
from numatune.bench.errors import INVALID_RUN, BenchError
from numatune.bench.model.engine import affinity_groups
from numatune.bench.packages import locks
from numatune.bench.placing import pinning
from numatune.bench.placing.pinning import ThreadPlace

PACKAGE = Path(__file__).parents[2] / "numatune/bench"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_recorder_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize(
    ("text", "listed"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("", []), ("5", [5]), ("2,0-1", [0, 1, 2]), (" 0-1\n", [0, 1]), ("1,1", [1])],
)
def test_a_cpu_list_is_read(text: str, listed: list[int]) -> None:
    assert cpus.parse_cpu_list(text) == listed


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "0-99999999", "1.5", "0x3"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="is not a list of CPUs"):
        cpus.parse_cpu_list(text)


@pytest.mark.parametrize(("listed", "text"), [([0, 1, 2, 8], "0-2,8"), ([], ""), ([4], "4"), ([3, 1], "1,3")])
def test_a_cpu_list_is_written(listed: list[int], text: str) -> None:
    assert cpus.format_cpu_list(listed) == text


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores with two threads each: cores 0-3 on node 0, 4-7 on node 1, siblings n and n+8."""
    monkeypatch.setattr(cpus, "allowed_cpus", lambda: list(range(16)))
    monkeypatch.setattr(cpus, "node_of_cpus", lambda: {cpu: cpu % 8 // 4 for cpu in range(16)})
    monkeypatch.setattr(
        cpus, "_read", lambda path: f"{int(path.split('/cpu')[2].split('/')[0]) % 8},{(cpu_of(path) % 8) + 8}"
    )


def cpu_of(path: str) -> int:
    return int(path.split("/cpu")[2].split("/")[0])


@pytest.mark.usefixtures("two_nodes")
class TestChoice:
    """Which CPUs get a thread."""

    def test_auto_is_one_thread_per_core_of_one_node(self) -> None:
        assert cpus.choose_cpus(None) == [0, 1, 2, 3]

    def test_auto_takes_the_node_with_the_most_serving_cores(self) -> None:
        assert cpus.choose_cpus(None, [1, 4, 5, 6, 12]) == [4, 5, 6]

    def test_more_threads_spill_to_the_other_node(self) -> None:
        assert cpus.choose_cpus(5) == [0, 1, 2, 3, 4]

    def test_thread_siblings_stay_idle(self) -> None:
        with pytest.raises(BenchError, match=r"--threads 9: there are 8 free cores for it \(CPUs 0-7\)"):
            cpus.choose_cpus(9)

    def test_of_two_siblings_asked_for_one_is_used(self) -> None:
        assert cpus.choose_cpus(None, [3, 11]) == [3]

    def test_a_cpu_outside_the_process_affinity_is_refused(self) -> None:
        with pytest.raises(BenchError, match="CPU 40 cannot be used here"):
            cpus.choose_cpus(None, [0, 40])

    @pytest.mark.parametrize("threads", [0, -2])
    def test_no_thread_is_refused(self, threads: int) -> None:
        with pytest.raises(BenchError, match="at least one thread"):
            cpus.choose_cpus(threads)

    def test_no_cpu_is_refused(self) -> None:
        with pytest.raises(BenchError, match="no CPU"):
            cpus.choose_cpus(None, [])


def test_the_engine_counts_cpus_from_one_and_leaves_out_the_caller() -> None:
    assert affinity_groups([4, 5, 9]) == "6;10"
    assert affinity_groups([4]) == ""


def place(role: str, wanted: str, allowed: str) -> ThreadPlace:
    return ThreadPlace(1, role, "x", wanted, allowed)


def test_a_thread_off_its_cpu_is_named() -> None:
    good = [place("caller", "0", "0"), place("helper", "", "0-3"), place("worker", "1", "1")]
    assert pinning.complaints(good, 2) == []
    assert pinning.complaints(good, 3) == ["the engine has 2 threads, not 3"]
    astray = [place("caller", "0", "0"), place("worker", "one of 1", "0-3")]
    assert pinning.complaints(astray, 2) == ["worker 1 may run on 0-3, not on one of 1"]


def test_a_worker_that_was_not_pinned_is_seen() -> None:
    """A real thread that may run anywhere stands in for an engine that ignored its affinity."""
    stop, ids = threading.Event(), []
    began = threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        began.set()
        stop.wait()

    worker = threading.Thread(target=work)
    worker.start()
    began.wait()
    try:
        free = sorted(os.sched_getaffinity(0))
        with pinning.idle_helper() as helper, pinning.pinned_caller(free[0]):
            places = pinning.observe_threads([free[0], 60_000], {ids[0]}, helper)
        assert places[0].role == "caller"
        assert places[0].allowed == str(free[0])
        assert len(pinning.complaints(places, 2)) == 1
        assert os.sched_getaffinity(0) == set(free)
    finally:
        stop.set()
        worker.join()


def test_a_free_host_may_start() -> None:
    assert validity.judge_start({0: 0.05, 1: 0.2}, 0.1) == []


def test_a_busy_cpu_marks_the_run() -> None:
    events = validity.judge_start({0: 0.05, 1: 0.6}, 0.5)
    assert [event["event"] for event in events] == ["oversubscribed"]
    assert "CPU 1 busy up to 60%" in events[0]["detail"]


def test_a_host_with_no_room_is_refused() -> None:
    with pytest.raises(BenchError, match="not started") as caught:
        validity.judge_start({0: 0.99, 1: 1.0}, 4.5)
    assert caught.value.code == INVALID_RUN
    assert "--anyway (the run will not count for a verdict)" in str(caught.value)
    assert [event["event"] for event in validity.judge_start({0: 0.99, 1: 1.0}, 4.5, anyway=True)] == ["oversubscribed"]


def growth(steal: float = 0.0, ticks: int = 0, throttles: int | None = None) -> dict[str, object]:
    return {"steal_share": steal, "cpu_jiffies": {"steal": ticks}, "thermal_throttles": throttles}


@pytest.mark.parametrize(
    ("grown", "clocks", "names"),
    [
        (growth(), ("tsc", "tsc"), []),
        (growth(0.02, 40), ("tsc", "tsc"), ["steal"]),
        (growth(0.02, 1), ("tsc", "tsc"), []),  # one tick of a short run
        (growth(throttles=0), ("tsc", "tsc"), []),
        (growth(throttles=3), ("tsc", "tsc"), ["throttled"]),
        (growth(), ("tsc", "hpet"), ["clock_changed"]),
    ],
)
def test_what_makes_a_run_invalid(grown: dict[str, object], clocks: tuple[str, str], names: list[str]) -> None:
    assert [event["event"] for event in validity.judge_run(grown, *clocks)] == names


def test_a_cpu_that_was_lost_is_a_thread_off_its_cpu() -> None:
    assert validity.cpus_lost([0, 1], {0, 1, 2}, [0, 1]) == []
    assert validity.cpus_lost([0, 1], set(), []) == []  # a kernel that does not say
    (gone,) = validity.cpus_lost([0, 1], {0, 2}, [0, 2])
    assert gone == {"event": "thread_off_its_cpu", "detail": "CPU 1 went offline during the run"}
    (shrunk,) = validity.cpus_lost([0, 1, 2], {0, 1, 2}, [0])
    assert shrunk["event"] == "thread_off_its_cpu"
    assert "CPU 1-2 was taken from this process's cpuset" in shrunk["detail"]


def test_what_settings_cure_does_not_invalidate() -> None:
    cured = {"interrupts": 10**9, "cgroup_throttled": 50, "idle_exits": 10**6, "foreign_load": [{"cpu_ms": 1e6}]}
    assert validity.judge_run({**growth(), **cured}, "tsc", "tsc") == []


@pytest.mark.parametrize(
    ("python", "engine"), [((3, 9), "1.19.2"), ((3, 10), "1.23.2"), ((3, 11), "1.32.0"), ((3, 13), "1.32.0")]
)
def test_each_python_has_its_engine(python: tuple[int, int], engine: str) -> None:
    assert locks.lock_for(python)["onnxruntime"] == engine


def test_an_older_python_has_none() -> None:
    assert locks.lock_for((3, 8)) == {}
