"""Environment files such as /etc/default/irqbalance: NAME=value lines, the last one of a name wins."""

from __future__ import annotations

import shlex
from typing import Optional

from ..model import Line


def variable(path: str, text: str, name: str) -> Optional[tuple[str, Line]]:
    """Return the last value of a variable, unquoted, with its line; None where it is not set."""
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip().removeprefix("export ").lstrip()
        key, sign, value = word.partition("=")
        if not sign or key != name:
            continue
        try:
            parts = shlex.split(value, comments=True)
        except ValueError:
            parts = [value]
        found = (parts[0] if parts else "", Line(path, number, line.strip()))
    return found
