"""The formats by name: what writes an audit, a plan, and what was said of recorded runs.

A new format of audits is a file in `audits/` and a line here: the command line's choices and help follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .audits import json_format, text
from .audits.view import View
from .layout import Style

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
