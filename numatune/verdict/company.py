"""What came with each spike: the counters that stood out at that iteration against their usual value.

This lists company, not causes: a counter that rises at a spike may follow from it. What share of the spikes' time a
cause explains is for `attribution` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .dose import Marks
from .dose import standing_out as _standing_out
from .run import Run, Samples

# A rise below these is too small to cost what a spike costs (a minor fault takes 0.2 to 20 us, a switch a few).
# On-CPU time is left out: the engine's workers spin, so it follows the latency whatever the cause.
SMALLEST_RISE = {
    "minor_faults": 50.0,
    "major_faults": 1.0,
    "voluntary_switches": 10.0,
    "involuntary_switches": 5.0,
    "cpu_migrations": 1.0,
    "run_delay_ns": 1e6,
    "numa_hint_faults": 50.0,
    "numa_pages_migrated": 50.0,
    "interrupts": 50.0,
    "steal_ns": 1e6,
    "irq_ns": 1e6,
    "softirq_ns": 1e6,
    "idle_exits": 20.0,
    "frequency_changes": 1.0,
    "throttle_events": 1.0,
    "quota_throttled": 1.0,
}


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
    if name not in SMALLEST_RISE:
        return np.zeros(values.shape, dtype=np.bool_)
    return _standing_out(values, SMALLEST_RISE[name])


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
