"""`numatune collect`: save a snapshot of each host, to be judged later."""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import withheld
from ..core.collecting.collector import script
from ..core.names import file_name
from ..report.audits import fleet
from ..store.rows import plain
from . import fleet_options, output, targets
from .errors import INCOMPLETE, OK, CliError
from .fleet_run import run as ask

if TYPE_CHECKING:
    from ..fleet.events import Done


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    fleet_options.add_hosts(parser.add_argument_group("which hosts"))
    parser.add_argument(
        "-o", type=Path, dest="folder", metavar="DIR", help="write HOST.numatune.gz of each host into this folder"
    )
    parser.add_argument("--print-script", action="store_true", help="print the read-only script, for reviewers")
    fleet_options.add_connection(parser)
    parser.set_defaults(root=None, snapshot=[])


def run(args: argparse.Namespace) -> int:
    """Write one compressed stream per host, whole or not at all, for nobody else to read."""
    remote = fleet_options.asked(args)
    if args.print_script:
        sys.stdout.write(script())
        return OK
    if args.folder is None:
        raise CliError("give -o DIR, the folder for the snapshot, or --print-script")
    output.make_folder(args.folder)
    if remote:
        return _fleet(args)
    for name, stream, _ in targets.streams(args):
        path = args.folder / f"{file_name(name)}.numatune.gz"
        kept = withheld.stream(stream or "").encode("utf-8", "backslashreplace")
        # The time in the header would make two equal snapshots differ.
        output.write_whole(path, gzip.compress(kept, mtime=0), private=True, follow=False)
        sys.stdout.write(f"{path}\n")
    return OK


def _fleet(args: argparse.Namespace) -> int:
    from ..fleet.work import Work

    output.check(args.folder / "host.numatune.gz", follow=False)

    def keep(event: Done) -> dict[str, str] | None:
        path = args.folder / f"{file_name(plain(event.alias))}.numatune.gz"
        try:
            output.write_whole(path, event.payload or b"", private=True, follow=False)
        except CliError as error:
            # One host's file: the others may still be written, and this one is asked again.
            return {"phase": "output", "message": str(error)}
        return None

    with ask(args, "collect", Work("collect"), keep) as outcome:
        for row in outcome.rows():
            if row.status != "unreachable":
                sys.stdout.write(f"{args.folder / file_name(row.name)}.numatune.gz\n")
        failures = outcome.store.failures(outcome.run)
        if failures or outcome.partial:
            # stdout is the list of files.
            sys.stderr.write(fleet.collected(outcome.summary, outcome.facts.hosts, failures))
        return INCOMPLETE if failures or outcome.partial else OK
