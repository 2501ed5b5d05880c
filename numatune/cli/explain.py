"""`numatune explain`: what one setting is, what is read, what is wanted and why."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from ..core.catalogue import setting
from ..core.inventory import OPTIONS
from ..core.setting import Setting
from ..core.sources import shown
from ..core.wording import spelled
from . import output, playbooks
from .errors import OK

_KERNEL = ("/proc/", "/sys/")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("setting", metavar="SETTING", help="a name that `numatune settings` lists")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")


def run(args: argparse.Namespace) -> int:
    """Print all that is known of one setting."""
    item = setting(args.setting)
    reads = sorted(
        {shown(source) for source in item.sources},
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
        textwrap.fill(_tuned(item), width, break_on_hyphens=False),
    ]
    if item.options:
        parts += ["", "In a profile, under settings:", f"  {item.name}:"]
        parts += [_option(item.name, name, width) for name in item.options]
    parts += ["", "Sources of the recommendation:", *(f"  {line}" for line in item.references)]
    parts += ["", f"Read from a host ({len(reads)} in all; --format json lists every path):", *_folders(reads, width)]
    return "\n".join(parts) + "\n"


def _tuned(item: Setting) -> str:
    if not item.changes:
        return "numatune reports it, and never changes it."
    if item.by_default:
        return "tune.yml changes it."
    typed = spelled(f"playbooks/tune.yml --tags {item.name}", playbooks.command())
    return f"tune.yml changes it only where it is named: {typed}, or tune_also: [{item.name}] in the inventory."


def _option(of: str, name: str, width: int) -> str:
    """Return an option with the words that it takes, and the variable that an inventory sets it by."""
    option = setting(of).options[name]
    words = f" ({' or '.join(option.choices)})" if option.choices else ""
    variable = next((key for key, place in OPTIONS.items() if place == (of, name)), "")
    inventory = f"; in an inventory: {variable}" if variable else ""
    return textwrap.fill(
        f"{name}{words}: {option.told}{inventory}", width, initial_indent="    ", subsequent_indent=" " * 8
    )


def _folders(reads: list[str], width: int) -> list[str]:
    """Return what the kernel shows folder by folder; of the other folders only what they are of, and how much."""
    names: dict[str, list[str]] = {}
    for path in reads:
        if path.startswith(_KERNEL):
            folder, _, name = path.rpartition("/")
            names.setdefault(f"{folder}/: ", []).append(name)
        elif path.startswith("/"):
            _, top, below = path.split()[0].split("/", 2) if path.count("/") > 1 else ("", path[1:], "")
            names.setdefault(f"/{top}/: ", []).append(_place(below))
        else:
            names.setdefault("commands and variables: ", []).append(path.split()[0])
    kernel = [name for name in names if name.startswith(_KERNEL)]
    return [
        textwrap.fill(
            head + ", ".join(dict.fromkeys(names[head])),
            width,
            initial_indent="  ",
            subsequent_indent=" " * 6,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for head in [*kernel, *(name for name in names if name not in kernel)]
    ]


def _place(below: str) -> str:
    """Return the first part of a path, of /usr/lib and of systemd's folders one more."""
    parts = below.split("/")
    return "/".join(parts[: 2 if parts[0] in ("lib", "local", "systemd") else 1])


def _json(item: Setting, reads: list[str]) -> str:
    value = {
        "schema": "numatune/setting/1",
        "setting": item.name,
        "title": item.title,
        "severity": item.severity.value,
        "why": item.why,
        "remedy": item.remedy,
        "tuned": bool(item.changes),
        "tuned_by_default": bool(item.changes) and item.by_default,
        "options": {name: option.told for name, option in item.options.items()},
        "references": list(item.references),
        "reads": reads,
    }
    return json.dumps(value, indent=1) + "\n"
