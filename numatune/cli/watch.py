"""`numatune watch`: the hunt on a running service: its counters over time, joined with the latencies that it logs."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bench.watching.latency_line import UNITS
from ..bench.watching.watch import DEFAULT_INTERVAL, LONGEST, SHORTEST
from ..report.formats import RUNS
from ..report.runs.said import Said
from ..report.runs.words import count
from . import output
from .errors import INCOMPLETE, OK
from .recording import Progress, record_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bench.watching.latency_log import LatencyLog

_LATEST = 1000
"""Requests of which the median is shown while it watches: it must cost next to nothing."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Reads what the kernel counts of a process or unit, and of the host around it, some times a second: page "
        "faults, switches, migrations, time waiting for a CPU, NUMA balancing, interrupts, quota, steal. It changes "
        "nothing, and needs no root for a process of your own. Where the service logs its latencies, the slow requests "
        "are joined with what was counted while they ran, and their causes named."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pid", type=int, metavar="N", help="watch this process and its threads")
    what.add_argument("--unit", metavar="NAME", help="watch all processes of this systemd unit, or control group (/…)")
    parser.add_argument(
        "--interval",
        type=float,
        default=DEFAULT_INTERVAL,
        metavar="S",
        help=f"seconds between samples, {SHORTEST:g} to {LONGEST:g} (default: {DEFAULT_INTERVAL:g}); longer where a "
        "sample would take more than 1 %% of one CPU",
    )
    parser.add_argument("--duration", type=float, metavar="S", help="how long (default: until Ctrl-C, or it ends)")
    parser.add_argument(
        "--latency-log",
        metavar="FILE",
        help="a regular file to which the service appends a line for each request: a number (see --latency-unit), or "
        'a JSON object with "latency_ms" (or latency_s, latency_us, latency_ns) and, if it can, "end", seconds since '
        "1970",
    )
    parser.add_argument(
        "--latency-unit",
        choices=UNITS,
        help="of a log whose lines are plain numbers; the key of a JSON object names its own (default: ms, which is "
        "said; numbers that look like another unit are refused)",
    )
    parser.add_argument("--format", choices=RUNS, default="text", help="(default: text)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the samples go")
    parser.epilog = (
        "exit codes: 0 watched, until Ctrl-C or the process's end where no --duration is given; 2 bad usage or input; "
        "3 ended early: the file is partial"
    )


def run(args: argparse.Namespace) -> int:
    """Watch until the end, write the file, print what it says; 3 where it ended earlier than was asked for."""
    bar = Status(args.duration)
    result = record_to(args.output, lambda: _record(args, bar), bar)
    code = INCOMPLETE if result["partial"] else OK
    if importlib.util.find_spec("numpy") is None:
        bar.say(f"{args.output} is written; numpy is not installed, so what it says is not worked out here")
        return code
    from ..report.runs.watch_report import as_object, lines_of, make_report

    report = make_report(result, args.output)
    output.write(args.format, Said(lambda _style: lines_of(report), lambda: as_object(report)))
    return code


class Status(Progress):
    """Where the watch is: a line that is written over once a second on a terminal, a line a minute elsewhere."""

    def __init__(self, duration: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(str)
        self._duration, self._clock = duration, clock
        self._every = 1.0 if self._terminal else 60.0
        self._last = clock()

    def look(self, seconds: float, log: LatencyLog | None) -> None:
        """Show it where it is time to."""
        now = self._clock()
        if now - self._last < self._every:
            return
        self._last = now
        line = state_of(seconds, self._duration, log)
        if self._terminal:
            sys.stderr.write(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K")
            sys.stderr.flush()
            self._drawn = True
        else:
            self.say(line)


def state_of(seconds: float, duration: float | None, log: LatencyLog | None) -> str:
    """Such as "12 s of 600 s: 1,204 requests, p50 12.1 ms (of the last 1,000), slowest 93.0 ms"."""
    place = f"{seconds:.0f} s" if duration is None else f"{seconds:.0f} s of {duration:g} s"
    if log is None:
        return f"{place}: no latencies without --latency-log"
    if not log.latencies:
        return f"{place}: no request so far"
    latest = sorted(log.latencies[-_LATEST:])
    middle = latest[len(latest) // 2] / 1e6
    few = f" (of the last {_LATEST:,})" if len(log.latencies) > _LATEST else ""
    seen = count(len(log.latencies) + log.dropped, "request")
    return f"{place}: {seen}, p50 {middle:.3g} ms{few}, slowest {log.slowest / 1e6:.3g} ms"


def _record(args: argparse.Namespace, bar: Status) -> dict[str, Any]:
    from ..bench.watching.stop import Stop, stopped_by_signals
    from ..bench.watching.watch import Request, record

    request = Request(
        pid=args.pid,
        unit=args.unit,
        interval=args.interval,
        duration=args.duration,
        latency_log=args.latency_log,
        latency_unit=args.latency_unit,
        command=("numatune", *sys.argv[1:]),
        program_version=__version__,
    )
    stop = Stop()
    try:
        with stopped_by_signals(stop):
            return record(request, stop, bar.say, show=bar.look)
    finally:
        stop.close()
