"""The timeline of a run: its latencies, the spikes in their causes' colours, and the counters on the same axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...bench.counted import ALL as COUNTERS
from .figures import LEGEND, LINE, MUTED, Figure, heading_at, layout_of, rounded
from .palette import counter_words, look
from .readable import label
from .source import Series, Source
from .thinning import Places, kept

COUNTER_ROWS = 10
"""Counters under one timeline; more would leave none of them legible."""

BINS = 500
MANY_SPIKES = 200
# Time on a CPU follows the latency whatever the cause, since the engine's workers spin; the others say least.
_LAST = frozenset(counter.name for counter in COUNTERS if counter.last)
_TOP, _BOTTOM, _LATENCY, _ROW, _GAP = 4, 44, 260, 56, 26


def drawn_counters(source: Source) -> list[str]:
    """The counters that are drawn: those that moved, the ones of the causes found first, at most COUNTER_ROWS."""
    moved = moving_counters(source)
    first = [name for share in source.attribution.shares for name in share.counters if name in moved]
    rest = sorted((name for name in moved if name not in first), key=lambda name: name in _LAST)
    return list(dict.fromkeys([*first, *rest]))[:COUNTER_ROWS]


def moving_counters(source: Source) -> list[str]:
    """The counters that were ever above zero."""
    return [name for name, values in source.series.counters.items() if np.nan_to_num(values).any()]


def timeline(source: Source, counters: Sequence[str], bins: int = BINS) -> Figure:
    """Latency with its spikes in their causes' colours, and `counters` under it on the same time axis.

    Every spike is kept, and of each of `bins` stretches the lowest and highest latency and value of each counter.
    """
    series, blamed = source.series, source.blamed
    logged = series.latency.size > 0
    columns = [series.counters[name] for name in counters]
    joined = (
        series.counter_seconds is series.seconds
    )  # one axis: then also the same points, so that hovering meets them
    rows = kept(series.latency.size, sorted(blamed), [series.latency, *(columns if joined else [])], bins)
    places = rows if joined else kept(series.counter_seconds.size, [], columns, bins)
    traces: list[dict[str, Any]] = []
    if logged:
        traces.append(_latency(source, rows))
        named = list(blamed.values())
        causes = sorted(set(named), key=lambda cause: (-named.count(cause), cause))
        traces += [_spikes(series, blamed, cause) for cause in causes]
    # What stands above what, in pixels: (height, heading, name of the axis).
    stack = [(_LATENCY, _latency_heading(source), "yaxis")] if logged else []
    x = rounded(series.counter_seconds[places], 4)
    for name in counters:
        number = len(stack) + 1
        stack.append((_ROW, _title(series, name), "yaxis" if number == 1 else f"yaxis{number}"))
        traces.append(_counter(series, name, places, x, "y" if number == 1 else f"y{number}"))
    layout = _stacked(stack)
    layout |= {
        "hovermode": "x unified", "hoversubplots": "axis", "dragmode": "zoom", "legend": LEGEND,
        "showlegend": bool(blamed), "shapes": _levels(series) if logged else [],
    }  # fmt: skip
    # The page makes a switch of it: beside one spike a hundred times as long, all else is a line at 0.
    layout["meta"] = {"latency": "yaxis"} if logged else {}
    layout["xaxis"] |= {"title": {"text": series.unit}, "hoverformat": ".2f", "range": _ends(series)}
    return {"data": traces, "layout": layout}


def _latency(source: Source, rows: Places) -> dict[str, Any]:
    series = source.series
    return {
        "type": "scatter", "mode": "lines", "name": "latency", "x": rounded(series.seconds[rows], 4),
        "y": rounded(series.latency[rows] / 1e6, 4), "customdata": rows.tolist(), "yaxis": "y", "showlegend": False,
        "line": {"color": LINE, "width": 1}, "text": [_cause_of(source.blamed.get(row)) for row in rows.tolist()],
        "hovertemplate": source.row + " %{customdata:,}: %{y:.2f} ms%{text}<extra></extra>",
    }  # fmt: skip


def _cause_of(cause: str | None) -> str:
    return "" if cause is None else f", a spike: {label(look(cause).short)}"


def _latency_heading(source: Source) -> str:
    return "latency, ms" if source.row == source.noun else f"slowest {source.noun} of each {source.row}, ms"


def _stacked(stack: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    """A layout of rows under each other on one x axis, which stands under the last."""
    height = _TOP + sum(_GAP + size for size, _title, _axis in stack)
    layout, annotations, top = layout_of(height + _BOTTOM + 30), [], _TOP
    for size, heading, axis in stack:
        top += _GAP
        domain = [max(0.0, 1 - (top + size) / height), 1 - top / height]
        ticks = 6 if size == _LATENCY else 3
        layout[axis] = {
            "domain": domain,
            "rangemode": "tozero",
            "automargin": True,
            "fixedrange": True,
            "nticks": ticks,
        }
        annotations.append(heading_at(heading, domain[1]))
        top += size
    last = stack[-1][2].replace("axis", "") if stack else "y"
    return {**layout, "annotations": annotations, "xaxis": {"anchor": last, "automargin": True}}


def _ends(series: Series) -> list[float]:
    """The whole of the axis of time, with a little room at both ends."""
    both = [values for values in (series.seconds, series.counter_seconds) if values.size]
    first, last = min(float(values[0]) for values in both), max(float(values[-1]) for values in both)
    room = 0.01 * (last - first) or 1.0
    return rounded(np.array([first - room, last + room]), 4)


def _levels(series: Series) -> list[dict[str, Any]]:
    """The median, the threshold, and behind all rows the warm-up."""
    shapes = [_level(series.median / 1e6, "dot"), _level(series.limit / 1e6, "dash")]
    if series.warm_up:
        end = float(series.seconds[min(series.warm_up, series.seconds.size - 1)])
        shapes.append(
            {
                "type": "rect", "xref": "x", "x0": float(series.seconds[0]), "x1": end, "yref": "paper", "y0": 0,
                "y1": 1, "fillcolor": MUTED, "opacity": 0.15, "line": {"width": 0}, "layer": "below",
            }
        )  # fmt: skip
    return shapes


def _spikes(series: Series, blamed: Mapping[int, str], cause: str) -> dict[str, Any]:
    places = np.array([row for row in sorted(blamed) if blamed[row] == cause], dtype=np.intp)
    drawn = look(cause)
    return {
        "type": "scatter", "mode": "markers", "name": label(f"{drawn.short} ({places.size:,})"),
        "x": rounded(series.seconds[places], 4), "y": rounded(series.latency[places] / 1e6, 4), "yaxis": "y",
        "marker": {"color": drawn.colour, "symbol": drawn.symbol, "size": 8 if len(blamed) <= MANY_SPIKES else 5},
        "hoverinfo": "skip",  # the line under it says its cause, and says it of this point alone
    }  # fmt: skip


def _counter(series: Series, name: str, places: Places, x: Sequence[float], axis: str) -> dict[str, Any]:
    words, divisor, unit = counter_words(name)
    values = series.counters[name][places] / divisor
    return {
        "type": "scatter", "mode": "markers" if np.isnan(values).any() else "lines", "name": label(words), "x": list(x),
        "y": [None if np.isnan(value) else round(float(value), 3) for value in values], "yaxis": axis,
        "line": {"color": MUTED, "width": 1}, "marker": {"color": MUTED, "size": 4}, "showlegend": False,
        "hovertemplate": label(words) + (": %{y:,.2f} ms" if unit == "ms" else ": %{y:,}") + "<extra></extra>",
    }  # fmt: skip


def _title(series: Series, name: str) -> str:
    words, _divisor, unit = counter_words(name)
    stride = series.strides.get(name, 1)
    return words + (f", {unit}" if unit else "") + (f" (sum of every {stride})" if stride > 1 else "")


def _level(value: float, dash: str) -> dict[str, Any]:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": value, "y1": value, "layer": "below",
        "line": {"color": MUTED, "width": 1, "dash": dash},
    }  # fmt: skip
