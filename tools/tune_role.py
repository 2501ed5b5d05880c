"""Writes what the role tune says of its variables, from what the settings declare: defaults, specification, table.

`make pages` calls it; tests/house/test_pages.py holds the files against `files()`.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from numatune.core.catalogue import setting
from numatune.core.inventory import OPTIONS

ROLE = Path(__file__).resolve().parents[1] / "roles/tune"
MADE = (
    "Made by `make pages` from what the settings declare (Option in core/setting.py) and tools/tune_role.py: "
    "change those."
)
_TABLE = re.compile(r"(?<=<!-- begin of the options -->\n).*(?=<!-- end of the options -->)", re.S)
_TYPES = {str: "str", int: "int", bool: "bool", dict: "dict"}


class Own(NamedTuple):
    """A variable of the role that is no setting's option; `default` is YAML."""

    name: str
    kind: str
    default: str
    doc: str


OWN = (
    Own(
        "tune_also",
        "raw",
        "[]",
        "Settings that are tuned beside those that are so by default, as a list or as text with commas, such as "
        "[ksm, swappiness].",
    ),
    Own("tune_profile", "raw", "inference-latency", "The name of a built-in profile, or a profile as a mapping."),
    Own(
        "tune_serving_cpus",
        "raw",
        '""',
        "The CPUs that serve requests, as a kernel list or a YAML list. Empty means from the topology.",
    ),
    Own(
        "tune_housekeeping_cpus",
        "raw",
        '""',
        "The CPUs that keep house, in the same form. Empty means from the topology.",
    ),
    Own(
        "tune_chosen",
        "list",
        "\"{{ ['all'] | numatune.latency.chosen(also=tune_also) }}\"",
        "The settings that are tuned; what several of them need is the part of the first.",
    ),
    Own("tune_only", "list", "[]", "Of these, the settings that are changed now. Empty means all."),
    Own(
        "tune_audit",
        "dict",
        "{}",
        "The result of numatune.latency.audit_host, where the play has one. Empty means that the role asks itself.",
    ),
    Own(
        "tune_settings",
        "dict",
        "\"{{ lookup('numatune.latency.setting_options') }}\"",
        "Options of settings that win over those of the profile, as setting to option to value. Left alone, they come "
        "from the variables below.",
    ),
    Own("tune_sysroot", "path", '""', "Tune the tree at this path instead of the running host, for tests and images."),
)


def files() -> dict[str, str]:
    """Return the path of each file below the role's folder, and its text."""
    readme = (ROLE / "README.md").read_text("utf-8")
    return {
        "defaults/main.yml": _defaults(),
        "meta/argument_specs.yml": _specs(),
        "README.md": _TABLE.sub(lambda _: _table(), readme),
    }


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 118, break_on_hyphens=False, break_long_words=False))


def _defaults() -> str:
    lines = ["---", *_comment(MADE)]
    for own in OWN:
        lines += ["", *_comment(own.doc), f"{own.name}: {own.default}"]
    lines += [
        "",
        *_comment("The options of the settings. One that is not set is as the profile says, else as stands here."),
    ]
    for name, (of, key) in OPTIONS.items():
        option = setting(of).options[key]
        shown = (
            option.default if option.default in (*option.choices, "true", "false") or option.default.isdigit() else ""
        )
        lines += ["", *_comment(f"{of}: {option.told}."), f"# {name}:{shown and f' {shown}'}"]
    return "\n".join(lines) + "\n"


def _specs() -> str:
    lines = ["---", *_comment(MADE), "argument_specs:", "  main:"]
    lines += ["    short_description: Change settings so that they are right now and at every boot", "    description:"]
    lines += _folded(
        "Changes what the audit found wrong, as one transaction for each setting, journaled first, read back and "
        "judged again. What cannot be done is refused before the first write. It never reboots.",
        6,
    )
    lines += ["    options:"]
    for own in OWN:
        lines += [f"      {own.name}:", f"        type: {own.kind}"]
        lines += ["        elements: str"] if own.kind == "list" else []
        # A template is no default that a reader of the specification can use.
        lines += [] if "{{" in own.default else [f"        default: {own.default}"]
        lines += ["        description:", *_folded(own.doc, 10)]
    for name, (of, key) in OPTIONS.items():
        option = setting(of).options[key]
        lines += [f"      {name}:", f"        type: {_TYPES[option.kind]}"]
        lines += [f"        choices: [{', '.join(option.choices)}]"] if option.choices else []
        lines += ["        description:", *_folded(f"{of}, {option.told}.", 10)]
    return "\n".join(lines) + "\n"


def _folded(text: str, indent: int) -> list[str]:
    """Return one item of a list of YAML, a folded block, in which no sign means anything."""
    lines = textwrap.wrap(text, 112 - indent, break_on_hyphens=False, break_long_words=False)
    return [f"{' ' * indent}- >-", *(f"{' ' * (indent + 2)}{line}" for line in lines)]


def _table() -> str:
    rows = ["| variable | of | meaning |", "|---|---|---|"]
    for name, (of, key) in OPTIONS.items():
        option = setting(of).options[key]
        words = f"{' or '.join(f'`{word}`' for word in option.choices)}. " if option.choices else ""
        rows.append(f"| `{name}` | [{of}](../../docs/settings/{of}.md) | {words}{option.told} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write what differs."""
    for name, text in files().items():
        path = ROLE / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"wrote roles/tune/{name}")


if __name__ == "__main__":
    sys.exit(main())
