"""Before against after: one threshold, blocks, two tests, one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import DEFAULT_LIMIT, SCHEMA, blocks, compatibility, decision
from .compatibility import Medians
from .decision import Decision, Shift, Side
from .errors import VerdictError
from .order import Order, order_of
from .run import Run, Samples
from .statistics import P99_NEEDS, Summary, deviation, summarise, threshold_of

NOTABLE_SPREAD = 2.0
"""Of three launches a side that are alike, one comparison in ten shows as much."""


@dataclass(frozen=True)
class Subject:
    """What is compared: its files, one row of a file, one recording, and what to do where a recording was disturbed.

    A block has at least `block` rows. How much recordings differ among themselves is also seen from `parts` of each.
    """

    files: str = "runs"
    noun: str = "inference"
    launch: str = "launch"
    again: str = "measure again on a quiet machine"
    block: int = blocks.SHORTEST_BLOCK
    parts: int = 1


@dataclass(frozen=True)
class Comparison:
    """A verdict and all that it rests on."""

    verdict: str
    reason: str
    limit: float
    threshold: float
    quieter: str
    block: int
    before: Side
    after: Side
    launches_before: tuple[Summary, ...]
    launches_after: tuple[Summary, ...]
    medians: Medians
    order: Order
    difference: tuple[float, float, float]
    decision: Decision
    shift: Shift | None
    would_decide: int | None
    remarks: tuple[str, ...]
    invalid: tuple[str, ...]
    files: tuple[tuple[str, ...], tuple[str, ...]]
    subject: Subject
    doubt: str = ""
    """Why what the figures say is not the verdict; empty where it is."""

    def as_dict(self) -> dict[str, Any]:
        """The object that `compare --format json` prints."""
        return {
            "schema": SCHEMA,
            "of": self.subject.files,
            "verdict": self.verdict,
            "reason": self.reason,
            "max_spikes_per_1000": self.limit,
            "threshold": {"times_median": self.threshold, "from": self.quieter},
            "block_iterations": self.block,
            "launch_dispersion": self.before.dispersion,
            "before": _side(self.before, self.launches_before, self.files[0]),
            "after": _side(self.after, self.launches_after, self.files[1]),
            "median": self.medians.as_dict(),
            "fisher": {"p_fewer": self.decision.p_fewer, "p_more": self.decision.p_more},
            "p99_permutation": None
            if self.shift is None
            else {"ratio": self.shift.ratio, "p_fell": self.shift.p_fell, "p_rose": self.shift.p_rose},
            "effect": {
                "spikes_per_1000": {"difference": self.difference[0], "interval_95": list(self.difference[1:])},
                "p99_ratio": None
                if self.shift is None or self.shift.interval is None
                else {"ratio": self.shift.ratio, "interval_95": list(self.shift.interval)},
            },
            "order": self.order.as_dict(),
            "equivalence": {"interval": list(self.decision.interval), "margin": self.decision.margin},
            "iterations_that_would_decide": self.would_decide,
            "remarks": list(self.remarks),
            "invalid": list(self.invalid),
        }


def compare(before: Sequence[Run], after: Sequence[Run], limit: float = DEFAULT_LIMIT) -> Comparison:
    """Judge the launches `before` a change against those `after` it; VerdictError where they must not be compared."""
    if not before or not after:
        raise VerdictError("a comparison needs at least one run before and one after")
    compatibility.refuse_mixtures([*before, *after])
    compatibility.refuse_other_instances(before, after)
    compatibility.refuse_repeats(before, after)
    return judge(before, after, limit, Subject(), compatibility.remarks(before, after))


def judge(
    before: Sequence[Run], after: Sequence[Run], limit: float, subject: Subject, remarks: Sequence[str]
) -> Comparison:
    """The verdict on recordings that may be compared; `remarks` are added to what the figures themselves ask for."""
    if not 0.0 < limit < 1000.0:
        raise VerdictError(f"--max-spikes-per-1000 {limit:g}: a number above 0 and below 1000")
    relative_before, relative_after = _relative(before), _relative(after)
    pooled_before, pooled_after = np.concatenate(relative_before), np.concatenate(relative_after)
    # A noisy "before" inflates its own spread, and with it the threshold that its spikes would have to pass.
    quieter = "after" if deviation(pooled_after) <= deviation(pooled_before) else "before"
    threshold = threshold_of(pooled_after if quieter == "after" else pooled_before)
    marks_before = [values > threshold for values in relative_before]
    marks_after = [values > threshold for values in relative_after]
    length = blocks.block_length([*marks_before, *marks_after], subject.block)
    held = [blocks.count_blocks(marks, length) for marks in (marks_before, marks_after)]
    spread = blocks.dispersion(
        *(blocks.count_blocks(marks, length, subject.parts) for marks in (marks_before, marks_after))
    )
    first, second = _side_of(marks_before, held[0], spread), _side_of(marks_after, held[1], spread)
    first, second = replace(first, burst=second.bursts), replace(second, burst=first.bursts)
    shift = None
    if min(first.iterations, second.iterations) >= P99_NEEDS:
        tail = blocks.Tail(relative_before, relative_after, length)
        shift = Shift(tail.ratio, *tail.permuted(), tail.interval()).dispersed(spread)
    judged = decision.decide(first, second, shift, limit)
    invalid = tuple(
        f"{run.path}: {event.get('detail') or event.get('event', 'an event without a name')}"
        for run in (*before, *after)
        for event in run.events
    )
    medians = compatibility.medians(before, after)
    verdict = decision.INVALID if invalid else judged.verdict
    would_decide = None
    if verdict == decision.INCONCLUSIVE:
        would_decide = decision.iterations_that_decide(first, second, limit)
    elif verdict == decision.REDUCED:
        would_decide = decision.iterations_to_bound(second, limit)
    return Comparison(
        verdict,
        _reason(verdict, first, second, limit, _disturbed([*before, *after], subject))
        + (f"; but {medians.sentence}" if medians.slower else ""),
        limit,
        threshold,
        quieter,
        length,
        first,
        second,
        tuple(summarise(run, threshold) for run in before),
        tuple(summarise(run, threshold) for run in after),
        medians,
        order_of(before, after),
        decision.rate_difference(first, second),
        judged,
        shift,
        would_decide,
        (*remarks, *_about_launches(spread, subject)),
        invalid,
        (tuple(run.path for run in before), tuple(run.path for run in after)),
        subject,
    )


def _relative(runs: Sequence[Run]) -> list[Samples]:
    return [run.steady().relative for run in runs]


def _side_of(launches: Sequence[blocks.Marks], counts: Sequence[tuple[int, int]], spread: float) -> Side:
    held, count = (sum(column) for column in zip(*counts, strict=True))
    return Side(sum(m.size for m in launches), sum(int(m.sum()) for m in launches), held, count, spread)


def _about_launches(spread: float, subject: Subject) -> list[str]:
    if spread < NOTABLE_SPREAD:
        return []
    what = "launches" if subject.parts == 1 else f"parts of a {subject.launch}"
    return [f"{what} of one side differ {spread:.1f} times as much as chance makes them: the tests allow for that"]


def _disturbed(runs: Sequence[Run], subject: Subject) -> str:
    bad = sum(1 for run in runs if run.events)
    was = "was" if bad == 1 else "were"
    return f"no verdict: {bad} of {len(runs)} {subject.files} {was} disturbed (named below): {subject.again}"


def _reason(verdict: str, before: Side, after: Side, limit: float, disturbed: str) -> str:
    bound = f"at most {after.upper_per_1000:.1f} spikes per 1,000 after (95 % bound), limit {limit:g}"
    blocks_held = f"{before.held} of {before.blocks} blocks held a spike before, {after.held} of {after.blocks} after"
    return {
        decision.ELIMINATED: f"the spikes are gone: {blocks_held}; {bound}",
        decision.REDUCED: f"fewer or smaller spikes, but not shown to be within the limit: {blocks_held}; {bound}",
        decision.UNCHANGED: f"no change of note: {blocks_held}",
        decision.WORSE: f"more or larger spikes than before: {blocks_held}",
        decision.CLEAN: f"within the limit before and after: {bound}",
        decision.INCONCLUSIVE: f"the data decide nothing: {blocks_held}; {bound}",
        decision.INVALID: disturbed,
    }[verdict]


def _side(side: Side, launches: Sequence[Summary], files: Sequence[str]) -> dict[str, Any]:
    return {
        "iterations": side.iterations,
        "spikes": side.spikes,
        "spikes_per_1000": side.per_1000,
        "upper_95_spikes_per_1000": side.upper_per_1000,
        "blocks": side.blocks,
        "blocks_with_spike": side.held,
        "launches": [{"file": file, **launch.as_dict()} for file, launch in zip(files, launches, strict=True)],
    }
