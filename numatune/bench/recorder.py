"""Record one run: pin, load, warm up, verify, measure each inference, and hand back the result as plain data.

The loop is closed: one inference starts when the last one ended. It measures service time, not what a user waits
under load. No memory policy is set, since the kernel's NUMA balancing skips memory under any explicit policy and the
run would hide the jitter that it is there to find.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from . import DEFAULT_ITERATIONS, SCHEMA, host, pinning, validity
from .architecture import architecture, check_size
from .cache import ensure_model
from .counters import Counters
from .cpus import choose_cpus, format_cpu_list
from .engine import Session, engine_options, import_engine
from .errors import INVALID_RUN, BenchError
from .locks import lock_for

WARM_UP_AT_MOST, WARM_UP_SECONDS = 5, 1.0
"""Warm-up ends after this many inferences or this long, whichever comes first, and never before the second one."""

_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """What to run. `threads` None is one per serving core of one node; `cpus` None is every CPU allowed."""

    model: str = "resnet152"
    size: int = 224
    threads: Optional[int] = None
    cpus: Optional[Sequence[int]] = None
    iterations: int = DEFAULT_ITERATIONS
    provisional: bool = False
    command: tuple[str, ...] = ()
    program_version: str = ""


def _ignore(*_what: Any) -> None:
    """Take a report and drop it."""


def record(
    request: Request,
    say: Callable[[str], None] = _ignore,
    progress: Callable[[int, int], None] = _ignore,
) -> dict[str, Any]:
    """Run the benchmark and give its result, ready for `numatune.bench.result.write_result`.

    `say` gets lines meant for a person (weights made again, a host that is busy); `progress` gets (iterations done,
    iterations in all), first at the first iteration and then a few times a second.
    """
    check_size(request.size)
    if request.iterations < 1:
        raise BenchError(f"--iterations {request.iterations}: at least one is needed")
    started = _now()
    cpus = choose_cpus(request.threads, request.cpus)
    events = validity.look_before_start(cpus)
    for found in events:
        say("this run will not count for a verdict: {}".format(found["detail"]))
    identity = host.identity(cpus)
    engine = import_engine()
    model = ensure_model(request.model, say)

    from .weights import image  # numpy: not before the engine's environment is set

    before, clock = host.totals(cpus), host.clock_source()
    counters = Counters(request.iterations)
    try:
        with pinning.idle_helper() as helper, pinning.pinned_caller(cpus[0]):
            earlier = pinning.thread_ids()
            session = Session(model, request.size, cpus, image(request.size))
            workers = pinning.thread_ids() - earlier
            warm_up, logits = _warm_up(session, counters)
            places, wrong = _verify(cpus, workers, helper)
            counters.watch([place.tid for place in places if place.role in ("caller", "worker")])
            lead = _seconds_since_start()
            latency, offsets = _measure(session, counters, request.iterations, progress)
            wrong = sorted({*wrong, *_verify(cpus, workers, helper)[1]})
            del session
    finally:
        counters.close()
    growth = host.growth(before, host.totals(cpus))
    events += [validity.event("thread_off_its_cpu", phrase) for phrase in wrong]
    events += validity.judge_run(growth, clock, host.clock_source())
    network = architecture(request.model)
    costs = sorted(counters.costs())
    return {
        "schema": SCHEMA,
        "program_version": request.program_version,
        "started": started,
        "finished": _now(),
        "provisional": request.provisional,
        "iterations": request.iterations,
        "environment": {
            **identity,
            "command": list(request.command),
            "model": {
                "name": request.model,
                "size": request.size,
                "parameters": network.parameters(),
                "multiply_adds": network.multiply_adds(request.size),
                "graph_sha256": model.graph_sha256,
                "weights_sha256": model.weights_sha256,
                **_describe_logits(logits),
            },
            "batch": 1,
            "precision": "fp32",
            "memory_policy": "none",
            "engine": {
                "name": "onnxruntime",
                "version": engine.__version__,
                "options": engine_options(cpus),
                "locked": lock_for(_python()),
            },
            "numpy": _numpy_version(),
            "python": platform.python_version(),
            "threads": len(cpus),
            "pinning": {
                "cpus": format_cpu_list(cpus),
                "verified": [place.as_dict() for place in places],
                "ok": not wrong,
            },
        },
        "latency_ns": list(latency),
        "start_offset_ns": list(offsets),
        "warm_up_ns": warm_up,
        "counters": counters.deltas(),
        "counters_unavailable": counters.unavailable,
        "counter_strides": counters.strides,
        "counter_cost_ns": {"p50": costs[len(costs) // 2], "p90": costs[(len(costs) * 9) // 10]},
        "seconds_to_first_iteration": lead,
        "run": growth,
        "invalidating_events": events,
    }


def _warm_up(session: Session, counters: Counters) -> tuple[list[int], Any]:
    """Latencies of the warm-up, ns, and the logits; kept apart from the samples and never used to drop spikes."""
    spent: list[int] = []
    logits = None
    while len(spent) < 2 or (len(spent) < WARM_UP_AT_MOST and sum(spent) < WARM_UP_SECONDS * 1e9):
        start = time.perf_counter_ns()
        logits = session.infer()
        spent.append(time.perf_counter_ns() - start)
        counters.probe()
    return spent, logits


def _measure(
    session: Session, counters: Counters, iterations: int, progress: Callable[[int, int], None]
) -> tuple[array[int], array[int]]:
    """Latency and start (since the first start) of each iteration, ns."""
    latency = array("q", bytes(8 * iterations))
    offsets = array("q", bytes(8 * iterations))
    infer, read, now = session.infer, counters.reader(), time.perf_counter_ns
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()  # a collection between two readings would count as the workload's page faults
    try:
        progress(0, iterations)
        read()
        origin = reported = now()
        for index in range(iterations):
            start = now()
            infer()
            end = now()
            read()
            latency[index] = end - start
            offsets[index] = start - origin
            if end - reported > _REPORT_SECONDS * 1e9:
                progress(index + 1, iterations)
                reported = end
        progress(iterations, iterations)
    finally:
        if collecting:
            gc.enable()
    return latency, offsets


def _verify(cpus: Sequence[int], workers: set[int], helper: int) -> tuple[list[pinning.ThreadPlace], list[str]]:
    places = pinning.observe_threads(cpus, workers, helper)
    return places, pinning.complaints(places, len(cpus))


def _describe_logits(logits: Any) -> dict[str, Any]:
    """The class and size of the answer: a graph that computes nonsense must not pass for a fast one."""
    largest = float(abs(logits).max())
    if not largest < float("inf"):  # false for a NaN too
        raise BenchError("the engine's logits are not finite: this host computes wrongly", INVALID_RUN)
    return {"logit_class": int(logits[0].argmax()), "logit_max": largest}


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


def _python() -> tuple[int, int]:
    major, minor = platform.python_version_tuple()[:2]
    return int(major), int(minor)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
