"""The counters of runs and watches in words."""

from __future__ import annotations

from ...bench.counted import ALL, BY_NAME

LISTED = tuple(counter.name for counter in ALL if counter.short)
"""The counters that a sentence lists, in its order."""


def name_of(counter: str) -> str:
    """A counter's name in a sentence."""
    known = BY_NAME.get(counter)
    return (known.short if known else "") or counter.replace("_", " ")


def amount_of(counter: str, value: float) -> str:
    """A counter's value in its unit."""
    known = BY_NAME.get(counter)
    return f"{value / 1e6:,.1f} ms" if known and known.is_time else f"{value:,.0f}"


def count(number: int, noun: str) -> str:
    """Such as "1 thread" or "2,000 threads"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
