"""The windows of a watch joined with the requests that the service logged.

A window is what lies between two samples of the counters. The counters of a window cover all requests in it, so a row
of the join is a window, and a window in which no request ended is left out: it says nothing about latency.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..bench.counted import ALL as COUNTERS
from .attribution import Common
from .run import Run, Samples
from .statistics import Summary, summarise, threshold_of
from .watch_file import Watched, load_watch, parse_watch

__all__ = [
    "COMMON_NOTE",
    "Watched",
    "as_run",
    "cost_run",
    "load_watch",
    "parse_watch",
    "request_threshold",
    "spike_rows",
    "spikes_are_common",
]

AT_PACE = tuple(counter.name for counter in COUNTERS if counter.over_pace is not None)
"""Counters that grow with time alone: of a window that is left out, their usual growth is kept in the next row."""

COMMON_NOTE = (
    "An eighth of the windows or more hold a spike: a cause is named by how slow the slowest request of each was.",
    "What is at work in all windows alike does not show; a shorter --interval may help.",
)
"""What is to be said where `spikes_are_common`, in sentences."""

_FEWEST_WINDOWS = 24
"""Below these, Fisher's exact test says more than ranks."""

NOT_JOINED = tuple(counter.name for counter in COUNTERS if not counter.joined)
_WAITS = "the threads of a service also sleep until a request comes, and that is not told apart from waits within one"

Places = npt.NDArray[np.intp]


def of_requests(watched: Watched) -> Run | None:
    """The requests as a run of their own, one row each and no counters; None where no request was logged."""
    if watched.latency.size == 0:
        return None
    environment, events = watched.environment, watched.events
    started = str(watched.data.get("started", ""))
    return Run(
        watched.path, watched.latency, {}, environment, events, started=started, offsets=watched.ends, settled=True
    )


def summarise_requests(watched: Watched) -> Summary | None:
    """Percentiles and spikes of the requests, by their own threshold; None where no request was logged."""
    run = of_requests(watched)
    return None if run is None else summarise(run)


def as_run(watched: Watched) -> Run | None:
    """Windows as the rows of a run; None where no request ended in any of them.

    A row's latency is that of its slowest request, and its counters are the window's, or the sum of the windows that
    this request was in. `offsets` puts the end of a row at the end of its window.
    """
    found = _rows(watched)
    if found is None:
        return None
    rows, slowest, first = found
    return _run(watched, rows, first, watched.latency[slowest])


def request_threshold(watched: Watched) -> float:
    """Above how many ns a request is a spike."""
    median = float(np.median(watched.latency))
    return threshold_of(watched.latency / median) * median


def spike_rows(watched: Watched, run: Run) -> list[int]:
    """The rows of `as_run` whose slowest request is a spike among all requests."""
    return [int(row) for row in np.flatnonzero(run.latency > request_threshold(watched))]


def cost_run(watched: Watched) -> tuple[Run, float, Common | None] | None:
    """What `attribute` needs; None where no request ended in any window.

    The counters of a window count all its slow requests, so its latency must too. Here a row's latency is the median
    request and the time that the window's slow requests lost together, time in which several lost counted once.
    Where an eighth of the windows or more hold a spike, spikes are `Common`.
    """
    found = _rows(watched)
    if found is None:
        return None
    rows, slowest, first = found
    base, limit = float(np.median(watched.latency)), request_threshold(watched)
    lost = _lost(watched, rows, first, base, limit)
    most = watched.latency[slowest]
    slow = most > limit
    usual = float(np.median(most[~slow])) if not slow.all() else base
    made = np.where(slow, base + np.maximum(lost, most - base), np.clip(base + most - usual, 1.0, limit))
    run = _run(watched, rows, first, made)
    if spikes_are_common(int(slow.sum()), rows.size):
        return run, limit / base, Common(base, most)
    return run, limit / run.median, None


def spikes_are_common(spiky: int, windows: int) -> bool:
    """Whether a spike in a window singles it out no more; of few windows, none is common."""
    return windows >= _FEWEST_WINDOWS and 8 * spiky >= windows


def _lost(watched: Watched, rows: Places, first: Places, base: float, limit: float) -> Samples:
    """For each of `rows`, the time that its slow requests took beyond `base`, ns, overlapping time counted once.

    A request loses it at its end. Requests whose log says no time all end with their window: then the sum is divided
    by how many ran at once, which is the time of all requests of the window by its length, and 1 at least.
    """
    window, inside = _window_of(watched)
    edges = watched.starts + watched.lengths
    ends, latency = watched.ends[inside], watched.latency[inside]
    beyond = np.where(latency > limit, latency - base, 0.0)
    sums = np.bincount(window, beyond, minlength=edges.size)
    busy = np.bincount(window, latency, minlength=edges.size)
    at_once = np.ones(edges.size)
    at_once[rows] = np.maximum(1.0, busy[rows] / (edges[rows] - watched.starts[first]))
    lost = sums / at_once
    timed = np.bincount(window, (beyond > 0) & (ends == edges[window]), minlength=edges.size) == 0
    lost[timed] = 0.0
    current, reached = -1, math.inf
    # From the last end back, each interval adds what lies before the earliest start so far.
    for place in np.flatnonzero((beyond > 0) & timed[window])[::-1]:
        if window[place] != current:
            current, reached = int(window[place]), math.inf
        start = float(ends[place] - beyond[place])
        lost[current] += max(0.0, min(float(ends[place]), reached) - start)
        reached = min(reached, start)
    return np.asarray(lost[rows], dtype=np.float64)


def _rows(watched: Watched) -> tuple[Places, Places, Places] | None:
    """Windows with requests, and for each the index of its slowest request and the first window that it was in."""
    window, inside = _window_of(watched)
    if window.size == 0:
        return None
    order = np.lexsort((watched.latency[inside], window))
    last = np.flatnonzero(np.append(np.diff(window[order]) > 0, True))
    rows, slowest = window[order][last], inside[order][last]
    edges = watched.starts + watched.lengths
    began = watched.ends[slowest] - watched.latency[slowest]
    first = np.minimum(np.searchsorted(edges, began, side="right"), rows)
    return rows, slowest, np.asarray(first, dtype=np.intp)


def _window_of(watched: Watched) -> tuple[Places, Places]:
    """For each request that ended while watching: its window, and its index among the requests."""
    edges = watched.starts + watched.lengths
    inside = np.flatnonzero((watched.ends > watched.starts[0]) & (watched.ends <= edges[-1]))
    return np.searchsorted(edges, watched.ends[inside], side="left"), inside


def _run(watched: Watched, rows: Places, first: Places, latency: Samples) -> Run:
    edges = watched.starts + watched.lengths
    spans = edges[rows] - watched.starts[first]
    gaps = np.diff(edges[rows], prepend=edges[rows][0] - latency[0])
    counters = {}
    for name, values in watched.counters.items():
        if name in NOT_JOINED:
            continue
        sums = _sums(_each_window(values), first, rows)
        if name in AT_PACE and not np.isnan(sums).all():
            # The cost model takes a row to last from the end of the one before it; what was left out went on as usual.
            sums = sums + float(np.nanmedian(sums / spans)) * (gaps - spans)
        counters[name] = sums
    environment = {**watched.environment, "threads": watched.target.get("most_threads")}
    return Run(
        watched.path,
        latency,
        counters,
        environment,
        watched.events,
        started=str(watched.data.get("started", "")),
        host=watched.host,
        offsets=edges[rows] - latency,
        unavailable={**watched.unavailable, "cpu_time_ns": _WAITS},
        settled=True,
    )


def _each_window(values: Samples) -> Samples:
    """A counter that was read after every so many windows, as its mean over them; NaN after its last reading."""
    read = np.flatnonzero(~np.isnan(values))
    if read.size == values.size or read.size == 0:
        return values
    spread = np.full(values.shape, np.nan)
    start = 0
    for place in read:
        spread[start : place + 1] = values[place] / (place + 1 - start)
        start = int(place) + 1
    return spread


def _sums(values: Samples, first: Places, last: Places) -> Samples:
    """Sums of `values` from `first` to `last`, both within; NaN where one of them is."""
    totals = np.concatenate(([0.0], np.cumsum(np.nan_to_num(values))))
    holes = np.concatenate(([0], np.cumsum(np.isnan(values))))
    sums = totals[last + 1] - totals[first]
    sums[holes[last + 1] > holes[first]] = np.nan
    return np.asarray(sums, dtype=np.float64)
