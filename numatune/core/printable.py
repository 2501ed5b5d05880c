"""Text of a host made safe to show: what a terminal would obey is written out instead."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    r"""Return a result of a module (texts, lists, mappings, numbers) with each text fit for a terminal.

    What is not printable (escape sequences, signs that turn the direction of writing, undecodable bytes) is written
    as Python writes it, `\x1b` and `\u202e`; newlines and tabs stay. Keys are texts too.
    """
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_shown, value))
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _shown(sign: str) -> str:
    if sign.isprintable() or sign in "\n\t":
        return sign
    return sign.encode("unicode_escape").decode("ascii")
