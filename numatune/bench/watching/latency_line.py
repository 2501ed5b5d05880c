"""One line of a service's latency log: what it says, and whether its number can be milliseconds at all."""

from __future__ import annotations

import json
import math
from typing import Optional

_UNITS = {"latency_ns": 1.0, "latency_us": 1e3, "latency_ms": 1e6, "latency_s": 1e9}
UNITS = tuple(name.partition("_")[2] for name in _UNITS)
DEFAULT_UNIT = "ms"

_LONGEST_NS = 1e15
_SHORTEST_USUAL_NS, _LONGEST_USUAL_NS = 1e6, 60e9
"""Of the usual request of a service: below, its number may be seconds; above, microseconds or nanoseconds."""


def is_plain(line: bytes) -> bool:
    """Whether a line is to be a number without a unit, and not a JSON object."""
    return not line.lstrip().startswith(b"{")


def other_unit(usual_ns: int) -> str:
    """What the numbers of a log may be too where the usual one, taken as milliseconds, is `usual_ns`; else empty."""
    if usual_ns < _SHORTEST_USUAL_NS:
        return "seconds"
    return "microseconds or nanoseconds" if usual_ns > _LONGEST_USUAL_NS else ""


def parse_line(line: bytes, unit: str = DEFAULT_UNIT) -> tuple[int, Optional[float]]:
    """(latency in ns, end in unix seconds or None) of one line; ValueError says what is wrong with it.

    `unit` is that of a plain number; a JSON object's key names its own.
    """
    try:
        return _nanoseconds(float(line), _UNITS[f"latency_{unit}"]), None
    except ValueError as error:
        if is_plain(line):
            why = str(error) if str(error).startswith("the latency") else "neither a number nor a JSON object"
            raise ValueError(why) from None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None
    keys = [key for key in _UNITS if key in found]
    if len(keys) != 1:
        raise ValueError(f"one of {', '.join(_UNITS)} is needed, and {len(keys) or 'none'} of them is there")
    latency, end = found[keys[0]], found.get("end")
    if isinstance(latency, bool) or not isinstance(latency, (int, float)):
        raise ValueError(f"{keys[0]} is not a number")
    if end is not None and (isinstance(end, bool) or not isinstance(end, (int, float)) or not _finite(end)):
        raise ValueError('"end" is not a number')
    return _nanoseconds(latency, _UNITS[keys[0]]), end


def _nanoseconds(value: float, unit: float) -> int:
    if not _finite(value) or not 1.0 <= value * unit <= _LONGEST_NS:
        raise ValueError("the latency is not above zero, or no request can take that long")
    return round(value * unit)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # an integer of hundreds of digits
        return False
