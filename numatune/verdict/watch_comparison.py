"""Watches before a change against watches after it: the statistics of runs, on the requests that the service logged.

A service is not a benchmark: what its clients ask of it is not in the file, only how many requests ended in a second.
Where the load moved, or a watch ended early, no verdict is given. Requests that end close together are slow together,
so a block holds a second's requests at least, and a watch that differs from part to part weakens the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from . import DEFAULT_LIMIT, compatibility, decision
from .blocks import SHORTEST_BLOCK
from .comparison import Comparison, Subject, judge
from .errors import VerdictError
from .order import order_of
from .run import Run
from .watch_file import Watched
from .watch_load import Load, load_of
from .watched import of_requests

BLOCK_SECONDS = 1.0
"""A stall of the host, a scan of NUMA balancing or a collection of garbage slows all requests of that time."""

PARTS = 5
"""So many stretches of a watch are held against each other, since few watches are taken, each of minutes.

Longer stretches see slower changes: where spikes came and went from minute to minute, 200 comparisons of five minutes
with five like them were wrong 47 times with ten stretches, and 27 times with five, of 20 that the level allows; of ten
minutes, 22 and 20 times.
"""

_MUST_AGREE = {"machine": "machine", "CPU model": "cpu_model", "architecture": "arch"}

# How a watch without --duration ends, which is whole by design: its length is what was watched.
_UNTIL = {"interrupted": "Ctrl-C or a signal", "process-ended": "the process ended"}

_LOG_MUST_AGREE = (("latency log", "path", "--latency-log"), ("unit of latency", "unit", "--latency-unit"))


def compare_watches(before: Sequence[Watched], after: Sequence[Watched], limit: float = DEFAULT_LIMIT) -> Comparison:
    """Judge the watches `before` a change against those `after` it; VerdictError where they must not be compared."""
    refuse_other_services([*before, *after])
    first, second = ([_requests(one) for one in side] for side in (before, after))
    compatibility.refuse_repeats(first, second)
    load = load_of(before, after, PARTS)
    densest = max(one.latency.size / one.seconds for one in (*before, *after))
    block = max(SHORTEST_BLOCK, math.ceil(densest * BLOCK_SECONDS))
    subject = Subject("watches", "request", "watch", "watch again when that is over", block, PARTS)
    found = judge(first, second, limit, subject, _remarks(before, after, first, second, load))
    doubt = "; ".join(_doubts([*before, *after], load, found.verdict))
    if not doubt or found.verdict == decision.INVALID:
        return found
    return replace(found, verdict=decision.INCONCLUSIVE, reason=doubt, doubt=doubt, would_decide=None)


def _doubts(watches: Sequence[Watched], load: Load, verdict: str) -> list[str]:
    """Why nothing is shown, whatever the figures say."""
    said = []
    early = [f"{one.path} ({one.data.get('ended')})" for one in watches if one.data.get("partial")]
    if early:
        said.append(f"ended early: {', '.join(early)}; watch again until --duration is over")
    if load.moved:
        makes = "" if verdict == decision.INCONCLUSIVE else f", which alone can make this {verdict}"
        said.append(f"the load moved{makes}: {'; '.join(load.moved)}; watch again under one load")
    return said


def refuse_other_services(watches: Sequence[Watched]) -> None:
    """VerdictError, one line that names what differs, unless all watched the latencies of one service on one host."""
    first = watches[0]
    for one in watches:
        if one.latency.size == 0:
            raise VerdictError(f"{one.path} holds no request, so nothing to compare: watch with --latency-log")
        _refuse_dropped(one)
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
        for name, key, option in _LOG_MUST_AGREE:
            here, there = ((each.log or {}).get(key) for each in (first, one))
            if here != there:
                raise VerdictError(
                    f"{first.path} and {one.path} differ in {name} ({here} and {there}): watch both with one {option}"
                )


def _refuse_dropped(watched: Watched) -> None:
    """Of requests that came after those that a file holds, the latencies are not known."""
    dropped = (watched.log or {}).get("not_kept", 0)
    if type(dropped) is not int or dropped < 0:
        raise VerdictError(f"{watched.path} is damaged: latency_log.not_kept must be a number of requests")
    if dropped:
        kept = watched.latency.size
        fits = max(1, math.floor(0.9 * watched.seconds * kept / (kept + dropped)))
        raise VerdictError(
            f"{watched.path} lacks the last {dropped:,} requests, since a file keeps no more than its first {kept:,}: "
            f"watch again for less time, such as --duration {fits}"
        )


def _service(watched: Watched) -> str:
    target = watched.target
    return f"{'unit' if target.get('kind') == 'unit' else 'a process'} {target.get('name')}"


def _requests(watched: Watched) -> Run:
    found = of_requests(watched)
    assert found is not None  # refused before
    return found


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
    said += [
        f"{one.path} was watched without --duration until {_UNTIL[str(one.data.get('ended'))]}: who ends a watch by "
        "what it shows chooses the verdict"
        for one in both
        if one.data.get("ended") in _UNTIL and not one.data.get("partial")
    ]
    return said
