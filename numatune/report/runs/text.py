"""Runs as text: as wide as the terminal, and what a host's files put into the lines made safe."""

from __future__ import annotations

from collections.abc import Iterator

from ..layout import Style, clean, folded
from .said import Said


def write(said: Said, style: Style) -> Iterator[str]:
    """Yield the lines."""
    for line in said.lines(style):
        yield folded(clean(line), style.width) + "\n"
