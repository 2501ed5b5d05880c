"""`numatune explain`: what one setting is, what is read, what is wanted and why."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from ..core.catalogue import setting
from ..core.host import Setting
from ..core.inventory import OPTIONS
from ..core.sources import Command
from ..core.wording import spelled
from . import output, playbooks
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
    width = output.width()
    parts = [
        f"{item.title} ({item.name}), {item.severity.value}",
        "",
        textwrap.fill(item.why, width),
        "",
        textwrap.fill(f"Wanted: {spelled(item.remedy, playbooks.command())}", width, break_on_hyphens=False),
        "",
        "tune.yml changes it." if item.changes else "tune.yml does not change it yet.",
    ]
    if item.options:
        parts += ["", "In a profile, under settings:", f"  {item.name}:"]
        parts += [_option(item.name, name, width) for name in item.options]
    parts += ["", "Sources of the recommendation:", *(f"  {line}" for line in item.references)]
    parts += ["", "Read from a host (--format json lists every path):", *_folders(reads, width)]
    return "\n".join(parts) + "\n"


def _option(of: str, name: str, width: int) -> str:
    """Return an option with the words that it takes, and the variable that an inventory sets it by."""
    option = setting(of).options[name]
    words = f" ({' or '.join(option.choices)})" if option.choices else ""
    variable = next((key for key, place in OPTIONS.items() if place == (of, name)), "")
    inventory = f"; in an inventory: {variable}" if variable else ""
    return textwrap.fill(
        f"{name}{words}: {option.doc}{inventory}", width, initial_indent="    ", subsequent_indent=" " * 8
    )


def _folders(reads: list[str], width: int) -> list[str]:
    """Return the paths folder by folder; what is no path, such as a command, as it is."""
    names: dict[str, list[str]] = {}
    for path in reads:
        folder, _, name = path.rpartition("/") if path.startswith("/") else ("", "", path)
        names.setdefault(folder, []).append(name)
    found = []
    for folder, members in names.items():
        text = f"{folder}/: {', '.join(members)}" if folder else "; ".join(members)
        if folder and len(members) == 1:
            text = f"{folder}/{members[0]}"
        found.append(
            textwrap.fill(
                text,
                width,
                initial_indent="  ",
                subsequent_indent=" " * 6,
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
    return found


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
