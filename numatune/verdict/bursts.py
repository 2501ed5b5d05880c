"""What stood out while a service was watched that logs no latency: bursts of a counter over time, and their period.

No cause of latency follows from this: nobody said how long a request took.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bench.counted import BY_NAME as COUNTERS
from .causes import CAUSES
from .dose import standing_out
from .period import spike_period
from .run import Samples
from .watch_file import Watched
from .watched import AT_PACE, NOT_JOINED

REGULAR = 0.01
"""A period is named where the chance to see one as strong without any is below this."""

_LEAST = {cause.counters[0]: cause.least for cause in CAUSES}
_BESIDE = ("voluntary_switches", "involuntary_switches", "numa_hint_faults")
_LEAST |= {name: COUNTERS[name].least or 0.0 for name in _BESIDE}
"""What no cause has as its first counter, and a burst of it says something all the same."""


@dataclass(frozen=True)
class Bursts:
    """One counter: in how many windows and bursts (windows in a row) it stood out, and how high it went.

    `first_seconds` are the starts of the bursts; `period_seconds` is None where they come without a period.
    """

    counter: str
    windows: int
    bursts: int
    usual: float
    largest: float
    first_seconds: tuple[float, ...]
    period_seconds: float | None


def find_bursts(watched: Watched) -> list[Bursts]:
    """The counters that stood out in some windows, the one with the most bursts first."""
    found = []
    for name, least in _LEAST.items():
        values = watched.counters.get(name)
        if values is None or name in NOT_JOINED or np.isnan(values).all():
            continue
        marks = standing_out(_at_pace(watched, values) if name in AT_PACE else values, least)
        if not marks.any():
            continue
        starts = np.flatnonzero(marks & ~np.concatenate(([False], marks[:-1])))
        usual = float(np.nanmedian(values))
        found.append(
            Bursts(
                name,
                int(marks.sum()),
                int(starts.size),
                usual,
                float(values[marks].max()),
                tuple(float(second) for second in watched.starts[starts] / 1e9),
                _period(watched, np.where(marks, np.nan_to_num(values) - usual, 0.0)),
            )
        )
    return sorted(found, key=lambda one: (-one.bursts, one.counter))


def _at_pace(watched: Watched, values: Samples) -> Samples:
    """What exceeds the counter's usual growth with time."""
    return np.asarray(values - float(np.nanmedian(values / watched.lengths)) * watched.lengths, dtype=np.float64)


def _period(watched: Watched, excess: Samples) -> float | None:
    found = spike_period(watched.starts / 1e9, excess)
    return found[0] if found is not None and found[1] <= REGULAR else None
