"""`numatune report`: one HTML file with runs, their spikes, what caused them, and what was ruled out."""

from __future__ import annotations

import argparse
import importlib
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..bench.packages.optional import said_missing
from ..report.layout import clean
from . import output
from .errors import BAD_INPUT, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from ..report.html.source import Audit, Source
    from ..verdict.comparison import Comparison


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "One self-contained HTML file: latencies over time with the counters under them, what caused the spikes and "
        "what did not, the settings that govern each cause, and the environment. It loads nothing from anywhere."
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="runs of bench or probe, or what watch recorded")
    parser.add_argument("--before", nargs="+", default=[], metavar="FILE", help="runs before a change")
    parser.add_argument("--after", nargs="+", default=[], metavar="FILE", help="runs after it: adds the verdict")
    parser.add_argument(
        "--audit", metavar="FILE", help="JSON of `numatune audit --format json` of the host that was measured"
    )
    parser.add_argument(
        "--max-spikes-per-1000", type=float, default=3.0, metavar="X", help="what is tolerable (default: 3)"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the HTML goes")
    parser.epilog = (
        "exit codes: 0 written; 2 bad usage or input, nothing written; 3 written, but a run in it is invalid. What the "
        "verdict is stands in the report, and is `numatune compare`'s to exit with"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; 3 where a run in it counts for nothing."""
    if bool(args.before) != bool(args.after):
        raise CliError("--before and --after go together; give a single side as plain FILEs")
    if not args.files and not args.before:
        raise CliError("no run given: name result files of `numatune bench`, `probe` or `watch`")
    if not 0.0 < args.max_spikes_per_1000 < 1000.0:
        raise CliError(f"--max-spikes-per-1000 {args.max_spikes_per_1000:g}: a number above 0 and below 1000")
    try:
        # Without it no warm-up would be found, and figures and verdict would depend on what is installed.
        importlib.import_module("ruptures")
        from plotly.offline import get_plotlyjs

        from ..report.html.page import Report, render
        from ..report.html.source import with_audit
        from ..verdict.errors import VerdictError
    except ImportError as error:
        line = said_missing(error.name or "a package", "a report needs it")
        raise CliError(line, BAD_INPUT) from error
    try:
        given = _audit(args.audit) if args.audit else None
        sources, comparison = _sources(args)
        sources = [with_audit(source, given) for source in sources]
    except VerdictError as error:
        raise CliError(str(error), BAD_INPUT) from error
    text = render(Report(sources, comparison, __version__, args.max_spikes_per_1000), get_plotlyjs())
    # It shows the audit's evidence: as closed as that file is.
    private = bool(args.audit) and not stat.S_IMODE(Path(args.audit).stat().st_mode) & 0o077
    output.write_whole(Path(args.output), text.encode(), private)
    print(f"{args.output}: {len(sources)} run{'s' if len(sources) != 1 else ''}; open it in a browser")
    invalid = [source.run.path for source in sources if source.invalid]
    for path in invalid:
        print(f"numatune: {clean(path)} is invalid for a verdict; the report says why", file=sys.stderr)
    return INCOMPLETE if invalid else OK


def _sources(args: argparse.Namespace) -> tuple[list[Source], Comparison | None]:
    """The runs in the order of the page, those of the comparison first."""
    from ..report.html.source import AFTER, BEFORE, of_run
    from ..verdict.comparison import compare
    from ..verdict.run import noun_of, parse_run, read_json

    comparison, sources = None, []
    if args.before:
        sides = []
        for side, paths in ((BEFORE, args.before), (AFTER, args.after)):
            decoded = [read_json(path, "result") for path in paths]
            runs = [parse_run(one, path) for one, path in zip(decoded, paths, strict=True)]
            sides.append((side, runs, decoded))
        comparison = compare(sides[0][1], sides[1][1], args.max_spikes_per_1000)
        for side, runs, decoded in sides:
            sources += [
                of_run(run, one, comparison.threshold, side, noun_of(run.environment))
                for run, one in zip(runs, decoded, strict=True)
            ]
    return [*sources, *(_source(path) for path in args.files)], comparison


def _source(path: str) -> Source:
    """A run or a watch, whichever the file is."""
    from ..report.html.source import of_run, of_watch
    from ..verdict.other_files import WATCH_SCHEMA
    from ..verdict.run import noun_of, parse_run, read_json
    from ..verdict.watch_file import parse_watch

    decoded = read_json(path, "result")
    if isinstance(decoded, dict) and decoded.get("schema") == WATCH_SCHEMA:
        return of_watch(parse_watch(decoded, path))
    run = parse_run(decoded, path)
    return of_run(run, decoded, noun=noun_of(run.environment))


def _audit(path: str) -> Audit:
    from ..report.html.source import findings_of
    from ..verdict.run import read_json

    decoded = read_json(path, "result")
    try:
        return findings_of(decoded)
    except ValueError as error:
        raise CliError(f"{path}: {error}") from error
