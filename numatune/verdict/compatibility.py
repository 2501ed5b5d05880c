"""Which runs may be compared at all, and what must be said about those that may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import VerdictError
from .order import order_of
from .run import Run

# What the user reads -> where it stands in the environment. Anything here that differs would be measured as jitter.
MUST_AGREE: dict[str, tuple[str, ...]] = {
    "model": ("model", "name"),
    "size": ("model", "size"),
    "weights hash": ("model", "weights_sha256"),
    "graph hash": ("model", "graph_sha256"),
    "batch": ("batch",),
    "precision": ("precision",),
    "scope": ("scope",),
    "instances": ("instances", "kind"),
    "number of instances": ("instances", "of"),
    "counter tier": ("counter_tier",),
    "threads": ("threads",),
    "memory policy": ("memory_policy",),
    "engine": ("engine", "name"),
    "engine version": ("engine", "version"),
    "numpy": ("numpy",),
    "machine": ("machine",),
    "CPU model": ("cpu_model",),
    "architecture": ("arch",),
}

# What only some workloads have: it agrees where no run has it, too.
MUST_AGREE_WHERE_GIVEN: dict[str, tuple[str, ...]] = {"stride": ("model", "stride_bytes")}

# What a result of the first versions did not say was always this.
UNSAID: dict[str, Any] = {
    "precision": "fp32",
    "scope": "node",
    "instances": "one",
    "number of instances": 1,
    "counter tier": "B",
}

WORTH_SAYING: dict[str, tuple[str, ...]] = {
    "kernel": ("kernel",),
    "pinned CPUs": ("pinning", "cpus"),
    "Python": ("python",),
    "clock source": ("clock_source",),
}

SLOWER = 1.25
"""A median that rose by more than this factor is a finding: spikes are counted against the median of their own launch,
so a change that slows every inference down can make them vanish."""

_ABSENT = object()


@dataclass(frozen=True)
class Medians:
    """The median over each side's launches of their median latencies, in ms."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before

    @property
    def slower(self) -> bool:
        """Whether the side after the change is slower as a whole by more than is left unsaid."""
        return self.ratio > SLOWER

    @property
    def sentence(self) -> str:
        before, after = _ms(self.before), _ms(self.after)
        if before == after:
            return f"the median stayed at {before} ms ({self.ratio:.2f} ×)"
        return f"the median moved from {before} ms to {after} ms ({self.ratio:.2f} ×)"

    def as_dict(self) -> dict[str, float]:
        return {"before_ms": self.before, "after_ms": self.after, "ratio": self.ratio}


def medians(before: Sequence[Run], after: Sequence[Run]) -> Medians:
    """How fast each side was as a whole."""
    first, second = (float(np.median([run.median for run in side])) / 1e6 for side in (before, after))
    return Medians(first, second)


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def refuse_mixtures(runs: Sequence[Run]) -> None:
    """VerdictError, one line that names what differs, unless all runs measured the same thing in the same way."""
    refuse_injected(runs)
    first = runs[0]
    for name, place in {**MUST_AGREE, **MUST_AGREE_WHERE_GIVEN}.items():
        expected = _stated(first, name, place)
        if expected is _ABSENT and name in MUST_AGREE:
            raise VerdictError(f"{first.path} does not say its {name}: record it again with `numatune bench`")
        for run in runs[1:]:
            value = _stated(run, name, place)
            if value != expected:
                here, there = ("absent" if one is _ABSENT else one for one in (expected, value))
                raise VerdictError(
                    f"{first.path} and {run.path} differ in {name} ({here} and {there}): such runs are not compared"
                )


def refuse_injected(runs: Sequence[Run]) -> None:
    """VerdictError where a disturbance was made on purpose: it says nothing of the host."""
    for run in runs:
        injection = run.environment.get("injection")
        if injection is not None:
            kind = injection.get("kind", "something") if isinstance(injection, Mapping) else injection
            raise VerdictError(f"{run.path} was recorded with --inject {kind}: injected runs are not compared")


def refuse_other_instances(before: Sequence[Run], after: Sequence[Run]) -> None:
    """VerdictError unless both sides hold the same instances: each runs on a node of its own."""
    first, second = (sorted({str(_index(run)) for run in side}) for side in (before, after))
    if first != second:
        here, there = (", ".join(indices) for indices in (first, second))
        raise VerdictError(
            f"the sides differ in instances (index {here} before and {there} after): give the same ones on both sides"
        )


def refuse_repeats(before: Sequence[Run], after: Sequence[Run]) -> None:
    """VerdictError where one launch was given twice: its spikes would count as evidence twice."""
    seen: dict[tuple[str, bytes], str] = {}
    for run in (*before, *after):
        key = (run.started, run.latency.tobytes())
        if key in seen:
            raise VerdictError(f"{seen[key]} and {run.path} are the same launch: name each launch once")
        seen[key] = run.path


def remarks(before: Sequence[Run], after: Sequence[Run]) -> list[str]:
    """How the medians moved, always and first; then sentences that limit what the comparison shows."""
    said = [medians(before, after).sentence]
    for name, place in WORTH_SAYING.items():
        values = {str(_look_up(run.environment, place)) for run in (*before, *after)}
        if len(values) > 1:
            said.append(f"the {name} differed: {', '.join(sorted(values))}")
    if any(run.environment.get("machine") is None for run in (*before, *after)):
        said.append("a run does not say on which machine it ran: make sure that it was the same one")
    fewest = min(len(before), len(after))
    if fewest < 3:
        launches = "one launch" if fewest == 1 else f"{fewest} launches"
        said.append(f"only {launches} a side: three or more show how launches differ among themselves")
    said.extend(order_of(before, after).remarks)
    said.extend(remark for run in (*before, *after) for remark in _about_warm_up(run))
    if any(run.provisional for run in (*before, *after)):
        said.append("a run is provisional (--quick)")
    return said


def _about_warm_up(run: Run) -> list[str]:
    found = run.warm_up
    if not found.steady:
        return [f"{run.path} has no steady state: its level keeps moving, and nothing was left out as warm-up"]
    if not found.end:
        return []
    out = int((~found.kept).sum())
    return [f"{run.path}: {out} of the first {found.end} left out as warm-up, {found.factor:.2f} × the rest"]


def _index(run: Run) -> Any:
    index = _look_up(run.environment, ("instances", "index"))
    return 0 if index is _ABSENT else index


def _stated(run: Run, name: str, place: tuple[str, ...]) -> Any:
    value = _look_up(run.environment, place)
    return UNSAID.get(name, _ABSENT) if value is _ABSENT else value


def _look_up(environment: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = environment
    for key in place:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value
