"""`numatune settings`: list the settings that are judged."""

from __future__ import annotations

import argparse
import json
import sys

from ..core.catalogue import SETTINGS
from .errors import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")


def run(args: argparse.Namespace) -> int:
    """Print one line per setting, in the order of the audit."""
    if args.format == "json":
        rows = [
            {"setting": item.name, "title": item.title, "severity": item.severity.value, "tuned": bool(item.changes)}
            for item in SETTINGS
        ]
        sys.stdout.write(json.dumps({"schema": "numatune/settings/1", "settings": rows}, indent=1) + "\n")
        return OK
    for item in SETTINGS:
        tuned = "audit, tune" if item.changes else "audit"
        sys.stdout.write(f"{item.name:<18}{item.severity.value:<10}{tuned:<13}{item.title}\n")
    sys.stdout.write("\n`numatune explain SETTING` says what is read, what is wanted and why.\n")
    return OK
