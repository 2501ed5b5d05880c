"""A recorded run, read from the file that the recorder wrote and checked before anything is computed from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import VerdictError

BENCH_SCHEMA = "numatune/bench/1"  # the recorder's own name for it; the verdict does not import the recorder

LONGEST_NS = 1e15
"""Eleven days: no inference takes longer, and sums and ratios of what passes stay finite."""

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One launch: `latency` in ns, shape (iterations,); `counters` name -> deltas, NaN where one was not read."""

    path: str
    latency: Samples
    counters: Mapping[str, Samples]
    environment: Mapping[str, Any]
    events: Sequence[Mapping[str, str]] = ()
    provisional: bool = False
    started: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return float(np.median(self.latency))

    @property
    def relative(self) -> Samples:
        """Latencies as multiples of this run's own median: a launch that is slower as a whole is no spike."""
        return self.latency / self.median


def load_run(path: str) -> Run:
    """The run in `path`; VerdictError where it cannot be read, is cut, or is no result of the benchmark."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise VerdictError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise VerdictError(f"{path} is not a benchmark result: it is not text") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VerdictError(f"{path} is not a benchmark result, or is cut short: it is not JSON") from error
    return parse_run(data, path)


def parse_run(data: Any, path: str) -> Run:
    """The run that a decoded result describes."""
    if not isinstance(data, dict) or "schema" not in data:
        raise VerdictError(f'{path} is not a benchmark result: it has no "schema"; run `numatune bench -o FILE`')
    if data["schema"] != BENCH_SCHEMA:
        raise VerdictError(f"{path} has schema {data['schema']!r}, not {BENCH_SCHEMA!r}")
    latency = _numbers(data.get("latency_ns"), "latency_ns", path)
    if latency.size == 0 or not np.all(latency > 0):
        raise VerdictError(f"{path} is damaged: latency_ns must hold positive numbers, one per iteration")
    if latency.min() < 1.0 or latency.max() > LONGEST_NS:
        raise VerdictError(f"{path} is damaged: latency_ns must hold nanoseconds from 1 to {LONGEST_NS:g}")
    environment = data.get("environment")
    counters = data.get("counters", {})
    events = data.get("invalidating_events", [])
    if not isinstance(environment, dict) or not isinstance(counters, dict) or not isinstance(events, list):
        raise VerdictError(f"{path} is damaged: environment, counters or invalidating_events is missing")
    if not all(isinstance(event, dict) for event in events):
        raise VerdictError(f"{path} is damaged: invalidating_events must hold objects")
    columns = {str(name): _numbers(values, f"counters.{name}", path) for name, values in counters.items()}
    for name, values in columns.items():
        if values.shape != latency.shape:
            raise VerdictError(f"{path} is damaged: counters.{name} has {values.size} entries, not {latency.size}")
    host = data.get("run")
    return Run(
        path,
        latency,
        columns,
        environment,
        events,
        bool(data.get("provisional", False)),
        str(data.get("started", "")),
        host if isinstance(host, dict) else {},
    )


def _numbers(values: Any, name: str, path: str) -> Samples:
    """A list of numbers and nulls as floats, null as NaN."""
    whole = isinstance(values, list) and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    )
    if not whole:
        raise VerdictError(f"{path} is damaged: {name} must be a list of numbers")
    try:
        finite = all(value is None or math.isfinite(value) for value in values)
    except OverflowError:  # an integer of hundreds of digits
        finite = False
    if not finite:
        raise VerdictError(f"{path} is damaged: {name} holds a number that is infinite, not a number or too large")
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
