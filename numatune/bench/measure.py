"""One pinned run of any workload: warm up, verify the threads, time each iteration, and frame the result.

The loop is closed: one iteration starts when the last one ended. It measures service time, not what a user waits
under load.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Callable, Optional

from . import SCHEMA, host, pinning, validity
from .counters import Counters
from .cpus import format_cpu_list
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
    lead: float
    growth: dict[str, Any]
    events: list[Event]


def look_around(cpus: Sequence[int], say: Say) -> Opening:
    """Watch the host for a moment and note what it is; `say` gets what will make the run worthless."""
    started = now()
    events = validity.look_before_start(cpus)
    for found in events:
        say("this run will not count for a verdict: {}".format(found["detail"]))
    return Opening(started, events, host.identity(cpus))


def run_pinned(
    cpus: Sequence[int], workload: Workload, limits: Limits, progress: Progress, whole_host: bool = False
) -> Measurement:
    """Run `workload` with the calling thread on cpus[0]; its other threads pin themselves, and that is verified.

    `progress` gets (done, in all), first at the first iteration and then a few times a second: iterations, or where
    the time is limited tenths of seconds. `whole_host` adds the counters of /proc/vmstat.
    """
    before, clock = host.totals(cpus), host.clock_source()
    counters = Counters(limits.iterations, whole_host)
    try:
        with pinning.idle_helper() as helper, pinning.pinned_caller(cpus[0]):
            earlier = pinning.thread_ids()
            with workload() as step:
                workers = pinning.thread_ids() - earlier
                warm_up, answer = _warm_up(step, counters)
                places, wrong = _verify(cpus, workers, helper)
                counters.watch([place.tid for place in places if place.role in ("caller", "worker")])
                lead = _seconds_since_start()
                latency, offsets = _time_each(step, counters.reader(), limits, progress)
                wrong = sorted({*wrong, *_verify(cpus, workers, helper)[1]})
    finally:
        counters.close()
    growth = host.growth(before, host.totals(cpus))
    events = [validity.event("thread_off_its_cpu", phrase) for phrase in wrong]
    events += validity.judge_run(growth, clock, host.clock_source())
    return Measurement(latency, offsets, warm_up, answer, places, wrong, counters, lead, growth, events)


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
    deltas = taken.counters.deltas()  # first: what it cannot find in the readings is unavailable
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
        },
        "latency_ns": list(taken.latency),
        "start_offset_ns": list(taken.offsets),
        "warm_up_ns": taken.warm_up,
        "counters": deltas,
        "counters_unavailable": taken.counters.unavailable,
        "counter_strides": taken.counters.strides,
        "counter_cost_ns": {"p50": costs[len(costs) // 2], "p90": costs[(len(costs) * 9) // 10]},
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
    step: Step, read: Callable[[], None], limits: Limits, progress: Progress
) -> tuple[array[int], array[int]]:
    """Latency and start (since the first start) of each iteration, ns."""
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


def _seconds_since_start() -> float:
    """Seconds since the kernel started this process, to a hundredth: the start of Python itself is in it."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[19])  # starttime, field 22 of the whole line, since boot
    elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return round(elapsed, 2)


def _numpy_version() -> str:
    import numpy

    return str(numpy.__version__)
