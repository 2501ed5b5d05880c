"""`numatune compare` on watches: the same statistics on a service's requests, and when there is no verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verdict.made import save

from numatune.cli import main

MINUTES = 5


def watch(
    folder: Path,
    name: str,
    *,
    bursts: float = 0.3,
    rate: float = 20.0,
    median: float = 8e6,
    seed: int = 0,
    **changes: Any,
) -> str:
    """A file of five minutes: `rate` requests a second, `bursts` stalls of 0.3 s a second that slow all in them."""
    generator, seconds = np.random.default_rng(seed), 60.0 * MINUTES
    ends = np.sort(generator.uniform(0, seconds, int(rate * seconds)))
    latency = median * np.exp(generator.normal(0, 0.05, ends.size))
    for start in generator.uniform(0, seconds, int(bursts * seconds)):
        first, last = np.searchsorted(ends, [start, start + 0.3])
        latency[first : max(last, first + 1)] *= generator.uniform(2, 5)
    windows = int(seconds * 4)
    made = {
        "schema": "numatune/watch/1",
        "started": f"2026-01-01T0{seed}:00:00Z",
        "environment": {"machine": "a", "cpu_model": "Some CPU", "arch": "x86_64", "kernel": "6.1", "boot_id": "b"},
        "target": {"kind": "unit", "name": "serve.service", "most_threads": 4, "cpus": "2-3"},
        "ended": "duration",
        "partial": False,
        "windows": {
            "start_offset_ns": [round(at * 250e6) for at in range(windows)],
            "length_ns": [250_000_000] * windows,
            "counters": {},
        },
        "requests": [[round(end * 1e9), round(value)] for end, value in zip(ends, latency, strict=True)],
        "latency_log": {"path": "/var/log/a.log", "unit": "ms", "not_kept": 0},
        "invalidating_events": [],
    }
    for key, value in changes.items():
        part, _underscore, inner = key.partition("__")
        made[part] = {**made[part], inner: value} if inner else value  # type: ignore[dict-item] # objects, by their names
    path = folder / name
    path.write_text(json.dumps(made))
    return str(path)


def judged(capsys: pytest.CaptureFixture[str], before: list[str], after: list[str]) -> tuple[int, dict[str, Any]]:
    code = main(["compare", "--format", "json", "--before", *before, "--after", *after])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "code"),
    [
        ({"rate": 60.0}, {"bursts": 0.0, "rate": 60.0}, "eliminated", 0),
        ({}, {"bursts": 0.05}, "reduced", 1),
        ({"bursts": 0.05}, {"bursts": 0.3}, "worse", 1),
        ({"bursts": 0.0}, {"bursts": 0.0}, "clean", 0),
        # Fewer spikes, and a service that is slower as a whole: that did not help.
        ({"rate": 60.0}, {"bursts": 0.0, "rate": 60.0, "median": 12e6}, "eliminated", 1),
        ({}, {"invalidating_events": [{"event": "steal", "detail": "the hypervisor took 9%"}]}, "invalid", 3),
    ],
)
def test_verdicts_on_a_service(
    before: dict[str, Any],
    after: dict[str, Any],
    verdict: str,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = watch(tmp_path, "a.json", seed=1, **before), watch(tmp_path, "b.json", seed=2, **after)
    found_code, found = judged(capsys, [first], [second])
    assert (found["verdict"], found_code) == (verdict, code), found["reason"]
    assert found["of"] == "watches"


LOADS = {
    "eliminated": ({}, {"bursts": 0.0}),
    "reduced": ({}, {"bursts": 0.05}),
    "worse": ({"bursts": 0.05}, {"bursts": 0.3}),
    "clean": ({"bursts": 0.0}, {"bursts": 0.0}),
    "unchanged": ({"bursts": 0.05, "seed": 3}, {"bursts": 0.05, "seed": 4}),
}


@pytest.mark.parametrize(("before_rate", "after_rate"), [(40.0, 20.0), (20.0, 40.0)])
@pytest.mark.parametrize("verdict", LOADS)
def test_another_load_shows_nothing_whichever_way_it_moved(
    verdict: str, before_rate: float, after_rate: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = LOADS[verdict]
    first = watch(tmp_path, "a.json", **{"seed": 1, **before, "rate": before_rate})
    second = watch(tmp_path, "b.json", **{"seed": 2, **after, "rate": after_rate})
    code, found = judged(capsys, [first], [second])
    assert (found["verdict"], code) == ("inconclusive", 3)
    ratio = after_rate / before_rate
    assert f"{before_rate:.3g} requests a second before, {after_rate:.3g} after ({ratio:.2f} ×)" in found["reason"]
    assert "watch again under one load" in found["reason"]
    assert found["iterations_that_would_decide"] is None


def requests(folder: Path, name: str, parts: list[tuple[float, float, float, float]], seed: int) -> str:
    """A watch whose requests are `parts`: from and to (s), requests a second, and latency (ms, ± 3 %)."""
    generator, made = np.random.default_rng(seed), []
    for start, end, rate, median in parts:
        ends = generator.uniform(start, end, int(rate * (end - start)))
        made += list(zip(ends, median * 1e6 * np.exp(generator.normal(0, 0.03, ends.size)), strict=True))
    return watch(folder, name, seed=seed, requests=[[round(end * 1e9), round(value)] for end, value in sorted(made)])


def test_more_quick_requests_do_not_thin_out_the_slow_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many slow requests as before, among twenty times as many quick ones: nothing of the host changed."""
    first = requests(tmp_path, "a.json", [(0, 300, 20, 8), (0, 300, 0.4, 60)], 1)
    second = requests(tmp_path, "b.json", [(0, 300, 400, 8), (0, 300, 0.4, 60)], 2)
    code, found = judged(capsys, [first], [second])
    assert (found["verdict"], code) == ("inconclusive", 3)
    assert "which alone can make this eliminated" in found["reason"]


def test_a_median_that_queueing_lifts_hides_no_spikes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At twice the load the median comes close to the same slow requests."""
    first = requests(tmp_path, "a.json", [(0, 300, 50, 8), (0, 300, 1.5, 10.2)], 1)
    second = requests(tmp_path, "b.json", [(0, 300, 100, 9.6), (0, 300, 3, 10.2)], 2)
    code, found = judged(capsys, [first], [second])
    assert (found["verdict"], code) == ("inconclusive", 3)
    assert "51.5 requests a second before, 103 after" in found["reason"]


def test_a_load_that_moves_within_a_watch_is_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half idle and half overloaded, then steady: the mean is the same, the load is not."""
    first = requests(tmp_path, "a.json", [(0, 150, 5, 8), (150, 300, 95, 8), (150, 300, 4, 40)], 1)
    second = requests(tmp_path, "b.json", [(0, 300, 52, 8)], 2)
    for before, after in ((first, second), (second, first)):
        code, found = judged(capsys, [before], [after])
        assert (found["verdict"], code) == ("inconclusive", 3)
        assert f"4.75 to 99.2 requests a second in the 5 parts of {first}" in found["reason"]


def test_watches_of_one_side_are_held_against_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = [watch(tmp_path, f"a{at}.json", seed=at, rate=rate) for at, rate in enumerate((10.0, 30.0))]
    second = watch(tmp_path, "b.json", seed=2, bursts=0.0)
    code, found = judged(capsys, first, [second])
    assert (found["verdict"], code) == ("inconclusive", 3)
    assert f"10 requests a second in {first[0]}, 30 in {first[1]}" in found["reason"]


def test_few_requests_are_no_load_that_moves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By chance, a fifth of 300 requests differs from another by more than 1.25 times."""
    sides = [[watch(tmp_path, f"{at}.json", seed=at, rate=1.0, bursts=0.0) for at in ats] for ats in (range(5), (5, 6))]
    _code, found = judged(capsys, *sides)
    assert "the load moved" not in found["reason"]


@pytest.mark.parametrize("ended", ["process-ended", "interrupted", "full"])
@pytest.mark.parametrize("early", ["before", "after"])
@pytest.mark.parametrize("bursts", [0.0, 0.3])
def test_a_watch_that_ended_early_never_exits_0(
    bursts: float, early: str, ended: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut: dict[str, dict[str, Any]] = {"before": {}, "after": {}, early: {"partial": True, "ended": ended}}
    first = watch(tmp_path, "a.json", seed=1, bursts=bursts, **cut["before"])
    second = watch(tmp_path, "b.json", seed=2, bursts=0.0, **cut["after"])
    code, found = judged(capsys, [first], [second])
    assert (found["verdict"], code) == ("inconclusive", 3)
    path = first if early == "before" else second
    assert found["reason"] == f"ended early: {path} ({ended}); watch again until --duration is over"


@pytest.mark.parametrize(("ended", "words"), [("interrupted", "Ctrl-C or a signal"), ("process-ended", "the process")])
def test_a_watch_without_a_duration_is_whole_and_says_how_it_ended(
    ended: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = watch(tmp_path, "a.json", seed=1, bursts=0.3, partial=False, ended=ended)
    second = watch(tmp_path, "b.json", seed=2, bursts=0.0)
    assert "ended early" not in judged(capsys, [first], [second])[1]["reason"]
    main(["compare", "--before", first, "--after", second])
    said = " ".join(capsys.readouterr().out.split())
    assert f"a.json was watched without --duration until {words}" in said
    assert "b.json was watched" not in said


def test_alike_services_are_seldom_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The level allows one wrong verdict in ten; requests that are slow together are no evidence each."""
    wrong = 0
    for seed in range(0, 20, 2):
        first, second = (watch(tmp_path, name, seed=seed + at) for at, name in enumerate(("a.json", "b.json")))
        wrong += judged(capsys, [first], [second])[1]["verdict"] in ("reduced", "eliminated", "worse")
    assert wrong <= 2


def test_what_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = {"target__kind": "pid", "target__name": "python3"}
    first = watch(tmp_path, "a.json", seed=1, **process)
    second = watch(tmp_path, "b.json", seed=2, bursts=0.0, rate=16.0, partial=True, ended="interrupted", **process)
    main(["compare", "--before", first, "--after", second])
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "requests p50 ms",
        "× its watch's median",
        "blocks of 22 requests",
        "20 requests a second before, 16 after (0.80 ×)",
        "what was asked in each request is not known",
        "by the name of its process alone (python3)",
        "only one watch a side",
        "b.json ended early (interrupted)",
    ):
        assert words in said, said
    for word in ("inference", "launch"):
        assert word not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target__name": "other.service"}, "watched unit serve.service and"),
        ({"environment__machine": "b"}, "differ in machine (a and b)"),
        ({"requests": []}, "holds no request, so nothing to compare: watch with --latency-log"),
        ({"seed": 1}, "are the same launch"),
        (
            {"latency_log": {"path": "/srv/other.log", "unit": "ms"}},
            "differ in latency log (/var/log/a.log and /srv/other.log): watch both with one --latency-log",
        ),
        (
            {"latency_log": {"path": "/var/log/a.log", "unit": "us"}},
            "differ in unit of latency (ms and us): watch both with one --latency-unit",
        ),
        (
            {"latency_log": {"path": "/var/log/a.log", "unit": "ms", "not_kept": 6000}},
            "lacks the last 6,000 requests, since a file keeps no more than its first 6,000: watch again for less time",
        ),
        ({"latency_log": {"path": "/var/log/a.log", "unit": "ms", "not_kept": 6000}}, "such as --duration 135"),
        ({"latency_log": {"path": "/var/log/a.log", "unit": "ms", "not_kept": "many"}}, "latency_log.not_kept must be"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    changes: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = watch(tmp_path, "a.json", seed=1), watch(tmp_path, "b.json", **{"seed": 2, **changes})
    assert main(["compare", "--before", first, "--after", second]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err


def test_watches_and_runs_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, run = watch(tmp_path, "a.json"), save(tmp_path, "run.json")
    for words in (["--before", first, "--after", run], ["--before", run, "--after", run, first]):
        assert main(["compare", *words]) == 2
        assert f"{first} is a watch and {run} is not: compare watches with watches" in capsys.readouterr().err
    (tmp_path / "c.yml").write_text("{}\n")
    assert main(["compare", "--before", first, "--after", first, "--criteria", str(tmp_path / "c.yml")]) == 2
    assert "--criteria judges runs of bench" in capsys.readouterr().err
    assert main(["compare", "--before", first, "--after", first, "--audit", str(tmp_path / "none.json")]) == 2
    assert "--audit goes with --criteria" in capsys.readouterr().err
