"""Texts as no host should have them: long digits, runs of blanks, line ends of every kind, quotes that never close.

Seeded, so that a failure comes again; NUMATUNE_EXAMPLES=N makes more of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

EXAMPLES = int(os.environ.get("NUMATUNE_EXAMPLES", "200"))
ENDS = ("\n", "\r\n", "\r", "\n\r", "\f", "\v", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\0", "")
ODD = (
    "9" * 5000,
    "0" * 5000 + "1",
    "-" + "1" * 5000,
    "0x" + "f" * 5000,
    " " * 3000,
    "\t \t" * 500,
    "\u00a0\u2003",
    "²",
    "٣",
    "1_000",
    "\ufeff",
    "\ud7ff",
    '"',
    "'",
    "\\",
    "\\\n",
    "{",
    "}",
    "[",
    "]",
    "=",
    "==",
    ":",
    ",",
    ";",
    "#",
    "$",
    "${",
    "*",
    "(",
    "--",
    "-",
    "%",
    "",
)


def texts(name: str, words: Sequence[str], count: int = EXAMPLES) -> Iterator[str]:
    """Yield texts for one parser, made of its own words and of what is odd."""
    rng = random.Random(f"numatune {name}")
    for _ in range(count):
        yield "".join(_line(rng, words) for _ in range(rng.choice((0, 1, 1, 2, 5, 20))))


def _line(rng: random.Random, words: Sequence[str]) -> str:
    parts = [rng.choice(words if rng.random() < 0.7 else ODD) for _ in range(rng.choice((0, 1, 2, 4, 8)))]
    return rng.choice(("", " ", "=", " = ", ",")).join(parts) + rng.choice(ENDS if rng.random() < 0.4 else ("\n",))
