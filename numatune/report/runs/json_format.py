"""Runs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..layout import Style
from .said import Said


def write(said: Said, _style: Style) -> Iterator[str]:
    """Yield the object."""
    yield json.dumps(said.value(), indent=1) + "\n"
