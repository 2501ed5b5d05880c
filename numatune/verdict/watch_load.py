"""How many requests a second a service answered: what is compared was watched under one load, or nothing is shown.

Spikes are counted per 1,000 requests and against the median of their own watch. More quick requests thin out the same
spikes, and queueing lifts the median above them; fewer requests wait less for each other. So a load that moved, up or
down, can make each verdict without any change of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .watch_file import Watched

SAME_LOAD = 1.25
"""Requests per second that moved by more than this factor are another load."""

CHANCE = 4.0
"""Parts with few requests differ by much by chance: only more standard deviations of a count than these are a move."""


@dataclass(frozen=True)
class Load:
    """Requests that ended per second, on either side; `moved` says in sentences where it did not stay the same."""

    before: float
    after: float
    moved: tuple[str, ...]

    @property
    def sentence(self) -> str:
        ratio = self.after / self.before
        return f"{self.before:,.3g} requests a second before, {self.after:,.3g} after ({ratio:.2f} ×)"


def load_of(before: Sequence[Watched], after: Sequence[Watched], parts: int) -> Load:
    """The load of both sides, each watch held against the others, and `parts` equal stretches of it among themselves.

    Each watch must hold a request.
    """
    found = Load(_rate(before), _rate(after), ())
    rates = sorted((_rate([one]), one.path) for one in (*before, *after))
    moved = []
    if found.before > SAME_LOAD * found.after or found.after > SAME_LOAD * found.before:
        moved.append(found.sentence)
    elif rates[-1][0] > SAME_LOAD * rates[0][0]:
        (least, quiet), (most, busy) = rates[0], rates[-1]
        moved.append(f"{least:,.3g} requests a second in {quiet}, {most:,.3g} in {busy}")
    for one in (*before, *after):
        low, high = _extremes(one, parts)
        if high > SAME_LOAD * low and high - low > CHANCE * (high + low) ** 0.5:
            length = one.seconds / parts
            rates_said = f"{low / length:,.3g} to {high / length:,.3g} requests a second"
            moved.append(f"{rates_said} in the {parts} parts of {one.path}")
    return Load(found.before, found.after, tuple(moved))


def _rate(watches: Sequence[Watched]) -> float:
    return sum(one.latency.size for one in watches) / sum(one.seconds for one in watches)


def _extremes(watched: Watched, parts: int) -> tuple[int, int]:
    """The fewest and the most requests that ended in one of `parts` stretches of equal time."""
    first, last = watched.starts[0], watched.starts[-1] + watched.lengths[-1]
    places = np.clip((watched.ends - first) / (last - first) * parts, 0, parts - 1)
    counts = np.bincount(places.astype(np.intp), minlength=parts)
    return int(counts.min()), int(counts.max())
