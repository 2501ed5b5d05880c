"""Record one run of the ResNet: load it with its threads pinned, measure each inference, give the result as plain data.

No memory policy is set, since the kernel's NUMA balancing skips memory under any explicit policy and the run would hide
the jitter that it is there to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

from . import DEFAULT_ITERATIONS, policy
from .architecture import architecture, check_size
from .cache import ensure_model
from .cpus import choose_cpus
from .engine import Session, engine_options, import_engine
from .errors import INVALID_RUN, BenchError
from .locks import lock_for
from .measure import Limits, Progress, Say, Step, frame, ignore, look_around, run_pinned
from .packages import python_version


@dataclass(frozen=True)
class Request:
    """What to run. `threads` None is one per serving core of one node; `cpus` None is every CPU allowed."""

    model: str = "resnet152"
    size: int = 224
    threads: Optional[int] = None
    cpus: Optional[Sequence[int]] = None
    iterations: int = DEFAULT_ITERATIONS
    provisional: bool = False
    command: tuple[str, ...] = ()
    program_version: str = ""


def record(request: Request, say: Say = ignore, progress: Progress = ignore) -> dict[str, Any]:
    """Run the benchmark and give its result, ready for `numatune.bench.result.write_result`.

    `say` gets lines meant for a person (weights made again, a host that is busy); `progress` gets (iterations done,
    iterations in all), first at the first iteration and then a few times a second.
    """
    check_size(request.size)
    if request.iterations < 1:
        raise BenchError(f"--iterations {request.iterations}: at least one is needed")
    cpus = choose_cpus(request.threads, request.cpus)
    engine = import_engine()
    opening = look_around(cpus, say)
    model = ensure_model(request.model, say)

    from .weights import image  # numpy: not before the engine's environment is set

    @contextmanager
    def loaded() -> Iterator[Step]:
        yield Session(model, request.size, cpus, image(request.size)).infer

    taken = run_pinned(cpus, loaded, Limits(request.iterations), progress)
    network = architecture(request.model)
    surroundings = {
        "model": {
            "name": request.model,
            "size": request.size,
            "parameters": network.parameters(),
            "multiply_adds": network.multiply_adds(request.size),
            "graph_sha256": model.graph_sha256,
            "weights_sha256": model.weights_sha256,
            **_describe_logits(taken.answer),
        },
        "batch": 1,
        "precision": "fp32",
        "memory_policy": policy.NO_POLICY,
        "engine": {
            "name": "onnxruntime",
            "version": engine.__version__,
            "options": engine_options(cpus),
            "locked": lock_for(python_version()),
        },
    }
    version, provisional = request.program_version, request.provisional
    return frame(opening, taken, cpus, request.command, version, provisional, surroundings)


def _describe_logits(logits: Any) -> dict[str, Any]:
    """The class and size of the answer: a graph that computes nonsense must not pass for a fast one."""
    largest = float(abs(logits).max())
    if not largest < float("inf"):  # false for a NaN too
        raise BenchError("the engine's logits are not finite: this host computes wrongly", INVALID_RUN)
    return {"logit_class": int(logits[0].argmax()), "logit_max": largest}
