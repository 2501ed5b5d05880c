"""`numatune plan`: what tune.yml would change, and why."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from .. import __version__
from ..core.plan import make_plan
from ..report import json_format, text
from ..report.hosts import Judged, Run
from . import targets
from .errors import FINDINGS, OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    targets.add_arguments(parser)
    targets.add_profile(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 1 when there are changes")


def run(args: argparse.Namespace) -> int:
    """Plan every host; 0 when done, 1 with changes or conflicts where the exit code was asked to say so."""
    profile, started = targets.profile(args.profile), targets.now()
    today = datetime.now(UTC).date()
    planned = tuple(Judged(name, plan=make_plan(snapshot, profile, today)) for name, snapshot in targets.hosts(args))
    done = Run(__version__, profile.name, started, targets.now(), planned)
    sys.stdout.write(json_format.plan(done) if args.format == "json" else text.plan(done))
    pending = any(host.plan and (host.plan.changes or host.plan.conflicts) for host in planned)
    return FINDINGS if args.detailed_exitcode and pending else OK
