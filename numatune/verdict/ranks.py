"""Where spikes are common: do the windows in which a counter stands out hold slower requests than the others?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from .dose import Marks
from .run import Samples


def chance_of_slowness(marks: Marks, slowest: Samples) -> float:
    """The chance that the windows at `marks` rank as slow as they do if the marks have nothing to do with slowness.

    One-sided, by the sum of the ranks of `slowest`. Noise and load come in bursts of seconds, each on its own, so
    windows are not independent: the marks are compared with themselves at each other time of the watch, turned around
    its end. Where no other time does as well, how far it is from them all decides. 1 where all or none are marked.
    """
    if marks.all() or not marks.any():
        return 1.0
    ranks = stats.rankdata(slowest)
    ranks -= ranks.mean()
    sums = np.fft.irfft(np.fft.rfft(ranks) * np.conj(np.fft.rfft(marks.astype(np.float64))), ranks.size)
    spread = float(sums[1:].std())
    as_slow = int((sums >= sums[0] * (1 - 1e-9)).sum())
    far = float(stats.norm.sf(sums[0] / spread)) if spread > 0 else 1.0
    return far if as_slow <= 1 else max(far, as_slow / ranks.size)
