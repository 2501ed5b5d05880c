"""The arguments of a run, the same for `numatune bench` and for the recorder on its own, and the request they make."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from . import DEFAULT_ITERATIONS, QUICK_ITERATIONS
from .cpus import SCOPES, parse_cpu_list
from .instances import INSTANCES
from .model.architecture import MODELS
from .model.cache import PRECISIONS
from .placing import policy
from .recorder import LARGEST_BATCH, Request

TIERS = ("B", "C", "D")


def thread_count(word: str) -> Optional[int]:
    """The argument of --threads."""
    return None if word == "auto" else int(word)


thread_count.__name__ = "number of threads"  # argparse names it in its complaint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what to run; where the result goes is the caller's."""
    what = parser.add_argument_group("what runs")
    what.add_argument("--model", choices=sorted(MODELS), default="resnet152", help="(default: resnet152)")
    what.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="int8: 8-bit activations and weights (default: fp32)"
    )
    what.add_argument("--size", type=int, default=224, metavar="PIXELS", help="side of the image (default: 224)")
    what.add_argument(
        "--batch", type=int, default=1, metavar="N", help=f"images at a time, 1 to {LARGEST_BATCH} (default: 1)"
    )
    what.add_argument("--iterations", type=int, metavar="N", help=f"inferences (default: {DEFAULT_ITERATIONS})")
    what.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ITERATIONS} inferences; the result says that it is provisional"
    )
    where = parser.add_argument_group("where it runs: one thread for each core, its SMT siblings idle")
    where.add_argument(
        "--scope", choices=SCOPES, help="one NUMA node, one socket, or the cores of all sockets (default: node)"
    )
    where.add_argument(
        "--instances",
        choices=INSTANCES,
        default=INSTANCES[0],
        help="per-node: one process for each NUMA node, all at the same time, each with a FILE-nodeN of its own",
    )
    where.add_argument(
        "--threads", type=thread_count, metavar="N|auto", help="default: auto, one per core of the scope"
    )
    where.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, such as 2-5 (default: the serving CPUs)")
    where.add_argument(
        "--memory",
        choices=policy.CHOICES,
        default=policy.CHOICES[0],
        help="memory policy: none (default), or an explicit one: local, bind (the node of the first thread) or "
        "interleave (all nodes), under which NUMA balancing leaves the memory alone and its spikes do not show",
    )
    add_anyway(where)
    seen = parser.add_argument_group("what is counted, and disturbed")
    seen.add_argument(
        "--counters",
        choices=TIERS,
        default=TIERS[0],
        help="after each inference: B its own faults, switches, migrations and waiting (default); C the host's "
        "NUMA balancing and compaction too; D interrupts, steal, idle exits, frequency, throttling and quota too",
    )
    seen.add_argument(
        "--inject",
        metavar="KIND",
        help="disturb the run on purpose, to see that the cause is found: hog, fork, sigstop, faults-elsewhere or "
        "numa-balancing; the result is labelled, and `compare` refuses it",
    )
    seen.add_argument(
        "--yes-change-this-host",
        action="store_true",
        dest="agreed",
        help="let --inject numa-balancing switch it on for the time of the run (needs root)",
    )


def add_anyway(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the flag that measures on a host without any room."""
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="measure also where other work has all CPUs, which is refused otherwise; no verdict counts such a run",
    )


def make_request(
    args: argparse.Namespace, serving: Optional[Sequence[int]], command: Sequence[str], version: str
) -> Request:
    """The request of parsed arguments; `serving` is used where the user names no CPUs, None is every CPU allowed."""
    iterations = args.iterations
    if iterations is None:
        iterations = QUICK_ITERATIONS if args.quick else DEFAULT_ITERATIONS
    request = Request(
        model=args.model,
        size=args.size,
        threads=args.threads,
        cpus=serving,
        iterations=iterations,
        provisional=args.quick,
        command=tuple(command),
        program_version=version,
        precision=args.precision,
        batch=args.batch,
        scope=args.scope,
        memory=args.memory,
        counters=args.counters,
        inject=args.inject,
        agreed=args.agreed,
        instances=args.instances,
        anyway=args.anyway,
    )
    if args.cpus is None:
        return request
    return replace(request, cpus=tuple(parse_cpu_list(args.cpus)), scope=args.scope or "cpus")
