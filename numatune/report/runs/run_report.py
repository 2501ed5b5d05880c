"""What a recorded run says to a person, for every command that records one: figures, spikes and what came with them.

Recording needs numpy alone and works on Python 3.9, since hosts under test have no more; so do the figures. Which
causes explain the spikes is a matter of statistics: where those cannot run, one line says so.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..layout import Style
from .causes_text import attribution_lines, headline, uncounted
from .words import amount_of, count, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...verdict.attribution import Attribution
    from ...verdict.run import Run
    from ...verdict.spikes import Spike
    from ...verdict.statistics import Summary

SHOWN, RISES = 5, 3
"""Spikes of a run that the text shows, the slowest, and counters of each, those that stood out most."""
_HEIGHT = 6  # of the sketch, in signs


@dataclass(frozen=True)
class Report:
    """One run and the figures made from it; there is no `attribution` where `unjudged` says why."""

    result: dict[str, Any]
    path: str
    run: Run
    summary: Summary
    spikes: Sequence[Spike]
    attribution: Attribution | None
    unjudged: str


@dataclass(frozen=True)
class Wording:
    """What was measured, the name of one iteration, what comes first, and lines below heading and spikes."""

    what: str
    noun: str
    first: Sequence[str] = ()
    heading: Sequence[str] = ()
    notes: Sequence[str] = ()


def make_report(result: dict[str, Any], path: str) -> Report:
    """The figures of a result that was just recorded and written to `path`."""
    from ...verdict.spikes import list_spikes
    from ...verdict.statistics import spike_indices, summarise

    run = _as_run(result, path)
    spikes, unjudged = list_spikes(run, spike_indices(run)), why_not_judged()
    if unjudged:
        return Report(result, path, run, summarise(run), spikes, None, unjudged)
    from ...verdict.attribution import attribute

    return Report(result, path, run, summarise(run), spikes, attribute(run), "")


def as_object(report: Report) -> dict[str, Any]:
    """What `--format json` prints."""
    from dataclasses import asdict

    return {
        "schema": "numatune/bench-summary/1",
        "file": report.path,
        "provisional": report.result["provisional"],
        "summary": report.summary.as_dict(),
        "spikes": [asdict(spike) for spike in report.spikes],
        "attribution": None if report.attribution is None else report.attribution.as_dict(),
        "unjudged": report.unjudged or None,
        "invalidating_events": report.result["invalidating_events"],
        "counters_unavailable": report.result["counters_unavailable"],
    }


def lines_of(report: Report, wording: Wording, style: Style) -> list[str]:
    """The report as text."""
    return [
        *verdict_lines(report, wording.first),
        *_figures(report, wording),
        *drawn(report, wording.noun, style),
        *about_spikes(report, wording.noun),
        *wording.notes,
        *uncounted(report.result["counters_unavailable"], report.attribution),
        "",
        f"Raw samples: {report.path}",
    ]


def verdict_lines(report: Report, first: Sequence[str] = ()) -> list[str]:
    """What a person looks for, before everything that it rests on."""
    lines = [
        f"This run does not count for a verdict: {_one_line(event['detail'])}."
        for event in report.result["invalidating_events"]
    ]
    lines += [*first, *([] if report.attribution is None else headline(report.attribution))]
    waited = _waiting_all_along(report.run)
    lines += [waited] if waited else []
    if not report.summary.spikes:
        lines.append(f"No spike: nothing was slower than {report.summary.threshold:.2f} × the median.")
    return [*lines, ""]


def why_not_judged() -> str:
    """What keeps this Python from saying what caused the spikes; empty where nothing does."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a target copies the package and has an older one
        return f"needs Python 3.11, and this is {sys.version_info[0]}.{sys.version_info[1]}"
    if importlib.util.find_spec("scipy") is None:
        return "needs scipy, which is not installed"
    return ""


def _placed(environment: dict[str, Any]) -> str:
    """On which CPUs the threads were, and whether the kernel confirms it."""
    pinning = environment["pinning"]
    held = "each alone on its CPU, read back from the kernel" if pinning["ok"] else "NOT where they belong"
    return f"{count(environment['threads'], 'thread')} on CPU {pinning['cpus']} ({held})"


def _as_run(result: dict[str, Any], path: str) -> Run:
    """The run as the verdict sees it, without the checks that a file from elsewhere needs."""
    import numpy as np

    from ...verdict.run import Run

    columns = {
        name: np.array([np.nan if value is None else float(value) for value in values])
        for name, values in result["counters"].items()
    }
    latency = np.array(result["latency_ns"], dtype=np.float64)
    return Run(
        path,
        latency,
        columns,
        result["environment"],
        host=result["run"],
        offsets=np.array(result["start_offset_ns"], dtype=np.float64),
        strides=result["counter_strides"],
        unavailable=result["counters_unavailable"],
    )


def _figures(report: Report, wording: Wording) -> list[str]:
    summary = report.summary
    percentiles = f"p50 {summary.p50_ms:.1f} ms   p90 {summary.p90_ms:.1f}   p99 {summary.p99_ms:.1f}   "
    spikes = f"{count(summary.spikes, 'spike')}, {summary.spikes_per_1000:.1f} per 1,000"
    if summary.spikes:
        spikes += f"; they cost {summary.excess_share:.2%} of the time"
    return [
        f"{wording.what}, {_placed(report.result['environment'])}; {count(summary.iterations, wording.noun)}",
        f"  {percentiles}max {summary.max_ms:.1f} ({summary.max_over_p50:.2f} × p50)",
        f"  {spikes}",
        *(f"  {line}" for line in wording.heading),
    ]


def about_spikes(report: Report, noun: str) -> list[str]:
    """The slowest spikes, what caused them, and what was ruled out."""
    if not report.summary.spikes:
        return []
    threshold = f"slower than {report.summary.threshold:.2f} × the median"
    lines = ["", f"Spikes ({threshold}):", *_table(report.spikes), ""]
    if report.attribution is None:
        return [*lines, f"What caused them is not said here: that {report.unjudged}; the raw samples hold it."]
    return [*lines, *attribution_lines(report.attribution, noun, report.result.get("audit", ()))]


def drawn(report: Report, noun: str, style: Style) -> list[str]:
    """The latencies over the run as a sketch; the largest of each stretch, so that no spike is lost."""
    from .sketch import sketch

    run = report.run
    seconds = float(run.offsets[-1] + run.latency[-1]) / 1e9 if run.offsets.size else None
    return [
        "",
        *sketch((run.latency / 1e6).tolist(), style.width, _HEIGHT, ascii=style.ascii, seconds=seconds, noun=noun),
    ]


def _table(spikes: Sequence[Spike]) -> list[str]:
    """The slowest spikes in the order in which they came."""
    slowest = sorted(sorted(spikes, key=lambda spike: -spike.milliseconds)[:SHOWN], key=lambda spike: spike.iteration)
    lines = ["  iteration        ms  × median  what stood out (usual value)"]
    for spike in slowest:
        rises = ", ".join(
            f"{name_of(rise.counter)} {amount_of(rise.counter, rise.value)} ({amount_of(rise.counter, rise.usual)})"
            for rise in spike.rises[:RISES]
        )
        lines.append(f"  {spike.iteration:>9}{spike.milliseconds:>10.1f}{spike.times_median:>10.2f}  {rises or '-'}")
    if len(spikes) > len(slowest):
        lines.append(f"  … and {len(spikes) - len(slowest)} smaller ones")
    return lines


def _waiting_all_along(run: Run) -> str:
    """A sentence where the usual iteration waited for its CPUs: then other work is no spike, it is the rule."""
    import numpy as np

    delays, threads = run.counters.get("run_delay_ns"), run.environment.get("threads")
    usual = (
        0.0
        if delays is None or not isinstance(threads, int) or np.isnan(delays).all()
        else float(np.nanmedian(delays)) / threads
    )
    if usual < 0.05 * run.median:
        return ""
    share = usual / run.median
    return f"All along, the threads waited for their CPUs for {share:.0%} of the time: other work runs there."


def _one_line(text: str) -> str:
    """Text of the host, a task's name among it, without signs that steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
