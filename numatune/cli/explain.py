"""`numatune explain`: what one setting is, what is read, what is wanted and why."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from ..core.catalogue import setting
from ..core.host import Setting
from ..core.sources import Command
from ..core.wording import spelled
from . import playbooks
from .errors import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("setting", metavar="SETTING", help="a name that `numatune settings` lists")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")


def run(args: argparse.Namespace) -> int:
    """Print all that is known of one setting."""
    item = setting(args.setting)
    reads = sorted(
        {(source.shown or source.shell) if isinstance(source, Command) else source.path for source in item.sources},
        key=str.lower,
    )
    sys.stdout.write(_json(item, reads) if args.format == "json" else _text(item, reads))
    return OK


def _text(item: Setting, reads: list[str]) -> str:
    parts = [
        f"{item.title} ({item.name}), {item.severity.value}",
        "",
        textwrap.fill(item.why, 96),
        "",
        textwrap.fill(f"Wanted: {spelled(item.remedy, playbooks.command())}", 96),
        "",
        "tune.yml changes it." if item.changes else "tune.yml does not change it yet.",
    ]
    if item.options:
        parts += ["", "In a profile, under settings:", f"  {item.name}:"]
        parts += [f"    {name}: {option.doc}" for name, option in item.options.items()]
    parts += ["", "Sources of the recommendation:", *(f"  {line}" for line in item.references)]
    parts += ["", "Read from a host:", *(f"  {line}" for line in reads)]
    return "\n".join(parts) + "\n"


def _json(item: Setting, reads: list[str]) -> str:
    value = {
        "schema": "numatune/setting/1",
        "setting": item.name,
        "title": item.title,
        "severity": item.severity.value,
        "why": item.why,
        "remedy": item.remedy,
        "tuned": bool(item.changes),
        "options": {name: option.doc for name, option in item.options.items()},
        "references": list(item.references),
        "reads": reads,
    }
    return json.dumps(value, indent=1) + "\n"
