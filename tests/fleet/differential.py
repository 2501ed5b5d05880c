"""How many random files the differential tests take, and from which seed; the pieces that both kinds are made of.

    NUMATUNE_DIFFERENTIAL=2000 NUMATUNE_SEED=7 pytest tests/fleet/test_differential_config.py

A failure names its seed: that number as NUMATUNE_SEED with NUMATUNE_DIFFERENTIAL=1 makes the same file again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence


def seeds(usual: int) -> Iterator[int]:
    """Yield the seed of each file: `usual` of them, or as many as NUMATUNE_DIFFERENTIAL says."""
    first = int(os.environ.get("NUMATUNE_SEED", "1"))
    yield from range(first, first + int(os.environ.get("NUMATUNE_DIFFERENTIAL", usual)))


def some(rng: random.Random, words: Sequence[str], least: int = 1, most: int = 3) -> list[str]:
    """Return a few of the words, in any order, each perhaps more than once."""
    return [rng.choice(words) for _ in range(rng.randint(least, most))]
