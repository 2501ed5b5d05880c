"""Which cause a spike is drawn with: the one whose dose at that iteration costs most by the cost model's own price.

It is a help for the eye. What share of the lost time a cause explains is the attribution's to say, with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...verdict.attribution import Attribution
from ...verdict.costs import spread
from ...verdict.dose import Dose
from ...verdict.doses import doses
from ...verdict.run import Run
from .palette import UNEXPLAINED

LEAST = 0.25
"""A cause that explains less than this part of a spike does not give it its colour."""


def blame(run: Run, attribution: Attribution, spikes: Sequence[int], usual: float | None = None) -> dict[int, str]:
    """Iteration of each spike -> the name of a cause, or "unexplained"; `usual` is the usual latency, ns, if not the
    run's median."""
    best = dict.fromkeys(spikes, UNEXPLAINED)
    if not attribution.shares:
        return best
    excess = run.latency - (run.steady().median if usual is None else usual)
    marks = np.zeros(run.latency.shape, dtype=np.bool_)
    marks[list(spikes)] = True
    most, found = LEAST * np.maximum(excess, 0.0), doses(run)
    for share in attribution.shares:
        dose = found.get(share.cause)
        if not isinstance(dose, Dose):
            continue
        costs = share.unit_cost * spread(dose, marks, excess)
        for index in spikes:
            if costs[index] > most[index]:
                best[index], most[index] = share.cause, costs[index]
    return best
