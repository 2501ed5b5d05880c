"""Fewer points for a picture: of each stretch of a series its lowest and its highest value, and every spike of all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ...verdict.run import Samples

Places = npt.NDArray[np.intp]


def kept(size: int, always: Sequence[int], columns: Iterable[Samples], bins: int) -> Places:
    """Which of `size` rows a picture keeps, rising: those of `always`, and of each of `bins` stretches the lowest and
    the highest of each column (NaN is neither). All of them where there are no more than two for each stretch."""
    if size <= 2 * bins:
        return np.arange(size)
    edges = np.linspace(0, size, bins + 1).astype(np.intp)
    places: list[int] = [0, size - 1, *always]
    for values in columns:
        low, high = np.nan_to_num(values, nan=np.inf), np.nan_to_num(values, nan=-np.inf)
        for start, end in itertools.pairwise(edges):
            places += [int(start + low[start:end].argmin()), int(start + high[start:end].argmax())]
    return np.unique(np.array(places, dtype=np.intp))


def tail(latency_ms: Samples, points: int = 400) -> tuple[Samples, Samples]:
    """(ms, share of all that took at least so long), the first rising, the second falling: the slowest `points` one by
    one, the rest at evenly spaced ranks."""
    values = np.sort(latency_ms)
    size = values.size
    rest = np.linspace(0, max(0, size - points - 1), min(points, max(0, size - points))).astype(np.intp)
    ranks = np.unique(np.concatenate([rest, np.arange(max(0, size - points), size)]))
    return values[ranks], (size - ranks) / size
