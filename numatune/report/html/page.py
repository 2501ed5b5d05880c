"""The page: everything that a report says, put together and rendered; the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from ...verdict.comparison import Comparison
from . import environment, figures, tables, timeline, words
from .palette import AFTER as AFTER_COLOUR
from .palette import BEFORE as BEFORE_COLOUR
from .palette import DASHES, RUNS, counter_words
from .readable import embed, percent, plain, plural
from .source import Source
from .svg import still_line, still_tail

TIMELINE_POINTS = 6000
"""Points of one line over all timelines of a page, besides the spikes: more runs mean fewer for each."""

FEWEST_BINS = 100


@dataclass(frozen=True)
class Report:
    """What a page is made of; `comparison` where runs before and after a change were given."""

    sources: Sequence[Source]
    comparison: Comparison | None
    version: str
    limit: float


def render(report: Report, plotly_js: str) -> str:
    """The HTML of a report, with the library that draws its figures inside."""
    names = run_names(report.sources)
    bins = max(FEWEST_BINS, min(timeline.BINS, TIMELINE_POINTS // (10 * max(1, len(report.sources)))))
    drawn: dict[str, str] = {}

    def figure(name: str, data: figures.Figure) -> str:
        drawn[name] = embed(data)
        return name

    sections = [
        _section(source, name, f"run-{place}", figure, bins)
        for place, (source, name) in enumerate(zip(report.sources, names, strict=True), start=1)
    ]
    page = _environment().get_template("report.html.j2")
    return page.render(
        title=f"numatune: {words.measured(report.sources[0])}",
        version=plain(report.version, 40),
        comparison=report.comparison,
        headline=plain(words.headline(report.sources, report.comparison), 2000),
        measured=list(dict.fromkeys(words.measured(source) for source in report.sources)),
        hosts=list(dict.fromkeys(words.host(source) for source in report.sources)),
        alarms=_alarms(report, names),
        comparison_rows=tables.comparison(report.comparison) if report.comparison else [],
        comparison_remarks=[plain(one, 2000) for one in report.comparison.remarks] if report.comparison else [],
        runs=tables.runs(report.sources, names),
        limit=report.limit,
        nouns=words.nouns(report.sources),
        watched=any(source.watched is not None for source in report.sources),
        measured_here=words.nouns([source for source in report.sources if source.watched is None]),
        distribution=_distribution(report, names, figure),
        shares=_shares(report, names, figure),
        sections=sections,
        figures={name: Markup(data) for name, data in drawn.items()},  # `embed` made it safe
        plotly=Markup(plotly_js.replace("</script", "<\\/script")),
        swatch=tables.swatch,
    )


def run_names(sources: Sequence[Source]) -> list[str]:
    """A short name for each run: "before 1", "after 2", "run 3"."""
    counted: dict[str, int] = {}
    names = []
    for source in sources:
        kind = source.side or "run"
        counted[kind] = counted.get(kind, 0) + 1
        names.append(f"{kind} {counted[kind]}")
    return names


def _section(source: Source, name: str, ident: str, figure: Any, bins: int) -> dict[str, Any]:
    counters = timeline.drawn_counters(source)
    found = source.attribution
    lines, no_lines = environment.kernel_lines(source)
    left_out = [counter_words(one)[0] for one in timeline.moving_counters(source) if one not in counters]
    return {
        "ident": ident,
        "name": name,
        "file": plain(source.run.path, 300),
        "measured": words.measured(source),
        "outcome": words.outcome(source),
        "logged": source.summary is not None,
        "injected": source.injected,
        "provisional": source.run.provisional,
        "events": [words.event_words(event) for event in source.run.events],
        "remarks": words.remarks(source),
        "figures": tables.figures(source),
        "timeline": figure(f"{ident}-timeline", timeline.timeline(source, counters, bins)),
        "timeline_alt": words.alt_timeline(source, counters),
        "timeline_still": still_line(source.series, sorted(source.blamed)),
        "warm_up": bool(source.series.warm_up),
        "quiet": words.quiet_counters(source),
        "left_out": ", ".join(plain(one, 80) for one in left_out),
        "bursts": tables.bursts(source),
        "shares": figure(f"{ident}-shares", figures.share_intervals(found)) if found.spikes else "",
        "shares_alt": words.alt_shares(found),
        "causes": tables.causes(source),
        "unexplained": percent(found.unexplained),
        "unjudged": plain(source.unjudged) if source.unjudged else "",
        "period": words.period(found),
        "ruled_out": tables.ruled_out(source),
        "not_read": tables.not_read(source),
        "spikes": tables.spikes(source),
        "spike_count": len(source.blamed),
        "host": environment.host(source),
        "interrupts": environment.interrupts(source),
        "foreign": environment.foreign(source),
        "kernel_lines": lines,
        "no_kernel_lines": no_lines,
        "environment": environment.environment(source),
        "command": environment.command(source),
        "noun": source.noun,
        "row": source.row,
    }


def _alarms(report: Report, names: Sequence[str]) -> list[tuple[str, str]]:
    """(run, what keeps it from counting), before anything else is said."""
    return [
        (name, words.event_words(event))
        for source, name in zip(report.sources, names, strict=True)
        for event in source.run.events
    ]


def _distribution(report: Report, names: Sequence[str], figure: Any) -> dict[str, Any]:
    """The figure of all runs, each side of a comparison pooled; empty where nobody logged a latency."""
    logged = [(source, name) for source, name in zip(report.sources, names, strict=True) if source.latencies.size]
    curves, noun = [], words.nouns(report.sources)
    for side, colour, dash in (("before", BEFORE_COLOUR, "dash"), ("after", AFTER_COLOUR, "solid")):
        pooled = [source.latencies / 1e6 for source, _name in logged if source.side == side]
        curves += [figures.Curve(side, np.concatenate(pooled), colour, dash)] if pooled else []
    for place, (source, name) in enumerate((source, name) for source, name in logged if not source.side):
        colour, dash = RUNS[place % len(RUNS)], DASHES[place // len(RUNS) % len(DASHES)]
        curves.append(figures.Curve(name, source.latencies / 1e6, colour, dash))
    if not curves:
        return {}
    only = report.sources[0].series if len(report.sources) == 1 else None
    parts = [
        f"{curve.name}: median {float(np.median(curve.latency_ms)):.3g} ms, slowest {float(curve.latency_ms.max()):.3g}"
        for curve in curves
    ]
    return {
        "ident": figure("distribution", figures.distribution(curves, None if only is None else only.limit / 1e6, noun)),
        "alt": f"Share of all {plural(noun)} that took at least so long. {'; '.join(parts)}.",
        "still": still_tail(curves),
    }


def _shares(report: Report, names: Sequence[str], figure: Any) -> dict[str, str]:
    rows = [(name, one.attribution) for name, one in zip(names, report.sources, strict=True) if one.attribution.spikes]
    if len(rows) < 2:
        return {}
    return {
        "ident": figure("shares", figures.shares(rows)),
        "alt": " ".join(f"{name}: {words.alt_shares(found)}." for name, found in rows),
    }


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("numatune.report.html"),
        autoescape=True,  # every template, whatever its name
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
