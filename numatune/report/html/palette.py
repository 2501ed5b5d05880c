"""One colour and one shape for each cause, the same in every figure and table, and the names of the counters.

What each is stands where the cause and the counter are declared.
"""

from __future__ import annotations

from typing import NamedTuple

from ...bench.counted import BY_NAME as COUNTERS
from ...verdict.causes import CAUSES
from .readable import plain

UNEXPLAINED = "unexplained"


class Drawn(NamedTuple):
    """How a cause is drawn, and its short name."""

    colour: str
    symbol: str
    pattern: str
    short: str


LOOKS = {cause.name: Drawn(cause.look.colour, cause.look.symbol, cause.look.pattern, cause.short) for cause in CAUSES}
LOOKS[UNEXPLAINED] = Drawn("#888888", "circle-open", "", "unexplained")

BEFORE, AFTER = "#d55e00", "#2b83ba"
RUNS = ("#2b83ba", "#d55e00", "#009e73", "#cc79a7", "#999933", "#56b4e9", "#e69f00", "#aa4499")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def look(cause: str) -> Drawn:
    """The look of a cause; one without a look of its own is drawn as what is not explained, under its own name."""
    found = LOOKS.get(cause)
    return found or Drawn("#888888", "x", "", cause.replace("_", " "))


def counter_words(name: str) -> tuple[str, float, str]:
    """(name, divisor, unit) of a counter; the name of one that is not listed is a file's, and made safe."""
    counter, known = COUNTERS.get(name), name.removesuffix("_ns")
    words = counter.words if counter is not None else plain(known.replace("_", " "), 80)
    return (words, 1.0, "") if known == name else (words, 1e6, "ms")
