"""Worker processes, seen from the parent: start them, know which hosts each has, and end them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from . import channel, worker
from .stop import SIGNALS

# How long a worker may take to close its gateways at the end of a run.
_ENDS_WITHIN_S = 0.5
# A killed process lasts longer than this only in a system call that cannot be interrupted.
_DIES_WITHIN_S = 5.0

# A worker costs 10 ms and 15 MB, which pays from some dozens of hosts on; four load one parent by less than half.
_MOST_WORKERS, _HOSTS_PER_WORKER, _THREADS_PER_WORKER = 4, 32, 4


def processes(hosts: int, forks: int) -> int:
    """Return how many worker processes serve so many hosts: never more than the usable CPUs."""
    enough = min(-(-hosts // _HOSTS_PER_WORKER), -(-forks // _THREADS_PER_WORKER))
    return max(1, min(len(os.sched_getaffinity(0)), _MOST_WORKERS, enough))


class Given(NamedTuple):
    """A host that a worker has, on the run's clock: since when, for how many seconds, and when the parent gives it up.

    The parent waits longer than the worker's own watch: a host that is late by then has a worker that does not run.
    """

    since: float
    seconds: float
    due: float


class Member:
    """One worker process: the hosts that it has, by number, and when and for how long each was handed out."""

    def __init__(self, slot: int, process: Any, end: channel.ParentEnd) -> None:
        self.slot = slot
        self.channel = end
        self.in_flight: dict[int, Given] = {}
        self._process = process

    def give(self, number: int, now: float, seconds: float) -> None:
        """Hand out one host; `now` is on the run's clock."""
        self.in_flight[number] = Given(now, seconds, now + seconds + max(0.5, 0.08 * seconds))
        self.channel.send(number, seconds)

    def due(self) -> float:
        """Return when the first of its hosts is given up; infinity where it has none."""
        return min([host.due for host in self.in_flight.values()], default=float("inf"))

    def kill(self) -> None:
        """End the worker and the programs that it started, now."""
        with suppress(ProcessLookupError, PermissionError):
            # A worker makes its own process group first of all: one that has just started has none yet.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self.channel.close()
        self._process.join(_DIES_WITHIN_S)

    def wait(self, seconds: float) -> None:
        """Wait for it to end by itself."""
        self._process.join(seconds)

    def cause(self) -> str:
        """Return how a worker ended that closed its socket by itself."""
        self.wait(1.0)
        code = self._process.exitcode
        if code is None:
            return "stopped answering"
        if code >= 0:
            return f"ended with status {code}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"


def start(slot: int, job: worker.Job, others: Iterable[Member]) -> Member:
    """Start a worker for a slot; raises OSError when the machine cannot run another process.

    Forked while this process has one thread, which costs milliseconds and shares the memory that is there already
    (targets, libraries, host keys). With other threads a fork could copy a lock that one of them holds, so that a fresh
    process is forked off by multiprocessing's server instead, and the job goes to it through a pipe.
    """
    end, own = channel.pair()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        context: Any
        if is_alone():
            context = multiprocessing.get_context("fork")
            copies = [end.socket, *(member.channel.socket for member in others)]
        else:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["numatune.fleet.worker"])
            copies = []
        process = context.Process(target=worker.main, args=(own, copies, job), daemon=True)
        # A collection in the worker would otherwise write to, and so copy, every page that holds an object of the
        # parent.
        gc.freeze()
        process.start()
    except BaseException:
        end.close()
        raise
    finally:
        gc.unfreeze()
        own.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return Member(slot, process, end)


def is_alone() -> bool:
    """Return whether this process has one thread."""
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - names only


def dismiss(members: Iterable[Member]) -> None:
    """Let workers without hosts end by themselves, and end those that do not."""
    leaving = list(members)
    for member in leaving:
        member.channel.close()
    until = time.monotonic() + _ENDS_WITHIN_S
    for member in leaving:
        member.wait(max(0.0, until - time.monotonic()))
        member.kill()
