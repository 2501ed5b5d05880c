"""`numatune audit`: judge hosts."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..core.audit import judge
from ..core.catalogue import setting
from ..core.model import Severity
from ..report.hosts import Judged, Run
from . import output, targets
from .errors import FINDINGS, INCOMPLETE, OK, CliError

_FORMATS = ("text", "json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    targets.add_arguments(parser)
    targets.add_profile(parser)
    parser.add_argument("--format", choices=_FORMATS, default="text", help="of what goes to stdout (default: text)")
    parser.add_argument(
        "--report", action="append", default=[], metavar="FMT=PATH", help="also write a report to a file (repeatable)"
    )
    parser.add_argument(
        "--fail-on",
        choices=[item.value for item in Severity],
        default="warning",
        help="exit with 1 for findings of this severity or worse (default: warning)",
    )
    parser.add_argument(
        "--require",
        action="append",
        metavar="SETTING",
        help="exit with 3 when this setting is unknown (repeatable; default: the critical ones)",
    )


def run(args: argparse.Namespace) -> int:
    """Judge every host, write the reports, return the exit code (3 wins over 1)."""
    reports = [_report(word) for word in args.report]
    for name in args.require or ():
        setting(name)
    profile, started = targets.profile(args.profile), targets.now()
    today = datetime.now(UTC).date()
    judged = tuple(
        Judged(name, judge(snapshot, profile, today, Severity(args.fail_on), args.require))
        for name, snapshot in targets.hosts(args)
    )
    done = Run(__version__, profile.name, started, targets.now(), judged)
    for kind, path in reports:
        output.write_whole(path, _render(kind, done, colour=False).encode())
    sys.stdout.write(_render(args.format, done, output.colour()))
    statuses = {host.report.status for host in judged if host.report}
    return INCOMPLETE if "incomplete" in statuses else FINDINGS if "findings" in statuses else OK


def _render(kind: str, done: Run, colour: bool) -> str:
    if kind == "json":
        from ..report import json_format

        return json_format.audit(done)
    from ..report import text

    return text.audit(done, colour)


def _report(word: str) -> tuple[str, Path]:
    kind, sign, path = word.partition("=")
    if kind not in _FORMATS or not sign or not path:
        raise CliError(f"--report {word}: write it as FMT=PATH with FMT one of {', '.join(_FORMATS)}")
    return kind, Path(path)
