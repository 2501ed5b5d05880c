"""Where spikes are common: do the windows in which a counter stands out hold slower requests than the others?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from .dose import Marks
from .run import Samples

PIECE = 40
"""Windows of a piece of the watch: longer than a burst, and many enough that each turn of one is a fair draw."""
FEWEST_PIECES = 3


def chance_of_slowness(marks: Marks, slowest: Samples) -> float:
    """The chance that the windows at `marks` rank as slow as they do if the marks have nothing to do with slowness.

    One-sided, by the sum of the ranks of `slowest`. Noise and load come in bursts of seconds, each on its own, so
    windows are not independent: the marks are compared with themselves at each other time, turned around the end of the
    watch; of a long one, within each piece by itself, or what comes at a steady pace would be like itself at many
    turns. Where no other turn does as well, how far it is from them all decides. 1 where all or none are marked.
    """
    if marks.all() or not marks.any():
        return 1.0
    ranks = stats.rankdata(slowest)
    ranks -= ranks.mean()
    if ranks.size < PIECE * FEWEST_PIECES:
        sums = _turned(ranks, marks)
        spread = float(np.sqrt(np.mean(sums**2)))  # their mean is 0
        as_slow = int((sums >= sums[0]).sum())
        far = float(stats.norm.sf(sums[0] / spread)) if spread > 0 else 1.0
        return far if as_slow <= 1 else max(far, as_slow / ranks.size)
    above = variance = 0.0
    for piece in np.array_split(np.arange(ranks.size), round(ranks.size / PIECE)):
        sums = _turned(ranks[piece], marks[piece])
        above += float(sums[0] - sums.mean())
        variance += float(sums.var())
    return float(stats.norm.sf(above / np.sqrt(variance))) if variance > 0 else 1.0


def _turned(ranks: Samples, marks: Marks) -> Samples:
    """The sum of the ranks at the marks, turned by each number of windows, 0 first."""
    sums = np.fft.irfft(np.fft.rfft(ranks) * np.conj(np.fft.rfft(marks.astype(np.float64))), ranks.size)
    # Ranks are halves at the finest, taken from their mean, a quarter: what is left is the transform's own noise.
    return np.asarray(np.round(4 * sums) / 4, dtype=np.float64)
