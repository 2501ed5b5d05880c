"""`numatune collect`: save a snapshot of a host, to be judged later."""

from __future__ import annotations

import argparse
import gzip
import re
import sys
from pathlib import Path

from ..core.collector import script
from . import output, targets
from .errors import OK, CliError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("target", nargs="*", metavar="TARGET", help=argparse.SUPPRESS)
    parser.add_argument("-o", type=Path, dest="folder", metavar="DIR", help="write HOST.numatune.gz into this folder")
    parser.add_argument("--print-script", action="store_true", help="print the read-only script, for reviewers")
    parser.set_defaults(root=None, snapshot=[])


def run(args: argparse.Namespace) -> int:
    """Write one compressed stream per host, whole or not at all."""
    targets.check(args)
    if args.print_script:
        sys.stdout.write(script())
        return OK
    if args.folder is None:
        raise CliError("give -o DIR, the folder for the snapshot, or --print-script")
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"{args.folder}: cannot be made: {error.strerror}") from None
    for name, stream, _ in targets.streams(args):
        path = args.folder / f"{_file_name(name)}.numatune.gz"
        # The time in the header would make two equal snapshots differ.
        output.write_whole(path, gzip.compress((stream or "").encode("utf-8", "backslashreplace"), mtime=0))
        sys.stdout.write(f"{path}\n")
    return OK


def _file_name(name: str) -> str:
    # A host's name is its own word: nothing of it may steer a path.
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "host"
