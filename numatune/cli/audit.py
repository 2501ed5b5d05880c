"""`numatune audit`: judge hosts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..core.audit import judge
from ..core.catalogue import setting
from ..core.host_status import without_judgement
from ..core.machine.facts import read_by_root
from ..core.model import Severity, Snapshot
from ..core.wording import report_spelled
from ..report.audits import reading
from ..report.audits.fleet import Overview
from ..report.audits.hosts import Judged, Run, of_hosts
from ..report.audits.view import View
from ..report.formats import FORMATS
from ..report.layout import Style
from ..store.audits import Store
from ..store.rows import Row, RunFacts
from . import fleet_options, output, playbooks, targets
from .errors import FINDINGS, INCOMPLETE, OK, CliError
from .fleet_run import Outcome
from .fleet_run import run as ask

_FEW = 10
_BAD = ("wrong", "masked", "lost_at_reboot", "pending_reboot", "unknown")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    targets.add_arguments(parser)
    judging = parser.add_argument_group("by what they are judged")
    targets.add_profile(judging)
    judging.add_argument(
        "--fail-on",
        choices=[item.value for item in Severity],
        default="warning",
        help="exit with 1 for findings of this severity or worse (default: warning)",
    )
    judging.add_argument(
        "--require",
        action="append",
        metavar="SETTING",
        help="exit with 3 when this setting is unknown (repeatable, or with commas; default: the critical ones)",
    )
    reports = parser.add_argument_group("reports")
    reports.add_argument("--format", choices=FORMATS, default="text", help="of what goes to stdout (default: text)")
    reports.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FMT=PATH",
        help=f"also write a report to a file (repeatable); FMT is one of {', '.join(FORMATS)}",
    )
    reports.add_argument(
        "--details",
        action="store_true",
        help=f"show every host on stdout, also of more than {_FEW} (a file has them always)",
    )
    fleet_options.add_connection(parser)
    parser.epilog = (
        "exit codes: 0 all ok; 1 findings; 2 bad usage or input; 3 incomplete: a host was not reached or does not "
        "fit its profile, a required setting is unknown, or the run was stopped; 4 internal error"
    )


def run(args: argparse.Namespace) -> int:
    """Judge every host, write the reports, return the exit code (3 wins over 1)."""
    reports = [_report(word) for word in args.report]
    if args.require:
        args.require = [name for word in args.require for name in word.split(",") if name]
    for name in args.require or ():
        setting(name)
    if fleet_options.asked(args):
        return _fleet(args, reports)
    profile, started = targets.profile(args.profile), targets.now()
    today = datetime.now(UTC).date()
    private, typed = False, playbooks.command(args)

    def judged_one(name: str, snapshot: Snapshot) -> Judged:
        nonlocal private
        private = private or read_by_root(snapshot)
        report = judge(snapshot, profile, today, Severity(args.fail_on), args.require)
        return Judged(name, report_spelled(report, typed))

    judged = tuple(targets.judged(args, judged_one))
    done = of_hosts(__version__, profile.name, started, targets.now(), judged, plan=False)
    view = View(done, lambda: _grouped(done))
    for kind, path in reports:
        output.write_whole(path, _encoded(FORMATS[kind].audit(view, Style())), private)
    few = args.details or len(judged) <= _FEW
    shown = view if few else replace(view, summed=True, details=False)
    sys.stdout.writelines(FORMATS[args.format].audit(shown, output.style()))
    if done.summary["incomplete"] or without_judgement(done.summary):
        return INCOMPLETE
    return FINDINGS if done.summary["findings"] else OK


def _grouped(done: Run) -> Overview:
    """Return the totals and what was found of hosts that were judged here, as of a fleet."""
    store = Store(None)
    run = store.begin(RunFacts("audit", done.version, done.profile, "", (), done.started, done.summary["hosts"]))
    for place, document in enumerate(done.texts()):
        host = reading.host(document)
        row = Row(place, host.name, host.status)
        if host.error is None:
            store.add(run, replace(row, document=document.encode()))
        else:
            message = host.error["message"]
            store.add(run, replace(row, phase=host.error["phase"], message=message, kind=message))
    store.flush(run)
    failures, found = store.failures(run), store.findings(run, _BAD)
    return Overview(done.summary, done.summary["hosts"], failures, found, unsure=store.unsure(run))


def _fleet(args: argparse.Namespace, reports: list[tuple[str, Path]]) -> int:
    from ..fleet.work import Work

    # Not after ten minutes.
    for _, path in reports:
        output.check(path)
    work = Work(
        "judge",
        targets.profile(args.profile),
        datetime.now(UTC).date(),
        Severity(args.fail_on),
        tuple(args.require) if args.require else None,
        playbook=playbooks.command(args),
    )
    with ask(args, "audit", work) as outcome:
        many = outcome.facts.hosts > 1 or outcome.partial
        view = View(outcome.report(), lambda: _overview(outcome), summed=many)
        failed: CliError | None = None
        for kind, path in reports:
            try:
                pieces = _encoded(FORMATS[kind].audit(view, Style()))
                output.write_whole(path, pieces, outcome.private)
            except CliError as error:
                # What took minutes is still shown, and written where it can be.
                failed = failed or error
        details = args.details or outcome.facts.hosts <= _FEW
        sys.stdout.writelines(FORMATS[args.format].audit(replace(view, details=details), output.style()))
        if failed:
            raise failed
        return outcome.code


def _overview(outcome: Outcome) -> Overview:
    store, run = outcome.store, outcome.run
    earlier = outcome.earlier
    return Overview(
        outcome.summary,
        outcome.facts.hosts,
        store.failures(run),
        store.findings(run, _BAD),
        outcome.carried,
        f"{earlier.source} ({earlier.started})" if earlier else "",
        store.unsure(run),
    )


def _encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    return (piece.encode() for piece in pieces)


def _report(word: str) -> tuple[str, Path]:
    kind, sign, path = word.partition("=")
    if kind not in FORMATS or not sign or not path:
        raise CliError(f"--report {word}: write it as FMT=PATH with FMT one of {', '.join(FORMATS)}")
    return kind, Path(path)
