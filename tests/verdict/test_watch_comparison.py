"""`numatune compare` on watches: the same statistics on a service's requests, and what a moved load takes from them."""

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
        ({}, {"bursts": 0.0, "rate": 40.0}, "eliminated", 0),
        ({}, {"bursts": 0.05}, "reduced", 1),
        ({"bursts": 0.05}, {"bursts": 0.3}, "worse", 1),
        ({"bursts": 0.0}, {"bursts": 0.0}, "clean", 0),
        # Fewer spikes, and a service that is slower as a whole: that did not help.
        ({}, {"bursts": 0.0, "rate": 40.0, "median": 12e6}, "eliminated", 1),
        # The same, where clients asked for less: the file cannot tell the change from the load.
        ({"rate": 40.0}, {"bursts": 0.0, "rate": 20.0}, "inconclusive", 3),
        ({"bursts": 0.05, "rate": 20.0}, {"bursts": 0.3, "rate": 40.0}, "inconclusive", 3),
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
