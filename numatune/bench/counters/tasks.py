"""Who else ran on the serving CPUs: the CPU time of every other task, before and after a run."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..cpus import format_cpu_list
from ..host import plain_name

MOST_TASKS, MOST_SECONDS = 30_000, 3.0
"""Where a snapshot ends: a host with more tasks, or one so slow, is seen in part, and the result says so."""

MOST_SHOWN = 15
_LAST_CPU = 36  # field 39 of /proc/…/stat, counted from the state, which is field 3


@dataclass(frozen=True)
class Snapshot:
    """(process, task) -> CPU time in ns; `whole` is false where there was more than was looked at."""

    times: dict[tuple[int, int], int]
    whole: bool


def snapshot(proc: str = "/proc", own: Collection[int] = ()) -> Snapshot:
    """The CPU time of each task but those of this process and of the processes `own`."""
    own = {os.getpid(), *own}
    times: dict[tuple[int, int], int] = {}
    end = time.monotonic() + MOST_SECONDS
    for pid, tid in _tasks(proc, own):
        if len(times) >= MOST_TASKS or time.monotonic() > end:
            return Snapshot(times, False)
        spent = _cpu_ns(f"{proc}/{pid}/task/{tid}")
        if spent is not None:
            times[pid, tid] = spent
    return Snapshot(times, True)


def foreign_load(before: Snapshot, after: Snapshot, cpus: Sequence[int], proc: str = "/proc") -> list[dict[str, Any]]:
    """The tasks that used CPU time between two snapshots on the serving CPUs `cpus`, most first, at most 15.

    "On the serving CPUs" is a task that was last seen on one, or that may run on no other CPU. A task that is new
    counts from zero. One that came and went between the snapshots is missed, as is one that ended before the second.
    Each has "task" (its name), "pid" (of its process), "cpu_ms" and "cpus", the list of CPUs it may run on.
    """
    serving = set(cpus)
    grown = []
    for key, spent in after.times.items():
        earlier = before.times.get(key, 0 if before.whole else spent)
        # A number that fell is another task under a number that was used before.
        used = spent - earlier if spent >= earlier else spent
        if used >= 100_000:  # a tenth of a millisecond: what is shown as 0.0 says nothing
            grown.append((used, key))
    found: list[dict[str, Any]] = []
    for used, (pid, tid) in sorted(grown, reverse=True):
        seen = _name_and_cpu(f"{proc}/{pid}/task/{tid}")
        allowed = _allowed(tid)
        if seen and (seen[1] in serving or (allowed and allowed <= serving)):
            shown = format_cpu_list(allowed)
            found.append({"task": seen[0], "pid": pid, "cpu_ms": round(used / 1e6, 1), "cpus": shown})
            if len(found) == MOST_SHOWN:
                break
    return found


def _tasks(proc: str, own: Collection[int]) -> Iterator[tuple[int, int]]:
    for pid in _numbers(proc):
        if pid not in own:
            for tid in _numbers(f"{proc}/{pid}/task"):
                yield pid, tid


def _numbers(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except OSError:
        return []  # the process ended


def _cpu_ns(folder: str) -> Optional[int]:
    """CPU time from schedstat, to the nanosecond, or from stat, to a tick; None where the task ended."""
    text = _read(f"{folder}/schedstat")
    if text:
        return int(text.split()[0])
    fields = _read(f"{folder}/stat").rpartition(b")")[2].split()
    if len(fields) < 13:
        return None
    return (int(fields[11]) + int(fields[12])) * 10**9 // os.sysconf("SC_CLK_TCK")  # utime, stime


def _name_and_cpu(folder: str) -> Optional[tuple[str, int]]:
    """The name of a task and the CPU that it was last on; None where it ended."""
    head, _bracket, rest = _read(f"{folder}/stat").rpartition(b")")
    fields = rest.split()
    if len(fields) <= _LAST_CPU:
        return None
    return plain_name(head.partition(b"(")[2]), int(fields[_LAST_CPU])


def _allowed(tid: int) -> set[int]:
    try:
        return os.sched_getaffinity(tid)
    except OSError:
        return set()


def _read(path: str) -> bytes:
    """A small file's bytes; empty where it cannot be read. Lower than open(): there are thousands of them."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 1024)
    except OSError:
        return b""
    finally:
        os.close(file)
