"""The tables of the report, as rows of text: nothing here knows of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...verdict.bursts import find_bursts
from ...verdict.comparison import Comparison
from ...verdict.spikes import Rise, list_spikes
from .palette import counter_words, look
from .readable import FIXED, chance, count, ms, p_of, percent, plain, plural, sentence
from .source import Source
from .words import finding, price

Rows = list[tuple[str, ...]]

SPIKES = 20
"""Spikes that are listed one by one, the slowest; all of them are in the timeline."""


def figures(source: Source) -> Rows:
    """(what, value) of the latencies; none where nobody logged any."""
    summary = source.summary
    if summary is None:
        return []
    left_out = [("left out as warm-up", f"{summary.warm_up:,}")] if summary.warm_up else []
    windows = [("windows with a spike", f"{source.attribution.spikes:,}")] if source.row != source.noun else []
    slow = f"{ms(summary.threshold * summary.p50_ms)} ms, {summary.threshold:.2f} × the median"
    return [
        (plural(source.noun), f"{summary.iterations:,}"),
        *left_out,
        ("median", f"{ms(summary.p50_ms)} ms"),
        ("90th percentile", f"{ms(summary.p90_ms)} ms"),
        ("99th percentile", f"{ms(summary.p99_ms)} ms, {summary.p99_over_p50:.2f} × the median"),
        ("slowest", f"{ms(summary.max_ms)} ms, {summary.max_over_p50:.2f} × the median"),
        ("a spike is slower than", slow),
        ("spikes", f"{summary.spikes:,}, {summary.spikes_per_1000:.1f} per 1,000"),
        *windows,
        ("time that they cost", percent(summary.excess_share)),
    ]


def runs(sources: Sequence[Source], names: Sequence[str]) -> Rows:
    """One row for each run."""
    rows: Rows = []
    for source, name in zip(sources, names, strict=True):
        summary, shares = source.summary, source.attribution.shares
        main = f"{look(shares[0].cause).short} {percent(shares[0].share)}" if shares else "–"
        marks = ("invalid", source.invalid), ("injected", source.injected), ("provisional", source.run.provisional)
        figures = ["–"] * 6
        if summary is not None:
            figures = [
                f"{summary.iterations:,}", ms(summary.p50_ms), ms(summary.p99_ms), ms(summary.max_ms),
                f"{summary.spikes:,}", f"{summary.spikes_per_1000:.1f}",
            ]  # fmt: skip
        rows.append(
            (name, plain(source.run.path, 200), *figures, main, ", ".join(word for word, is_so in marks if is_so))
        )
    return rows


def causes(source: Source) -> list[dict[str, Any]]:
    """One object for each cause, with what explains it on this host and what to do."""
    found = source.attribution
    return [
        {
            "cause": share.cause,
            "words": plain(share.words),
            "share": percent(share.share),
            "interval": f"{percent(share.low)} to {percent(share.high)}",
            "seen": f"{share.spikes:,} of {found.spikes:,}",
            "elsewhere": f"{share.elsewhere:,}",
            "counters": ", ".join(counter_words(name)[0] for name in share.counters),
            "price": price(share),
            "p": chance(share.p),
            "settings": [(name, finding(name, source.findings)) for name in share.settings],
            "remedy": sentence(share.remedy),
        }
        for share in found.shares
    ]


def spikes(source: Source) -> Rows:
    """(row, second, ms, × median, cause, what stood out) of the slowest spikes, in their order."""
    series, rows = source.series, Rows()
    slowest = sorted(source.blamed, key=lambda row: (-float(series.latency[row]), row))[:SPIKES]
    timed = source.run.offsets.size > 0
    for spike in list_spikes(source.run, sorted(slowest)):
        second = f"{series.seconds[spike.iteration]:,.2f}" if timed else "–"
        rose = ", ".join(_rise(rise) for rise in spike.rises) or "–"
        times = f"{series.latency[spike.iteration] / series.median:.2f}"
        cause = source.blamed[spike.iteration]
        rows.append((f"{spike.iteration:,}", second, ms(spike.milliseconds), times, cause, rose))
    return rows


def ruled_out(source: Source) -> Rows:
    """(cause, counter, why)."""
    found = source.attribution.ruled_out
    return [(plain(one.words), counter_words(one.counter)[0], plain(one.why)) for one in found]


def not_read(source: Source) -> Rows:
    """(cause or counter, why) of what the run says nothing about."""
    rows: Rows = [(plain(one.words), plain(one.why)) for one in source.attribution.not_read]
    told = " ".join(why for _words, why in rows)
    for name, why in source.run.unavailable.items():
        if plain(why) not in told:
            rows.append((f"counter: {plain(counter_words(name)[0], 80)}", plain(why)))
    return rows


def bursts(source: Source) -> Rows:
    """(counter, bursts, usual, highest, first ones, period) of a watch without latencies."""
    if source.watched is None or source.summary is not None:
        return []
    rows: Rows = []
    for one in find_bursts(source.watched):
        words, divisor, unit = counter_words(one.counter)
        first = ", ".join(f"{second:,.1f}" for second in one.first_seconds[:5]) + (" …" if one.bursts > 5 else "")
        period = "none" if one.period_seconds is None else f"{one.period_seconds:.3g} s"
        usual, largest = (f"{value / divisor:,.1f} {unit}".strip() for value in (one.usual, one.largest))
        rows.append((words, f"{one.bursts:,}", usual, largest, first, period))
    return rows


def comparison(found: Comparison) -> Rows:
    """(what, value) of what the verdict rests on."""
    before, after = found.before, found.after
    worst = f"{found.threshold:.2f} × its launch's median (from the {found.quieter} runs, the quieter ones)"
    fisher = f"{p_of(found.decision.p_fewer)} for fewer, {p_of(found.decision.p_more)} for more"
    moved, least, most = found.difference
    low, high = (100 * end for end in found.decision.interval)
    rows: Rows = [
        ("blocks that held a spike, before", f"{before.held:,} of {before.blocks:,}"),
        ("blocks that held a spike, after", f"{after.held:,} of {after.blocks:,}"),
        ("spikes per 1,000", f"{before.per_1000:.1f} before, {after.per_1000:.1f} after"),
        (f"change of the spikes per 1,000 (95{FIXED}%)", f"{moved:+.1f} ({least:+.1f} to {most:+.1f})"),
        (f"spikes per 1,000 after, at most (95{FIXED}%)", f"{after.upper_per_1000:.1f}; the limit is {found.limit:g}"),
        ("a spike is slower than", worst),
        ("length of a block", count(found.block, "iteration")),
        ("Fisher's exact test on blocks", fisher),
        (f"change of the share of blocks (90{FIXED}%)", f"{low:+.1f} to {high:+.1f} percentage points"),
    ]
    if found.shift is not None:
        p = min(found.shift.p_fell, found.shift.p_rose)
        ends = found.shift.interval
        interval = "" if ends is None else f", 95 % {ends[0]:.2f} to {ends[1]:.2f}"
        text = f"× {found.shift.ratio:.2f}{interval} (block permutation, {p_of(p)})"
        rows.append(("99th percentile, in medians", text))
    if found.verdict in ("inconclusive", "reduced"):
        more = found.would_decide
        rows.append(("iterations that would decide", "more than a million" if more is None else f"about {more:,}"))
    return rows


def swatch(cause: str) -> tuple[str, str]:
    """(colour, short name) of a cause."""
    drawn = look(cause)
    return drawn.colour, drawn.short


def _rise(rise: Rise) -> str:
    words, divisor, unit = counter_words(rise.counter)
    if unit:
        return f"{words} {rise.value / divisor:,.1f} {unit} (usually {rise.usual / divisor:,.1f})"
    return f"{words} {rise.value:,.0f} (usually {rise.usual:,.0f})"
