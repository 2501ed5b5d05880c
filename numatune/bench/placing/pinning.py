"""Threads of this process: where they were told to run, and where the kernel says that they may run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ..cpus import format_cpu_list, parse_cpu_list

_TASKS = "/proc/self/task"


@dataclass(frozen=True)
class ThreadPlace:
    """One thread as /proc shows it; `role` is caller, worker, helper or other, `wanted` empty where any CPU will do."""

    tid: int
    role: str
    name: str
    wanted: str
    allowed: str

    @property
    def misplaced(self) -> bool:
        return bool(self.wanted) and self.wanted != self.allowed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def thread_ids() -> set[int]:
    """Kernel ids of the threads that this process has now."""
    return {int(name) for name in os.listdir(_TASKS)}


@contextmanager
def pinned_caller(cpu: int) -> Iterator[None]:
    """Run the block with the calling thread on `cpu` alone; afterwards it may run where it could before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def idle_helper() -> Iterator[int]:
    """Hold one more thread, asleep, and give its id.

    The kernel skips a single-threaded process on one node when it marks pages for NUMA hinting faults, and every real
    server has more than one thread: without the helper a run at one inference thread would hide that jitter.
    """
    ready, done = threading.Event(), threading.Event()
    ids: list[int] = []

    def sleep() -> None:
        ids.append(threading.get_native_id())
        ready.set()
        done.wait()

    helper = threading.Thread(target=sleep, name="idle-helper", daemon=True)
    helper.start()
    ready.wait()
    try:
        yield ids[0]
    finally:
        done.set()
        helper.join()


def observe_threads(cpus: Sequence[int], workers: set[int], helper: int) -> list[ThreadPlace]:
    """Each thread of this process with the CPUs that the kernel allows it, the caller first.

    The caller belongs on cpus[0]. Which worker sits on which of the other CPUs is the engine's business, so a worker
    is held to be placed when it is alone on one of them; two workers on one CPU count as one misplaced.
    """
    caller = threading.get_native_id()
    free = list(cpus[1:])
    places: list[ThreadPlace] = []
    for tid in sorted(thread_ids(), key=lambda tid: (tid != caller, tid)):
        name, allowed = _name_and_allowed(tid)
        if not allowed:
            continue  # it ended while we looked
        wanted = ""
        role = "helper" if tid == helper else "other"
        if tid == caller:
            role, wanted = "caller", str(cpus[0])
        elif tid in workers:
            role = "worker"
            alone = parse_cpu_list(allowed)
            if len(alone) == 1 and alone[0] in free:
                free.remove(alone[0])
                wanted = allowed
            else:
                wanted = f"one of {format_cpu_list(cpus[1:])}"
        places.append(ThreadPlace(tid, role, name, wanted, allowed))
    return places


def complaints(places: Sequence[ThreadPlace], threads: int) -> list[str]:
    """What is wrong with the pinning, one phrase per thread; empty when each thread is alone on its CPU."""
    found = [
        f"{place.role} {place.tid} may run on {place.allowed}, not on {place.wanted}"
        for place in places
        if place.misplaced
    ]
    working = sum(place.role in ("caller", "worker") for place in places)
    if working != threads:
        found.append(f"the engine has {working} threads, not {threads}")
    return found


def free_to_run_on(places: Sequence[ThreadPlace]) -> list[int]:
    """CPUs of the helper, which nobody pins: where the cpuset lets this process run. Empty where it was not seen."""
    return next((parse_cpu_list(place.allowed) for place in places if place.role == "helper"), [])


def _name_and_allowed(tid: int) -> Sequence[str]:
    name = allowed = ""
    try:
        with open(f"{_TASKS}/{tid}/status") as file:
            for line in file:
                key, _colon, value = line.partition(":")
                if key == "Name":
                    name = value.strip()
                elif key == "Cpus_allowed_list":
                    allowed = value.strip()
    except OSError:
        return "", ""
    return name, allowed
