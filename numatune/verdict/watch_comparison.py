"""Watches before a change against watches after it: the statistics of runs, on the requests that the service logged.

A service is not a benchmark: what its clients ask of it is not in the file, only how many requests ended in a second.
A verdict that a moved load could have made alone is withheld. Requests that end close together are slow together, so a
block holds a second's requests at least, and a watch that differs from part to part weakens the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import DEFAULT_LIMIT, compatibility, decision
from .blocks import SHORTEST_BLOCK
from .comparison import Comparison, Subject, judge
from .errors import VerdictError
from .order import order_of
from .run import Run
from .watch_file import Watched
from .watched import of_requests

BLOCK_SECONDS = 1.0
"""A stall of the host, a scan of NUMA balancing or a collection of garbage slows all requests of that time."""

PARTS = 5
"""So many stretches of a watch are held against each other, since few watches are taken, each of minutes.

Longer stretches see slower changes: where spikes came and went from minute to minute, 200 comparisons of five minutes
with five like them were wrong 47 times with ten stretches, and 27 times with five, of 20 that the level allows; of ten
minutes, 22 and 20 times.
"""

SAME_LOAD = 1.25
"""Requests per second that moved by more than this factor are another load."""

_MUST_AGREE = {"machine": "machine", "CPU model": "cpu_model", "architecture": "arch"}


@dataclass(frozen=True)
class Load:
    """Requests that ended per second, on either side."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def sentence(self) -> str:
        return f"{self.before:,.3g} requests a second before, {self.after:,.3g} after ({self.ratio:.2f} ×)"

    def could_make(self, verdict: str) -> bool:
        """Whether another load may be all that is behind `verdict`.

        Fewer requests have fewer spikes without any change, more of them more; a change that helps while the load
        rises, or harms while it falls, was not made by it.
        """
        fell, rose = self.ratio < 1.0 / SAME_LOAD, self.ratio > SAME_LOAD
        if verdict in (decision.ELIMINATED, decision.REDUCED, decision.CLEAN):
            return fell
        if verdict == decision.WORSE:
            return rose
        return verdict == decision.UNCHANGED and (fell or rose)


def compare_watches(before: Sequence[Watched], after: Sequence[Watched], limit: float = DEFAULT_LIMIT) -> Comparison:
    """Judge the watches `before` a change against those `after` it; VerdictError where they must not be compared."""
    refuse_other_services([*before, *after])
    first, second = ([_requests(one) for one in side] for side in (before, after))
    compatibility.refuse_repeats(first, second)
    load = Load(_per_second(before), _per_second(after))
    densest = max(one.latency.size / one.seconds for one in (*before, *after))
    block = max(SHORTEST_BLOCK, math.ceil(densest * BLOCK_SECONDS))
    subject = Subject("watches", "request", "watch", "watch again when that is over", block, PARTS)
    found = judge(first, second, limit, subject, _remarks(before, after, first, second, load))
    if not load.could_make(found.verdict):
        return found
    doubt = f"the load differed, which alone can make this {found.verdict}: {load.sentence}; watch again under one load"
    return replace(found, verdict=decision.INCONCLUSIVE, reason=doubt, doubt=doubt, would_decide=None)


def refuse_other_services(watches: Sequence[Watched]) -> None:
    """VerdictError, one line that names what differs, unless all watched the latencies of one service on one host."""
    first = watches[0]
    for one in watches:
        if one.latency.size == 0:
            raise VerdictError(f"{one.path} holds no request, so nothing to compare: watch with --latency-log")
        if _service(one) != _service(first):
            raise VerdictError(
                f"{first.path} watched {_service(first)} and {one.path} {_service(one)}: such watches are not compared"
            )
        for name, key in _MUST_AGREE.items():
            here, there = first.environment.get(key), one.environment.get(key)
            if here != there:
                raise VerdictError(
                    f"{first.path} and {one.path} differ in {name} ({here} and {there}): such watches are not compared"
                )


def _service(watched: Watched) -> str:
    target = watched.target
    return f"{'unit' if target.get('kind') == 'unit' else 'a process'} {target.get('name')}"


def _requests(watched: Watched) -> Run:
    found = of_requests(watched)
    assert found is not None  # refused before
    return found


def _per_second(watches: Sequence[Watched]) -> float:
    return sum(one.latency.size for one in watches) / sum(one.seconds for one in watches)


def _remarks(
    before: Sequence[Watched], after: Sequence[Watched], first: Sequence[Run], second: Sequence[Run], load: Load
) -> list[str]:
    said = [
        compatibility.medians(first, second).sentence,
        load.sentence,
        "what was asked in each request is not known: give the service the same work before and after",
    ]
    both = (*before, *after)
    if before[0].target.get("kind") != "unit":
        said.append(
            f"that it is one service is known by the name of its process alone ({before[0].target.get('name')})"
        )
    for name, values in (
        ("kernel", {str(one.environment.get("kernel")) for one in both}),
        ("CPUs of the service", {str(one.target.get("cpus")) for one in both}),
        ("number of its threads", {str(one.target.get("most_threads")) for one in both}),
    ):
        if len(values) > 1:
            said.append(f"the {name} differed: {', '.join(sorted(values))}")
    if any(one.environment.get("machine") is None for one in both):
        said.append("a watch does not say on which machine it ran: make sure that it was the same one")
    fewest = min(len(before), len(after))
    if fewest < 3:
        watches = "one watch" if fewest == 1 else f"{fewest} watches"
        said.append(f"only {watches} a side: three or more show how much they differ from day to day")
    said += order_of(first, second).remarks
    said += [f"{one.path} ended early ({one.data.get('ended')})" for one in both if one.data.get("partial")]
    return said
