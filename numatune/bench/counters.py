"""Counters of tier B, and on demand C, one reading after each iteration, outside the timed region.

A reading must not disturb what it reads: the files stay open, raw bytes go into buffers made beforehand, and text is
parsed when the run is over. An iteration's delta is the difference to the reading before it, so what the recorder
does between two iterations counts towards the later one.
"""

from __future__ import annotations

import os
import resource
import struct
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Optional

from . import perf
from .vmstat import VmstatReadings

USAGE = ("minor_faults", "major_faults", "voluntary_switches", "involuntary_switches")
MIGRATIONS = "cpu_migrations"
SCHEDSTAT = ("cpu_time_ns", "run_delay_ns")

THREADS_READ_EACH_TIME = 16
"""Above this many threads, schedstat is read every second, third, … iteration: it costs a system call a thread."""

MIGRATIONS_STRIDE, MIGRATIONS_DEAR_NS = 16, 10_000
"""Where reading the migrations takes longer than this, they are read every sixteenth iteration only.

The kernel interrupts each CPU on which a counted thread runs to read its event. On bare metal that is 2 to 4 us; in a
virtual machine it was measured at 25 us, half of the whole budget, and it disturbs the very CPUs under test.
"""

_SCHEDSTAT_BYTES = 64  # three decimal numbers of at most 20 digits, two spaces and a newline

Deltas = list[Optional[int]]


class Counters:
    """Open the counters before the session, name the threads after it (`watch`), then call its `reader`."""

    def __init__(self, iterations: int, whole_host: bool = False) -> None:
        """`iterations` at most; `whole_host` adds tier C, the counts of /proc/vmstat."""
        self.readings = iterations + 1
        self.unavailable: dict[str, str] = {}
        self._count = 0
        self._migrations, why = perf.open_migrations()
        if why:
            self.unavailable[MIGRATIONS] = why
        # bytes(n) is written to here and now: no page of these buffers is touched first inside the measured loop.
        self._usage = array("q", bytes(8 * len(USAGE) * self.readings))
        self._moves = bytearray(8 * self.readings)
        self._moves_view = memoryview(self._moves)
        self._cost = array("q", bytes(8 * self.readings))
        self._vmstat = VmstatReadings(self.readings) if whole_host else None
        self._schedstats: list[int] = []
        self._texts = bytearray()
        self._texts_view = memoryview(self._texts)
        self._probes: list[int] = []
        self.strides: dict[str, int] = dict.fromkeys((MIGRATIONS, *SCHEDSTAT), 1)
        self._stride = self._moves_stride = 1

    def probe(self) -> None:
        """Time one reading of the migrations, right after a warm-up inference, when the workers still spin."""
        if self._migrations >= 0:
            start = time.perf_counter_ns()
            os.readv(self._migrations, (self._moves_view[:8],))
            self._probes.append(time.perf_counter_ns() - start)

    def watch(self, threads: Sequence[int]) -> None:
        """Open schedstat of these threads; where the kernel has none, its counters are unavailable."""
        try:
            for tid in threads:
                self._schedstats.append(os.open(f"/proc/self/task/{tid}/schedstat", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            for name in SCHEDSTAT:
                self.unavailable[name] = f"/proc/self/task/{tid}/schedstat: {error.strerror}"
            self._close_schedstats()
        if self._probes and sorted(self._probes)[len(self._probes) // 2] > MIGRATIONS_DEAR_NS:
            self._moves_stride = MIGRATIONS_STRIDE
        self._stride = max(1, -(-len(self._schedstats) // THREADS_READ_EACH_TIME))
        self.strides = dict.fromkeys(SCHEDSTAT, self._stride)
        self.strides[MIGRATIONS] = self._moves_stride
        readings = -(-self.readings // self._stride)
        self._texts = bytearray(_SCHEDSTAT_BYTES * len(self._schedstats) * readings)
        self._texts_view = memoryview(self._texts)

    def reader(self) -> Callable[[], None]:
        """The function that takes one reading: call it before iteration 0, then after each iteration.

        It holds all that it needs in local names. Right after an inference the caches are cold, and each attribute
        looked up on the way costs a miss.
        """
        get_usage, whom, now = resource.getrusage, resource.RUSAGE_SELF, time.perf_counter_ns
        readv, preadv = os.readv, os.preadv
        usage, moves, texts, cost = self._usage, self._moves_view, self._texts_view, self._cost
        migrations, moves_stride = self._migrations, self._moves_stride
        schedstats, stride = tuple(self._schedstats), self._stride
        width = _SCHEDSTAT_BYTES * len(schedstats)
        keep_vmstat = self._vmstat.reader() if self._vmstat else None
        index = 0

        def read() -> None:
            nonlocal index
            start = now()
            used = get_usage(whom)
            base = 4 * index
            # By place, in the order of USAGE: ru_minflt, ru_majflt, ru_nvcsw, ru_nivcsw.
            usage[base], usage[base + 1], usage[base + 2], usage[base + 3] = used[6], used[7], used[14], used[15]
            if migrations >= 0 and index % moves_stride == 0:
                place = 8 * (index // moves_stride)
                readv(migrations, (moves[place : place + 8],))
            if index % stride == 0:
                place = index // stride * width
                for descriptor in schedstats:
                    preadv(descriptor, (texts[place : place + _SCHEDSTAT_BYTES],), 0)
                    place += _SCHEDSTAT_BYTES
            if keep_vmstat is not None:
                keep_vmstat(index)
            cost[index] = now() - start
            index += 1
            self._count = index

        return read

    def deltas(self) -> dict[str, Deltas]:
        """Name -> one raw delta per iteration; None where a counter was not read after that iteration."""
        found: dict[str, Deltas] = {}
        for column, name in enumerate(USAGE):
            found[name] = _differences(self._usage[column : self._count * len(USAGE) : len(USAGE)])
        if self._migrations >= 0:
            readings = -(-self._count // self._moves_stride)
            totals = struct.unpack(f"={readings}q", self._moves[: 8 * readings])
            found[MIGRATIONS] = self._spread(_differences(totals), self._moves_stride)
        if self._schedstats:
            for name, sums in zip(SCHEDSTAT, self._schedstat_totals()):
                found[name] = self._spread(_differences(sums), self._stride)
        if self._vmstat:
            found.update(self._vmstat.deltas(self._count))
            self.unavailable.update(self._vmstat.unavailable)
        return found

    def costs(self) -> Sequence[int]:
        """Nanoseconds that each reading between two iterations took."""
        return self._cost[1 : self._count]

    def close(self) -> None:
        """Close what is open; the readings stay."""
        if self._migrations >= 0:
            os.close(self._migrations)
        if self._vmstat:
            self._vmstat.close()
        for descriptor in self._schedstats:
            os.close(descriptor)

    def _close_schedstats(self) -> None:
        for descriptor in self._schedstats:
            os.close(descriptor)
        self._schedstats = []

    def _schedstat_totals(self) -> tuple[list[int], list[int]]:
        """On-CPU time and run delay summed over the threads, ns, at each reading."""
        threads = len(self._schedstats)
        on_cpu, delay = [], []
        for reading in range(-(-self._count // self._stride)):
            cpu_sum = delay_sum = 0
            for thread in range(threads):
                offset = (reading * threads + thread) * _SCHEDSTAT_BYTES
                fields = self._texts[offset : offset + _SCHEDSTAT_BYTES].split(b"\n", 1)[0].split()
                cpu_sum += int(fields[0])
                delay_sum += int(fields[1])
            on_cpu.append(cpu_sum)
            delay.append(delay_sum)
        return on_cpu, delay

    def _spread(self, differences: Deltas, stride: int) -> Deltas:
        """Put each difference at the iteration after which it was read; it covers the `stride` iterations up to it."""
        spread: Deltas = [None] * (self._count - 1)
        for index, difference in enumerate(differences):
            spread[(index + 1) * stride - 1] = difference
        return spread


def _differences(values: Any) -> Deltas:
    return [later - earlier for earlier, later in zip(values, values[1:])]
