"""The practical roof of FP32: what the engine reaches on these CPUs where nothing but arithmetic counts.

Large 3x3 convolutions in a row, timed before the run and for up to a second after it, with the same threads in the
same places; the better of the two counts, for other work only ever slows them down. A matrix product would be no roof:
it was measured at less than half of what such a convolution reaches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional

from ..placing import pinning
from .cache import shipped_graph
from .engine import Session

CHANNELS, SIDE, CONVOLUTIONS = 256, 56, 4
SECONDS, FEWEST = 1.0, 3
BUSY = "not measured: the machine was busy"


def measure_roof(cpus: Sequence[int], seconds: float) -> Optional[float]:
    """GFLOP/s of the fastest pass; None where the engine cannot do it, since a run must not be lost over it.

    `seconds` is how long at most, and the time is `SECONDS` where there is more of it; a few passes are made anyway.
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


def describe(multiply_adds: int, latency_ns: Sequence[int], roofs: Sequence[Optional[float]]) -> dict[str, Any]:
    """What the median inference reached, and its share of the best of the roofs that were measured.

    `multiply_adds` is the work of one inference. A roof that the inference exceeds is none: other work took the CPUs
    while it was measured, and `roof_unknown` says so.
    """
    median = sorted(latency_ns)[len(latency_ns) // 2]
    reached = 2.0 * multiply_adds / median
    roof = max((one for one in roofs if one is not None), default=None)
    busy = roof is not None and reached > roof
    if roof is None or busy:
        unknown = {"roof_unknown": BUSY} if busy else {}
        return {"gflops": round(reached, 1), "roof_gflops": None, "roof_share": None, **unknown}
    return {"gflops": round(reached, 1), "roof_gflops": round(roof, 1), "roof_share": round(reached / roof, 3)}
