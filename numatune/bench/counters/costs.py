"""What each tier of counters costs on this host, whether or not the run took it: measured after the measured loop."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

from .sources import Schedstat, Source, middle
from .tiers import Counters, host_sources
from .vmstat import VmstatReadings

ROUNDS, SECONDS = 8, 2.0
"""So many more iterations at most, and none once so much time is over."""


def measure_tiers(step: Callable[[], Any], counters: Counters, cpus: Sequence[int]) -> dict[str, Any]:
    """Tier -> {"p50", "p90"}, ns, of a whole reading without strides, and "per_thread_ns" of schedstat (null without).

    A reading costs several times more right after an inference than in a warm loop, so `step` runs before each. One
    reading serves all tiers: each is the one before it and some sources more, in the order of a real reading. The
    counters' own readings are overwritten: take the deltas first.
    """
    opened: dict[str, list[Source]] = {}
    if "C" not in counters.sources:
        opened["C"] = [VmstatReadings()]
    if "D" not in counters.sources:
        opened["D"] = host_sources(cpus)
    try:
        tiers = {**counters.sources, **opened}
        for source in (one for tier in tiers.values() for one in tier if one.names):
            source.room(1)
        return _measure(step, {tier: [one for one in tiers[tier] if one.names] for tier in "BCD"})
    finally:
        for source in (one for tier in opened.values() for one in tier):
            source.close()


def _measure(step: Callable[[], Any], tiers: dict[str, list[Source]]) -> dict[str, Any]:
    now = time.perf_counter_ns
    plan = [(tier, [(one.reader(), isinstance(one, Schedstat)) for one in tiers[tier]]) for tier in tiers]
    threads = sum(one.threads for one in tiers["B"] if isinstance(one, Schedstat))
    taken: dict[str, list[int]] = {"A": [], **{tier: [] for tier in tiers}}
    schedstats: list[int] = []
    end = now() + SECONDS * 1e9
    while len(taken["A"]) < ROUNDS and (not taken["A"] or now() < end):
        step()
        start = now()
        resource.getrusage(resource.RUSAGE_SELF)
        taken["A"].append(now() - start)
        for tier, readers in plan:
            for read, is_schedstat in readers:
                before = now()
                read(0)
                if is_schedstat:
                    schedstats.append(now() - before)
            taken[tier].append(now() - start)
    found: dict[str, Any] = {tier: _percentiles(costs) for tier, costs in taken.items()}
    found["per_thread_ns"] = middle(schedstats) // threads if threads else None
    return found


def _percentiles(costs: Sequence[int]) -> dict[str, int]:
    ordered = sorted(costs)
    return {"p50": ordered[len(ordered) // 2], "p90": ordered[(len(ordered) * 9) // 10]}
