"""One pinned run of any workload: warm up, verify the threads, time each iteration, and frame the result.

The loop is closed: one iteration starts when the last one ended. It measures service time, not what a user waits
under load.
"""

from __future__ import annotations

import gc
import platform
import threading
import time
from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import Any, Callable, Optional

from . import SCHEMA, host, validity
from .counters.costs import measure_tiers
from .counters.sources import Deltas
from .counters.surroundings import Surroundings
from .counters.tiers import Counters
from .cpus import format_cpu_list
from .open_files import allow_many_files
from .placing import pinning
from .validity import Event

WARM_UP_AT_MOST, WARM_UP_SECONDS = 5, 1.0
"""Warm-up ends after this many iterations or this long, whichever comes first, and never before the second one."""

_REPORT_SECONDS = 0.2

Step = Callable[[], Any]
Workload = Callable[[], "AbstractContextManager[Step]"]
"""Makes the workload, its threads included, on the calling thread, which is pinned by then; gives one iteration."""

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


def ignore(*_what: Any) -> None:
    """Take a report and drop it."""


@dataclass(frozen=True)
class Limits:
    """When a run ends: after `iterations`, for which room is made beforehand, or once `seconds` are over."""

    iterations: int
    seconds: Optional[float] = None


@dataclass(frozen=True)
class Opening:
    """What is known before the workload is made."""

    started: str
    events: list[Event]
    identity: dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """What a run gave: times in ns, one per iteration, and what was seen around them; `answer` is the warm-up's."""

    latency: array[int]
    offsets: array[int]
    warm_up: list[int]
    answer: Any
    places: list[pinning.ThreadPlace]
    misplaced: list[str]
    counters: Counters
    deltas: dict[str, Deltas]
    tier_cost: dict[str, Any]
    lead: float
    growth: dict[str, Any]
    events: list[Event]


def look_around(cpus: Sequence[int], say: Say, anyway: bool = False) -> Opening:
    """Watch the host for a moment and note what it is; `say` gets what will make the run worthless."""
    started = now()
    events = validity.look_before_start(cpus, anyway)
    for found in events:
        say("this run will not count for a verdict: {}".format(found["detail"]))
    return Opening(started, events, host.identity(cpus))


def run_pinned(
    cpus: Sequence[int],
    workload: Workload,
    limits: Limits,
    progress: Progress,
    tier: str = "B",
    during: Optional[Callable[[], AbstractContextManager[None]]] = None,
) -> Measurement:
    """Run `workload` with the calling thread on cpus[0]; its other threads pin themselves, and that is verified.

    `progress` gets (done, in all), first at the first iteration and then a few times a second: iterations, or where
    the time is limited tenths of seconds. `tier` is B, C or D (see `numatune.bench.counters.tiers`). `during` is
    entered around the timed loop alone, once the workload is warm and its threads are verified.

    Growth is counted from before the warm-up: to look at every task of a large host takes a while, and the workload
    would be cold again after it.
    """
    clock = host.clock_source()
    allow_many_files()
    with ExitStack() as kept:
        # The event of the migrations sees only threads that come after it, so the counters are opened first.
        counters = kept.enter_context(closing(Counters(limits.iterations, tier, cpus)))
        around = kept.enter_context(closing(Surroundings(cpus)))
        helper = kept.enter_context(pinning.idle_helper())
        kept.enter_context(pinning.pinned_caller(cpus[0]))
        earlier = pinning.thread_ids()
        with workload() as step:
            workers = pinning.thread_ids() - earlier
            counters.watch([threading.get_native_id(), *sorted(workers)])
            around.start()
            warm_up, answer = _warm_up(step, counters)
            places, wrong = _verify(cpus, workers, helper)
            counters.settle()
            lead = host.seconds_since_start()
            with (during or nullcontext)():
                latency, offsets = _time_each(step, counters.reader(), limits, progress, around.sample)
                # Before what `during` started is gone: it is a foreign load like any other.
                growth = around.stop()
            places_after, wrong_after = _verify(cpus, workers, helper)
            lost = validity.cpus_lost(cpus, host.online_cpus(), pinning.free_to_run_on(places_after))
            deltas = counters.deltas()
            tier_cost = measure_tiers(step, counters, cpus)
    wrong = sorted({*wrong, *wrong_after, *(found["detail"] for found in lost)})
    events = [validity.event("thread_off_its_cpu", phrase) for phrase in wrong]
    events += validity.judge_run(growth, clock, host.clock_source())
    return Measurement(
        latency, offsets, warm_up, answer, places, wrong, counters, deltas, tier_cost, lead, growth, events
    )


def frame(
    opening: Opening,
    taken: Measurement,
    cpus: Sequence[int],
    command: Sequence[str],
    program_version: str,
    provisional: bool,
    surroundings: dict[str, Any],
) -> dict[str, Any]:
    """The result as plain data; `surroundings` is what the workload adds to the environment."""
    costs = sorted(taken.counters.costs())
    return {
        "schema": SCHEMA,
        "program_version": program_version,
        "started": opening.started,
        "finished": now(),
        "provisional": provisional,
        "iterations": len(taken.latency),
        "environment": {
            **opening.identity,
            "command": list(command),
            **surroundings,
            "numpy": _numpy_version(),
            "python": platform.python_version(),
            "threads": len(cpus),
            "pinning": {
                "cpus": format_cpu_list(cpus),
                "verified": [place.as_dict() for place in taken.places],
                "ok": not taken.misplaced,
            },
            "counter_tier": taken.counters.tier,
        },
        "latency_ns": list(taken.latency),
        "start_offset_ns": list(taken.offsets),
        "warm_up_ns": taken.warm_up,
        "counters": taken.deltas,
        "counters_unavailable": taken.counters.unavailable,
        "counter_strides": taken.counters.strides,
        "counter_cost_ns": {"p50": costs[len(costs) // 2], "p90": costs[(len(costs) * 9) // 10]},
        "tier_cost_ns": taken.tier_cost,
        "seconds_to_first_iteration": taken.lead,
        "run": taken.growth,
        "invalidating_events": opening.events + taken.events,
    }


def now() -> str:
    """The time of day, UTC, to a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _warm_up(step: Step, counters: Counters) -> tuple[list[int], Any]:
    """Latencies of the warm-up, ns, and its last answer; kept apart from the samples and never used to drop spikes."""
    spent: list[int] = []
    answer = None
    while len(spent) < 2 or (len(spent) < WARM_UP_AT_MOST and sum(spent) < WARM_UP_SECONDS * 1e9):
        start = time.perf_counter_ns()
        answer = step()
        spent.append(time.perf_counter_ns() - start)
        counters.probe()
    return spent, answer


def _time_each(
    step: Step, read: Callable[[], None], limits: Limits, progress: Progress, sample: Callable[[], None]
) -> tuple[array[int], array[int]]:
    """Latency and start (since the first start) of each iteration, ns; `sample` is called with each progress report."""
    latency = array("q", bytes(8 * limits.iterations))
    offsets = array("q", bytes(8 * limits.iterations))
    clock = time.perf_counter_ns
    tenths = None if limits.seconds is None else round(10 * limits.seconds)
    length = float("inf") if limits.seconds is None else 1e9 * limits.seconds
    done = 0
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()  # a collection between two readings would count as the workload's page faults
    try:
        progress(0, tenths or limits.iterations)
        read()
        origin = reported = clock()
        for index in range(limits.iterations):
            start = clock()
            step()
            end = clock()
            read()
            latency[index] = end - start
            offsets[index] = start - origin
            done = index + 1
            if end - origin >= length:
                break
            if end - reported > _REPORT_SECONDS * 1e9:
                _report(progress, done, end - origin, limits, tenths)
                sample()
                reported = end
        progress(tenths or done, tenths or limits.iterations)
    finally:
        if collecting:
            gc.enable()
    return latency[:done], offsets[:done]


def _report(progress: Progress, done: int, elapsed_ns: int, limits: Limits, tenths: Optional[int]) -> None:
    if tenths is None:
        progress(done, limits.iterations)
    else:
        progress(min(int(elapsed_ns / 1e8), tenths), tenths)


def _verify(cpus: Sequence[int], workers: set[int], helper: int) -> tuple[list[pinning.ThreadPlace], list[str]]:
    places = pinning.observe_threads(cpus, workers, helper)
    return places, pinning.complaints(places, len(cpus))


def _numpy_version() -> str:
    import numpy

    return str(numpy.__version__)
