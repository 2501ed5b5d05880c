"""Recorded runs as a table: the figures of each, and of a single one its sketch, spikes and causes as well."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from ..layout import Style
from .run_report import Report, about_spikes, drawn, verdict_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...verdict.attribution import Attribution, Share
    from ...verdict.run import Run
    from ...verdict.statistics import Summary

    Figures = Sequence[tuple[Run, Summary, Attribution]]


def lines_of(figures: Figures, first: dict[str, Any], style: Style) -> list[str]:
    """The table, and what `bench` said of it where it is one run, whose result is `first`."""
    return [*_lines(figures), *(["", *_alone(first, *figures[0], style)] if len(figures) == 1 else [])]


def as_object(figures: Figures) -> dict[str, Any]:
    """The figures of each run and of all together."""
    runs, summaries, causes = (list(one) for one in zip(*figures, strict=True))
    each = [_object(one.path, [summary], [found], [one]) for one, summary, found in figures]
    return {"runs": each, "all": _object(None, summaries, causes, runs)}


def _alone(result: dict[str, Any], run: Run, summary: Summary, found: Attribution, style: Style) -> list[str]:
    """What `bench` said of a run beside its figures: the sketch, the spikes, their causes and what was ruled out."""
    from ...verdict.run import noun_of
    from ...verdict.spikes import list_spikes
    from ...verdict.statistics import spike_indices

    audit = result.get("audit")
    known: dict[str, Any] = {"invalidating_events": []}  # the table has said those
    known["audit"] = [item for item in audit if isinstance(item, dict)] if isinstance(audit, list) else []
    report = Report(known, run.path, run, summary, list_spikes(run, spike_indices(run)), found, "")
    noun = noun_of(run.environment)
    return [*verdict_lines(report)[:-1], *drawn(report, noun, style), *about_spikes(report, noun)]


def _object(
    path: str | None, summaries: Sequence[Summary], causes: Sequence[Attribution], runs: Sequence[Run]
) -> dict[str, Any]:
    """One launch, or all of them: medians of the p50 and the p99, the largest maximum, the rate over all."""
    iterations, spikes = sum(one.iterations for one in summaries), sum(one.spikes for one in summaries)
    strongest = _strongest(causes)
    return {
        "file": path,
        "iterations": iterations,
        "p50_ms": statistics.median(one.p50_ms for one in summaries),
        "p99_ms": statistics.median(one.p99_ms for one in summaries),
        "max_over_p50": max(one.max_over_p50 for one in summaries),
        "spikes": spikes,
        "spikes_per_1000": 1000.0 * spikes / iterations,
        "cause": None
        if strongest is None
        else {"cause": strongest[0].cause, "words": strongest[0].words, "share": strongest[1]},
        "invalid": [str(event.get("detail") or event.get("event", "")) for one in runs for event in one.events],
        "provisional": any(one.provisional for one in runs),
    }


def _strongest(causes: Sequence[Attribution]) -> tuple[Share, float] | None:
    """The cause that explains most of the time that all spikes cost, and its share of that; None where none does."""
    total = sum(found.excess_ns for found in causes)
    explained: dict[str, tuple[Share, float]] = {}
    for found in causes:
        for share in found.shares:
            _first, before = explained.get(share.cause, (share, 0.0))
            explained[share.cause] = (share, before + share.share * found.excess_ns)
    if not explained or total <= 0.0:
        return None
    share, time = max(explained.values(), key=lambda one: one[1])
    return share, time / total


def _lines(figures: Figures) -> list[str]:
    head = f"{'inferences':>11}{'p50 ms':>9}{'p99 ms':>9}{'max/p50':>9}{'per 1,000':>11}"
    lines = [f"{head}  file: strongest cause of the spikes"]
    for one, summary, found in figures:
        figure = f"{summary.iterations:>11,}{summary.p50_ms:>9.1f}{summary.p99_ms:>9.1f}{summary.max_over_p50:>9.2f}"
        lines.append(f"{figure}{summary.spikes_per_1000:>11.1f}  {one.path}: {_cause(summary, found)}")
    lines += [
        f"{one.path} does not count for a verdict: {event.get('detail') or event.get('event', '')}"
        for one, _summary, _found in figures
        for event in one.events
    ]
    return lines


def _cause(summary: Summary, found: Attribution) -> str:
    if not summary.spikes:
        return "no spike"
    strongest = _strongest([found])
    return "unexplained" if strongest is None else f"{strongest[0].words} ({strongest[1]:.0%})"
