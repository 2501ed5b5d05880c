"""What came with each spike: the counters that stood out at that iteration against their usual value.

What it lists need not be a cause: a counter that rises at a spike may follow from it. What share of the spikes' time a
cause explains is for `attribution` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bench.counted import BY_NAME as COUNTERS
from .dose import Marks
from .dose import standing_out as _standing_out
from .run import Run, Samples


@dataclass(frozen=True)
class Rise:
    """One counter at one iteration: its value and its median over the run."""

    counter: str
    value: float
    usual: float


@dataclass(frozen=True)
class Spike:
    """One slow inference and the counters that stood out with it."""

    iteration: int
    milliseconds: float
    times_median: float
    rises: tuple[Rise, ...]


def standing_out(name: str, values: Samples) -> Marks:
    """Which iterations hold an unusual value of counter `name`: shape (iterations,); one not read is not unusual."""
    counter = COUNTERS.get(name)
    if counter is None or counter.least is None:
        return np.zeros(values.shape, dtype=np.bool_)
    return _standing_out(values, counter.least)


def list_spikes(run: Run, indices: Sequence[int]) -> list[Spike]:
    """The spikes at `indices`, each with what stood out."""
    marks = {name: standing_out(name, values) for name, values in run.counters.items()}
    usual = {name: float(np.nanmedian(run.counters[name])) for name in marks if marks[name].any()}
    median = run.steady().median
    return [
        Spike(
            index,
            float(run.latency[index]) / 1e6,
            float(run.latency[index] / median),
            tuple(Rise(name, float(run.counters[name][index]), usual[name]) for name in usual if marks[name][index]),
        )
        for index in indices
    ]
