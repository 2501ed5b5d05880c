"""One pinned run of a small workload: what happens in which order, what the result says of it, and what it leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from numatune.bench import host, measure, validity
from numatune.bench.counters import costs
from numatune.bench.measure import Limits, Step, frame, ignore, run_pinned

CPU = [min(os.sched_getaffinity(0))]


class Diary:
    """A workload that writes down when it is made, run and ended, and what surrounds its loop."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def workload(self) -> Iterator[Step]:
        self.lines.append("made")
        yield lambda: self.lines.append("step")
        self.lines.append("ended")

    @contextmanager
    def during(self) -> Iterator[None]:
        self.lines.append("disturbed")
        try:
            yield
        finally:
            self.lines.append("quiet")


def test_what_disturbs_a_run_surrounds_the_timed_loop_alone() -> None:
    diary = Diary()
    taken = run_pinned(CPU, diary.workload, Limits(7), ignore, during=diary.during)
    begin, end = diary.lines.index("disturbed"), diary.lines.index("quiet")
    assert diary.lines[0] == "made"
    assert diary.lines[1:begin] == ["step"] * len(taken.warm_up)
    assert diary.lines[begin + 1 : end] == ["step"] * 7
    assert diary.lines[end + 1 : -1] == ["step"] * costs.ROUNDS  # with which the tiers are measured
    assert diary.lines[-1] == "ended"
    assert len(taken.latency) == 7
    assert os.sched_getaffinity(0) >= {*CPU}


@pytest.mark.parametrize("tier", ["B", "C", "D"])
def test_the_result_says_which_tier_it_has_and_what_each_costs(tier: str) -> None:
    diary = Diary()
    opening = measure.Opening("2026-01-01T00:00:00Z", [], {})
    taken = run_pinned(CPU, diary.workload, Limits(5), ignore, tier)
    result = json.loads(json.dumps(frame(opening, taken, CPU, ["x"], "1", True, {"batch": 1})))
    assert result["environment"]["counter_tier"] == tier
    assert result["environment"]["batch"] == 1
    assert {*result["tier_cost_ns"]} == {"A", "B", "C", "D", "per_thread_ns"}
    assert {*result["counter_cost_ns"]} == {"p50", "p90"}
    assert ("host_switches" in result["counters"]) == (tier == "D")
    assert all(len(values) == 5 for values in result["counters"].values())
    assert {*result["counter_strides"]} >= {*result["counters"]} - {*result["counters_unavailable"]} - {
        *("minor_faults", "major_faults", "voluntary_switches", "involuntary_switches")
    }
    assert isinstance(result["run"]["foreign_load"], list)


def test_what_disturbs_a_run_is_still_there_when_the_host_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a task that was started on purpose would be missing from the foreign load."""
    diary = Diary()
    stop = measure.Surroundings.stop

    def look(self: measure.Surroundings) -> dict[str, object]:
        diary.lines.append("look")
        return stop(self)

    monkeypatch.setattr(measure.Surroundings, "stop", look)
    run_pinned(CPU, diary.workload, Limits(2), ignore, during=diary.during)
    begin = diary.lines.index("disturbed")
    assert diary.lines[begin : begin + 5] == ["disturbed", "step", "step", "look", "quiet"]


def test_a_cpu_that_goes_away_in_the_run_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "online_cpus", lambda: {CPU[0] + 1})
    taken = run_pinned(CPU, Diary().workload, Limits(3), ignore)
    phrase = f"CPU {CPU[0]} went offline during the run"
    assert validity.event("thread_off_its_cpu", phrase) in taken.events
    assert phrase in taken.misplaced


def test_a_thread_that_is_moved_in_the_run_is_an_event() -> None:
    others = sorted(os.sched_getaffinity(0) - {*CPU})
    if not others:
        pytest.skip("one CPU here")

    @contextmanager
    def workload() -> Iterator[Step]:
        yield lambda: None

    @contextmanager
    def moved() -> Iterator[None]:
        os.sched_setaffinity(0, {others[0]})
        yield

    taken = run_pinned(CPU, workload, Limits(3), ignore, during=moved)
    assert [event["event"] for event in taken.events].count("thread_off_its_cpu") == 1
    assert f"may run on {others[0]}, not on {CPU[0]}" in taken.misplaced[0]


@pytest.mark.parametrize("where", ["workload", "step", "during"])
def test_a_run_that_fails_leaves_nothing_open(where: str) -> None:
    def fail() -> None:
        raise RuntimeError(where)

    @contextmanager
    def workload() -> Iterator[Step]:
        if where == "workload":
            fail()
        yield fail if where == "step" else lambda: None

    @contextmanager
    def during() -> Iterator[None]:
        if where == "during":
            fail()
        yield

    def kept() -> tuple[list[str], set[int]]:
        return sorted(path.name for path in Path("/proc/self/fd").iterdir()), os.sched_getaffinity(0)

    before = kept()
    with pytest.raises(RuntimeError, match=where):
        run_pinned(CPU, workload, Limits(3), ignore, "D", during)
    assert kept() == before


def test_the_frequency_is_sampled_between_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each report of the progress, which here is after each iteration but the last."""
    monkeypatch.setattr(measure, "_REPORT_SECONDS", -1.0)
    lines: list[str] = []
    monkeypatch.setattr(measure.Surroundings, "sample", lambda self: lines.append("sample"))

    @contextmanager
    def workload() -> Iterator[Step]:
        yield lambda: lines.append("step")

    @contextmanager
    def during() -> Iterator[None]:
        lines.clear()
        yield
        lines.append("end")

    around: AbstractContextManager[None] = during()
    run_pinned(CPU, workload, Limits(3), ignore, during=lambda: around)
    assert lines[: lines.index("end")] == ["step", "sample"] * 3
