"""A memory walk by pinned threads: each reads the whole buffer, and the walk is over when the last has.

Threads of all nodes read memory of one node, as the threads of a server read its weights. Each begins at a place of its
own, so that they do not meet the same unmapped page at the same instant. A walk is two numpy calls a thread,
which let go of the interpreter's lock; threads wait for each other by queues, asleep.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Callable, Optional

from ..errors import INVALID_RUN, BenchError
from . import policy
from .memory import Words

_WALK, _MEET, _STOP = "walk", "meet", "stop"


class Walk:
    """The caller's and the workers' parts of the buffer; `step` is one walk, from the start until all are done."""

    def __init__(self, lines: Words, workers: Sequence[_Worker]) -> None:
        self._workers = workers
        self._own = _parts(lines, 0, len(workers) + 1)
        self._expected = len(lines)

    @property
    def policies(self) -> list[Optional[str]]:
        """The memory policy of each thread as the kernel gave it back, the caller's first."""
        return [policy.read_back(), *(worker.policy for worker in self._workers)]

    def step(self) -> int:
        """Walk once; the sum of what each thread read, which is the number of words read."""
        for worker in self._workers:
            worker.go.put(_WALK)
        total = _read(self._own)
        for worker in self._workers:
            total += worker.done.get()
        if total != self._expected * (len(self._workers) + 1):
            raise BenchError(f"the walk read {total}, not what was written: this host's memory is wrong", INVALID_RUN)
        return total

    def meeting_ns(self, times: int = 15) -> int:
        """What it takes to wake the workers and to wait for them when there is nothing to read: the median, ns."""
        spent = []
        for _ in range(times):
            start = time.perf_counter_ns()
            for worker in self._workers:
                worker.go.put(_MEET)
            for worker in self._workers:
                worker.done.get()
            spent.append(time.perf_counter_ns() - start)
        return sorted(spent)[times // 2]


@contextmanager
def walking(lines: Words, cpus: Sequence[int]) -> Iterator[Walk]:
    """A walk over `lines` by the calling thread, which is on cpus[0] already, and a worker on each of the other CPUs.

    The workers are gone when the block ends, Ctrl-C included.
    """
    workers = [_Worker(cpu, _parts(lines, place, len(cpus))) for place, cpu in enumerate(cpus[1:], 1)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            failure = worker.done.get()
            if failure is not None:
                raise BenchError(f"cannot pin a thread to CPU {worker.cpu}: {failure}; name free CPUs with --cpus")
        yield Walk(lines, workers)
    finally:
        for worker in workers:
            worker.go.put(_STOP)
        for worker in workers:
            if worker.ident is not None:
                worker.join()


class _Worker(threading.Thread):
    """One pinned thread that walks when told to."""

    def __init__(self, cpu: int, parts: tuple[Words, Words]) -> None:
        super().__init__(name=f"walk-{cpu}", daemon=True)
        self.cpu = cpu
        self.go: SimpleQueue[str] = SimpleQueue()
        self.done: SimpleQueue[Any] = SimpleQueue()
        self.policy: Optional[str] = None
        self._parts = parts

    def run(self) -> None:
        try:
            os.sched_setaffinity(0, {self.cpu})  # 0 is this thread, not the process
        except OSError as error:
            self.done.put(error.strerror)
            return
        self.policy = policy.read_back()
        self.done.put(None)
        tasks: dict[str, Callable[[], int]] = {_WALK: lambda: _read(self._parts), _MEET: int}
        wait, answer = self.go.get, self.done.put
        while True:
            word = wait()
            if word == _STOP:
                return
            answer(tasks[word]())


def _parts(lines: Words, place: int, threads: int) -> tuple[Words, Words]:
    """The whole of `lines`, from this thread's place to the end and then from the beginning."""
    begin = len(lines) * place // threads
    return lines[begin:], lines[:begin]


def _read(parts: tuple[Words, Words]) -> int:
    import numpy as np

    add = np.add.reduce
    return int(add(parts[0])) + int(add(parts[1]))
