"""Another attempt where it may help: full jitter, few attempts, never past the host's deadline."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ..transport.failure import Failure
from ..transport.limits import Deadline, Limits

ATTEMPTS = 3
_FIRST_S, _MOST_S = 1.0, 4.0
# An attempt with less time than this would only turn a clear failure into a timeout.
_WORTH_S = 0.25

Result = TypeVar("Result")


class StoppedError(Exception):
    """The run was stopped while a host waited for its next attempt."""


def delay(attempt: int, rng: random.Random) -> float:
    """Return the seconds to wait after a failed attempt (the first is 1): anything from 0 to 1, then to 2, then to 4.

    The whole span is drawn from ("full jitter"), so that hosts which a gateway refused together do not come back
    together.
    """
    return rng.uniform(0.0, min(_MOST_S, _FIRST_S * 2 ** (attempt - 1)))


def attempts(
    once: Callable[[Limits], Result],
    limits: Limits,
    deadline: Deadline,
    rng: random.Random,
    wait: Callable[[float], bool],
    begun: Callable[[int], None] = lambda number: None,
) -> Result:
    """Call `once` until it succeeds, fails for good, or there is no time for another attempt.

    `once` gets the limits with `total_s` cut to what is left of `deadline`; `wait(seconds)` returns True when the run
    was stopped meanwhile; `begun(number)` is told of each attempt. Raises the last Failure, or StoppedError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        begun(attempt)
        try:
            return once(replace(limits, total_s=max(deadline.left(), 0.001)))
        except Failure as failure:
            if not failure.retry or attempt == ATTEMPTS:
                raise
            pause = delay(attempt, rng)
            if deadline.left() - pause < min(_WORTH_S, limits.total_s / 4):
                raise
        if wait(pause):
            raise StoppedError
    raise AssertionError("the last attempt returns or raises")
