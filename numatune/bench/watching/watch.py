"""Watch a running process or systemd unit: what its threads and the host around it did, window by window.

The watcher minds its own cost: where sampling takes more than 1 % of one CPU, it samples less often and says so. It
keeps off the CPUs of a pinned target where it may use others. It changes nothing, and needs no root for processes of
its own user.
"""

from __future__ import annotations

import math
import os
import platform
import select
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Optional

from .. import host, validity
from ..counters.surroundings import Surroundings
from ..cpus import format_cpu_list
from ..errors import BenchError
from .around import QUOTA, open_readers
from .latency_log import LatencyLog
from .process import Processes
from .stop import Stop
from .target import Ask, Roots, Target, find_target
from .windows import SHARE_LIMIT, Windows

SCHEMA = "numatune/watch/1"
DEFAULT_INTERVAL, SHORTEST, LONGEST = 0.25, 0.02, 60.0
LONGEST_DURATION = 7 * 86_400.0

MOST_WINDOWS = 500_000
"""Then watching ends: 35 hours at the default rate, and some 100 MB of counters."""

_MOST_PROCESSES = 100  # that the result names

Say = Callable[[str], None]
Show = Callable[[float, Optional[LatencyLog]], None]
"""Gets the seconds since the start and the log, after each sample; it has to be quick."""


@dataclass(frozen=True)
class Request:
    """What to watch, as the command line says it; `duration` None is until it is told to stop or the target ends."""

    pid: Optional[int] = None
    unit: Optional[str] = None
    interval: float = DEFAULT_INTERVAL
    duration: Optional[float] = None
    latency_log: Optional[str] = None
    latency_unit: Optional[str] = None
    command: tuple[str, ...] = ()
    program_version: str = ""
    roots: Roots = field(default_factory=Roots)


def record(
    request: Request, stop: Stop, say: Say, ask: Optional[Ask] = None, show: Optional[Show] = None
) -> dict[str, Any]:
    """Watch and give the result, ready for `numatune.bench.result.write_result`.

    `say` gets lines for the person at the terminal and `show` where it is, `ask` stands in for systemd. BenchError
    where there is nothing to watch, an argument is bad, or the latency log holds no latencies.
    """
    if not SHORTEST <= request.interval <= LONGEST:
        raise BenchError(f"--interval {request.interval:g}: from {SHORTEST:g} to {LONGEST:g} seconds")
    duration = request.duration
    if duration is not None and not request.interval <= duration <= LONGEST_DURATION:
        raise BenchError(
            f"--duration {duration:g}: from one interval ({request.interval:g} s) to {LONGEST_DURATION:g} seconds"
        )
    target = find_target(request.pid, request.unit, request.roots, ask)
    with ExitStack() as kept:
        return _Watch(request, target, say, show, kept).run(stop)


class _Watch:
    """One watch: the target, what is open, and the windows so far."""

    def __init__(self, request: Request, target: Target, say: Say, show: Optional[Show], kept: ExitStack) -> None:
        self.request, self.target, self.say, self.show, self._kept = request, target, say, show, kept
        self.log: Optional[LatencyLog] = None
        if request.latency_log is not None:
            self.log = LatencyLog(request.latency_log, request.latency_unit)
            kept.callback(self.log.close)
        since = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        self.processes = Processes(request.roots.proc, math.floor(since))
        kept.callback(self.processes.close)
        pids = target.pids()
        if self.processes.read(pids) == 0:
            why = next(iter(self.processes.unavailable.values()), "it has ended")
            raise BenchError(f"cannot watch {target.name}: {why}")
        online = host.online_cpus()
        self.cpus = sorted(self.processes.allowed & online or self.processes.allowed or online)
        # Threads that may run anywhere leave most CPUs of a large host alone: those on which they were seen count.
        self.pinned = len(self.cpus) < len(online) or len(self.cpus) <= self.processes.threads
        self.processes.follow_cpus = not self.pinned
        self.watcher = self._step_aside()
        readers = open_readers(pids[0], self.cpus, request.roots)
        for reader in readers:
            kept.callback(reader.close)
        self.windows = Windows(readers, self.cpus, request.interval)
        self.interval = request.interval
        self.stretched: list[dict[str, float]] = []
        self.origin = self.edge = self.spent = 0
        self._totals: dict[str, int] = {}
        self._told_unit = False

    def run(self, stop: Stop) -> dict[str, Any]:
        started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), host.clock_source()
        environment = host.identity(self.cpus)
        surroundings = Surroundings(self.cpus, own=self.target.pids())
        self._kept.callback(surroundings.close)
        surroundings.start()
        self.origin = self.edge = time.perf_counter_ns()
        if self.log is not None:
            self.log.skip()
        self.processes.read(self.target.pids())
        self._totals = dict(self.processes.totals)
        self.windows.start(self.cpus)
        self._say_start()  # what happens from here on is counted
        first = self.spent = time.process_time_ns()
        why = self._loop(stop)
        used, elapsed = time.process_time_ns() - first, max(1, self.edge - self.origin)
        run = surroundings.stop()
        duration = self.request.duration
        unavailable = dict(self.processes.unavailable)
        for reader in self.windows.readers:
            unavailable.update(reader.unavailable)
        counters = self.windows.counters(unavailable)
        costs = sorted(self.windows.costs)
        return {
            "schema": SCHEMA,
            "program_version": self.request.program_version,
            "started": started,
            "command": list(self.request.command),
            "target": self._about_target(),
            "ended": why,
            "partial": why in ("full", "files") or (duration is not None and why != "duration"),
            "environment": {**environment, "python": platform.python_version()},
            "interval_s": self.request.interval,
            "windows": {
                "start_offset_ns": list(self.windows.starts),
                "length_ns": list(self.windows.lengths),
                "counters": counters,
            },
            "counters_unavailable": unavailable,
            "counter_strides": self.windows.strides(),
            "watching": {
                "cpu_ns": used,
                "elapsed_ns": elapsed,
                "share": used / elapsed,
                "limit": SHARE_LIMIT,
                "sample_ns": {"p50": costs[len(costs) // 2], "p90": costs[len(costs) * 9 // 10]},
                "stretched": self.stretched,
                **self.watcher,
            },
            "latency_log": None if self.log is None else self.log.as_dict(),
            "requests": [] if self.log is None else self.log.requests(self.origin),
            "run": self._grown(run, counters),
            "invalidating_events": validity.judge_run(run, clock, host.clock_source()),
        }

    def _loop(self, stop: Stop) -> str:
        """Sample until the end; what ended it: "duration", "interrupted", "process-ended", "full" or "files"."""
        poll = select.poll()
        poll.register(stop.handle, select.POLLIN)
        if self.target.group is None and self.request.roots == Roots():
            with suppress(OSError, AttributeError):  # kernels before 5.3; the next sample finds it gone
                ends = os.pidfd_open(self.target.pid)
                self._kept.callback(os.close, ends)
                poll.register(ends, select.POLLIN)
        last = None if self.request.duration is None else self.origin + round(self.request.duration * 1e9)
        due = self.origin
        while True:
            due = max(due + round(self.interval * 1e9), time.perf_counter_ns())
            if last is not None and due > last - 1_000_000:  # no last window of next to nothing
                due = last
            ready = poll.poll(max(0.0, (due - time.perf_counter_ns()) / 1e6))
            try:
                alive = self._sample()
            except BenchError as error:
                if not len(self.windows):
                    raise
                self.say(f"{error}; what was counted until now is kept")
                return "files"
            self._check_log()
            if self.show is not None:
                self.show((self.edge - self.origin) / 1e9, self.log)
            if any(handle == stop.handle for handle, _event in ready):
                return "interrupted"
            if alive == 0 or ready:
                return "process-ended"
            if last is not None and due >= last:
                return "duration"
            if len(self.windows) >= MOST_WINDOWS:
                return "full"

    def _check_log(self) -> None:
        """Stop where the log is none, and say once in which unit its plain numbers are taken."""
        if self.log is None:
            return
        self.log.check()
        if self.log.assumed and not self._told_unit:
            self._told_unit = True
            self.say(f"plain numbers of {self.log.path} are taken as milliseconds; --latency-unit names another unit")

    def _sample(self) -> int:
        """Close the window that runs; how many processes are alive."""
        now, reading = time.perf_counter_ns(), 0
        if self.log is not None:
            reading = time.process_time_ns()
            self.log.read(now, time.time_ns() - now)
            # A request costs what it costs to read, however rarely that is done: no reason to sample less often.
            reading = time.process_time_ns() - reading
        alive = self.processes.read(self.target.pids())
        totals = dict(self.processes.totals)
        did = {name: value - self._totals[name] for name, value in totals.items()}
        around = self.cpus if self.pinned else (self.processes.last_cpus or self.cpus)
        self.windows.close_one(self.edge - self.origin, now - self.edge, did, around)
        self._totals, self.edge = totals, now
        spent = time.process_time_ns()
        wanted = self.windows.too_dear(spent - self.spent - reading, self.interval)
        self.spent = spent
        if wanted is not None and self.interval < LONGEST:
            wanted = min(LONGEST, wanted)
            self.stretched.append({"at_s": (now - self.origin) / 1e9, "from_s": self.interval, "to_s": wanted})
            self.say(
                f"a sample takes more than {SHARE_LIMIT:.0%} of one CPU at one every {self.interval:.3g} s: "
                f"one every {wanted:.3g} s from now on"
            )
            self.interval = wanted
        return alive

    def _step_aside(self) -> dict[str, Any]:
        """Run on CPUs that the target does not use, where there are some."""
        own = os.sched_getaffinity(0)
        others = own - set(self.cpus)
        aside = self.pinned and bool(others)
        if aside:
            os.sched_setaffinity(0, others)
            self._kept.callback(os.sched_setaffinity, 0, own)
        return {"cpus": format_cpu_list(others if aside else own), "stepped_aside": aside}

    def _about_target(self) -> dict[str, Any]:
        named = sorted(self.processes.comms.items())[:_MOST_PROCESSES]
        return {
            "kind": self.target.kind,
            "name": self.target.name,
            "pid": self.target.pid or None,
            "processes": [{"pid": pid, "comm": comm} for pid, comm in named],
            "most_threads": self.processes.most_threads,
            "cpus": format_cpu_list(self.cpus),
            "pinned": self.pinned,
        }

    def _grown(self, run: dict[str, Any], counters: dict[str, list[Optional[int]]]) -> dict[str, Any]:
        """What grew on the host, with the target's own quota, and without the target among the others."""
        totals = {name: sum(filter(None, values)) for name, values in counters.items()}
        return {
            **run,
            "cgroup_throttled": totals.get(QUOTA[0]),
            "cgroup_throttled_ns": totals.get(QUOTA[1]),
            "foreign_load": [one for one in run["foreign_load"] if one["pid"] not in self.processes.comms],
            "counters": totals,
        }

    def _say_start(self) -> None:
        processes, threads = len(self.processes.comms), self.processes.threads
        what = f"process {self.target.pid} ({self.target.name}"
        if self.target.group is not None:
            what = f"{self.target.name} ({processes} process{'es' if processes != 1 else ''}"
        until = "until Ctrl-C" if self.request.duration is None else f"for {self.request.duration:g} s"
        self.say(f"watching {what}, {threads} thread{'s' if threads != 1 else ''}) every {self.interval:g} s, {until}")
