"""`numatune show`: the figures of runs that are recorded already, and what caused their spikes, on the terminal."""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any

from ..bench.packages.optional import said_missing
from ..report.formats import RUNS
from ..report.runs import table
from ..report.runs.said import Said
from . import output
from .errors import BAD_INPUT, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    parser.add_argument("--format", choices=RUNS, default="text", help="(default: text)")
    parser.epilog = "exit codes: 0 shown; 2 bad usage or input; 3 shown, but a run in it is invalid"


def run(args: argparse.Namespace) -> int:
    """Print the figures of each run and of all together; 3 where a run counts for nothing."""
    try:
        # Without it no warm-up would be found, and the figures would depend on what is installed.
        importlib.import_module("ruptures")
        from ..verdict.attribution import attribute
        from ..verdict.errors import VerdictError
        from ..verdict.other_files import WATCH_SCHEMA
        from ..verdict.run import parse_run, read_json
        from ..verdict.statistics import summarise
    except ImportError as error:
        line = said_missing(error.name or "a package", "the figures need it")
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
    said = Said(
        lambda style: table.lines_of(figures, decoded[0], style), lambda: {"schema": SCHEMA, **table.as_object(figures)}
    )
    output.write(args.format, said)
    return INCOMPLETE if any(one.events for one in runs) else OK


def _show_watches(decoded: Sequence[Any], args: argparse.Namespace) -> int:
    """Print what each watch says; 3 where one ended early."""
    from ..report.runs.watch_report import as_object, lines_of, make_report

    reports = [make_report(one, path) for one, path in zip(decoded, args.files, strict=True)]
    try:
        said = Said(
            lambda _style: (line for number, one in enumerate(reports) for line in [*[""][:number], *lines_of(one)]),
            lambda: {"schema": SCHEMA, "watches": [as_object(report) for report in reports]},
        )
        output.write(args.format, said)
    except (KeyError, TypeError, AttributeError) as error:
        raise CliError("a watch file is damaged: what it says of its target or itself is missing") from error
    return INCOMPLETE if any(one.get("partial") for one in decoded) else OK
