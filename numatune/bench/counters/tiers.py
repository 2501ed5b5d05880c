"""Counters after each iteration, outside the timed region: tier A, B (the default), C or D, each with those before it.

A: faults and switches of this process. B: migrations, CPU time and run delay. C: what NUMA balancing does on the whole
host. D: interrupts, idle exits, frequency, throttling, quota and steal on the serving CPUs. None needs root.

A reading must not disturb what it reads: the files stay open, and what they say goes as it comes into room made
beforehand, to be parsed when the run is over. What is dear on this host is read after every n-th iteration only, by
what it took during the warm-up. An iteration's delta is the difference to the reading before it, so what the recorder
does between two iterations counts towards the later one.
"""

from __future__ import annotations

import resource
import time
from array import array
from collections.abc import Callable, Sequence

from .. import counted
from .cpufiles import Frequency, Idle, Quota, Throttling
from .perf import Migrations
from .procstat import Interrupts, ProcStat
from .sources import MOST_BYTES, Deltas, SchedMigrations, Schedstat, Source, differences, middle, spread
from .vmstat import VmstatReadings

TIERS = ("B", "C", "D")
"""What a run may take."""

USAGE = {**counted.fields(counted.FAULTS), **counted.fields(counted.SWITCHES)}
"""Counter -> the field of the process's usage."""


class Counters:
    """Open the counters before the session, name the threads after it (`watch`), `probe` after each iteration of the
    warm-up, `settle`, then call the function that `reader` gives.
    """

    def __init__(self, iterations: int, tier: str = "B", cpus: Sequence[int] = ()) -> None:
        """`iterations` at most; `cpus` are the serving CPUs, which tier D counts on."""
        if tier not in TIERS:
            raise ValueError(f"no tier {tier!r}")
        self.tier = tier
        self.readings = iterations + 1
        self.strides: dict[str, int] = {}
        self._count = 0
        # `inherit` of the event misses threads that exist already: it comes before the engine's session.
        self._event = Migrations()
        self.sources: dict[str, list[Source]] = {"B": [self._event] if self._event.names else []}
        self._sources: list[tuple[Source, int]] = []
        self._probes: dict[Source, list[int]] = {}
        if tier >= "C":
            self.sources["C"] = [VmstatReadings()]
        if tier == "D":
            self.sources["D"] = host_sources(cpus)
        # Each reading replaces an object made here, whose memory the next one takes: no page is touched first inside
        # the measured loop. To keep the object whole costs less than to take four numbers out of it: 13 us of 60.
        self._usage = [resource.getrusage(resource.RUSAGE_SELF) for _ in range(self.readings)]
        self._cost = array("q", bytes(8 * self.readings))

    @property
    def unavailable(self) -> dict[str, str]:
        """Counter of the tier -> why it cannot be read here."""
        found: dict[str, str] = {}
        for sources in self.sources.values():
            for source in sources:
                found.update(source.unavailable)
        return found

    def watch(self, threads: Sequence[int]) -> None:
        """Open what counts these threads one by one, and make room to probe with."""
        if not self._event.names:
            self.sources["B"].append(SchedMigrations(threads, self._event.why))
        self.sources["B"].append(Schedstat(threads))
        self._probes = {source: [] for tier in self.sources.values() for source in tier if source.names}
        for source in self._probes:
            source.room(1)

    def probe(self) -> None:
        """Time one reading of each source, right after a warm-up iteration, when the workers still spin."""
        for source, costs in self._probes.items():
            costs.append(timed(source))

    def settle(self) -> None:
        """Choose the strides by what the probes took, and make the room for the run."""
        self._sources = []
        for source, costs in self._probes.items():
            stride = source.stride(middle(costs))
            if source.limit_ns is not None:
                stride = max(stride, -(-source.bytes_each() * self.readings // MOST_BYTES))
            source.room(-(-self.readings // stride))
            self._sources.append((source, stride))
            self.strides.update(dict.fromkeys(source.names, stride))

    def reader(self) -> Callable[[], None]:
        """The function that takes one reading: call it before iteration 0, then after each iteration.

        It holds all that it needs in local names. Right after an inference the caches are cold, and each attribute
        looked up on the way costs a miss.
        """
        get_usage, whom, now = resource.getrusage, resource.RUSAGE_SELF, time.perf_counter_ns
        usage, cost = self._usage, self._cost
        readers = tuple((source.reader(), stride) for source, stride in self._sources)
        index = 0

        def read() -> None:
            nonlocal index
            start = now()
            usage[index] = get_usage(whom)
            for keep, stride in readers:
                if stride == 1:
                    keep(index)
                elif index % stride == 0:
                    keep(index // stride)
            cost[index] = now() - start
            index += 1
            self._count = index

        return read

    def deltas(self) -> dict[str, Deltas]:
        """Name -> one raw delta per iteration; None where a counter was not read after that iteration."""
        found: dict[str, Deltas] = {}
        for name, field in USAGE.items():
            found[name] = differences([getattr(used, field) for used in self._usage[: self._count]])
        for source, stride in self._sources:
            for name, values in source.deltas(-(-self._count // stride)).items():
                found[name] = spread(values, stride, self._count - 1)
        return found

    def costs(self) -> Sequence[int]:
        """Nanoseconds that each reading between two iterations took."""
        return self._cost[1 : self._count]

    def close(self) -> None:
        """Close what is open; the readings stay."""
        self._event.close()
        for sources in self.sources.values():
            for source in sources:
                source.close()


def host_sources(cpus: Sequence[int]) -> list[Source]:
    """What tier D adds, opened for these CPUs."""
    return [ProcStat(cpus), Interrupts(cpus), Idle(cpus), Frequency(cpus), Throttling(cpus), Quota()]


def timed(source: Source) -> int:
    """Nanoseconds that one reading takes now, its first slot being overwritten."""
    read, now = source.reader(), time.perf_counter_ns
    start = now()
    read(0)
    return now() - start
