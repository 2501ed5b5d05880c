"""`numatune probe`: a memory walk of seconds that shows whether NUMA balancing disturbs this host, without a model."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import __version__
from ..bench.options import add_anyway, thread_count
from ..bench.placing import policy
from ..bench.probe import DEFAULT_MIB, DEFAULT_SECONDS
from ..report.formats import RUNS
from ..report.runs.probe_report import wording
from ..report.runs.run_report import make_report
from .errors import INCOMPLETE, OK
from .recording import Progress, print_report, record_to


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Threads on all nodes read a buffer that lies on one node, over and over. Where the kernel's automatic NUMA "
        "balancing acts on it, single walks become slow, and their page faults and hinting faults show it. Needs numpy "
        "alone, and changes nothing on the host."
    )
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help=f"how long (default: {DEFAULT_SECONDS:g})"
    )
    parser.add_argument(
        "--size", type=int, default=DEFAULT_MIB, metavar="MIB", help=f"MiB to walk over (default: {DEFAULT_MIB})"
    )
    parser.add_argument(
        "--threads", type=thread_count, metavar="N|auto", help="default: auto, one per core of all nodes"
    )
    parser.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, such as 0-1,32-33 (default: all allowed)")
    parser.add_argument(
        "--memory",
        choices=policy.CHOICES,
        default="default",
        help="memory policy: none (default), or an explicit one, under which NUMA balancing leaves the memory alone: "
        "local, bind (the node of the first touch), interleave (all nodes)",
    )
    add_anyway(parser)
    parser.add_argument("--format", choices=RUNS, default="text", help="(default: text)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the raw samples go")
    parser.epilog = "exit codes: 0 recorded; 2 bad usage or input; 3 the run counts for nothing, or was interrupted"


def run(args: argparse.Namespace) -> int:
    """Record, write the result, print it; 3 where the run counts for nothing."""
    from ..bench.probe import record

    bar = Progress(lambda tenths: f"walking over {args.size:,} MiB for {tenths / 10:g} s", " tenths of a second")
    result = record_to(args.output, lambda: record(_request(args), say=bar.say, progress=bar.show), bar)
    print_report(make_report(result, args.output), args.format, wording(result))
    return INCOMPLETE if result["invalidating_events"] else OK


def _request(args: argparse.Namespace) -> Any:
    from ..bench.cpus import parse_cpu_list
    from ..bench.probe import Request

    return Request(
        seconds=args.seconds,
        size=args.size,
        threads=args.threads,
        cpus=parse_cpu_list(args.cpus) if args.cpus is not None else None,
        memory=args.memory,
        command=("numatune", *sys.argv[1:]),
        program_version=__version__,
        anyway=args.anyway,
    )
