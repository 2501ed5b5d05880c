"""Blocks of iterations, the unit of every test here: spikes cluster, so single iterations are not independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from .run import Samples

SHORTEST_BLOCK = 10
_WEAK = 0.05
_LONGEST_LAG = 200

Marks = npt.NDArray[np.bool_]


def correlation_length(marks: Marks) -> float:
    """Iterations over which a spike makes another likelier: 1 + twice the sum of the leading positive correlations."""
    centred = marks.astype(np.float64) - marks.mean()
    variance = float(centred @ centred)
    if variance == 0.0:
        return 1.0
    length = 1.0
    for lag in range(1, min(_LONGEST_LAG, marks.size - 1)):
        correlation = float(centred[:-lag] @ centred[lag:]) / variance
        if correlation < _WEAK:
            break
        length += 2.0 * correlation
    return length


def block_length(launches: Sequence[Marks]) -> int:
    """One length for both sides of a comparison: three correlation lengths of the most clustered launch."""
    longest = max((correlation_length(marks) for marks in launches), default=1.0)
    return max(SHORTEST_BLOCK, math.ceil(3.0 * longest))


def cut(size: int, length: int) -> list[slice]:
    """Consecutive blocks that cover `size` iterations; a remainder shorter than `length` joins the last block."""
    count = max(1, size // length)
    edges = [index * length for index in range(count)] + [size]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


def count_blocks(launches: Sequence[Marks], length: int) -> tuple[int, int]:
    """(blocks that hold a spike, blocks) over the launches of one side."""
    held = [bool(marks[block].any()) for marks in launches for block in cut(marks.size, length)]
    return sum(held), len(held)


def upper_bound(held: int, blocks: int, confidence: float = 0.95) -> float:
    """The one-sided Clopper-Pearson upper bound of the share of blocks that hold a spike."""
    if held >= blocks:
        return 1.0
    return float(stats.beta.ppf(confidence, held + 1, blocks - held))


def fewer_p(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Fisher's exact one-sided p that the second side holds spikes in no smaller share of its blocks than the first."""
    table = [[before[0], before[1] - before[0]], [after[0], after[1] - after[0]]]
    return float(stats.fisher_exact(np.array(table), alternative="greater")[1])


def difference_interval(
    before: tuple[int, int], after: tuple[int, int], confidence: float = 0.90
) -> tuple[float, float]:
    """Newcombe's interval of (share after - share before); 90 % makes it two one-sided tests at 5 %."""
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    (low_b, p_b, high_b), (low_a, p_a, high_a) = _wilson(*before, z), _wilson(*after, z)
    difference = p_a - p_b
    below = math.sqrt((p_a - low_a) ** 2 + (high_b - p_b) ** 2)
    above = math.sqrt((high_a - p_a) ** 2 + (p_b - low_b) ** 2)
    return difference - below, difference + above


def p99_permutation(
    before: Sequence[Samples], after: Sequence[Samples], length: int, seed: int = 1, rounds: int = 2000
) -> tuple[float, float, float]:
    """(ratio after / before of the p99 in medians, p that it fell by chance, p that it rose by chance).

    Latencies are multiples of their launch's median. Whole blocks change sides, so a cluster of spikes moves as one.
    """
    pool = [values[block] for side in (before, after) for values in side for block in cut(values.size, length)]
    first = sum(len(cut(values.size, length)) for values in before)
    observed = _p99(pool[first:]) / _p99(pool[:first])
    generator = np.random.default_rng(seed)
    lower = higher = 1  # the observed arrangement is one of those possible
    for _ in range(rounds):
        order = generator.permutation(len(pool))
        ratio = _p99([pool[i] for i in order[first:]]) / _p99([pool[i] for i in order[:first]])
        lower += ratio <= observed
        higher += ratio >= observed
    return observed, lower / (rounds + 1), higher / (rounds + 1)


def _p99(blocks: Sequence[Samples]) -> float:
    values = np.concatenate(blocks)
    rank = min(values.size - 1, math.ceil(0.99 * values.size) - 1)
    return float(np.partition(values, rank)[rank])


def _wilson(held: int, blocks: int, z: float) -> tuple[float, float, float]:
    share = held / blocks
    centre = (share + z * z / (2 * blocks)) / (1 + z * z / blocks)
    half = z * math.sqrt(share * (1 - share) / blocks + z * z / (4 * blocks * blocks)) / (1 + z * z / blocks)
    return max(0.0, centre - half), share, min(1.0, centre + half)
