"""Still pictures as inline SVG, for a reader without JavaScript and until the figures are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ...verdict.run import Samples
from .figures import Curve
from .source import Series
from .thinning import kept, tail

_WIDTH, _HEIGHT, _EDGE = 800, 200, 8
_BINS = 300


def still_line(series: Series, spikes: Sequence[int]) -> Markup:
    """The latencies of a run over time as one line; the texts beside it say what it shows. Empty without latencies."""
    if series.latency.size == 0:
        return Markup("")
    places = kept(series.latency.size, spikes if len(spikes) <= _BINS else [], [series.latency], _BINS)
    x, y = series.seconds[places], series.latency[places]
    line = _line(
        _scaled(x, float(x[0]), float(x[-1]), _WIDTH), _scaled(y, 0.0, float(y.max()), -_HEIGHT), "#2b83ba", ""
    )
    return _frame(line)


def still_tail(curves: Sequence[Curve]) -> Markup:
    """The distribution of each curve, the share on a logarithmic axis."""
    found = [(curve, *tail(curve.latency_ms, 150)) for curve in curves]
    low = min(float(slow[0]) for _curve, slow, _share in found)
    high = max(float(slow[-1]) for _curve, slow, _share in found)
    least = min(float(np.log10(share[-1])) for _curve, _slow, share in found)
    lines = [
        _line(
            _scaled(slow, low, high, _WIDTH),
            _scaled(np.log10(share), least, 0.0, -_HEIGHT),
            curve.colour,
            "6 3" if curve.dash != "solid" else "",
        )
        for curve, slow, share in found
    ]
    return _frame(*lines)


def _frame(*lines: Markup) -> Markup:
    body = Markup("").join(lines)
    box = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>')
    return box.format(_WIDTH, _HEIGHT, body)


def _line(x: Samples, y: Samples, colour: str, dash: str) -> Markup:
    points = " ".join(f"{left:.1f},{top:.1f}" for left, top in zip(x, y, strict=True))
    line = Markup(
        '<polyline points="{}" fill="none" stroke="{}" stroke-dasharray="{}" vector-effect="non-scaling-stroke"/>'
    )
    return line.format(points, colour, dash or "none")


def _scaled(values: Samples, low: float, high: float, size: int) -> Samples:
    """Values from low to high as places within the picture; a negative size turns the axis upside down."""
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    room = abs(size) - 2 * _EDGE
    return np.asarray(_EDGE + (share if size > 0 else 1.0 - share) * room, dtype=np.float64)
