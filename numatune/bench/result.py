"""Write a result: JSON that a person can page through, one line per list of samples, whole or not at all."""

from __future__ import annotations

import json
from typing import Any

from .files import replacing

_REMEDY = "free some space or name another file with -o"


def format_result(result: dict[str, Any]) -> str:
    """The text of a result: indented, but with each list of numbers on one line."""
    return _render(result, "") + "\n"


def write_result(result: dict[str, Any], path: str) -> None:
    """Put `result` at `path`, replacing what was there only once the new file is complete on disk."""
    text = format_result(result)
    with replacing(path, _REMEDY) as file:
        file.write(text.encode())


def _render(value: Any, indent: str) -> str:
    if isinstance(value, dict) and value:
        inner = indent + " "
        items = (f"{inner}{json.dumps(key)}: {_render(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + "\n" + indent + "}"
    return json.dumps(value, allow_nan=False)
