"""Whole numbers in text of a host that may be damaged or hostile."""

from __future__ import annotations

import re
from typing import Optional

_DIGITS = 18
_C_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,20}|[1-9][0-9]{0,18})")


def natural(text: str) -> Optional[int]:
    """Return a decimal number from 0, None for anything else (other scripts' digits, thousands of digits)."""
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) <= _DIGITS else None


def c_integer(word: str) -> Optional[int]:
    """Return what the kernel's strtol with base 0 makes of a whole word: decimal, 0x hexadecimal or 0 octal."""
    if not _C_INTEGER.fullmatch(word):
        return None
    digits = word.lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    return int(digits, base) * (-1 if word[0] == "-" else 1)
