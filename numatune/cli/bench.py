"""`numatune bench`: record a pinned run and show its spikes, and what came with them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bench import DEFAULT_ITERATIONS, options
from ..report.formats import RUNS
from ..report.runs import bench_report
from ..report.runs.run_report import make_report, why_not_judged
from ..report.runs.said import Said
from . import output
from .errors import INCOMPLETE, OK, CliError
from .recording import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.host import Host

_ESTIMATE_AFTER = 2.0
"""Seconds of measuring before the rest is estimated: the first inferences do not tell."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Run a ResNet over and over with each thread pinned to a core of its own, time each inference, and show the "
        "slow ones with what came with them. The weights are made on this host; nothing is downloaded or changed."
    )
    options.add_arguments(parser)
    out = parser.add_argument_group("what comes out")
    out.add_argument("--format", choices=RUNS, default="text", help="(default: text)")
    out.add_argument("-o", "--output", required=True, metavar="FILE", help="where the raw samples go")
    parser.epilog = "exit codes: 0 recorded; 2 bad usage or input; 3 the run counts for nothing, or was interrupted"


def run(args: argparse.Namespace) -> int:
    """Record, write the result, print what a person reads in ten seconds; 3 where a run counts for nothing."""
    bar = Estimate(lambda total: f"measuring {total:,} inferences")
    if why_not_judged():  # before minutes of measuring, not after
        bar.say(f"the report will not say which counters came with the spikes: that {why_not_judged()}")
    reports = [make_report(result, path) for path, result in _record(args, bar)]
    said = Said(
        lambda style: bench_report.lines_of(reports, style, DEFAULT_ITERATIONS), lambda: bench_report.as_object(reports)
    )
    output.write(args.format, said)
    return INCOMPLETE if any(report.result["invalidating_events"] for report in reports) else OK


class Estimate(Progress):
    """Progress with the time that is left, taken from the inferences measured so far; none before it is worth it."""

    def __init__(self, start: Callable[[int], str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(start)
        self._clock, self._began, self._told = clock, 0.0, False

    def show(self, done: int, total: int) -> None:
        if done == 0:
            self._began = self._clock()
        elapsed = self._clock() - self._began
        self._unit = ""
        if 0 < done < total and elapsed >= _ESTIMATE_AFTER:
            left = f"about {duration(elapsed / done * (total - done))} left"
            self._unit = f", {left}"
            if not self._terminal and not self._told:
                self.say(left)
                self._told = True
        self._unit = f"{self._unit:<30}"  # what a shorter line leaves of a longer one is blank
        super().show(done, total)


def duration(seconds: float) -> str:
    """Such as "12 s", "3 min 5 s" or "2 h 10 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _record(args: argparse.Namespace, bar: Progress) -> list[tuple[str, dict[str, Any]]]:
    """(file, result) of each instance, written; the host is looked at once, before it is measured."""
    from ..bench.cpus import reach
    from ..bench.errors import BenchError
    from ..bench.files import check_writable
    from ..bench.instances import path_of, record_all, split
    from ..bench.result import write_result

    try:
        check_writable(args.output)
        host = _this_host()
        request = options.make_request(args, serving_cpus(host), ("numatune", *sys.argv[1:]), __version__)
        if args.cpus is not None:
            reach(request.cpus or ())
        parts = split(request)
        paths = [path_of(args.output, suffix) for suffix, _request in parts]
        for path in paths:
            check_writable(path)
        audit = _audit(host)
        results = record_all([request for _suffix, request in parts], bar.say, bar.show)
        for path, result in zip(paths, results, strict=True):
            result["audit"] = audit
            write_result(result, path)
    except BenchError as error:
        raise CliError(str(error), error.code) from error
    finally:
        bar.clear()
    return list(zip(paths, results, strict=True))


def _this_host() -> Host:
    from ..core.collecting.snapshot import parse_stream
    from ..core.host import Host
    from ..core.profile import builtin
    from ..transport import local

    return Host(parse_stream(local.stream()), builtin("inference-latency"))


def serving_cpus(host: Host) -> list[int] | None:
    """The CPUs that serve on this host by its topology; None is every CPU that this process may run on."""
    from ..bench.cpus import allowed_cpus, isolated_cpus, reach

    roles = host.roles
    if not roles.split:
        return None
    # isolcpus= takes the serving CPUs out of what a process may use unless it asks for them.
    reach(sorted(set(roles.serving) & set(isolated_cpus())))
    # taskset or a container may leave this process only some of them, or none.
    return sorted(set(roles.serving) & set(allowed_cpus())) or None


def _audit(host: Host) -> list[dict[str, str]]:
    """What the audit finds on this host before the run: the link from a cause to the setting that is to be changed."""
    from datetime import UTC, datetime

    from ..core.audit import judge_host

    findings = judge_host(host, datetime.now(UTC).date()).findings
    return [
        {
            "setting": finding.setting,
            "status": finding.status.value,
            "severity": finding.severity.value,
            "reason": finding.reason,
        }
        for finding in findings
    ]
