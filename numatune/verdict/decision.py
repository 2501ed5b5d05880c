"""From block counts and p-values to a verdict: the rules, apart from the data that they are applied to.

The level of 5 % (one-sided) is shared by the two tests, Fisher's on blocks and the permutation of the p99: each
gets half of it where both could be made. Where launches of a side differ by more than chance, both are made weaker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import DEFAULT_LIMIT, blocks

LEVEL = 0.05
EQUIVALENT_SHARE = 0.25
"""Unchanged means: the share of blocks with a spike moved by less than a quarter of what it was, or than the limit."""

WIDEST_MARGIN = 0.2
"""And never by more than this share of the blocks: where spikes cluster, blocks are long, and the limit counted in
blocks would pass every difference as none."""

FEWEST_BLOCKS = 20
"""Blocks a side below which nothing shows that both sides are alike."""

EQUIVALENT_RATE = 0.5
"""Unchanged means also: the spikes per 1,000 moved by less than half of what they were. Blocks do not see how many
spikes each of them holds."""

NOTABLE_RATIO = 1.05
"""A p99 that moved by less than this factor did not move. Where spikes have few distinct heights, the p99s of both
sides fall on the same one, and the difference of the medians alone would pass the permutation test."""

FEW_HELD, NOTABLE_BURST = 3, 1.5
"""Blocks that hold spikes below which a side does not tell how many come at once; fewer at once are no burst."""

MOST_ITERATIONS = 1_000_000

ELIMINATED, REDUCED, UNCHANGED, WORSE = "eliminated", "reduced", "unchanged", "worse"
CLEAN, INCONCLUSIVE, INVALID = "clean", "inconclusive", "invalid"
VERDICTS = (ELIMINATED, REDUCED, UNCHANGED, WORSE, CLEAN, INCONCLUSIVE, INVALID)


@dataclass(frozen=True)
class Side:
    """Spikes of one side over all its launches.

    `dispersion` is how much more launches differ than chance makes them (of both sides, at least 1): so many blocks say
    as much as one would where launches were alike. `burst` is how many spikes come at once on the other side: this
    side tells that itself only where several of its blocks hold spikes.
    """

    iterations: int
    spikes: int
    held: int
    blocks: int
    dispersion: float = 1.0
    burst: float = 1.0

    @property
    def counts(self) -> tuple[int, int]:
        return self.held, self.blocks

    @property
    def effective(self) -> tuple[float, float]:
        """The counts with the weight that they have where launches differ."""
        return self.held / self.dispersion, self.blocks / self.dispersion

    @property
    def per_1000(self) -> float:
        return 1000.0 * self.spikes / self.iterations

    @property
    def bursts(self) -> float:
        """How many spikes come at once, where bursts fall into blocks at random; 1 where single spikes do."""
        if not self.held:
            return 1.0
        free = max(self.blocks - self.held, 0.5) / self.blocks
        at_once = self.spikes / (-self.blocks * math.log(free))
        return at_once if at_once >= NOTABLE_BURST else 1.0

    @property
    def factor(self) -> float:
        """Spikes per 1,000 iterations if every block held spikes.

        Blocks carry the uncertainty; a block that holds spikes holds as many as it did on average here (at least one),
        or, where few did, as many as come at once on the other side: bursts that did not come are not short.
        """
        per_block = max(1.0, self.spikes / self.held) if self.held else 1.0
        if self.held < FEW_HELD:
            per_block = max(per_block, self.burst)
        return 1000.0 * per_block * self.blocks / self.iterations

    @property
    def upper_per_1000(self) -> float:
        """The one-sided 95 % upper bound of the spikes per 1,000 iterations."""
        return min(1000.0, blocks.upper_bound(*self.effective) * self.factor)

    def scaled(self, factor: float) -> Side:
        """This side as it would look after `factor` times the iterations at the same rates."""
        held, count = round(self.held * factor), max(1, round(self.blocks * factor))
        iterations, spikes = round(self.iterations * factor), round(self.spikes * factor)
        return Side(iterations, spikes, min(held, count), count, self.dispersion, self.burst)


@dataclass(frozen=True)
class Shift:
    """The block permutation test on the ratio of the p99s; a side under 299 iterations has no p99 to test.

    `interval` is the block bootstrap's, 95 %.
    """

    ratio: float
    p_fell: float
    p_rose: float
    interval: tuple[float, float] | None = None

    def dispersed(self, spread: float) -> Shift:
        """The same where the launches of a side differ `spread` times as much as chance makes them."""
        interval = self.interval
        if interval is not None:
            low, high = (self.ratio * (end / self.ratio) ** math.sqrt(spread) for end in interval)
            interval = (low, high)
        p_fell, p_rose = (blocks.dispersed(p, spread) for p in (self.p_fell, self.p_rose))
        return Shift(self.ratio, p_fell, p_rose, interval)

    def fell(self, level: float) -> bool:
        """Whether the p99 fell, by a notable amount and not by chance."""
        return self.ratio <= 1.0 / NOTABLE_RATIO and self.p_fell <= level

    def rose(self, level: float) -> bool:
        """Whether the p99 rose, by a notable amount and not by chance."""
        return self.ratio >= NOTABLE_RATIO and self.p_rose <= level


def rate_difference(before: Side, after: Side) -> tuple[float, float, float]:
    """Spikes per 1,000 iterations after, less those before, and the 95 % interval of that."""
    first, second = ((*side.effective, side.factor) for side in (before, after))
    low, high = blocks.rate_interval(first, second)
    return after.per_1000 - before.per_1000, low, high


@dataclass(frozen=True)
class Decision:
    """A verdict with the numbers that gave it."""

    verdict: str
    p_fewer: float
    p_more: float
    interval: tuple[float, float]
    margin: float


def decide(before: Side, after: Side, shift: Shift | None, limit: float) -> Decision:
    """Apply the rules in their order: clean, then reduced or eliminated, worse, unchanged, inconclusive."""
    spread = max(before.dispersion, after.dispersion)
    p_fewer = blocks.dispersed(blocks.fewer_p(before.counts, after.counts), spread)
    p_more = blocks.dispersed(blocks.fewer_p(after.counts, before.counts), spread)
    interval = blocks.difference_interval(before.effective, after.effective)
    # The limit as a share of blocks: at that rate, so many blocks would hold a spike.
    margin = max(limit / 1000.0 * after.iterations / after.blocks, EQUIVALENT_SHARE * before.held / before.blocks)
    margin = min(margin, WIDEST_MARGIN)
    drift = after.per_1000 - before.per_1000
    tolerated = max(min(limit, DEFAULT_LIMIT), EQUIVALENT_RATE * before.per_1000)
    alike = (
        min(before.blocks, after.blocks) >= FEWEST_BLOCKS
        and -margin < interval[0]
        and interval[1] < margin
        and abs(drift) < tolerated
    )
    level = LEVEL if shift is None else LEVEL / 2
    fell = p_fewer <= level or (shift is not None and shift.fell(level))
    rose = p_more <= level or (shift is not None and shift.rose(level))
    within = after.upper_per_1000 <= limit
    if within and before.upper_per_1000 <= limit:
        verdict = CLEAN
    elif fell and (rose or drift >= tolerated):
        verdict = INCONCLUSIVE  # fewer spikes, but a longer tail, or the other way round; fewer bursts, but far longer
    elif fell:
        verdict = (ELIMINATED if before.spikes else INCONCLUSIVE) if within else REDUCED  # no spike, nothing to lose
    elif rose:
        verdict = WORSE
    elif alike:
        verdict = UNCHANGED
    else:
        verdict = INCONCLUSIVE
    return Decision(verdict, p_fewer, p_more, interval, margin)


def iterations_that_decide(before: Side, after: Side, limit: float) -> int | None:
    """Iterations a side in all at which, with the rates seen so far, a verdict would be reached; None above a million.

    An estimate from the block counts alone: the permutation test cannot be foreseen from them.
    """
    iterations = max(before.iterations, after.iterations)
    wanted = float(iterations)
    while wanted < MOST_ITERATIONS:
        wanted *= 1.1
        first, second = before.scaled(wanted / before.iterations), after.scaled(wanted / after.iterations)
        if decide(first, second, None, limit).verdict != INCONCLUSIVE:
            return int(-(-wanted // 100) * 100)
    return None


def iterations_to_bound(after: Side, limit: float) -> int | None:
    """Iterations after the change at which its spike rate, as seen, would be bounded within `limit`; None if never."""
    wanted = float(after.iterations)
    while wanted < MOST_ITERATIONS:
        if after.scaled(wanted / after.iterations).upper_per_1000 <= limit:
            return int(-(-wanted // 100) * 100)
        wanted *= 1.1
    return None
