"""What came with each spike: the counters that stood out at that iteration against their usual value.

This lists company, not causes: a counter that rises at a spike may follow from it. What share of the spikes' time a
cause explains is for the cost model of the attribution to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .run import Run, Samples
from .statistics import MAD_FACTOR, deviation

# A rise below these is too small to cost what a spike costs (a minor fault takes 0.2 to 20 us, a switch a few).
# on-CPU time is left out: the engine's workers spin, so it follows the latency whatever the cause.
SMALLEST_RISE = {
    "minor_faults": 50.0,
    "major_faults": 1.0,
    "voluntary_switches": 10.0,
    "involuntary_switches": 5.0,
    "cpu_migrations": 1.0,
    "run_delay_ns": 1e6,
    "numa_hint_faults": 50.0,
    "numa_pages_migrated": 50.0,
}
SIGNIFICANT = 0.05


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


@dataclass(frozen=True)
class Company:
    """How often a counter stood out at spikes and elsewhere; `p` is Fisher's, corrected for the counters tried."""

    counter: str
    with_spikes: int
    spikes: int
    elsewhere: int
    others: int
    typical: float
    p: float


def standing_out(name: str, values: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which iterations hold an unusual value of counter `name`: shape (iterations,); one not read is not unusual."""
    known = values[~np.isnan(values)]
    if known.size == 0 or name not in SMALLEST_RISE:
        return np.zeros(values.shape, dtype=np.bool_)
    usual = float(np.median(known))
    rise = max(MAD_FACTOR * deviation(known), SMALLEST_RISE[name])
    return np.asarray(np.nan_to_num(values, nan=usual) >= usual + rise, dtype=np.bool_)


def list_spikes(run: Run, indices: Sequence[int]) -> list[Spike]:
    """The spikes at `indices`, each with what stood out."""
    marks = {name: standing_out(name, values) for name, values in run.counters.items()}
    usual = {name: float(np.nanmedian(run.counters[name])) for name in marks if marks[name].any()}
    return [
        Spike(
            index,
            float(run.latency[index]) / 1e6,
            float(run.relative[index]),
            tuple(Rise(name, float(run.counters[name][index]), usual[name]) for name in usual if marks[name][index]),
        )
        for index in indices
    ]


def find_company(run: Run, indices: Sequence[int]) -> list[Company]:
    """Counters that stand out at spikes more often than chance gives (Fisher, Benjamini-Hochberg); strongest first."""
    if not indices:
        return []
    spikes = np.zeros(run.latency.shape, dtype=np.bool_)
    spikes[list(indices)] = True
    others = int((~spikes).sum())
    tried: list[tuple[str, int, int, float]] = []
    for name, values in run.counters.items():
        if name not in SMALLEST_RISE:
            continue
        marks = standing_out(name, values)
        hit, miss = int((marks & spikes).sum()), int((marks & ~spikes).sum())
        table = [[hit, len(indices) - hit], [miss, others - miss]]
        tried.append((name, hit, miss, float(stats.fisher_exact(np.array(table), alternative="greater")[1])))
    if not tried:
        return []
    corrected = stats.false_discovery_control([p for _name, _hit, _miss, p in tried])
    found = [
        Company(
            name,
            hit,
            len(indices),
            miss,
            others,
            float(np.nanmedian(run.counters[name][standing_out(name, run.counters[name]) & spikes])),
            float(p),
        )
        for (name, hit, miss, _raw), p in zip(tried, corrected, strict=True)
        if hit and p <= SIGNIFICANT
    ]
    return sorted(found, key=lambda company: (-company.with_spikes, company.p, company.counter))
