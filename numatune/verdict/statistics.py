"""Figures of one run: percentiles, the spike threshold, the spikes, and the share of time that they cost.

A spike is an inference slower than max(median + 6 MAD, 1.10 median): far outside the run's own spread, and large
enough to matter where that spread is tiny. The warm-up counts for none of them; a spike within it does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .run import Run, Samples

MAD_FACTOR = 6.0
MEDIAN_FACTOR = 1.10
P99_NEEDS = 299
"""Samples that a one-sided 95 % bound on the 99th percentile needs: 0.99**299 < 0.05."""


@dataclass(frozen=True)
class Summary:
    """Milliseconds, multiples of the median, and rates of one launch, without its warm-up.

    `warm_up` is the number of iterations left out as that; `iterations` those that the figures are made from.
    """

    iterations: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    p99_over_p50: float
    max_over_p50: float
    threshold: float
    spikes: int
    spikes_per_1000: float
    excess_share: float
    warm_up: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def deviation(values: Samples) -> float:
    """The median absolute deviation, unscaled."""
    return float(np.median(np.abs(values - np.median(values))))


def threshold_of(relative: Samples) -> float:
    """The spike threshold as a multiple of the median, from latencies already divided by it."""
    return max(1.0 + MAD_FACTOR * deviation(relative), MEDIAN_FACTOR)


def spike_indices(run: Run, threshold: float | None = None) -> list[int]:
    """Iterations of `run`, counted with its warm-up, that are spikes, by its own threshold where none is given."""
    steady = run.steady()
    relative = steady.relative
    limit = threshold_of(relative) if threshold is None else threshold
    return [int(index) for index in np.flatnonzero(run.kept)[relative > limit]]


def summarise(run: Run, threshold: float | None = None) -> Summary:
    """The figures of one launch; `threshold` (a multiple of the median) is its own where none is given."""
    steady = run.steady()
    latency, relative, median = steady.latency, steady.relative, steady.median
    limit = threshold_of(relative) if threshold is None else threshold
    p90, p99 = (float(value) for value in np.percentile(latency, [90, 99]))
    largest = float(latency.max())
    spikes = relative > limit
    excess = float((latency[spikes] - median).sum())
    count = int(spikes.sum())
    return Summary(
        iterations=int(latency.size),
        p50_ms=median / 1e6,
        p90_ms=p90 / 1e6,
        p99_ms=p99 / 1e6,
        max_ms=largest / 1e6,
        p99_over_p50=p99 / median,
        max_over_p50=largest / median,
        threshold=limit,
        spikes=count,
        spikes_per_1000=1000.0 * count / latency.size,
        excess_share=excess / float(latency.sum()),
        warm_up=int(run.latency.size - latency.size),
    )
