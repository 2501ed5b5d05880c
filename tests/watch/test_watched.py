"""Windows joined with requests: exact on small cases, and the cause of spikes that a test made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numatune.report.runs.watch_report import as_object, lines_of, make_report
from numatune.verdict.attribution import attribute
from numatune.verdict.bursts import find_bursts
from numatune.verdict.errors import VerdictError
from numatune.verdict.watched import (
    as_run,
    cost_run,
    load_watch,
    parse_watch,
    spike_rows,
    spikes_are_common,
    summarise_requests,
)

MS = 1_000_000
WINDOW = 100 * MS


def made(
    windows: int,
    counters: Mapping[str, Sequence[int | None]],
    requests: Sequence[tuple[float, float]] = (),
    **more: Any,
) -> dict[str, Any]:
    """A watch of windows of 100 ms; requests are (end, latency) in ms."""
    return {
        "schema": "numatune/watch/1",
        "started": "2026-01-01T00:00:00Z",
        "target": {"kind": "pid", "name": "serve", "pid": 7, "most_threads": 2, "cpus": "0", "pinned": True},
        "ended": "duration",
        "partial": False,
        "environment": {},
        "interval_s": 0.1,
        "windows": {
            "start_offset_ns": [index * WINDOW for index in range(windows)],
            "length_ns": [WINDOW] * windows,
            "counters": {name: list(values) for name, values in counters.items()},
        },
        "counters_unavailable": {},
        "watching": {"share": 0.003, "limit": 0.01, "stretched": [], "stepped_aside": True},
        "latency_log": {"path": "l", "lines": len(requests), "malformed": 0, "not_kept": 0} if requests else None,
        "requests": [[round(end * MS), round(latency * MS)] for end, latency in requests],
        "run": {},
        "invalidating_events": [],
    }


def test_a_row_is_a_window_with_its_slowest_request() -> None:
    counters = {"minor_faults": [1, 2, 4, 8, 16], "cpu_time_ns": [9] * 5}
    requests = [
        (0, 5), (40, 5), (90, 6),  # the first ended before the watch began
        (100, 7),  # on the edge: of the window that ends there
        (390, 250),  # from 140 on: the windows 1, 2 and 3
        (450, 5), (501, 5),  # the last after the end
    ]  # fmt: skip
    run = as_run(parse_watch(made(5, counters, requests), "w"))
    assert run is not None
    assert run.latency.tolist() == [7 * MS, 250 * MS, 5 * MS]
    assert run.counters["minor_faults"].tolist() == [1, 2 + 4 + 8, 16]
    assert (run.offsets + run.latency).tolist() == [WINDOW, 4 * WINDOW, 5 * WINDOW]
    assert "cpu_time_ns" not in run.counters
    assert "sleep until a request comes" in run.unavailable["cpu_time_ns"]


def test_windows_without_requests_are_left_out_but_time_goes_on() -> None:
    """Interrupts come with time: those of the windows left out count as usual, else a pause would make a rise."""
    counters = {"interrupts": [10, 10, 500, 10, 10, 60], "minor_faults": [1, 1, 900, 1, 1, 1]}
    requests = [(50, 5), (150, 5), (450, 5), (550, 5)]
    run = as_run(parse_watch(made(6, counters, requests), "w"))
    assert run is not None
    assert run.counters["minor_faults"].tolist() == [1, 1, 1, 1]
    assert run.counters["interrupts"].tolist()[1:] == [10, 30, 60]


def test_a_counter_that_is_read_in_some_windows_is_its_mean_over_them() -> None:
    counters = {"steal_ns": [None, 6, None, None, 30, None], "minor_faults": [0] * 6}
    run = as_run(parse_watch(made(6, counters, [(100 * index + 50, 5) for index in range(6)]), "w"))
    assert run is not None
    np.testing.assert_array_equal(run.counters["steal_ns"], [3, 3, 10, 10, 10, np.nan])


def test_the_slow_requests_of_a_window_are_added_up_and_those_at_once_are_not() -> None:
    one = [(10 * index, 5.0) for index in range(1, 101)]
    apart = [*one[:50], (505, 25.0), (530, 25.0), *one[53:]]
    watched = parse_watch(made(10, {"minor_faults": [0] * 10}, apart), "w")
    found = cost_run(watched)
    assert found is not None
    run, limit, common = found
    assert common is None
    assert (run.latency > limit * run.median).tolist() == [False] * 5 + [True] + [False] * 4
    assert run.latency[5] == pytest.approx((5 + 2 * 20) * MS)


@pytest.mark.parametrize("timed", [True, False])
def test_a_pause_that_many_requests_share_is_lost_once(timed: bool) -> None:
    """20 workers, each with one request of 5 ms after another; at 550 ms all of them stand still for 20 ms."""
    requests = []
    for worker in range(20):
        now, stalled = 0.2 * worker, False
        while now < 1000:
            latency = 5.0
            if not stalled and now + latency > 550:
                latency, stalled = 25.0, True
            now += latency
            requests.append((now if timed else 100 * np.ceil(now / 100), latency))
    found = cost_run(parse_watch(made(10, {"minor_faults": [0] * 10}, sorted(requests)), "w"))
    assert found is not None
    assert found[0].latency[5] == pytest.approx(25 * MS, rel=0.25)


def service(windows: int = 400, every: int = 40, delay_ms: float = 15.0) -> dict[str, Any]:
    """One request after another, 5 ms each; each 40th window another task takes the CPU three times."""
    generator = np.random.default_rng(5)
    requests, delays, faults = [], [], []
    for window in range(windows):
        start, hit = 100.0 * window, window % every == every // 2
        now = start
        delayed = 0.0
        for index in range(17 if not hit else 8):
            latency = 5.0 + 0.05 * generator.standard_normal()
            if hit and index in (2, 4, 6):
                latency += delay_ms
                delayed += delay_ms
            now += latency
            requests.append((now, latency))
        delays.append(round((delayed + 0.2 * generator.random()) * MS))
        faults.append(int(generator.integers(0, 30)))
    counters = {"run_delay_ns": delays, "minor_faults": faults, "involuntary_switches": [3 * (d > MS) for d in delays]}
    return made(windows, counters, requests)


def test_the_cause_of_the_spikes_is_named_with_its_share() -> None:
    watched = parse_watch(service(), "w")
    summary = summarise_requests(watched)
    assert summary is not None
    assert summary.spikes == 30
    run = as_run(watched)
    assert run is not None
    assert spike_rows(watched, run) == list(range(20, 400, 40))
    found = cost_run(watched)
    assert found is not None
    attribution = attribute(*found)
    assert (attribution.spikes, attribution.shares[0].cause) == (10, "run_delay")
    assert attribution.shares[0].share > 0.9
    # A second of delay costs a second: the requests of a window are counted together, as its counters are.
    assert attribution.shares[0].unit_cost == pytest.approx(1.0, abs=0.1)
    assert "minor_faults" in {one.cause for one in attribution.ruled_out}
    assert attribution.period is not None
    assert attribution.period.seconds == pytest.approx(4.0, rel=0.05)
    text = "\n".join(lines_of(make_report(service(), "w.json")))
    assert "run delay (another task had the CPU)" in text
    assert "30 spikes" in text
    assert "Watching used 0.3% of one CPU, on a CPU that the service does not use." in text


def test_where_many_windows_hold_a_spike_it_is_said_and_what_is_always_there_is_not_ruled_out() -> None:
    data = service(every=1)
    report = make_report(data, "w.json")
    text = "\n".join(lines_of(report))
    assert "An eighth of the windows or more hold a spike" in text
    assert report.attribution is not None
    assert "run_delay" in {one.cause for one in report.attribution.not_read}
    assert "run_delay" not in {one.cause for one in (*report.attribution.ruled_out, *report.attribution.shares)}
    json.dumps(as_object(report), allow_nan=False)


@pytest.mark.parametrize(
    ("counters", "cause"),
    [
        ({"quota_throttled": 1, "quota_throttled_ns": 40 * MS}, "quota"),
        ({"quota_throttled": 1, "run_delay_ns": 40 * MS}, "quota"),
        ({"major_faults": 8}, "major_faults"),
        ({"minor_faults": 5000}, "minor_faults"),
        ({"minor_faults": 5000}, "numa_hinting_faults"),
        ({"run_delay_ns": 40 * MS}, "run_delay"),
    ],
)
def test_what_each_window_has_alike_is_neither_ruled_out_nor_named(counters: dict[str, int], cause: str) -> None:
    requests = [(10.0 * index, 5.0 + 4.0 * (index % 3 == 0)) for index in range(1, 401)]
    steady = {name: [value] * 40 for name, value in counters.items()}
    found = make_report(made(40, steady, requests), "w").attribution
    assert found is not None
    assert found.spikes > 5
    assert cause in {one.cause for one in found.not_read}
    assert cause not in {one.cause for one in (*found.ruled_out, *found.shares)}


@pytest.mark.parametrize(
    ("windows", "spiky", "common"), [(24, 3, True), (24, 2, False), (23, 23, False), (400, 50, True)]
)
def test_when_spikes_are_common(windows: int, spiky: int, common: bool) -> None:
    assert spikes_are_common(spiky, windows) is common


def noisy(seed: int, hog_ms: float = 0.0, windows: int = 240, width_ms: float = 250.0) -> dict[str, Any]:
    """A service on a machine whose neighbours come and go: a third of its requests are slow, with nothing to show.

    With `hog_ms`, a task takes so much of its CPU every 1.5 s or so, in slices. The other counters come in bursts too,
    of their own.
    """
    generator = np.random.default_rng(seed)
    requests, delay = [], 0.3 * generator.random(windows)
    now, turn, slowness, burst = 0.0, 0.0, 0.0, 700.0
    end = windows * width_ms - 200.0
    while now < end:
        if now >= turn:  # a neighbour comes, or goes
            slowness = 0.0 if slowness else float(generator.uniform(0.1, 0.6))
            turn = now + float(generator.exponential(800.0 if slowness else 1600.0))
        left = hog_ms if hog_ms and now >= burst else 0.0
        burst = now + 1500.0 * float(generator.uniform(0.6, 1.4)) if left else burst
        while True:
            latency = 4.5 * (1 + 0.02 * abs(generator.standard_normal()) + slowness * generator.uniform(0.0, 1.2))
            taken = min(left, 3.0 * int(generator.integers(1, 3)))
            left, now = left - taken, now + latency + taken
            delay[int(now // width_ms)] += taken
            requests.append((now, latency + taken))
            if left <= 0:
                break
    counters = {"run_delay_ns": [round(one * MS) for one in delay]}
    for name, base, rise in (("minor_faults", 5, 200), ("interrupts", 250, 100), ("cpu_migrations", 0, 3)):
        on = np.repeat(generator.random(windows // 4) < 0.2, 4)
        rises = on * generator.lognormal(np.log(rise), 1.0, windows)
        counters[name] = [int(one) for one in generator.poisson(base, windows) + rises]
    data = made(windows, counters, requests)
    data["windows"]["start_offset_ns"] = [round(index * width_ms * MS) for index in range(windows)]
    data["windows"]["length_ns"] = [round(width_ms * MS)] * windows
    return data


def test_a_hog_is_named_on_a_service_that_is_slow_by_itself_and_nothing_is_without_one() -> None:
    hogged, quiet, delays = 0, 0, 0
    for seed in range(10):
        with_hog = make_report(noisy(seed, 60.0), "w").attribution
        without = make_report(noisy(seed), "w").attribution
        assert with_hog is not None
        assert without is not None
        assert with_hog.spikes > 30
        hogged += [share.cause for share in with_hog.shares] == ["run_delay"]
        quiet += not without.shares
        delays += "run_delay" in {one.cause for one in without.ruled_out}
    assert hogged >= 9
    assert quiet >= 9
    assert delays == 10


def test_a_service_that_always_waits_is_told() -> None:
    counters = {"run_delay_ns": [30 * MS] * 20, "cpu_time_ns": [70 * MS] * 20}
    text = "\n".join(lines_of(make_report(made(20, counters), "w.json")))
    assert "All along, its threads waited for 30% of the time that they wanted a CPU" in text


def test_without_latencies_bursts_are_shown_and_no_cause_is_named() -> None:
    faults = [5] * 200
    for start in range(10, 200, 20):
        faults[start] = faults[start + 1] = 4000
    delays: list[int | None] = [0] * 200
    delays[100] = 40 * MS
    watched = parse_watch(made(200, {"minor_faults": faults, "run_delay_ns": delays}), "w")
    first, second = find_bursts(watched)
    assert (first.counter, first.windows, first.bursts, first.usual, first.largest) == ("minor_faults", 20, 10, 5, 4000)
    assert first.first_seconds[0] == pytest.approx(1.0)
    assert first.period_seconds == pytest.approx(2.0, rel=0.05)
    assert (second.counter, second.bursts, second.period_seconds) == ("run_delay_ns", 1, None)
    text = "\n".join(lines_of(make_report(made(200, {"minor_faults": faults}), "w.json")))
    assert "What slows requests is not said here: no latency was given" in text
    assert "minor faults: 10 times, every 2 s" in text
    assert "explain" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "numatune/bench/1"}, "has schema 'numatune/bench/1'"),
        ({"windows": []}, "windows, their counters or requests is missing"),
        ({"windows": {"start_offset_ns": [], "length_ns": [], "counters": {}}}, "windows must follow each other"),
        ({"windows": {"start_offset_ns": [5, 0], "length_ns": [1, 1], "counters": {}}}, "must follow each other"),
        ({"windows": {"start_offset_ns": [0, 1], "length_ns": [1, 0], "counters": {}}}, "must follow each other"),
        ({"windows": {"start_offset_ns": [0], "length_ns": [1], "counters": {"a": [1, 2]}}}, "counter a has 2 entries"),
        ({"windows": {"start_offset_ns": [0], "length_ns": [1], "counters": {"a": [-1]}}}, "counter a fell"),
        (
            {"windows": {"start_offset_ns": [0], "length_ns": [1], "counters": {"a": ["1"]}}},
            "holds something that is no",
        ),
        ({"windows": {"start_offset_ns": [0], "length_ns": [1], "counters": {"a": 1}}}, "must be a list of numbers"),
        ({"requests": [[1]]}, "pairs of an end and a latency"),
        ({"requests": [[1, 0]]}, "latencies from 1 to"),
        ({"requests": [[None, 5]]}, "requests must hold nanoseconds"),
        ({"requests": [[1, 10**400]]}, "requests holds something that is no number"),
    ],
)
def test_a_damaged_file_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(VerdictError, match=r".") as caught:
        parse_watch({**made(1, {"a": [1]}), **change}, "w.json")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_watch(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    for text, words in (("{", "is not JSON"), ("[]", 'has no "schema"'), ("\udcff", "is not text")):
        file.write_text(text, "utf-8", "surrogateescape")
        with pytest.raises(VerdictError, match=words):
            load_watch(str(file))
    with pytest.raises(VerdictError, match="cannot read"):
        load_watch(str(tmp_path / "absent"))
    file.write_text(json.dumps(service(40)))
    assert load_watch(str(file)).latency.size > 0


def test_a_longer_window_has_more_interrupts_and_that_is_no_burst() -> None:
    data = made(100, {"interrupts": [100] * 100})
    data["windows"]["length_ns"][50] *= 4
    data["windows"]["counters"]["interrupts"][50] = 400
    assert find_bursts(parse_watch(data, "w")) == []
    data["windows"]["counters"]["interrupts"][50] = 900
    assert [one.counter for one in find_bursts(parse_watch(data, "w"))] == ["interrupts"]
