"""The formats by name: what writes an audit, a plan, and what was said of recorded runs.

A new format is a file in `audits/` or `runs/` and a line here: the command line's choices and help follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .audits import json_format, text
from .audits.view import View
from .layout import Style
from .runs import json_format as runs_json
from .runs import text as runs_text
from .runs.said import Said

Writer = Callable[[View, Style], Iterator[str]]
"""Gives the text in pieces, host by host."""


class Format(NamedTuple):
    """What writes an audit in one format, and a plan where it has one."""

    audit: Writer
    plan: Writer | None = None


FORMATS = {
    "text": Format(text.write_audit, text.write_plan),
    "json": Format(json_format.write_audit, json_format.write_plan),
}

PLANS: dict[str, Writer] = {name: one.plan for name, one in FORMATS.items() if one.plan is not None}

RUNS: dict[str, Callable[[Said, Style], Iterator[str]]] = {
    "text": runs_text.write,
    "json": runs_json.write,
}
