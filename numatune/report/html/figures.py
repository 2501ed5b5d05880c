"""The figures as plain dicts in the form that plotly reads; what colours depend on light and dark is set in the page.

Nothing here reads a file or draws: a figure is data, and a test gives it to plotly's own validator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...verdict.attribution import Attribution
from ...verdict.run import Samples
from .palette import UNEXPLAINED, look
from .readable import label, percent
from .thinning import tail

Figure = dict[str, Any]

LINE, MUTED = "#2b83ba", "#7f7f7f"
LEGEND = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0.0}


@dataclass(frozen=True)
class Curve:
    """One line of the distribution: latencies of one or more launches in ms."""

    name: str
    latency_ms: Samples
    colour: str
    dash: str = "solid"


def distribution(curves: Sequence[Curve], threshold_ms: float | None, noun: str) -> Figure:
    """What share of all iterations took at least so long, on a logarithmic axis, where single spikes stay visible."""
    traces, fewest = [], 1.0
    for curve in curves:
        slow, share = tail(curve.latency_ms)
        fewest = min(fewest, float(share[-1]))
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": label(curve.name), "x": rounded(slow, 3),
                "y": rounded(share, 7), "line": {"color": curve.colour, "dash": curve.dash, "width": 2, "shape": "vh"},
                "hovertemplate": "at least %{x:.2f} ms: %{y:.3%}<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    layout = layout_of(360)
    if len(curves) == 1:
        layout["margin"]["t"] = 26  # for the heading; a legend makes its own room
    levels = [(1.0, "all"), (0.1, "1 in 10"), (0.01, "1 in 100"), (0.001, "1 in 1,000"), (1e-4, "1 in 10,000")]
    levels.append((1e-5, "1 in 100,000"))
    layout |= {
        "xaxis": {"title": {"text": f"latency of one {noun}, ms"}, "automargin": True},
        "yaxis": {
            "type": "log", "tickvals": [level for level, _ in levels], "ticktext": [text for _, text in levels],
            "range": [float(np.log10(fewest)) - 0.15, 0.1], "automargin": True, "fixedrange": True,
        },
        "legend": LEGEND, "showlegend": len(curves) > 1, "hovermode": "closest",
        "annotations": [heading_at("took at least so long", 1.0)] if len(curves) == 1 else [],
        "shapes": [] if threshold_ms is None else [
            {"type": "line", "x0": threshold_ms, "x1": threshold_ms, "yref": "paper", "y0": 0, "y1": 1,
             "line": {"color": MUTED, "width": 1, "dash": "dash"}}
        ],
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def shares(rows: Sequence[tuple[str, Attribution]]) -> Figure:
    """A bar for each run: the causes' shares of its spikes' excess time, and what none of them explains."""
    names = [label(name) for name, _found in rows]
    causes = dict.fromkeys(share.cause for _name, found in rows for share in found.shares)
    traces = []
    for cause in [*causes, UNEXPLAINED]:
        parts = [found.unexplained if cause == UNEXPLAINED else _part(found, cause) for _name, found in rows]
        traces.append(_bar(cause, names, parts))
    layout = layout_of(90 + 40 * len(rows) + 30 * len(causes))
    layout |= {
        "barmode": "stack", "xaxis": _share_axis(), "legend": {**LEGEND, "traceorder": "normal"}, "showlegend": True,
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "fixedrange": True},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def share_intervals(found: Attribution) -> Figure:
    """The same for one run, and under the bar each cause's share with its 90 % interval."""
    listed = [*found.shares]
    traces = [_bar(share.cause, ["all"], [share.share]) for share in listed]
    traces.append(_bar(UNEXPLAINED, ["all"], [found.unexplained]))
    for share in listed:
        drawn = look(share.cause)
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": label(drawn.short), "showlegend": False, "yaxis": "y2",
                "x": [round(share.share, 4)], "y": [label(drawn.short)],
                "marker": {"color": drawn.colour, "symbol": drawn.symbol, "size": 11},
                "error_x": {
                    "type": "data", "symmetric": False, "array": [round(max(0.0, share.high - share.share), 4)],
                    "arrayminus": [round(max(0.0, share.share - share.low), 4)], "color": drawn.colour, "thickness": 2,
                },
                "hovertemplate": f"{percent(share.share)} ({percent(share.low)} to {percent(share.high)})"
                "<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    rows = 36 * len(listed)
    height = 60 + 26 + rows
    layout = layout_of(height + 110)
    layout |= {
        "barmode": "stack", "xaxis": {**_share_axis(), "anchor": "y2" if listed else "y"},
        "legend": {**LEGEND, "traceorder": "normal"},
        "showlegend": True,
        "yaxis": {"domain": [1 - 60 / height, 1.0], "type": "category", "showticklabels": False, "fixedrange": True},
    }  # fmt: skip
    if listed:
        layout["yaxis2"] = {
            "domain": [0.0, rows / height], "type": "category", "autorange": "reversed", "automargin": True,
            "fixedrange": True,
        }  # fmt: skip
    return {"data": traces, "layout": layout}


def _part(found: Attribution, cause: str) -> float:
    return next((share.share for share in found.shares if share.cause == cause), 0.0)


def _bar(cause: str, names: Sequence[str], parts: Sequence[float]) -> dict[str, Any]:
    drawn = look(cause)
    return {
        "type": "bar", "orientation": "h", "name": label(drawn.short), "x": [round(part, 4) for part in parts],
        "y": list(names), "text": [percent(part) if part >= 0.08 else "" for part in parts], "textposition": "inside",
        "insidetextanchor": "middle", "textangle": 0, "constraintext": "none",
        "insidetextfont": {"color": "#000000"},
        "marker": {
            "color": drawn.colour,
            "pattern": {"shape": drawn.pattern, "size": 7, "solidity": 0.15, "fillmode": "overlay"},
        },
        "hovertemplate": "%{x:.1%}<extra>%{fullData.name}</extra>",
    }  # fmt: skip


def _share_axis() -> dict[str, Any]:
    title = {"text": "share of the time that the spikes cost"}
    return {"range": [0, 1], "tickformat": ".0%", "title": title, "automargin": True, "fixedrange": True}


def heading_at(text: str, top: float) -> dict[str, Any]:
    """The title of one row of a figure, whose upper end is at `top` (0 to 1)."""
    return {
        "text": label(text), "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": top, "yanchor": "bottom",
        "showarrow": False, "font": {"size": 12},
    }  # fmt: skip


def layout_of(height: int) -> dict[str, Any]:
    """What all figures share; `height` in pixels."""
    return {
        "height": height, "autosize": True, "margin": {"l": 8, "r": 8, "t": 8, "b": 8, "pad": 2},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }  # fmt: skip


def rounded(values: Samples, digits: int) -> list[float]:
    """Numbers for a figure, no longer than they need to be."""
    return [round(float(value), digits) for value in values]
