"""Made-up runs, attributions and watches for the tests of the report, plain and hostile ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from verdict.made import result

from numatune.report.html.source import Source, of_run
from numatune.verdict.attribution import Attribution, NotRead, Period, RuledOut, Share
from numatune.verdict.run import parse_run

MS = 1e6
HOSTILE = "</script><script>alert(1)</script>{{ 7*7 }}{% raw %}<img src=x onerror=alert(2)>\x1b[31m\u2028\u202e&amp;\"'"


def faulty(iterations: int = 1000, every: int = 50, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A result whose spikes come with minor and hinting faults, each at 1.2 us, every so many iterations."""
    made = result(iterations, seed=seed, **changes)
    faults = [0] * iterations
    for index in range(every // 2, iterations, every):
        faults[index] = 20_000 + 100 * (index % 7)
        made["latency_ns"][index] += 1200 * faults[index]
    starts = np.concatenate(([0], np.cumsum(made["latency_ns"])[:-1]))
    made["start_offset_ns"] = [int(start) for start in starts]
    made["counters"] = {
        "minor_faults": faults,
        "numa_hint_faults": list(faults),
        "major_faults": [0] * iterations,
        "run_delay_ns": [1000] * iterations,
        "cpu_migrations": [0 if index % 16 == 15 else None for index in range(iterations)],
    }
    made["counter_strides"] = {"cpu_migrations": 16}
    made["counters_unavailable"] = {"frequency_changes": "no cpufreq on this host"}
    made["environment"]["command"] = ["numatune", "bench", "-o", "a b.json"]
    made["run"] = {"vmstat": {"numa_hint_faults": sum(faults)}, "cgroup_throttled": 0}
    return made


def source(made: dict[str, Any] | None = None, path: str = "run.json") -> Source:
    """The same, prepared for a page."""
    made = faulty() if made is None else made
    return of_run(parse_run(made, path), made)


def attribution(*causes: tuple[str, float]) -> Attribution:
    """An attribution with these shares, and something ruled out and not read."""
    shares = tuple(
        Share(
            cause, f"words of {cause}", share, share - 0.05, min(1.0, share + 0.05), ("minor_faults",), 1200.0, False,
            9, 1, 0.001, ("numa_balancing",), "turn it off",
        )
        for cause, share in causes
    )  # fmt: skip
    left = max(0.0, 1.0 - sum(share for _cause, share in causes))
    ruled_out = (RuledOut("major_faults", "major faults", "major_faults", "none in the whole run"),)
    not_read = (NotRead("throttling", "throttling", "throttle_events: no such file"),)
    return Attribution(10, 300 * MS, shares, left, ruled_out, not_read, Period(1.0, 0.001))


def watch(windows: int = 200, logged: bool = True) -> dict[str, Any]:
    """A watch of a service with ten requests a window; those of some windows are slow, with many faults."""
    length, random = int(100 * MS), np.random.default_rng(1)
    faults, requests = [0] * windows, []
    for window in range(windows):
        for place in range(10):
            latency = int(5 * MS * (1 + 0.01 * random.standard_normal()))
            if window % 20 == 10 and place == 5:
                faults[window], latency = 20_000, int(30 * MS)
            requests.append([window * length + (place + 1) * length // 11, latency])
    return {
        "schema": "numatune/watch/1",
        "started": "2026-01-01T00:00:00Z",
        "command": ["numatune", "watch", "--pid", "7"],
        "target": {"kind": "pid", "name": "service", "pid": 7, "most_threads": 1, "cpus": "0-1", "processes": []},
        "ended": "duration",
        "partial": False,
        "environment": {"cpu_model": "Some CPU", "kernel": "6.1"},
        "interval_s": 0.1,
        "windows": {
            "start_offset_ns": [window * length for window in range(windows)],
            "length_ns": [length] * windows,
            "counters": {"minor_faults": faults, "run_delay_ns": [0] * windows},
        },
        "counters_unavailable": {},
        "counter_strides": {},
        "watching": {
            "share": 0.004,
            "sample_ns": {"p50": 300_000, "p90": 400_000},
            "cpus": "0",
            "stepped_aside": False,
        },
        "latency_log": {"path": "/var/log/x", "lines": len(requests)} if logged else None,
        "requests": requests if logged else [],
        "run": {},
        "invalidating_events": [],
    }
