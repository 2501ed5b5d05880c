"""`numatune plan`: what tune.yml would change, and why."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from .. import __version__
from ..core.host_status import without_judgement
from ..core.model import Snapshot
from ..core.plan import make_plan
from ..core.wording import plan_spelled
from ..report.audits.fleet import Overview
from ..report.audits.hosts import Judged, of_hosts
from ..report.audits.view import View
from ..report.formats import PLANS
from . import fleet_options, output, playbooks, targets
from .errors import FINDINGS, INCOMPLETE, OK
from .fleet_run import run as ask


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    targets.add_arguments(parser)
    targets.add_profile(parser)
    parser.add_argument("--format", choices=PLANS, default="text", help="(default: text)")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 1 when there are changes")
    fleet_options.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Plan every host; 0 when done, 3 where a host has no plan, 1 with changes or conflicts if that was asked for."""
    if fleet_options.asked(args):
        return _fleet(args)
    profile, started = targets.profile(args.profile), targets.now()
    today = datetime.now(UTC).date()
    typed = playbooks.command(args)

    def planned_one(name: str, snapshot: Snapshot) -> Judged:
        return Judged(name, plan=plan_spelled(make_plan(snapshot, profile, today), typed))

    planned = tuple(targets.judged(args, planned_one))
    done = of_hosts(__version__, profile.name, started, targets.now(), planned, plan=True)
    view = View(done, lambda: Overview(done.summary, done.summary["hosts"]))
    sys.stdout.writelines(PLANS[args.format](view, output.style()))
    if without_judgement(done.summary):
        return INCOMPLETE
    return FINDINGS if args.detailed_exitcode and done.summary["findings"] else OK


def _fleet(args: argparse.Namespace) -> int:
    from ..fleet.work import Work

    work = Work("plan", targets.profile(args.profile), datetime.now(UTC).date(), playbook=playbooks.command(args))
    with ask(args, "plan", work) as outcome:
        summary = outcome.summary
        failures = outcome.store.failures(outcome.run)
        asked = outcome.facts.hosts
        view = View(outcome.report(), lambda: Overview(summary, asked, failures), summed=asked > 1)
        sys.stdout.writelines(PLANS[args.format](view, output.style()))
        if outcome.partial or without_judgement(summary):
            return INCOMPLETE
        return FINDINGS if args.detailed_exitcode and summary["findings"] else OK
