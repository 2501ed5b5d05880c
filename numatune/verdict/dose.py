"""A dose: how much of one cause each iteration got; and the readings of a run that doses are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .causes import Cause
from .run import Run, Samples
from .statistics import MAD_FACTOR, deviation

Marks = npt.NDArray[np.bool_]

MOST = 1e18
"""No count of a run is larger."""

FINER = "not read after each iteration (--counters {} does)"


@dataclass(frozen=True)
class Dose:
    """What the iterations got of one cause: `values` above the usual, `marks` where that stands out; (iterations,).

    `stride` above 1: read after every so many iterations only, and held by the last of them; NaN elsewhere.
    """

    values: Samples
    marks: Marks
    counter: str
    stride: int = 1


@dataclass(frozen=True)
class Unread:
    """A cause of which the run has no counter; `total` is what the whole run had of it, None where not known.

    A total of 0 rules the cause out, for the reason `why` where there is one.
    """

    counter: str
    why: str
    total: float | None = None


def intervals(run: Run) -> Samples:
    """The time from reading to reading, ns, shape (iterations,): each latency and the pause before it."""
    if run.offsets.size == 0:
        return run.latency
    ends = run.offsets + run.latency
    return np.diff(ends, prepend=ends[0] - run.latency[0])


def standing_out(values: Samples, least: float) -> Marks:
    """Where `values` lie above their median by six deviations and by `least`; one that was not read does not."""
    known = values[~np.isnan(values)]
    if known.size == 0:
        return np.zeros(values.shape, dtype=np.bool_)
    usual = float(np.median(known))
    rise = max(MAD_FACTOR * deviation(known), least)
    return np.asarray(np.nan_to_num(values, nan=usual) >= usual + rise, dtype=np.bool_)


def total_of(run: Run, place: tuple[str, ...]) -> float | None:
    """What the whole run had of a count, from the result's `run`; None where that does not tell."""
    value: Any = run.host
    for key in place:
        if key == "steal" and isinstance(value, Mapping) and len(value) > 1 and not any(value.values()):
            return None  # CPUs without a single tick of any kind: they were not read
        value = value.get(key) if isinstance(value, Mapping) else None
    known = isinstance(value, int | float) and not isinstance(value, bool) and place
    return float(value) if known and 0 <= value < MOST else None


def dose_of(values: Samples, cause: Cause, counter: str, stride: int, marks: Marks | None = None) -> Dose:
    """The dose that `values` of a counter are: what lies above their median, and where they stand out."""
    above = np.maximum(values - np.nanmedian(values), 0.0)
    return Dose(above, standing_out(values, cause.least) if marks is None else marks, counter, stride)


def unread(run: Run, cause: Cause, counter: str) -> Unread:
    """That `cause` has no dose, and why `counter` was not read."""
    total = total_of(run, cause.total)
    if total == 0:
        return Unread(counter, "", total)
    why = run.unavailable.get(counter)
    if why is None and cause.total[:1] and cause.total[0] in run.host and total is None:
        why = "this host does not count it"
    if why is None:
        why = FINER.format("C" if counter.startswith("numa_") else "D")
    return Unread(counter, why, total)


def windows(marks: Marks, stride: int) -> Marks:
    """Which windows of `stride` iterations hold a mark; the last may be shorter."""
    return np.array([marks[start : start + stride].any() for start in range(0, marks.size, stride)], dtype=np.bool_)


def summed(spans: Samples, values: Samples) -> Samples:
    """The time that each reading of a strided counter covers, NaN where there was none."""
    found = np.full(values.shape, np.nan)
    start = 0
    for index in np.flatnonzero(~np.isnan(values)):
        found[index] = spans[start : index + 1].sum()
        start = int(index) + 1
    return found
