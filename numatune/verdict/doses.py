"""How much of each cause an iteration got: the doses, made from the counters of a run.

A counter often counts two causes: a minor fault may be a hinting fault or not, a thread may wait for the CPU because of
another task or because of a quota. The more specific cause takes the iterations at which its own counter rose, or where
that was read only once for the whole run, takes all if the run's total says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .causes import BY_NAME, CAUSES, Cause
from .dose import Dose, Marks, Unread, dose_of, intervals, standing_out, summed, total_of, unread, windows
from .run import Run, Samples

MOSTLY, HARDLY = 0.5, 0.1
"""A run's hinting faults on the whole host make its process's minor faults hinting ones when they are at least this
share of them, and not when they are at most this one; between the two, the run does not tell."""

SLOWEST_FAULT = 1e7
"""Nanoseconds that a fault from a disk takes at most, or so."""

_NOT_PINNED = "the threads of a service sleep between requests, so what they slept tells nothing"


def doses(run: Run) -> dict[str, Dose | Unread]:
    """Cause -> its dose, or why there is none, for each cause in the order of `causes.CAUSES`."""
    # A counter of nothing but nulls was not read, and rules nothing out.
    run = replace(run, counters={name: values for name, values in run.counters.items() if not np.isnan(values).all()})
    return {cause.name: _SPECIAL.get(cause.name, _counted)(run, cause) for cause in CAUSES}


def _counted(run: Run, cause: Cause) -> Dose | Unread:
    """The dose of a cause that one counter shows by itself."""
    name = cause.counters[0]
    values = run.counters.get(name)
    if values is None:
        return unread(run, cause, name)
    if cause.at_pace:
        spans = intervals(run) if run.strides.get(name, 1) == 1 else summed(intervals(run), values)
        values = values - float(np.nanmedian(values / spans)) * spans
    return dose_of(values, cause, name, run.strides.get(name, 1))


def _hints(run: Run) -> Samples | None:
    """The host's hinting faults of each iteration; None where they were not read after each."""
    return run.counters.get("numa_hint_faults") if run.strides.get("numa_hint_faults", 1) == 1 else None


def _hinting(run: Run, cause: Cause) -> Dose | Unread:
    faults, hints = run.counters.get("minor_faults"), _hints(run)
    if faults is None:
        return unread(run, cause, "minor_faults")
    if hints is not None:
        # Hinting faults are counted for the whole host: of this process's faults no more than that can be such.
        return dose_of(np.minimum(faults, hints), cause, "numa_hint_faults", 1)
    share = hinting_share(run)
    if share is not None and share >= MOSTLY:
        return dose_of(faults, cause, "minor_faults", 1)
    # Faults that every iteration has are no spike: few hinting faults among all may still be all of those at spikes.
    above = float(np.nansum(np.maximum(faults - np.nanmedian(faults), 0.0)))
    total = total_of(run, cause.total)
    if total == 0.0:
        return Unread("numa_hint_faults", "", 0.0)
    if above == 0.0:
        return Unread("minor_faults", "never above its usual value in the whole run", 0.0)
    if total is not None and total <= HARDLY * above:
        why = f"the whole host had few: at most {total / above:.1%} of this process's sudden minor faults were such"
        return Unread("numa_hint_faults", why, 0.0)
    return unread(run, cause, "numa_hint_faults")


def _other_faults(run: Run, cause: Cause) -> Dose | Unread:
    faults, hints = run.counters.get("minor_faults"), _hints(run)
    if faults is None:
        return unread(run, cause, "minor_faults")
    if hints is not None:
        return dose_of(faults - np.minimum(faults, hints), cause, "minor_faults", 1)
    share = hinting_share(run)
    if share is not None and share >= MOSTLY:
        return Unread("numa_hint_faults", "the host had as many hinting faults as this process minor ones", 0.0)
    return dose_of(faults, cause, "minor_faults", 1)


def hinting_share(run: Run) -> float | None:
    """The host's hinting faults over the run as a share of this process's minor faults, 0 to 1; None if not counted."""
    hints = total_of(run, BY_NAME["numa_hinting_faults"].total)
    faults = run.counters.get("minor_faults")
    if hints is None or faults is None:
        return None
    total = float(np.nansum(faults))
    return min(1.0, hints / total) if total > 0 else 0.0


def _waiting(run: Run) -> Samples | None:
    """Time that threads neither ran nor waited for a CPU, ns summed over them; None where it cannot be known.

    They slept, or the CPU was taken from under them: by the hypervisor, whose time is nobody's, or by an interrupt.
    """
    on_cpu, delay = run.counters.get("cpu_time_ns"), run.counters.get("run_delay_ns")
    threads = run.environment.get("threads")
    if on_cpu is None or delay is None or not isinstance(threads, int) or run.strides.get("cpu_time_ns", 1) != 1:
        return None
    waiting = threads * intervals(run) - on_cpu - delay
    return None if np.isnan(waiting).all() else waiting


def _at(values: Samples, marks: Marks) -> Samples:
    """`values` at the marked iterations, their usual value elsewhere; NaN stays, for it was not read."""
    return np.where(marks | np.isnan(values), values, np.nanmedian(values))


def _slept(run: Run) -> Marks:
    """Where some thread gave up its CPU by itself more often than usual; everywhere if that was not counted."""
    switches = run.counters.get("voluntary_switches")
    if switches is None:
        return np.ones(run.latency.shape, dtype=np.bool_)
    return np.asarray((switches > np.nanmedian(switches)) | np.isnan(switches), dtype=np.bool_)


def _faulted(run: Run) -> Marks:
    """Where page faults stand out: what is slept there is slept by a fault, for the disk or for the address space."""
    marks = np.zeros(run.latency.shape, dtype=np.bool_)
    for name in ("minor_faults", "major_faults"):
        if name in run.counters:
            marks |= standing_out(run.counters[name], BY_NAME[name].least)
    return marks


def _major(run: Run, cause: Cause) -> Dose | Unread:
    faults, waiting = run.counters.get("major_faults"), _waiting(run)
    if faults is None:
        return unread(run, cause, "major_faults")
    marks = standing_out(faults, cause.least)
    if waiting is None:
        waiting = SLOWEST_FAULT * faults
    return dose_of(np.where(np.isnan(faults), np.nan, _at(waiting, marks)), cause, "major_faults", 1, marks)


def _quota(run: Run, cause: Cause) -> Dose | Unread:
    throttled, delay = run.counters.get("quota_throttled"), run.counters.get("run_delay_ns")
    if throttled is None:
        total = total_of(run, cause.total)
        if total and delay is not None:
            # Throttled threads wait for a CPU by the scheduler's own account. As many throttled periods as delays
            # mean that no other task is to blame.
            found = dose_of(delay, BY_NAME["run_delay"], "cgroup_throttled", run.strides.get("run_delay_ns", 1))
            if total >= MOSTLY * found.marks.sum():
                return found
        return unread(run, cause, "quota_throttled")
    marks = standing_out(throttled, cause.least)
    stride = run.strides.get("quota_throttled", 1)
    spent = run.counters.get("quota_throttled_ns")
    if spent is None and delay is not None:
        spent = delay if stride == run.strides.get("run_delay_ns", 1) else summed(np.nan_to_num(delay), throttled)
    if spent is None:
        return unread(run, cause, "run_delay_ns")
    values = np.where(marks, np.nan_to_num(spent), 0.0 * throttled)  # NaN where it was not read
    return dose_of(values, cause, "quota_throttled", stride, marks)


def _delay(run: Run, cause: Cause) -> Dose | Unread:
    delay = run.counters.get("run_delay_ns")
    if delay is None:
        return unread(run, cause, "run_delay_ns")
    quota = _quota(run, BY_NAME["quota"])
    if isinstance(quota, Dose) and quota.marks.any():
        if quota.counter == "cgroup_throttled":
            hit = total_of(run, BY_NAME["quota"].total)
            if hit is not None and hit >= quota.marks.sum():
                return Unread("cgroup_throttled", "the quota was hit as often as the threads waited", 0.0)
            return Unread("run_delay_ns", "the quota was hit too, less often: --counters D tells the two apart")
        marks = np.repeat(windows(quota.marks, quota.stride), quota.stride)[: delay.size]
        delay = np.where(marks & ~np.isnan(delay), np.nanmedian(delay), delay)
    return dose_of(delay, cause, "run_delay_ns", run.strides.get("run_delay_ns", 1))


def _voluntary(run: Run, cause: Cause) -> Dose | Unread:
    waiting = _waiting(run)
    if waiting is None:
        found = unread(run, cause, "cpu_time_ns")
        known = "cpu_time_ns" in run.counters
        return Unread(found.counter, _NOT_PINNED) if known and run.strides.get("cpu_time_ns", 1) == 1 else found
    return dose_of(_at(waiting, _slept(run) & ~_faulted(run)), cause, "time off the CPU", 1)


def _steal(run: Run, cause: Cause) -> Dose | Unread:
    waiting = _waiting(run)
    if cause.counters[0] in run.counters or waiting is None or not total_of(run, cause.total):
        return _counted(run, cause)
    # The accounts of the hypervisor come in ticks; what threads lost without going to sleep is finer, and theirs.
    return dose_of(_at(waiting, ~_slept(run) & ~_faulted(run)), cause, "time off the CPU without a switch", 1)


_SPECIAL: dict[str, Callable[[Run, Cause], Dose | Unread]] = {
    "numa_hinting_faults": _hinting,
    "minor_faults": _other_faults,
    "major_faults": _major,
    "quota": _quota,
    "run_delay": _delay,
    "voluntary_waits": _voluntary,
    "steal": _steal,
}
