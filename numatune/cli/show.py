"""`numatune show`: the figures of runs that are recorded already, and what caused their spikes, on the terminal."""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
from typing import TYPE_CHECKING, Any

from . import output
from .counter_words import noun_of
from .errors import BAD_INPUT, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..verdict.attribution import Attribution, Share
    from ..verdict.run import Run
    from ..verdict.statistics import Summary

SCHEMA = "numatune/show/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "The figures of each run and of all together; of a single one also a sketch of its latencies, its spikes, what "
        "caused them, what to do and what was ruled out. What `watch` recorded is shown as it was when it ended."
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="runs of bench or probe, launches of one thing; or watches"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    parser.epilog = "exit codes: 0 shown; 2 bad usage or input; 3 shown, but a run in it is invalid"


def run(args: argparse.Namespace) -> int:
    """Print the figures of each run and of all together; 3 where a run counts for nothing."""
    try:
        # Without it no warm-up would be found, and the figures would depend on what is installed.
        importlib.import_module("ruptures")
        from ..verdict.attribution import attribute
        from ..verdict.errors import VerdictError
        from ..verdict.run import WATCH_SCHEMA, parse_run, read_json
        from ..verdict.statistics import summarise
    except ImportError as error:
        line = f"{error.name} is not installed: the figures need it; pip install 'numatune[bench]'"
        raise CliError(line, BAD_INPUT) from error
    try:
        decoded = [read_json(path, "benchmark result") for path in args.files]
        watches = [isinstance(one, dict) and one.get("schema") == WATCH_SCHEMA for one in decoded]
        if any(watches):
            if not all(watches):
                raise CliError("runs and watches do not go into one table: show the watches by themselves")
            return _show_watches(decoded, args)
        runs = [parse_run(one, path) for one, path in zip(decoded, args.files, strict=True)]
        figures = [(one, summarise(one), attribute(one)) for one in runs]
    except VerdictError as error:
        raise CliError(str(error), BAD_INPUT) from error
    if args.format == "json":
        each = [_object(one.path, [summary], [found], [one]) for one, summary, found in figures]
        summaries, causes = [summary for _run, summary, _f in figures], [found for _run, _s, found in figures]
        print(json.dumps({"schema": SCHEMA, "runs": each, "all": _object(None, summaries, causes, runs)}, indent=1))
    else:
        alone = ["", *_alone(decoded[0], *figures[0])] if len(figures) == 1 else []
        output.show([*_lines(figures), *alone])
    return INCOMPLETE if any(one.events for one in runs) else OK


def _show_watches(decoded: Sequence[Any], args: argparse.Namespace) -> int:
    """Print what each watch says; 3 where one ended early."""
    from .watch_report import as_object, lines_of, make_report

    reports = [make_report(one, path) for one, path in zip(decoded, args.files, strict=True)]
    try:
        if args.format == "json":
            each = [as_object(report) for report in reports]
            print(json.dumps({"schema": SCHEMA, "watches": each}, indent=1))
        else:
            for number, report in enumerate(reports):
                output.show([*([""] if number else []), *lines_of(report)])
    except (KeyError, TypeError, AttributeError) as error:
        raise CliError("a watch file is damaged: what it says of its target or itself is missing") from error
    return INCOMPLETE if any(one.get("partial") for one in decoded) else OK


def _alone(result: dict[str, Any], run: Run, summary: Summary, found: Attribution) -> list[str]:
    """What `bench` said of a run beside its figures: the sketch, the spikes, their causes and what was ruled out."""
    from ..verdict.company import list_spikes
    from ..verdict.statistics import spike_indices
    from .run_report import Report, about_spikes, drawn, verdict_lines

    audit = result.get("audit")
    known: dict[str, Any] = {"invalidating_events": []}  # the table has said those
    known["audit"] = [item for item in audit if isinstance(item, dict)] if isinstance(audit, list) else []
    report = Report(known, run.path, run, summary, list_spikes(run, spike_indices(run)), found, "")
    noun = noun_of(run.environment)
    return [*verdict_lines(report)[:-1], *drawn(report, noun), *about_spikes(report, noun)]


def _object(
    path: str | None, summaries: Sequence[Summary], causes: Sequence[Attribution], runs: Sequence[Run]
) -> dict[str, Any]:
    """One launch, or all of them: medians of the p50 and the p99, the largest maximum, the rate over all."""
    iterations, spikes = sum(one.iterations for one in summaries), sum(one.spikes for one in summaries)
    strongest = _strongest(causes)
    return {
        "file": path,
        "iterations": iterations,
        "p50_ms": statistics.median(one.p50_ms for one in summaries),
        "p99_ms": statistics.median(one.p99_ms for one in summaries),
        "max_over_p50": max(one.max_over_p50 for one in summaries),
        "spikes": spikes,
        "spikes_per_1000": 1000.0 * spikes / iterations,
        "cause": None
        if strongest is None
        else {"cause": strongest[0].cause, "words": strongest[0].words, "share": strongest[1]},
        "invalid": [str(event.get("detail") or event.get("event", "")) for one in runs for event in one.events],
        "provisional": any(one.provisional for one in runs),
    }


def _strongest(causes: Sequence[Attribution]) -> tuple[Share, float] | None:
    """The cause that explains most of the time that all spikes cost, and its share of that; None where none does."""
    total = sum(found.excess_ns for found in causes)
    explained: dict[str, tuple[Share, float]] = {}
    for found in causes:
        for share in found.shares:
            _first, before = explained.get(share.cause, (share, 0.0))
            explained[share.cause] = (share, before + share.share * found.excess_ns)
    if not explained or total <= 0.0:
        return None
    share, time = max(explained.values(), key=lambda one: one[1])
    return share, time / total


def _lines(figures: Sequence[tuple[Run, Summary, Attribution]]) -> list[str]:
    head = f"{'inferences':>11}{'p50 ms':>9}{'p99 ms':>9}{'max/p50':>9}{'per 1,000':>11}"
    lines = [f"{head}  file: strongest cause of the spikes"]
    for one, summary, found in figures:
        figure = f"{summary.iterations:>11,}{summary.p50_ms:>9.1f}{summary.p99_ms:>9.1f}{summary.max_over_p50:>9.2f}"
        lines.append(f"{figure}{summary.spikes_per_1000:>11.1f}  {one.path}: {_cause(summary, found)}")
    lines += [
        f"{one.path} does not count for a verdict: {event.get('detail') or event.get('event', '')}"
        for one, _summary, _found in figures
        for event in one.events
    ]
    return lines


def _cause(summary: Summary, found: Attribution) -> str:
    if not summary.spikes:
        return "no spike"
    strongest = _strongest([found])
    return "unexplained" if strongest is None else f"{strongest[0].words} ({strongest[1]:.0%})"
