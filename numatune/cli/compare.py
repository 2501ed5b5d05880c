"""`numatune compare`: decide from runs, or watches, before and after a change whether the spikes are gone.

Spikes are counted against the median of their own launch. A change that makes every inference slower can thus make them
vanish: where the median after is more than 1.25 times the one before, the reason says so, and eliminated and clean exit
with 1 instead of 0.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
from typing import TYPE_CHECKING, Any

from . import output, qualifying
from .errors import BAD_INPUT, FINDINGS, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..verdict.comparison import Comparison
    from ..verdict.decision import Side
    from ..verdict.qualification import Qualification
    from ..verdict.statistics import Summary

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
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
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
        line = f"{error.name} is not installed: comparing needs it; pip install 'numatune[bench]'"
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
    from ..verdict.run import WATCH_SCHEMA

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
    if args.format == "json":
        qualification = {} if found is None else {"qualification": found.as_dict()}
        print(json.dumps({**comparison.as_dict(), **qualification}, indent=1))
        return
    output.show([*_lines(comparison), *([] if found is None else qualifying.lines(found))])


def _code(comparison: Comparison) -> int:
    code = _CODES[comparison.verdict]
    return FINDINGS if code == OK and comparison.medians.slower else code


def _lines(comparison: Comparison) -> list[str]:
    subject, nouns = comparison.subject, f"{comparison.subject.noun}s"
    lines = [f"{comparison.verdict}: {comparison.reason}", ""]
    lines += [f"invalid: {event}" for event in comparison.invalid]
    lines.append(f"  {'':<8}{nouns:>11}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'spikes':>8}{'per 1,000':>11}")
    lines.append(_row("before", comparison.before, comparison.launches_before))
    lines.append(_row("after", comparison.after, comparison.launches_after))
    lines.append("")
    threshold = f"  a spike is slower than {comparison.threshold:.2f} × its {subject.launch}'s median"
    threshold += f" (from the {comparison.quieter} {subject.files}, the quieter ones)"
    lines.append(f"{threshold}; blocks of {comparison.block} {nouns}; order {comparison.order.sequence}")
    tests = f"  Fisher's test on blocks: p = {comparison.decision.p_fewer:.2g} for fewer, "
    tests += f"{comparison.decision.p_more:.2g} for more"
    if comparison.shift is not None:
        tests += f"; block permutation of the p99: p = {min(comparison.shift.p_fell, comparison.shift.p_rose):.2g}"
    lines.append(tests)
    lines.append(_effect(comparison))
    lines.append(f"  after: at most {comparison.after.upper_per_1000:.1f} spikes per 1,000 (95 % bound)")
    lines += [f"  note: {remark}" for remark in comparison.remarks]
    if comparison.verdict in ("inconclusive", "reduced") and not comparison.doubt:
        lines.append("  " + _more(comparison))
    return lines


def _effect(comparison: Comparison) -> str:
    """By how much, with 95 % intervals."""
    change, low, high = comparison.difference
    line = f"  spikes per 1,000: {change:+.1f} ({low:+.1f} to {high:+.1f})"
    shift = comparison.shift
    if shift is not None and shift.interval is not None:
        low, high = shift.interval
        line += f"; p99 in medians × {shift.ratio:.2f} ({low:.2f} to {high:.2f})"
    return f"{line}; 95 % intervals"


def _more(comparison: Comparison) -> str:
    wanted, subject = comparison.would_decide, comparison.subject
    nouns = f"{subject.noun}s"
    if comparison.verdict == "reduced":
        if wanted is None:
            return f"at this rate the spikes stay above the limit, however many {nouns} are recorded"
        return f"at this rate about {wanted:,} {nouns} after the change would show it within the limit"
    if wanted is None:
        return f"at these rates even a million {nouns} a side would decide nothing"
    more = "watch for longer" if subject.files == "watches" else "record more launches"
    return f"at these rates about {wanted:,} {nouns} a side would decide: {more}"


def _row(name: str, side: Side, launches: Sequence[Summary]) -> str:
    p50, p99 = (statistics.median(values) for values in zip(*((o.p50_ms, o.p99_ms) for o in launches), strict=True))
    largest = max(one.max_ms for one in launches)
    times = "".join(f"{value:>9.1f}" if value >= 10.0 else f"{value:>9.3g}" for value in (p50, p99, largest))
    return f"  {name:<8}{side.iterations:>11,}{times}{side.spikes:>8}{side.per_1000:>11.1f}"
