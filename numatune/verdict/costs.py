"""The cost model: how much of the spikes' excess each of some causes explains, within what one event of it can cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from .blocks import SHORTEST_BLOCK, cut
from .causes import Cause
from .dose import Dose, Marks
from .run import Run, Samples

FEWEST_BLOCKS = 3
"""Blocks with spikes below which drawing them again says nothing of how a share may vary."""

_ROUNDS, _SEED = 200, 1


@dataclass(frozen=True)
class Explained:
    """One cause's share of the spikes' excess, 0 to 1, its 90 % interval, and the cost of a unit of its dose in ns."""

    share: float
    low: float
    high: float
    cost: float


def bounds(cause: Cause, run: Run) -> tuple[float, float]:
    """The least and the most that one unit of a cause's dose costs in this run."""
    threads = run.environment.get("threads")
    # All threads of a run may wait at once, and the sum is then as many times the latency.
    low = 0.5 / threads if cause.is_time and isinstance(threads, int) and threads > 0 else cause.low
    return low, cause.high


def spread(dose: Dose, spikes: Marks, excess: Samples) -> Samples:
    """The dose of each iteration; of a strided one, a window's goes to its spikes by their excess, else to all alike.

    That gives the cause the benefit of the doubt; whether it is a cause at all was decided on whole windows.
    """
    if dose.stride <= 1:
        return np.nan_to_num(dose.values)
    found = np.zeros(dose.values.shape)
    for start in range(0, found.size, dose.stride):
        window = slice(start, start + dose.stride)
        weights = np.where(spikes[window], excess[window], 0.0)
        if not weights.any():
            weights = np.ones(weights.shape)
        found[window] = float(np.nansum(dose.values[window])) * weights / weights.sum()
    return found


def explain(
    columns: Sequence[Samples],
    limits: Sequence[tuple[float, float]],
    spikes: Marks,
    excess: Samples,
    kept: Marks,
) -> list[Explained]:
    """Fit the costs over all kept iterations, and say what they give each cause at the spikes.

    `columns` are doses and `limits` the bounds of their costs; all arrays have shape (iterations,). The intervals come
    from drawing whole blocks of iterations again, since spikes cluster.
    """
    matrix = np.column_stack(columns) * kept[:, None]
    low, high = np.array(limits).T
    pieces = cut(excess.size, SHORTEST_BLOCK)
    squares = np.array([matrix[piece].T @ matrix[piece] for piece in pieces])
    products = np.array([matrix[piece].T @ excess[piece] for piece in pieces])
    costs = _solve(squares.sum(axis=0), products.sum(axis=0), low, high)
    parts = _parts(costs, matrix, spikes, excess, np.ones(int(spikes.sum())))
    generator = np.random.default_rng(_SEED)
    block = np.repeat(np.arange(len(pieces)), [piece.stop - piece.start for piece in pieces])[spikes]
    drawn = [parts]
    for _ in range(_ROUNDS):
        weights = np.bincount(generator.integers(0, len(pieces), len(pieces)), minlength=len(pieces))
        if weights[block].any():  # else no spike was drawn
            again = _solve(np.tensordot(weights, squares, 1), weights @ products, low, high)
            drawn.append(_parts(again, matrix, spikes, excess, weights[block].astype(np.float64)))
    least, most = np.percentile(np.array(drawn), [5, 95], axis=0)
    if np.unique(block).size < FEWEST_BLOCKS:  # drawn again, so few are the same ones: only the bounds tell
        ends = [_parts(end, matrix, spikes, excess, np.ones(int(spikes.sum()))) for end in (low, high)]
        least, most = np.minimum(least, ends[0]), np.maximum(most, ends[1])
    return [
        Explained(float(part), float(min(a, part)), float(max(b, part)), float(cost))
        for part, a, b, cost in zip(parts, least, most, costs, strict=True)
    ]


def _solve(squares: Samples, products: Samples, low: Samples, high: Samples) -> Samples:
    """The costs within their bounds that leave the least squared rest, from the normal equations.

    Columns are scaled to one another first: faults by the ten thousand stand beside nanoseconds by the million.
    """
    scale = np.sqrt(np.diag(squares))
    scale[scale == 0.0] = 1.0
    # A trace of ridge keeps two causes that rise in step, or one that was not drawn, from having no solution.
    root = np.linalg.cholesky(squares / np.outer(scale, scale) + 1e-9 * np.eye(scale.size)).T
    right = np.linalg.solve(root.T, products / scale)
    answer = optimize.lsq_linear(root, right, bounds=(low * scale, high * scale), method="bvls")
    return np.asarray(answer.x / scale, dtype=np.float64)


def _parts(costs: Samples, matrix: Samples, spikes: Marks, excess: Samples, weights: Samples) -> Samples:
    """Each cause's share of the excess of the spikes; at no spike do they explain more than there is."""
    given = costs * matrix[spikes]
    rest = excess[spikes]
    total = given.sum(axis=1)
    over = total > rest
    given[over] *= (rest[over] / total[over])[:, None]
    return np.asarray(weights @ given / (weights @ rest), dtype=np.float64)
