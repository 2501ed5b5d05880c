"""`numatune bench`: record a pinned run and show its spikes, and what came with them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import __version__
from ..bench import DEFAULT_ITERATIONS, QUICK_ITERATIONS
from .errors import INCOMPLETE, OK
from .run_report import Progress, Report, Wording, make_report, print_report, record_to, thread_count, why_not_judged


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--model", choices=("resnet152", "resnet50"), default="resnet152", help="(default: resnet152)")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="side of the image (default: 224)")
    parser.add_argument(
        "--threads", type=thread_count, default=None, metavar="N|auto", help="default: auto, one per core of one node"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help=f"inferences (default: {DEFAULT_ITERATIONS})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ITERATIONS} inferences; the result says that it is provisional"
    )
    parser.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, such as 2-5 (default: the serving CPUs)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the raw samples go")


def run(args: argparse.Namespace) -> int:
    """Record, write the result, print what a person reads in ten seconds; 3 where the run counts for nothing."""
    from ..bench.recorder import record

    bar = Progress(lambda total: f"measuring {total:,} inferences")
    if why_not_judged():  # before minutes of measuring, not after
        bar.say(f"the report will not say which counters came with the spikes: that {why_not_judged()}")
    result = record_to(args.output, lambda: record(_request(args), say=bar.say, progress=bar.show), bar)
    report = make_report(result, args.output)
    model = result["environment"]["model"]
    what = f"{model['name']} {model['size']}×{model['size']} fp32"
    print_report(report, args.format, Wording(what, "inference", heading=_provisional(report)))
    return INCOMPLETE if result["invalidating_events"] else OK


def _request(args: argparse.Namespace) -> Any:
    from ..bench.cpus import parse_cpu_list
    from ..bench.recorder import Request

    iterations = args.iterations
    if iterations is None:
        iterations = QUICK_ITERATIONS if args.quick else DEFAULT_ITERATIONS
    cpus = parse_cpu_list(args.cpus) if args.cpus is not None else serving_cpus()
    return Request(
        model=args.model,
        size=args.size,
        threads=args.threads,
        cpus=cpus,
        iterations=iterations,
        provisional=args.quick,
        command=("numatune", *sys.argv[1:]),
        program_version=__version__,
    )


def serving_cpus() -> list[int] | None:
    """The CPUs that serve on this host by its topology; None is every CPU that this process may run on."""
    from ..bench.cpus import allowed_cpus
    from ..core.host import Host
    from ..core.profile import builtin
    from ..core.snapshot import parse_stream
    from ..transport import local

    roles = Host(parse_stream(local.stream()), builtin("inference-latency")).roles
    # taskset or a container may leave this process only some of them, or none.
    usable = sorted(set(roles.serving) & set(allowed_cpus()))
    return usable if roles.split and usable else None


def _provisional(report: Report) -> list[str]:
    iterations = report.summary.iterations
    if not report.result["provisional"] and iterations >= DEFAULT_ITERATIONS:
        return []
    few = f"Provisional: {iterations:,} inferences cannot show that spikes are rare; "
    return [few + f"take {DEFAULT_ITERATIONS:,} or more."]
