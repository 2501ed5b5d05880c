"""How lines are laid out for a person: as wide as the terminal, and without what could steer it."""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

WIDTH = 100


class Style(NamedTuple):
    """How text is laid out: whether in colour, how many signs a line has at most, and whether in ASCII alone."""

    colour: bool = False
    width: int = WIDTH
    ascii: bool = False


def clean(text: str) -> str:
    """Return text of a target without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def folded(line: str, width: int) -> str:
    """Return a line in as many as the width asks for: under its own text where columns come before that."""
    if len(line) <= width:
        return line
    reach = width * 2 // 3
    indent = max((gap.end() for gap in re.finditer(" {2,}", line[:reach])), default=0)
    if indent >= reach:
        indent = 0
    if line[:indent].strip() == "":
        indent += 2
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def wrapped(text: str, indent: str, width: int, first: str | None = None) -> str:
    """Return a paragraph, cleaned, each line of it behind `indent`, the first behind `first` where that is given."""
    return textwrap.fill(
        clean(text),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
