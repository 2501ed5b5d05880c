"""The practical roof of FP32: what the engine reaches on these CPUs where nothing but arithmetic counts.

Large 3x3 convolutions in a row, timed for up to a second after the run, with the same threads in the same places. A
matrix product would be no roof: it was measured at less than half of what such a convolution reaches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional

from . import pinning
from .cache import shipped_graph
from .engine import Session

CHANNELS, SIDE, CONVOLUTIONS = 256, 56, 4
SECONDS, FEWEST = 1.0, 3


def measure_roof(cpus: Sequence[int], seconds: float) -> Optional[float]:
    """GFLOP/s of the fastest pass; None where the engine cannot do it, since a run must not be lost over it.

    `seconds` is how long at most, and the time is `SECONDS` where there is more of it.
    """
    import numpy

    image = numpy.ones((1, CHANNELS, SIDE, SIDE), numpy.float32)
    work = 2.0 * CONVOLUTIONS * 9 * CHANNELS * CHANNELS * SIDE * SIDE
    try:
        with pinning.pinned_caller(cpus[0]):
            session = Session(shipped_graph("roof"), cpus, image)
            session.infer()
            passes: list[float] = []
            while len(passes) < FEWEST or sum(passes) < min(seconds, SECONDS):
                start = time.perf_counter()
                session.infer()
                passes.append(time.perf_counter() - start)
            return work / min(passes) / 1e9
    except Exception:  # the engine's exceptions share no base class of their own
        return None


def describe(multiply_adds: int, latency_ns: Sequence[int], roof: Optional[float]) -> dict[str, Any]:
    """What the median inference reached, and its share of the roof; `multiply_adds` is the work of one inference."""
    median = sorted(latency_ns)[len(latency_ns) // 2]
    reached = 2.0 * multiply_adds / median
    return {
        "gflops": round(reached, 1),
        "roof_gflops": None if roof is None else round(roof, 1),
        "roof_share": None if roof is None else round(reached / roof, 3),
    }
