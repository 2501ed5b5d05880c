"""What a watch says to a person: the requests, their spikes and causes; or bursts, where no latency was logged."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .causes_text import attribution_lines, headline, uncounted
from .run_report import RISES, SHOWN, why_not_judged
from .words import LISTED, amount_of, count, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...verdict.attribution import Attribution
    from ...verdict.bursts import Bursts
    from ...verdict.run import Run
    from ...verdict.spikes import Spike
    from ...verdict.statistics import Summary
    from ...verdict.watched import Watched

_MANY_REQUESTS, _MUCH_WAITING = 50, 0.05

_ENDS = {
    "duration": "",
    "interrupted": "; ended by Ctrl-C or a signal",
    "process-ended": "; it ended, and watching with it",
    "full": "; ended, since the file would become too large",
    "files": "; ended, since it has more threads than files may be open",
}


@dataclass(frozen=True)
class Report:
    """A watch and the figures made from it; `run` and `summary` are None where no request was logged.

    There is no `attribution` where there are no spikes or where `unjudged` says why.
    """

    watched: Watched
    run: Run | None
    summary: Summary | None
    spikes: Sequence[Spike]
    attribution: Attribution | None
    bursts: Sequence[Bursts]
    unjudged: str


def make_report(result: dict[str, Any], path: str) -> Report:
    """The figures of a watch that was just written to `path`; VerdictError where it is none."""
    from ...verdict.spikes import list_spikes
    from ...verdict.watched import as_run, cost_run, parse_watch, spike_rows, summarise_requests

    watched = parse_watch(result, path)
    run, summary, unjudged = as_run(watched), summarise_requests(watched), why_not_judged()
    if run is None or summary is None:
        bursts: Sequence[Bursts] = ()
        if not unjudged:
            from ...verdict.bursts import find_bursts

            bursts = find_bursts(watched)
        return Report(watched, None, summary, (), None, bursts, unjudged)
    rows = spike_rows(watched, run)
    spikes, attribution = list_spikes(run, rows), None
    if rows and not unjudged:
        from ...verdict.attribution import attribute

        made = cost_run(watched)
        attribution = None if made is None else attribute(*made)
    return Report(watched, run, summary, spikes, attribution, (), unjudged)


def as_object(report: Report) -> dict[str, Any]:
    """What `--format json` prints."""
    data = report.watched.data
    return {
        "schema": "numatune/watch-summary/1",
        "file": report.watched.path,
        "target": data["target"],
        "ended": data["ended"],
        "partial": data["partial"],
        "requests": None if report.summary is None else report.summary.as_dict(),
        "spikes": [asdict(spike) for spike in report.spikes],
        "attribution": None if report.attribution is None else report.attribution.as_dict(),
        "unjudged": report.unjudged or None,
        "bursts": [asdict(one) for one in report.bursts],
        "latency_log": data["latency_log"],
        "watching": data["watching"],
        "counters_unavailable": data["counters_unavailable"],
        "invalidating_events": data["invalidating_events"],
    }


def lines_of(report: Report) -> list[str]:
    """The report as text."""
    watched = report.watched
    lines = [] if report.attribution is None else headline(report.attribution)
    lines += _waiting_all_along(watched)
    lines += [*([""] if lines else []), _heading(watched)]
    lines += _requests(report.summary) if report.summary is not None else _without(report)
    lines += _spikes(report)
    lines += ["", *_totals(watched), *_others(watched), *_log(watched), *_cost(watched)]
    lines += [f"This watch was disturbed: {event.get('detail')}." for event in watched.events]
    lines += uncounted(watched.unavailable, report.attribution)
    return [*lines, "", f"Samples: {watched.path}"]


def _heading(watched: Watched) -> str:
    target = watched.target
    what = f"process {target.get('pid')} ({target.get('name')})"
    if target.get("kind") == "unit":
        what = f"{target.get('name')} ({len(target.get('processes', []))} processes seen)"
    threads = count(int(target.get("most_threads", 0)), "thread")
    place = "allowed on" if target.get("pinned") else "free to run on"
    windows = count(int(watched.lengths.size), "window")
    ended = _ENDS.get(str(watched.data.get("ended")), "")
    held = f"at most {threads}, {place} CPU {target.get('cpus')}"
    return f"Watched {what}, {held}: {watched.seconds:.1f} s in {windows}{ended}"


def _requests(summary: Summary) -> list[str]:
    spikes = f"{count(summary.spikes, 'spike')}, {summary.spikes_per_1000:.1f} per 1,000"
    if summary.spikes:
        spikes += f"; they cost {summary.excess_share:.2%} of the requests' time"
    percentiles = f"p50 {summary.p50_ms:.3g} ms   p90 {summary.p90_ms:.3g}   p99 {summary.p99_ms:.3g}"
    largest = f"max {summary.max_ms:.3g} ({summary.max_over_p50:.2f} × p50)"
    return [f"  {count(summary.iterations, 'request')}: {percentiles}   {largest}", f"  {spikes}"]


def _without(report: Report) -> list[str]:
    """What can be said where nobody said how long requests took."""
    why = "no latency was given (--latency-log)"
    if report.watched.log is not None:
        log = report.watched.log
        why = "no request was logged meanwhile"
        if log.get("malformed"):
            why = f"none of the {log['malformed']:,} lines that were logged meanwhile is a request (see below)"
    lines = ["", f"What slows requests is not said here: {why}."]
    if not report.bursts:
        if report.unjudged:
            return [*lines, f"Nor what stood out over time: that {report.unjudged}."]
        return [*lines, "No counter stood out at any time."]
    lines.append("What stood out over time:")
    for one in report.bursts:
        times = count(one.bursts, "time")
        regular = "" if one.period_seconds is None else f", every {one.period_seconds:.2g} s"
        first = f"first after {one.first_seconds[0]:.1f} s"
        lines.append(
            f"  {name_of(one.counter)}: {times}{regular}, {first}, up to {amount_of(one.counter, one.largest)} a "
            f"window (usually {amount_of(one.counter, one.usual)})"
        )
    return lines


def _spikes(report: Report) -> list[str]:
    if report.summary is None or report.run is None:
        return []
    threshold = f"slower than {report.summary.threshold:.2f} × the median"
    if not report.summary.spikes:
        return ["", f"No spike: no request was {threshold}."]
    median = report.summary.p50_ms
    slowest = sorted(
        sorted(report.spikes, key=lambda spike: -spike.milliseconds)[:SHOWN], key=lambda one: one.iteration
    )
    lines = ["", f"Spikes ({threshold}), the slowest of each window:"]
    lines.append("       at s        ms  × median  what stood out in that window (usual value)")
    ends = report.run.offsets + report.run.latency
    for spike in slowest:
        rises = ", ".join(
            f"{name_of(rise.counter)} {amount_of(rise.counter, rise.value)} ({amount_of(rise.counter, rise.usual)})"
            for rise in spike.rises[:RISES]
        )
        at = float(ends[spike.iteration]) / 1e9
        lines.append(f"  {at:>9.2f}{spike.milliseconds:>10.1f}{spike.milliseconds / median:>10.2f}  {rises or '-'}")
    if len(report.spikes) > len(slowest):
        lines.append(f"  … and {len(report.spikes) - len(slowest)} other windows with smaller ones")
    lines.append("")
    if report.attribution is None:
        return [*lines, f"What caused them is not said here: that {report.unjudged}."]
    from ...verdict.watched import COMMON_NOTE, spikes_are_common

    if spikes_are_common(len(report.spikes), report.run.latency.size):
        lines += COMMON_NOTE
    return [*lines, *attribution_lines(report.attribution, "window"), *_coarse(report)]


def _coarse(report: Report) -> list[str]:
    """A remark where a window holds so many requests that its counters say little of one."""
    run, summary = report.run, report.summary
    if run is None or summary is None or summary.iterations < _MANY_REQUESTS * run.latency.size:
        return []
    each = summary.iterations / run.latency.size
    return [f"A window holds {each:,.0f} requests and one set of counters: a shorter --interval tells more apart."]


def _totals(watched: Watched) -> list[str]:
    parts = []
    for name in LISTED:
        values = watched.counters.get(name)
        if values is not None:
            total = sum(value for value in values.tolist() if not math.isnan(value))
            if total:
                parts.append(f"{name_of(name)} {amount_of(name, total)}")
    return [f"In all: {', '.join(parts)}." if parts else "In all: nothing was counted."]


def _waiting_all_along(watched: Watched) -> list[str]:
    """A sentence where the threads usually waited for their CPUs: then other work is no spike, it is the rule."""
    import numpy as np

    delays, on_cpu = watched.counters.get("run_delay_ns"), watched.counters.get("cpu_time_ns")
    if delays is None or on_cpu is None:
        return []
    share = float(np.median(delays / np.maximum(delays + on_cpu, 1.0)))
    if share < _MUCH_WAITING:
        return []
    return [f"All along, its threads waited for {share:.0%} of the time that they wanted a CPU: other work runs there."]


def _others(watched: Watched) -> list[str]:
    """Who else ran on its CPUs."""
    load = watched.host.get("foreign_load") or []
    named = [f"{one['task']} ({one['cpu_ms']:,.0f} ms)" for one in load[:5] if one.get("cpu_ms", 0) >= 1]
    return [f"Also ran on these CPUs: {', '.join(named)}."] if named else []


def _log(watched: Watched) -> list[str]:
    log = watched.log
    if log is None:
        return []
    lines = []
    if log.get("malformed"):
        first = log["first_malformed"]
        lines.append(
            f"Latency log: {log['malformed']:,} of {log['lines']:,} lines are no request; the first is line "
            f"{first['line']} since the start, {first['text']!r}: {first['why']}."
        )
    if log.get("unit_assumed"):
        lines.append("Latency log: plain numbers were taken as milliseconds (--latency-unit names another unit).")
    if log.get("not_kept"):
        lines.append(f"Latency log: {log['not_kept']:,} more requests came after those that are kept.")
    return lines


def _cost(watched: Watched) -> list[str]:
    watching = watched.watching
    where = "on a CPU that the service does not use" if watching.get("stepped_aside") else "on any CPU"
    said = f"Watching used {float(watching.get('share', 0.0)):.1%} of one CPU, {where}"
    stretched = watching.get("stretched") or []
    if stretched:
        said += (
            f"; to stay within {float(watching.get('limit', 0.01)):.0%}, it sampled every {stretched[-1]['to_s']:.3g} s"
        )
        said += f" instead of every {watched.data.get('interval_s'):g} s"
    return [f"{said}."]
