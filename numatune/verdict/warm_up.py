"""Where the warm-up of a run ends: changepoints of its level, found by PELT with the penalty that krun uses.

Spikes are no part of the search: it works on the run's level, a running median with the noise around it clipped, so
that a spike, or a burst of up to five in a row, makes no changepoint. The steady state is the last segment of note;
the warm-up is the leading segments on another level. Nothing here drops a spike: an iteration of the warm-up that is
slow against the median of its own segment is kept, and judged like any other; and a longer burst at the start, which
jumps up and down where a level would be even, is no warm-up at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEWEST = 40
"""Iterations below which no warm-up is looked for: a quarter of them is too little to tell a level by."""

LARGEST_SHARE = 0.25
"""A longer "warm-up" is none: the run has no steady state, and is left as it is."""

EQUIVALENT = 0.02
"""Levels that differ by less than this share, or than the noise, are the same: no spike and no p99 depends on it."""

BURST_FACTOR = 4.0
"""A slow segment whose neighbours differ by so many times the usual is a burst of spikes."""

MAD_FACTOR, MEDIAN_FACTOR = 6.0, 1.10
"""A spike is slower than max(median + 6 MAD, 1.10 median), here of the segment that it is in."""

_HALF_WINDOW = 5
_CLIP = 3.0
_PENALTY = 15.0
_LEAST_NOISE = 1e-3  # of the median: levels that differ by less are not worth a segment
_MOST_POINTS = 1024  # PELT takes quadratic time on a run without a change
_REFERENCE_SHARE = 0.1  # a burst that ends the run is not its steady state
_SIGMA = 1.4826  # of the median absolute deviation, for normal noise


@dataclass(frozen=True)
class WarmUp:
    """The warm-up is iterations 0 to `end`; `kept` (shape (iterations,)) is False for those of it to leave out.

    `steady` is False where the run never settles: then nothing is left out. `factor` is the median of what was left
    out over that of the rest, 1 where nothing was.
    """

    end: int
    steady: bool
    kept: Mask
    factor: float = 1.0


def warm_up_end(latency: Values) -> int:
    """How many leading iterations of `latency` (shape (iterations,), any unit) belong to the warm-up."""
    return find_warm_up(latency).end


def find_warm_up(latency: Values) -> WarmUp:
    """The warm-up of a run; none where it is too short, or where the library that finds changepoints is missing."""
    none = WarmUp(0, True, np.ones(latency.size, dtype=np.bool_))
    if latency.size < FEWEST:
        return none
    values = latency / np.median(latency)
    pieces = _segments(_level(values))
    medians = [float(np.median(values[piece])) for piece in pieces]
    long_enough = [at for at, piece in enumerate(pieces) if _length(piece) >= _REFERENCE_SHARE * latency.size]
    if not long_enough:
        return WarmUp(0, False, none.kept)
    last = long_enough[-1]
    steady = values[pieces[last]]
    tolerated = max(EQUIVALENT * medians[last], _spread(steady))
    leading: list[slice] = []
    for at, piece in enumerate(pieces):
        if abs(medians[at] - medians[last]) <= tolerated or _is_burst(values[piece], steady):
            break
        leading.append(piece)
    if not leading:
        return none
    end = int(leading[-1].stop)
    if end > LARGEST_SHARE * latency.size:
        return WarmUp(0, False, none.kept)
    kept = none.kept.copy()
    for piece in leading:
        kept[piece] = _spikes(values[piece])
    return WarmUp(end, True, kept, float(np.median(values[~kept]) / np.median(values[end:])))


def _level(values: Values) -> Values:
    """The running median, with what is left of the noise around it: spikes are cut down to three deviations."""
    width = 2 * _HALF_WINDOW + 1
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)
    # The first window stands for its first half too: with a narrower one there, a burst of three would be a level.
    local = np.pad(middle, _HALF_WINDOW, mode="edge")
    rest = values - local
    reach = _CLIP * max(_SIGMA * float(np.median(np.abs(rest))), _LEAST_NOISE)
    return np.asarray(local + np.clip(rest, -reach, reach), dtype=np.float64)


def _segments(level: Values) -> list[slice]:
    """The segments of one level, in order; a single one where the library is missing."""
    try:
        from ruptures import KernelCPD
    except ImportError:  # recording and its figures need numpy alone
        return [slice(0, level.size)]
    width = math.ceil(level.size / _MOST_POINTS)
    points = level[: level.size // width * width].reshape(-1, width).mean(axis=1)
    # From neighbours, so that a change of the level does not count as noise.
    noise = max(_jumps(points), _LEAST_NOISE)
    shortest = max(2, math.ceil((_HALF_WINDOW + 1) / width))
    search = KernelCPD(kernel="linear", min_size=shortest).fit(points.reshape(-1, 1))
    ends = search.predict(pen=_PENALTY * math.log(points.size) * noise**2)
    edges = [0, *(int(end) * width for end in ends[:-1]), level.size]
    return [slice(edges[at], edges[at + 1]) for at in range(len(edges) - 1)]


def _is_burst(values: Values, steady: Values) -> bool:
    """Whether a slow segment is a burst of spikes rather than a level: neighbours in it differ far more than usual."""
    level, usual = float(np.median(values)), float(np.median(steady))
    if level <= MEDIAN_FACTOR * usual:
        return False
    return _jumps(values / level) > BURST_FACTOR * max(_jumps(steady / usual), _LEAST_NOISE)


def _jumps(values: Values) -> float:
    """The noise from one iteration to the next: a level that moves slowly adds little."""
    return _SIGMA * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2.0)


def _spikes(values: Values) -> Mask:
    median = float(np.median(values))
    spread = float(np.median(np.abs(values - median)))
    return np.asarray(values > max(median + MAD_FACTOR * spread, MEDIAN_FACTOR * median), dtype=np.bool_)


def _spread(values: Values) -> float:
    return _SIGMA * float(np.median(np.abs(values - np.median(values))))


def _length(piece: slice) -> int:
    return int(piece.stop - piece.start)
