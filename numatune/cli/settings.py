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
            {
                "setting": item.name,
                "title": item.title,
                "severity": item.severity.value,
                "tuned": bool(item.changes),
                "tuned_by_default": bool(item.changes) and item.by_default,
            }
            for item in SETTINGS
        ]
        sys.stdout.write(json.dumps({"schema": "numatune/settings/1", "settings": rows}, indent=1) + "\n")
        return OK
    width = max(len(item.name) for item in SETTINGS) + 2
    for item in SETTINGS:
        tuned = "audit" if not item.changes else "audit, tune" if item.by_default else "audit, tune where named"
        sys.stdout.write(f"{item.name:<{width}}{item.severity.value:<10}{tuned:<25}{item.title}\n")
    sys.stdout.write("\n`numatune explain SETTING` says what is read, what is wanted and why.\n")
    return OK
