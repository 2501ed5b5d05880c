"""A sketch of a series for the terminal: the slowest of each column, so that no spike falls between two of them.

Runs on targets too: Python 3.9, numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...verdict.statistics import threshold_of

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEAST_WIDTH, _LEAST_HEIGHT = 32, 3


def sketch(
    latency_ms: Sequence[float],
    width: int,
    height: int,
    ascii: bool = False,  # noqa: A002 - it is the word for it
    seconds: float | None = None,
    noun: str = "inference",
) -> list[str]:
    """Lines, at most `width` signs wide (32 at least): `height` rows of the series, and the axis of time under them.

    `latency_ms` holds one latency per iteration, in order. A column shows its slowest iteration; one with a spike
    (slower than max(median + 6 MAD, 1.10 median)) is solid, the others are faint. `seconds` is how long the run took,
    None where only the number of iterations is known. The median is a line across. No line without iterations.
    """
    values = np.asarray(latency_ms, dtype=np.float64)
    if values.size == 0:
        return []
    width, height = max(width, _LEAST_WIDTH), max(height, _LEAST_HEIGHT)
    median = float(np.median(values))
    limit = threshold_of(values / median) * median
    # From a little below the fastest: from zero, a spike of a tenth would be one eighth of a sign.
    top, bottom = max(float(values.max()), limit), float(values.min())
    bottom = max(0.0, bottom - 0.05 * (top - bottom))
    level = min(height - 1, int((median - bottom) / (top - bottom) * height))  # the row of the median, from below
    labels = {height - 1: _ms(top), level: f"median {_ms(median)}", 0: _ms(bottom)}
    if level in (0, height - 1):
        labels[level] = f"median {_ms(median)}"
    margin = max(len(text) for text in labels.values()) + len(" ms ")
    columns = max(8, min(width - margin - 1, values.size))
    edges = np.linspace(0, values.size, columns + 1).astype(int) if values.size >= columns else None
    peaks = values if edges is None else np.maximum.reduceat(values, edges[:-1])
    cells = [_column(float(peak), bottom, top, height, bool(peak > limit), ascii) for peak in peaks]
    rows = []
    for row in reversed(range(height)):
        signs = "".join(cell[row] for cell in cells)
        if row == level:
            signs = signs.replace(" ", "-" if ascii else "┄")
        text = f"{labels[row]} ms " if row in labels else ""
        rows.append(f"{text:>{margin}}{'|' if ascii else '│'}{signs}".rstrip())
    line = ("+" if ascii else "└") + ("-" if ascii else "─") * len(cells)
    return [*rows, " " * margin + line, _below(margin, len(cells), width - margin - 1, values.size, seconds, noun)]


def _column(value: float, bottom: float, top: float, height: int, spike: bool, ascii_only: bool) -> str:
    """One column from below to above, `height` signs."""
    eighths = max(1, round((value - bottom) / (top - bottom) * height * 8))
    full, part = min(height, eighths // 8), eighths % 8
    if spike:
        body = ("#" if ascii_only else "█") * full
        tip = "" if full == height or not part else ("#" if ascii_only else _EIGHTHS[part])
    else:
        body = (":" if ascii_only else "░") * full
        tip = "" if full == height or not part else ("." if ascii_only else _EIGHTHS[part] if not full else "░")
    return (body + tip).ljust(height)


def _below(margin: int, columns: int, room: int, size: int, seconds: float | None, noun: str) -> str:
    """The ends of the axis of time, under the first and the last column; the longest words for which there is room."""
    if seconds is not None:
        ends = [("0 s", f"{seconds:,.1f} s, {size:,} {noun}s"), ("0 s", f"{seconds:,.1f} s"), ("", f"{seconds:,.0f} s")]
    else:
        ends = [(f"{noun} 0", f"{size - 1:,}"), ("0", f"{size - 1:,}"), ("", f"{size - 1:,}")]
    start, end = next((pair for pair in ends if len(" ".join(pair)) <= room), ends[-1])
    gap = max(1, columns - len(start) - len(end))
    return " " * (margin + 1) + start + " " * gap + end


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
