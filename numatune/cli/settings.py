"""`numatune settings`: list the settings that are judged."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from ..core.catalogue import SETTINGS
from ..report.layout import folded, wrapped
from . import output
from .errors import OK

_TITLE = 30


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
    sys.stdout.writelines(line + "\n" for line in _lines(output.width()))
    return OK


def _lines(width: int) -> Iterator[str]:
    """Yield a line for each setting; where there is no room for a title beside it, that stands below."""
    wide = max(len(item.name) for item in SETTINGS) + 2
    about = [
        f"{item.name:<{wide}}{item.severity.value:<10}"
        + ("audit" if not item.changes else "audit, tune" if item.by_default else "audit, tune where named")
        for item in SETTINGS
    ]
    start = max(map(len, about)) + 2
    for item, line in zip(SETTINGS, about, strict=True):
        if width - start >= _TITLE:
            yield wrapped(item.title, " " * start, width, first=f"{line:<{start}}")
        else:
            yield folded(line, width)
            yield wrapped(item.title, " " * 6, width)
    yield ""
    yield wrapped("`numatune explain SETTING` says what is read, what is wanted and why.", "", width)
