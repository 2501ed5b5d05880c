"""Made-up runs: a steady latency, some noise, and spikes put where a test wants them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from numatune.verdict.run import Run, parse_run

_launches = itertools.count()


def environment(**changes: Any) -> dict[str, Any]:
    """What a result says of its surroundings; `changes` by name, `model_size` and the like one level down."""
    made: dict[str, Any] = {
        "machine": "a",
        "cpu_model": "Some CPU",
        "arch": "x86_64",
        "kernel": "6.1",
        "clock_source": "tsc",
        "model": {"name": "resnet152", "size": 224, "graph_sha256": "g", "weights_sha256": "w"},
        "batch": 1,
        "precision": "fp32",
        "memory_policy": "none",
        "engine": {"name": "onnxruntime", "version": "1.32.0"},
        "numpy": "2.4.6",
        "python": "3.11.7",
        "threads": 2,
        "pinning": {"cpus": "0-1"},
        "scope": "node",
        "instances": {"kind": "one", "index": 0, "of": 1},
        "counter_tier": "B",
        "injection": None,
        "boot_id": "boot-1",
    }
    for name, value in changes.items():
        part, _underscore, key = name.partition("__")
        if key:
            made[part] = {**made[part], key: value}
        else:
            made[part] = value
    return made


def result(
    iterations: int = 1000,
    spikes: Iterable[int] = (),
    *,
    factor: float = 1.5,
    median: float = 100e6,
    noise: float = 0.005,
    warm_up: tuple[int, float] = (0, 1.0),
    seed: int = 0,
    counters: Mapping[str, Sequence[Any]] | None = None,
    events: Sequence[Mapping[str, str]] = (),
    provisional: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """A decoded result of one launch; `warm_up` is (iterations, by what factor they are slower than the rest)."""
    generator = np.random.default_rng(seed)
    latency = median * (1.0 + noise * generator.standard_normal(iterations))
    latency[: warm_up[0]] *= warm_up[1]
    for index in spikes:
        latency[index] = factor * median
    return {
        "schema": "numatune/bench/1",
        # Each launch starts after the one before it.
        "started": f"2026-01-01T00:{next(_launches):06d}Z",
        "environment": environment(**changes),
        "latency_ns": [round(value) for value in latency],
        "counters": dict(counters or {"minor_faults": [0] * iterations}),
        "invalidating_events": list(events),
        "provisional": provisional,
    }


def launch(*args: Any, **options: Any) -> Run:
    """The same, parsed."""
    return parse_run(result(*args, **options), f"launch-{next(_launches)}.json")


def save(folder: Path, name: str, *args: Any, **options: Any) -> str:
    """The same, in a file; its path."""
    path = folder / name
    path.write_text(json.dumps(result(*args, **options)))
    return str(path)
