"""The cause of the spikes: named where it is known by construction, ruled out where it cannot be, never made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from verdict.made import environment

from numatune.verdict.attribution import Attribution, attribute
from numatune.verdict.run import Run, parse_run

MEDIAN, MS = 100e6, 1e6
THREADS = 2
Numbers = Any


class Made:
    """A run of two threads without any event; a test adds events and what they cost."""

    def __init__(self, iterations: int = 1000, seed: int = 0, noise: float = 0.003) -> None:
        self.random = np.random.default_rng(seed)
        self.latency: Numbers = MEDIAN * (1.0 + noise * self.random.standard_normal(iterations))
        self.counters: dict[str, Numbers] = {
            name: np.zeros(iterations)
            for name in ("minor_faults", "major_faults", "involuntary_switches", "cpu_migrations", "run_delay_ns")
        }
        self.counters["voluntary_switches"] = np.full(iterations, 4.0)
        self.waits: Numbers = np.zeros(iterations)
        self.host: dict[str, Any] = {"vmstat": {"numa_hint_faults": 0}, "cgroup_throttled": 0, "thermal_throttles": 0}
        self.strides: dict[str, int] = {}

    def pick(self, count: int) -> Numbers:
        return self.random.choice(self.latency.size, count, replace=False)

    def run(self) -> Run:
        pause = 0.1 * MS
        starts = np.concatenate([[0.0], np.cumsum(self.latency + pause)[:-1]])
        spans = np.diff(starts + self.latency, prepend=0.0)
        on_cpu = THREADS * spans - self.counters["run_delay_ns"] - self.waits
        columns = {**self.counters, "cpu_time_ns": on_cpu}
        return parse_run(
            {
                "schema": "numatune/bench/1",
                "started": "2026-01-01T00:00:00Z",
                "environment": environment(threads=THREADS),
                "latency_ns": [round(value) for value in self.latency],
                "start_offset_ns": [round(value) for value in starts],
                "counters": {name: plain(values) for name, values in columns.items()},
                "counter_strides": self.strides,
                "counters_unavailable": {},
                "run": self.host,
                "invalidating_events": [],
            },
            "made.json",
        )


def plain(values: Numbers) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def shares(found: Attribution) -> Mapping[str, float]:
    return {share.cause: share.share for share in found.shares}


def names(listed: Sequence[Any]) -> set[str]:
    return {one.cause for one in listed}


def with_faults(made: Made, places: Numbers, cost: float = 1.3e3, number: float = 30_000) -> None:
    faults = number * (0.7 + 0.6 * made.random.random(len(places)))
    made.counters["minor_faults"][places] += faults
    made.latency[places] += cost * faults


def test_hinting_faults_are_named_with_their_cost_and_setting() -> None:
    made = Made()
    with_faults(made, made.pick(40))
    made.host["vmstat"]["numa_hint_faults"] = int(made.counters["minor_faults"].sum())
    found = attribute(made.run())
    (share,) = found.shares
    assert (share.cause, share.settings) == ("numa_hinting_faults", ("numa_balancing",))
    assert share.share > 0.95
    assert share.low <= share.share <= share.high
    assert share.unit_cost == pytest.approx(1.3e3, rel=0.05)
    assert (share.spikes, share.elsewhere, found.spikes) == (40, 0, 40)
    assert {"minor_faults", "major_faults", "run_delay", "migrations", "quota", "throttling"} <= names(found.ruled_out)


def test_the_same_faults_without_numa_balancing_are_other_faults() -> None:
    made = Made()
    with_faults(made, made.pick(40))
    found = attribute(made.run())
    assert list(shares(found)) == ["minor_faults"]
    assert "numa_hinting_faults" in names(found.ruled_out)


def test_tier_c_parts_hinting_faults_from_others_iteration_by_iteration() -> None:
    made = Made()
    both = made.pick(40)
    with_faults(made, both)
    hints = np.zeros(1000)
    hints[both[:20]] = made.counters["minor_faults"][both[:20]]
    made.counters["numa_hint_faults"] = hints
    found = shares(attribute(made.run()))
    assert found["numa_hinting_faults"] == pytest.approx(0.5, abs=0.12)
    assert found["minor_faults"] == pytest.approx(0.5, abs=0.12)


def test_where_the_total_does_not_tell_hinting_faults_are_not_ruled_out() -> None:
    made = Made()
    with_faults(made, made.pick(40))
    made.host["vmstat"]["numa_hint_faults"] = int(0.3 * made.counters["minor_faults"].sum())
    found = attribute(made.run())
    assert "numa_hinting_faults" in names(found.not_read)


def test_a_hog_is_run_delay_and_its_switches_are_no_cause_of_their_own() -> None:
    made = Made()
    places = made.pick(25)
    delay = MS * (20 + 20 * made.random.random(25))
    made.counters["run_delay_ns"][places] = delay
    made.counters["involuntary_switches"][places] = 8
    made.latency[places] += delay
    found = attribute(made.run())
    assert list(shares(found)) == ["run_delay"]
    assert shares(found)["run_delay"] > 0.95
    assert "voluntary_waits" in names(found.ruled_out)


def test_a_stopped_process_is_a_voluntary_wait() -> None:
    made = Made()
    places = made.pick(25)
    made.waits[places] = THREADS * 40 * MS
    made.counters["voluntary_switches"][places] += 3
    made.latency[places] += 40 * MS
    found = attribute(made.run())
    assert list(shares(found)) == ["voluntary_waits"]
    assert found.shares[0].unit_cost == pytest.approx(0.5, abs=0.05)
    assert found.unexplained < 0.05


def test_time_that_nobody_gave_up_was_stolen() -> None:
    made = Made()
    places = made.pick(25)
    made.waits[places] = 40 * MS
    made.latency[places] += 40 * MS
    made.host["cpu_jiffies"] = {"steal": 100}
    assert list(shares(attribute(made.run()))) == ["steal"]
    made.host["cpu_jiffies"] = {"steal": 0}
    found = attribute(made.run())
    assert found.shares == ()
    assert "steal" in names(found.ruled_out)


def test_a_fault_that_waits_for_the_address_space_is_a_fault() -> None:
    made = Made()
    places = made.pick(25)
    made.counters["minor_faults"][places] = 3000
    made.counters["voluntary_switches"][places] += 5
    made.waits[places] = 15 * MS
    made.latency[places] += 30 * MS
    found = attribute(made.run())
    assert list(shares(found)) == ["minor_faults"]
    assert shares(found)["minor_faults"] > 0.9


def test_a_quota_is_told_from_another_task() -> None:
    made = Made()
    places = made.pick(25)
    made.counters["run_delay_ns"][places] = 60 * MS
    made.latency[places] += 60 * MS
    made.host["cgroup_throttled"] = 25
    assert list(shares(attribute(made.run()))) == ["quota"]
    made.host["cgroup_throttled"] = 1
    assert list(shares(attribute(made.run()))) == ["run_delay"]


def test_faults_elsewhere_explain_nothing_and_are_ruled_out_by_what_they_cost() -> None:
    made = Made()
    made.latency[made.pick(12)] *= 1.5
    made.counters["minor_faults"][made.pick(300)] = 500
    found = attribute(made.run())
    assert found.shares == ()
    assert found.unexplained == 1.0
    assert "minor_faults" in names(found.ruled_out)


@pytest.mark.parametrize("seed", range(20))
def test_independent_events_are_not_made_causes(seed: int) -> None:
    made = Made(seed=seed)
    made.latency[made.pick(15)] *= 1.4
    made.counters["minor_faults"][made.pick(30)] = 20_000
    made.counters["run_delay_ns"][made.pick(30)] = 5 * MS
    assert sum(shares(attribute(made.run())).values()) < 0.15


def test_what_a_fault_can_cost_bounds_what_faults_explain() -> None:
    made = Made()
    places = made.pick(20)
    made.counters["minor_faults"][places] = 60
    made.latency[places] += 100 * MS
    found = attribute(made.run())
    assert found.unexplained > 0.98, "60 faults of 20 us are 1.2 ms, whatever they come with"


def test_the_interval_of_one_spike_is_what_the_bounds_allow() -> None:
    made = Made()
    with_faults(made, np.array([500]), cost=1.3e3, number=30_000)
    (share,) = attribute(made.run()).shares
    assert share.low < 0.5 < 0.9 < share.high


def test_two_causes_share_the_time_between_them() -> None:
    made = Made()
    places = made.pick(60)
    with_faults(made, places[:40])
    made.counters["run_delay_ns"][places[40:]] = 30 * MS
    made.latency[places[40:]] += 30 * MS
    made.latency[made.pick(5)] += 40 * MS
    run = made.run()
    found = attribute(run)
    assert set(shares(found)) == {"minor_faults", "run_delay"}
    lost = found.excess_ns
    assert shares(found)["run_delay"] == pytest.approx(600 * MS / lost, abs=0.05)
    assert found.unexplained == pytest.approx(200 * MS / lost, abs=0.05)
    assert sum(shares(found).values()) + found.unexplained == pytest.approx(1.0)


def test_a_counter_that_was_not_read_is_not_ruled_out() -> None:
    made = Made()
    made.latency[made.pick(12)] *= 1.5
    del made.host["cgroup_throttled"]
    found = attribute(made.run())
    assert {"interrupts", "idle_exits", "steal", "quota"} <= names(found.not_read)
    assert "interrupts" not in names(found.ruled_out)


def test_a_counter_that_ended_before_the_spikes_rules_nothing_out() -> None:
    """The file of a thread or a CPU that went away leaves nulls from there on."""
    made = Made()
    made.latency[np.arange(600, 1000, 30)] *= 1.5
    made.counters["cpu_migrations"][500:] = np.nan
    made.counters["minor_faults"][:] = np.nan
    made.host["vmstat"] = {"numa_hint_faults": 5}
    found = attribute(made.run())
    assert {"migrations", "minor_faults", "numa_hinting_faults"} <= names(found.not_read)
    assert {"migrations", "minor_faults", "numa_hinting_faults"}.isdisjoint(names(found.ruled_out))


def test_few_hinting_faults_among_many_usual_ones_may_be_all_of_the_sudden_ones() -> None:
    made = Made()
    made.counters["minor_faults"] += 3000  # an allocator that gives memory back after each inference
    usual = float(made.counters["minor_faults"].sum())
    with_faults(made, made.pick(10), number=10_000)
    made.host["vmstat"]["numa_hint_faults"] = int(made.counters["minor_faults"].sum() - usual)
    found = attribute(made.run())
    assert "numa_hinting_faults" in names(found.not_read)


def test_a_quota_that_is_read_now_and_then_is_found() -> None:
    made = Made()
    places = np.arange(20, 1000, 64)
    made.counters["run_delay_ns"][places] = 60 * MS
    made.latency[places] += 60 * MS
    read = np.full(1000, np.nan)
    for end in range(7, 1000, 8):
        read[end] = float(np.isin(np.arange(end - 7, end + 1), places).sum())
    made.counters["quota_throttled"], made.strides["quota_throttled"] = read, 8
    made.counters["quota_throttled_ns"], made.strides["quota_throttled_ns"] = 60 * MS * read, 8
    found = attribute(made.run())
    assert list(shares(found)) == ["quota"]
    assert shares(found)["quota"] > 0.9


def test_steal_of_cpus_that_were_not_read_is_not_ruled_out() -> None:
    made = Made()
    made.latency[made.pick(12)] *= 1.5
    made.host["cpu_jiffies"] = {"user": 0, "idle": 0, "steal": 0}
    assert "steal" in names(attribute(made.run()).not_read)


def test_a_delay_too_short_to_stand_out_is_not_ruled_out_where_inferences_are_short() -> None:
    """Spikes of half a millisecond at a median of 4 ms: as long a delay explains them."""
    made = Made()
    made.latency = 0.04 * made.latency
    places = made.pick(20)
    made.counters["run_delay_ns"][places] = 0.8 * MS
    made.latency[places] += 0.8 * MS
    assert "run_delay" in names(attribute(made.run()).not_read)


def test_interrupts_that_only_grow_with_time_explain_nothing() -> None:
    made = Made()
    made.latency[made.pick(20)] *= 2.0
    made.counters["interrupts"] = np.round(500 * made.latency / MEDIAN)
    found = attribute(made.run())
    assert found.shares == ()


def test_a_burst_of_interrupts_is_a_cause() -> None:
    made = Made()
    places = made.pick(20)
    made.counters["interrupts"] = np.round(500 * made.latency / MEDIAN)
    made.counters["interrupts"][places] += 3000
    made.latency[places] += 3000 * 8e3
    found = attribute(made.run())
    assert list(shares(found)) == ["interrupts"]
    assert found.shares[0].settings == ("irqbalance", "irq_affinity")


def test_a_counter_read_now_and_then_is_judged_on_its_windows() -> None:
    made = Made()
    places = made.pick(15)
    moves = np.zeros(1000)
    moves[places] = 50
    made.latency[places] += 50 * 500e3
    read = np.full(1000, np.nan)
    for end in range(15, 1000, 16):
        read[end] = moves[end - 15 : end + 1].sum()
    made.counters["cpu_migrations"], made.strides["cpu_migrations"] = read, 16
    found = shares(attribute(made.run()))
    assert found["migrations"] > 0.8


def test_no_spike_is_attributed_to_nothing() -> None:
    found = attribute(Made().run())
    assert (found.spikes, found.shares, found.ruled_out, found.not_read, found.period) == (0, (), (), (), None)


def test_spikes_once_a_second_have_that_period() -> None:
    made = Made(iterations=600)
    with_faults(made, np.arange(5, 600, 10))
    period = attribute(made.run()).period
    assert period is not None
    assert period.seconds == pytest.approx(10 * 0.1001 + 0.04, rel=0.1)
    assert period.p < 0.01


def test_a_slow_start_is_no_spike() -> None:
    made = Made()
    made.latency[:80] *= 1.3
    places = 100 + np.arange(0, 800, 40)
    with_faults(made, places)
    found = attribute(made.run())
    assert found.spikes == places.size
    assert list(shares(found)) == ["minor_faults"]
    assert shares(found)["minor_faults"] > 0.95


def test_a_spike_in_a_slow_start_is_still_one() -> None:
    made = Made()
    made.latency[:80] *= 1.3
    with_faults(made, np.array([40, 300, 500]))
    assert attribute(made.run()).spikes == 3


def test_what_a_service_sleeps_between_requests_is_no_cause() -> None:
    made = Made()
    made.waits[made.pick(25)] = 100 * MS
    made.latency[made.pick(25)] += 40 * MS
    run = made.run()
    del run.environment["threads"]  # type: ignore[attr-defined]  # a Mapping for its readers, a dict as it was parsed
    found = attribute(run)
    assert "voluntary_waits" in names(found.not_read)
