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
_TABLE = 200_000
_PART = 5

Marks = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float32]  # whole numbers: in this type they are added up fastest, and exactly below 2**24


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


def block_length(launches: Sequence[Marks], shortest: int = SHORTEST_BLOCK) -> int:
    """One length for both sides of a comparison: three correlation lengths of the most clustered launch."""
    longest = max((correlation_length(marks) for marks in launches), default=1.0)
    return max(shortest, math.ceil(3.0 * longest))


def cut(size: int, length: int) -> list[slice]:
    """Consecutive blocks that cover `size` iterations; a remainder shorter than `length` joins the last block."""
    count = max(1, size // length)
    edges = [index * length for index in range(count)] + [size]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


def count_blocks(launches: Sequence[Marks], length: int, parts: int = 1) -> list[tuple[int, int]]:
    """(blocks that hold a spike, blocks) of each launch, or of so many parts of each, of five blocks and more."""
    counts = []
    for marks in launches:
        held = np.array([bool(marks[block].any()) for block in cut(marks.size, length)])
        for part in np.array_split(held, max(1, min(parts, held.size // _PART))):
            counts.append((int(part.sum()), int(part.size)))
    return counts


def dispersion(*sides: Sequence[tuple[int, int]]) -> float:
    """How much more the launches of a side differ than chance makes them: the variance over the binomial one.

    Pooled over the sides, and at least 1. Where a spike's rate varies from launch to launch, blocks of one launch are
    alike, and say less than as many blocks of as many launches would.
    """
    squares, degrees = 0.0, 0
    for launches in sides:
        held, count = (sum(column) for column in zip(*launches, strict=True))
        if 0 < held < count:
            share = held / count
            squares += sum((h - n * share) ** 2 / (n * share * (1 - share)) for h, n in launches)
            degrees += len(launches) - 1
    return max(1.0, squares / degrees) if degrees else 1.0


def dispersed(p: float, spread: float) -> float:
    """A p-value made for independent blocks, where the variance is `spread` times as large."""
    return float(stats.norm.sf(stats.norm.isf(p) / math.sqrt(spread)))


def upper_bound(held: float, blocks: float, confidence: float = 0.95) -> float:
    """The one-sided Clopper-Pearson upper bound of the share of blocks that hold a spike."""
    if held >= blocks:
        return 1.0
    return float(stats.beta.ppf(confidence, held + 1, blocks - held))


def fewer_p(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Fisher's exact one-sided p that the second side holds spikes in no smaller share of its blocks than the first."""
    table = [[before[0], before[1] - before[0]], [after[0], after[1] - after[0]]]
    return float(stats.fisher_exact(np.array(table), alternative="greater")[1])


def difference_interval(
    before: tuple[float, float], after: tuple[float, float], confidence: float = 0.90
) -> tuple[float, float]:
    """Newcombe's interval of (share after - share before); 90 % makes it two one-sided tests at 5 %."""
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    (low_b, p_b, high_b), (low_a, p_a, high_a) = _wilson(*before, z), _wilson(*after, z)
    difference = p_a - p_b
    below = math.sqrt((p_a - low_a) ** 2 + (high_b - p_b) ** 2)
    above = math.sqrt((high_a - p_a) ** 2 + (p_b - low_b) ** 2)
    return difference - below, difference + above


def rate_interval(
    before: tuple[float, float, float], after: tuple[float, float, float], *, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of (rate after - rate before), spikes per 1,000 iterations; a side is (held, blocks, its factor).

    The factor makes a rate of a share of blocks: blocks per 1,000 iterations times spikes in a block that holds any.
    Blocks carry the uncertainty: the interval is Newcombe's, of shares that are stretched by their factors.
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    low_b, rate_b, high_b = (share * before[2] for share in _wilson(before[0], before[1], z))
    low_a, rate_a, high_a = (share * after[2] for share in _wilson(after[0], after[1], z))
    difference = rate_a - rate_b
    below = math.sqrt((rate_a - low_a) ** 2 + (high_b - rate_b) ** 2)
    above = math.sqrt((high_a - rate_a) ** 2 + (rate_b - low_b) ** 2)
    return difference - below, difference + above


class Tail:
    """The p99 of either side, again and again, where whole blocks are exchanged or drawn anew.

    Latencies are multiples of their launch's median. Whole blocks move, so a cluster of spikes moves as one. All
    values are sorted once: the p99 of any selection is then found by counting selected values from the largest down.
    """

    def __init__(self, before: Sequence[Samples], after: Sequence[Samples], length: int) -> None:
        pieces = [[values[block] for values in side for block in cut(values.size, length)] for side in (before, after)]
        pool = pieces[0] + pieces[1]
        self._first = len(pieces[0])
        self._sizes = np.array([piece.size for piece in pool], dtype=np.float32)
        values = np.concatenate(pool)
        order = np.argsort(-values, kind="stable")
        self._values = values[order]
        self._owners = np.repeat(np.arange(len(pool)), [piece.size for piece in pool])[order]
        self._sides = np.arange(len(pool)) < self._first

    @property
    def ratio(self) -> float:
        """The p99 after over the p99 before."""
        return float(self._ratios(self._sides[np.newaxis].astype(np.float32))[0])

    def permuted(self, rounds: int = 2000, seed: int = 1) -> tuple[float, float]:
        """(p that the ratio is as low by chance, p that it is as high): over blocks that change sides at random."""
        observed, generator = self.ratio, np.random.default_rng(seed)
        lower = higher = 1  # the observed arrangement is one of those possible
        for size in self._portions(rounds):
            sides = generator.permuted(np.tile(self._sides, (size, 1)), axis=1)
            ratios = self._ratios(sides.astype(np.float32))
            lower += int((ratios <= observed).sum())
            higher += int((ratios >= observed).sum())
        return lower / (rounds + 1), higher / (rounds + 1)

    def interval(self, confidence: float = 0.95, rounds: int = 1000, seed: int = 2) -> tuple[float, float]:
        """The bootstrap interval of the ratio: each side's blocks are drawn anew from that side, with repetition."""
        generator, first, count = np.random.default_rng(seed), self._first, self._sizes.size
        ratios = [
            self._p99(_drawn(generator, size, (first, count), count))
            / self._p99(_drawn(generator, size, (0, first), count))
            for size in self._portions(rounds)
        ]
        low, high = np.quantile(np.concatenate(ratios), [0.5 - confidence / 2, 0.5 + confidence / 2])
        return float(low), float(high)

    def _portions(self, rounds: int) -> list[int]:
        """The rounds in portions that keep a table of rounds times blocks small, however long the runs are."""
        size = max(1, _TABLE // self._sizes.size)
        return [min(size, rounds - start) for start in range(0, rounds, size)]

    def _ratios(self, first: Times) -> Samples:
        """p99 of the blocks that are not in the first side over that of those that are."""
        return self._p99(1.0 - first) / self._p99(first)

    def _p99(self, times: Times) -> Samples:
        """The p99 of each selection: `times` says how often a block is in it, shape (rounds, blocks)."""
        sizes = (times @ self._sizes).astype(np.float64)
        wanted = sizes - np.ceil(0.99 * sizes) + 1.0  # this many from the largest down
        found, left = np.empty(len(times)), np.arange(len(times))
        top = min(self._values.size, 4 * int(wanted.max()))
        while left.size:
            seen = np.cumsum(times[left][:, self._owners[:top]], axis=1)
            reached = seen[:, -1] >= wanted[left]
            at = np.argmax(seen >= wanted[left, np.newaxis], axis=1)
            found[left[reached]] = self._values[at[reached]]
            left = left[~reached]  # with little of the top among them: look further down
            top = min(self._values.size, 4 * top)
        return found


def _drawn(generator: np.random.Generator, rounds: int, among: tuple[int, int], count: int) -> Times:
    """How often each of `count` blocks was drawn, shape (rounds, count): as often as there are blocks in the range."""
    start, end = among
    drawn = generator.integers(start, end, (rounds, end - start)) + count * np.arange(rounds)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=rounds * count).reshape(rounds, count).astype(np.float32)


def _wilson(held: float, blocks: float, z: float) -> tuple[float, float, float]:
    share = held / blocks
    centre = (share + z * z / (2 * blocks)) / (1 + z * z / blocks)
    half = z * math.sqrt(share * (1 - share) / blocks + z * z / (4 * blocks * blocks)) / (1 + z * z / blocks)
    return max(0.0, centre - half), share, min(1.0, centre + half)
