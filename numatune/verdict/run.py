"""A recorded run, read from the file that the recorder wrote and checked before anything is computed from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import VerdictError
from .other_files import by_beginning, by_schema
from .warm_up import Mask, WarmUp, find_warm_up

# The recorder's own name for it; the verdict does not import the recorder.
BENCH_SCHEMA = "numatune/bench/1"

LONGEST_NS = 1e15
"""Eleven days: no inference takes longer, and sums and ratios of what passes stay finite."""

MOST_THREADS = 1 << 22
"""Of one process: Linux has no more process ids (PID_MAX_LIMIT), and sums of what passes stay finite."""

MOST_BYTES, MOST_VALUES, MOST_LISTS = 128 << 20, 20_000_000, 3_000_000
"""What a file holds at most. The longest watch that is recorded, 500,000 windows, 2,000,000 requests, stays below."""

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One launch: `latency` in ns, shape (iterations,); `counters` name -> deltas, NaN where one was not read.

    `offsets` is each iteration's start since the first one, ns, or empty where the result does not say; a counter with
    a stride above 1 holds, at each iteration that was followed by a reading, the sum of that many iterations.
    `unavailable` is counter -> why it was not read, `host` what grew on the host over the whole run. `settled` says
    that no warm-up is to be looked for: the run is of a service that ran already, or has lost its warm-up.
    """

    path: str
    latency: Samples
    counters: Mapping[str, Samples]
    environment: Mapping[str, Any]
    events: Sequence[Mapping[str, str]] = ()
    provisional: bool = False
    started: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)
    offsets: Samples = field(default_factory=lambda: np.empty(0))
    strides: Mapping[str, int] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    settled: bool = False

    @property
    def median(self) -> float:
        return float(np.median(self.latency))

    @property
    def relative(self) -> Samples:
        """Latencies as multiples of this run's own median: a launch that is slower as a whole is no spike."""
        return self.latency / self.median

    @cached_property
    def warm_up(self) -> WarmUp:
        """The leading iterations on another level than the rest."""
        if self.settled:
            return WarmUp(0, True, np.ones(self.latency.size, dtype=np.bool_))
        return find_warm_up(self.latency)

    @property
    def kept(self) -> Mask:
        """Shape (iterations,): False for what is left out as warm-up; a spike in the warm-up stays."""
        return self.warm_up.kept

    def steady(self) -> Run:
        """This run without its warm-up, row by row; itself where it has none.

        A counter with a stride holds, at its first reading in it, the sum over iterations of the warm-up too.
        """
        kept = self.kept
        if self.settled or kept.all():
            return self
        return replace(
            self,
            latency=self.latency[kept],
            counters={name: values[kept] for name, values in self.counters.items()},
            offsets=self.offsets[kept] if self.offsets.size else self.offsets,
            settled=True,
        )


def load_run(path: str) -> Run:
    """The run in `path`; VerdictError where it cannot be read, is cut, or is no result of the benchmark."""
    return parse_run(read_json(path, "benchmark result"), path)


def read_json(path: str, what: str) -> Any:
    """The decoded content of `path`, which should be a `what`; VerdictError where it cannot be read or is no JSON.

    Also where it holds more than any recording does: it may come from a target, and would take gigabytes here.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        # A value takes 9 to 36 bytes of memory, a list or an object 60 and more.
        for many, found in (
            (f"{MOST_BYTES >> 20} MiB", len(data) > MOST_BYTES),
            (f"{MOST_VALUES:,} values", data.count(b",") >= MOST_VALUES),
            (f"{MOST_LISTS:,} lists", data.count(b"[") + data.count(b"{") > MOST_LISTS),
        ):
            if found:
                raise VerdictError(f"{path} holds more than {many}, which no {what} does: look where it came from")
        return json.loads(data.decode("utf-8"))
    except OSError as error:
        raise VerdictError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise VerdictError(f"{path} is {by_beginning(data) or f'not a {what}: it is not text'}") from error
    except (ValueError, RecursionError) as error:
        known = by_beginning(data) or f"not a {what}, or is cut short: it is not JSON"
        raise VerdictError(f"{path} is {known}") from error


def what_it_is(schema: object) -> str:
    """What a file of another schema is, and which command takes it."""
    return (
        by_schema(schema)
        or f"no run: its schema is {str(schema)[:60]!r}, not {BENCH_SCHEMA!r}; name a result of `numatune bench`"
    )


def parse_run(data: Any, path: str) -> Run:
    """The run that a decoded result describes."""
    if not isinstance(data, dict) or "schema" not in data:
        raise VerdictError(f'{path} is not a benchmark result: it has no "schema"; run `numatune bench -o FILE`')
    if data["schema"] != BENCH_SCHEMA:
        raise VerdictError(f"{path} is {what_it_is(data['schema'])}")
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
    threads = environment.get("threads")
    if isinstance(threads, int) and not 1 <= threads <= MOST_THREADS:
        raise VerdictError(f"{path} is damaged: environment.threads must be a number from 1 to {MOST_THREADS:,}")
    columns = {str(name): _numbers(values, f"counters.{name}", path) for name, values in counters.items()}
    for name, values in columns.items():
        if values.shape != latency.shape:
            raise VerdictError(f"{path} is damaged: counters.{name} has {values.size} entries, not {latency.size}")
    host, offsets = data.get("run"), _numbers(data.get("start_offset_ns", []), "start_offset_ns", path)
    if offsets.size and (offsets.shape != latency.shape or not np.all(np.diff(offsets) >= 0)):
        raise VerdictError(f"{path} is damaged: start_offset_ns must rise, with one entry for each iteration")
    return Run(
        path,
        latency,
        columns,
        environment,
        events,
        bool(data.get("provisional", False)),
        str(data.get("started", "")),
        host if isinstance(host, dict) else {},
        offsets,
        _mapping(data, "counter_strides", int),
        _mapping(data, "counters_unavailable", str),
    )


def _mapping(data: Mapping[str, Any], name: str, kind: type) -> dict[str, Any]:
    """An object whose values are of one kind; what is not is left out, for it only words a report."""
    found = data.get(name)
    return {str(key): value for key, value in found.items() if type(value) is kind} if isinstance(found, dict) else {}


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


def noun_of(environment: Mapping[str, Any]) -> str:
    """What one iteration of a run is, by its environment."""
    from ..bench.probe import NAME

    model = environment.get("model")
    return "walk" if isinstance(model, dict) and model.get("name") == NAME else "inference"
