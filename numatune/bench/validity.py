"""What makes a run worthless for a verdict, and the rule for a host that is too busy to start on.

Only what no setting of numatune cures is here: steal, heat, a thread off its CPU, another clock, load at the start.
Other tasks, interrupts, a CPU quota and idle exits during the run are causes like any other and yield their spikes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from . import host
from .cpus import format_cpu_list
from .errors import INVALID_RUN, BenchError

LOOK_SECONDS = 0.3
"""How long the host is watched before the start: 30 ticks of the usual 100 Hz accounting."""

BUSY_SHARE = 0.25
"""A CPU that others keep busier than this is not free for a pinned, spinning thread: the run is marked."""

CLEARLY_BUSY_SHARE, CLEARLY_RUNNING = 0.90, 4.0
"""Refused outright: every CPU for the run is this busy, and this many tasks per online CPU run or wait."""

STEAL_SHARE, STEAL_TICKS = 0.01, 5
"""More than this share of the CPUs' time, and enough ticks of the accounting that one or two do not make the share."""

Event = dict[str, str]


def event(name: str, detail: str) -> Event:
    """One invalidating event, as the result lists it."""
    return {"event": name, "detail": detail}


def look_before_start(cpus: Sequence[int], anyway: bool = False) -> list[Event]:
    """Watch the CPUs while this process sleeps; a busy one is an event, no room at all is refused unless `anyway`."""
    running, samples = 0, 4
    before = host.cpu_times(cpus)
    for _ in range(samples):
        time.sleep(LOOK_SECONDS / samples)
        running += host.running_tasks() - 1  # this process itself
    shares = host.shares_between(before, host.cpu_times(cpus))
    per_cpu = running / samples / host.online_count()
    return judge_start(shares, per_cpu, anyway)


def judge_start(shares: dict[int, float], running_per_cpu: float, anyway: bool = False) -> list[Event]:
    """The rule itself: `shares` is CPU -> share of time that others had it, `running_per_cpu` their runnable tasks."""
    busy = {cpu: share for cpu, share in shares.items() if share > BUSY_SHARE}
    if not busy:
        return []
    most = max(busy.values())
    detail = f"CPU {format_cpu_list(busy)} busy up to {most:.0%} with other work at the start"
    if not anyway and min(shares.values()) > CLEARLY_BUSY_SHARE and running_per_cpu >= CLEARLY_RUNNING:
        raise BenchError(
            f"not started: {detail}, {running_per_cpu:.1f} runnable tasks per CPU; stop that work, name free CPUs "
            "with --cpus, or measure with --anyway (the run will not count for a verdict)",
            INVALID_RUN,
        )
    return [event("oversubscribed", detail)]


def cpus_lost(cpus: Sequence[int], online: set[int], allowed: Sequence[int]) -> list[Event]:
    """Serving CPUs that a thread can no longer run on: offline, or no longer in this process's cpuset.

    `online` empty is a kernel that does not say; `allowed` is where a thread may run that was pinned nowhere, empty
    where that is not known. The kernel moves the threads elsewhere, and may have moved them back before the run ended.
    """
    offline = set(cpus) - online if online else set()
    taken = set(cpus) - set(allowed) - offline if allowed else set()
    found = []
    if offline:
        found.append(event("thread_off_its_cpu", f"CPU {format_cpu_list(offline)} went offline during the run"))
    if taken:
        text = f"CPU {format_cpu_list(taken)} was taken from this process's cpuset during the run"
        found.append(event("thread_off_its_cpu", text))
    return found


def judge_run(growth: dict[str, Any], clock_before: Any, clock_after: Any) -> list[Event]:
    """Events of the run as a whole, from the growth of the host's counts and the clock source at both ends."""
    found = []
    if growth["steal_share"] > STEAL_SHARE and growth["cpu_jiffies"]["steal"] >= STEAL_TICKS:
        found.append(
            event("steal", "the hypervisor took {:.1%} of the CPUs' time (limit 1%)".format(growth["steal_share"]))
        )
    if growth["thermal_throttles"]:
        found.append(
            event("throttled", "the CPUs were throttled {} times for heat".format(growth["thermal_throttles"]))
        )
    if clock_before != clock_after:
        found.append(event("clock_changed", f"the clock source went from {clock_before} to {clock_after}"))
    return found
