"""`numatune compare`: decide from runs, or watches, before and after a change whether the spikes are gone.

Spikes are counted against the median of their own launch. A change that makes every inference slower can thus make them
vanish: where the median after is more than 1.25 times the one before, the reason says so, and eliminated and clean exit
with 1 instead of 0.
"""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any

from ..bench.packages.optional import said_missing
from ..report.formats import RUNS
from ..report.runs.comparison import lines_of
from ..report.runs.said import Said
from . import output, qualifying
from .errors import BAD_INPUT, FINDINGS, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..verdict.comparison import Comparison
    from ..verdict.qualification import Qualification

_CODES = {
    "eliminated": OK,
    "clean": OK,
    "reduced": FINDINGS,
    "unchanged": FINDINGS,
    "worse": FINDINGS,
    "inconclusive": INCOMPLETE,
    "invalid": INCOMPLETE,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Decides from runs of bench or probe whether a change of the host removed the spikes; or, from what `watch` "
        "recorded with --latency-log before and after, whether it did for your own service. Watches give no verdict "
        "(inconclusive) where the requests a second differ by more than 1.25 times between watches or between the "
        "fifths of one, or where a watch ended early."
    )
    parser.add_argument("--before", nargs="+", required=True, metavar="FILE", help="runs before the change, or watches")
    parser.add_argument("--after", nargs="+", required=True, metavar="FILE", help="runs after it")
    parser.add_argument(
        "--max-spikes-per-1000", type=float, metavar="X", help="what is tolerable (default: 3, or the criteria's)"
    )
    qualifying.add_arguments(parser)
    parser.add_argument("--format", choices=RUNS, default="text", help="(default: text)")
    parser.epilog = (
        "exit codes: 0 eliminated or clean; 1 reduced, unchanged or worse, and also eliminated or clean where the "
        "median after is more than 1.25 times the median before (the verdict keeps its name, its reason says how "
        "the median moved); 2 bad usage or input; 3 inconclusive or invalid. With --criteria: 0 all are met; 1 one is "
        "missed; 3 one could not be judged"
    )


def run(args: argparse.Namespace) -> int:
    """Print the verdict; 0 eliminated or clean, 1 reduced, unchanged or worse, 3 inconclusive or invalid.

    Also 1 for eliminated or clean where the median after is more than 1.25 times the one before.
    """
    try:
        # Without it no warm-up would be found, and the verdict would depend on what is installed.
        importlib.import_module("ruptures")
        from ..verdict import DEFAULT_LIMIT
        from ..verdict.comparison import compare
        from ..verdict.errors import VerdictError
        from ..verdict.run import parse_run, read_json
    except ImportError as error:
        line = said_missing(error.name or "a package", "comparing needs it")
        raise CliError(line, BAD_INPUT) from error
    try:
        decoded = [[read_json(path, "result") for path in paths] for paths in (args.before, args.after)]
        if _are_watches(args, decoded):
            return _compare_watches(args, decoded)
        before, after = (
            [parse_run(one, path) for one, path in zip(side, paths, strict=True)]
            for side, paths in zip(decoded, (args.before, args.after), strict=True)
        )
        criteria = qualifying.read_criteria(args)
        limit = args.max_spikes_per_1000
        if limit is None:
            limit = DEFAULT_LIMIT if criteria is None else criteria.limit
        comparison = compare(before, after, limit)
    except VerdictError as error:
        raise CliError(str(error), BAD_INPUT) from error
    found = None
    if criteria is not None:
        found = qualifying.judge(args, criteria, comparison.as_dict(), before, after)
    _show(args, comparison, found)
    return _code(comparison) if found is None else qualifying.exit_code(found)


def _are_watches(args: argparse.Namespace, decoded: Sequence[Sequence[Any]]) -> bool:
    """Whether all files are watches; CliError where some are."""
    from ..verdict.other_files import WATCH_SCHEMA

    kinds: dict[bool, str] = {}
    for path, one in zip([*args.before, *args.after], [*decoded[0], *decoded[1]], strict=True):
        kinds.setdefault(isinstance(one, dict) and one.get("schema") == WATCH_SCHEMA, path)
    if len(kinds) > 1:
        raise CliError(f"{kinds[True]} is a watch and {kinds[False]} is not: compare watches with watches")
    return True in kinds


def _compare_watches(args: argparse.Namespace, decoded: Sequence[Sequence[Any]]) -> int:
    from ..verdict import DEFAULT_LIMIT
    from ..verdict.watch_comparison import compare_watches
    from ..verdict.watched import parse_watch

    if args.criteria is not None:
        raise CliError("--criteria judges runs of bench: a watch has no model whose median could be held against it")
    if args.audit is not None:
        raise CliError("--audit goes with --criteria, and that judges runs of bench: compare watches without it")
    limit = DEFAULT_LIMIT if args.max_spikes_per_1000 is None else args.max_spikes_per_1000
    before, after = (
        [parse_watch(one, path) for one, path in zip(side, paths, strict=True)]
        for side, paths in zip(decoded, (args.before, args.after), strict=True)
    )
    comparison = compare_watches(before, after, limit)
    _show(args, comparison, None)
    return _code(comparison)


def _show(args: argparse.Namespace, comparison: Comparison, found: Qualification | None) -> None:
    qualification = {} if found is None else {"qualification": found.as_dict()}
    said = Said(lambda _style: lines_of(comparison, found), lambda: {**comparison.as_dict(), **qualification})
    output.write(args.format, said)


def _code(comparison: Comparison) -> int:
    code = _CODES[comparison.verdict]
    return FINDINGS if code == OK and comparison.medians.slower else code
