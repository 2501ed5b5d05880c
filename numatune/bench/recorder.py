"""Record one run of the ResNet: load it with its threads pinned, measure each inference, give the result as plain data.

By default no memory policy is set, since the kernel's NUMA balancing skips memory under any explicit policy and the run
would hide the jitter that it is there to find.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from . import DEFAULT_ITERATIONS, host, validity
from .cpus import choose_cpus, instruction_sets, node_of_cpus, scope_of
from .errors import INVALID_RUN, BenchError
from .measure import Limits, Opening, Progress, Say, Step, frame, ignore, look_around, now, run_pinned
from .model.architecture import architecture, check_size
from .model.cache import CachedModel, ensure_model
from .model.engine import Session, engine_options, import_engine
from .model.peak import describe, measure_roof
from .packages.locks import lock_for
from .packages.optional import python_version
from .placing import policy

LARGEST_BATCH = 64
MOST_ITERATIONS = 1_000_000
"""Hours of measuring, and some 100 MB of room that is made beforehand."""

VNNI = ("avx_vnni", "avx512_vnni")
ONE, PER_NODE = "one", "per-node"


@dataclass(frozen=True)
class Request:
    """What to run. `threads` None is one per core of the scope; `cpus` None is every CPU allowed.

    `scope` is one of `cpus.SCOPES`, "cpus" where the user named the CPUs, or None for one node that `threads` may
    exceed. `inject` is one of `inject.KINDS`; `agreed` says that the user lets it change the host.
    """

    model: str = "resnet152"
    size: int = 224
    threads: Optional[int] = None
    cpus: Optional[Sequence[int]] = None
    iterations: int = DEFAULT_ITERATIONS
    provisional: bool = False
    command: tuple[str, ...] = ()
    program_version: str = ""
    precision: str = "fp32"
    batch: int = 1
    scope: Optional[str] = None
    memory: str = "default"
    counters: str = "B"
    inject: Optional[str] = None
    agreed: bool = False
    instances: str = ONE
    instance: tuple[int, int] = field(default=(0, 1))
    """This recorder's number, and how many run at the same time."""
    anyway: bool = False


def check(request: Request) -> None:
    """Refuse what cannot be run before anything is loaded."""
    check_size(request.size)
    if request.iterations < 1:
        raise BenchError(f"--iterations {request.iterations}: at least one is needed")
    if request.iterations > MOST_ITERATIONS:
        raise BenchError(f"--iterations {request.iterations}: {MOST_ITERATIONS:,} at most")
    if not 1 <= request.batch <= LARGEST_BATCH:
        raise BenchError(f"--batch {request.batch}: 1 to {LARGEST_BATCH} images at a time")
    if request.inject is not None:
        from .injecting import inject

        inject.check(request.inject, request.agreed)


def record(
    request: Request, say: Say = ignore, progress: Progress = ignore, look: Optional[list[validity.Event]] = None
) -> dict[str, Any]:
    """Run the benchmark and give its result, ready for `numatune.bench.result.write_result`.

    `say` gets lines meant for a person (weights made again, a host that is busy); `progress` gets (iterations done,
    iterations in all), first at the first iteration and then a few times a second. `look` is what a look at the host
    found just before; None looks now.
    """
    check(request)
    cpus = chosen_cpus(request)
    engine = import_engine()
    opening = look_around(cpus, say, request.anyway) if look is None else Opening(now(), look, host.identity(cpus))
    model = ensure_model(request.model, say, request.precision)
    flags = instruction_sets()
    if request.precision == "int8" and platform.machine() == "x86_64" and not set(VNNI) & set(flags):
        say("this CPU has no VNNI: its sums of 8-bit products may saturate, so the INT8 answer is less exact here")

    from .model.weights import images  # numpy: not before the engine's environment is set

    @contextmanager
    def loaded() -> Iterator[Step]:
        yield Session(model.graph_path, cpus, images(request.batch, request.size)).infer

    # Before the policy and the model: what it touches is gone when the run begins.
    roofs = [measure_roof(cpus, 0.0)] if request.precision == "fp32" else []
    label: dict[str, Any] = {}
    with policy.applied(policy.wanted(request.memory, node_of_cpus().get(cpus[0], 0))):
        found = policy.in_force()
        if found.hides_balancing:
            say(f"memory policy {found.name}: NUMA balancing skips memory under it, so this run hides what it does")
        during = _injection(request, cpus, label)
        taken = run_pinned(cpus, loaded, Limits(request.iterations), progress, request.counters, during)
    surroundings = {
        "model": _describe_model(request, model, taken.answer),
        "batch": request.batch,
        "precision": request.precision,
        "cpu_flags": flags,
        "scope": request.scope or scope_of(cpus),
        "instances": {"kind": request.instances, "index": request.instance[0], "of": request.instance[1]},
        "memory_policy": found.name,
        "memory": {"asked": request.memory, "read_back": found.name, "hides": found.hides_balancing},
        "injection": label or None,
        "engine": {
            "name": "onnxruntime",
            "version": engine.__version__,
            "options": engine_options(cpus),
            "locked": lock_for(python_version()),
        },
    }
    version, provisional = request.program_version, request.provisional
    result = frame(opening, taken, cpus, request.command, version, provisional, surroundings)
    if roofs:
        work = architecture(request.model).multiply_adds(request.size) * request.batch
        # A tenth of the run at most: a short one is not drawn out.
        result["roof"] = describe(work, taken.latency, [*roofs, measure_roof(cpus, sum(taken.latency) / 1e10)])
    return result


def chosen_cpus(request: Request) -> list[int]:
    """The CPU of each thread of this run."""
    return choose_cpus(request.threads, request.cpus, None if request.scope == "cpus" else request.scope)


def _injection(
    request: Request, cpus: Sequence[int], label: dict[str, Any]
) -> Callable[[], AbstractContextManager[None]]:
    """What surrounds the measured loop of an injected run; `label` gets what the injector says of itself."""
    kind = request.inject
    if kind is None:
        return nullcontext
    from .injecting.inject import injecting

    @contextmanager
    def disturbed() -> Iterator[None]:
        with injecting(kind, cpus) as said:
            yield
        label.update(said)  # it is complete once the injection is over

    return disturbed


def _describe_model(request: Request, model: CachedModel, logits: Any) -> dict[str, Any]:
    """What ran, and its answer: a graph that computes nonsense must not pass for a fast one."""
    largest = float(abs(logits).max())
    if not largest < float("inf"):  # false for a NaN too
        raise BenchError("the engine's logits are not finite: this host computes wrongly", INVALID_RUN)
    network = architecture(request.model)
    return {
        "name": request.model,
        "size": request.size,
        "parameters": network.parameters(),
        "multiply_adds": network.multiply_adds(request.size),
        "graph_sha256": model.graph_sha256,
        "weights_sha256": model.weights_sha256,
        "logit_class": int(logits[0].argmax()),
        "logit_max": largest,
    }
