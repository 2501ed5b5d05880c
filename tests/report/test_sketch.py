"""The sketch of a series in the terminal: it fits, and no spike is lost in it."""

from __future__ import annotations

import numpy as np
import pytest

from numatune.report.runs.sketch import sketch


def steady(size: int) -> list[float]:
    return [100.0 + (index % 5) / 10 for index in range(size)]


@pytest.mark.parametrize("size", [1, 2, 7, 60, 1000, 60_000])
@pytest.mark.parametrize("width", [32, 80, 200])
@pytest.mark.parametrize("plain", [False, True])
def test_it_has_the_height_and_keeps_within_the_width(size: int, width: int, plain: bool) -> None:
    lines = sketch(steady(size), width, 8, plain)
    assert len(lines) == 10
    assert max(map(len, lines)) <= width
    assert not plain or "".join(lines).isascii()


def test_a_single_spike_in_sixty_thousand_stands_out() -> None:
    values = steady(60_000)
    values[31_234] = 150.0
    rows = sketch(values, 80, 8)[:8]
    assert sum("█" in row for row in rows) == 8
    top = rows[0].index("█")
    assert rows[0].count("█") == 1
    margin = rows[0].index("│") + 1
    assert (top - margin) / (80 - margin) == pytest.approx(31_234 / 60_000, abs=0.02)
    assert sum("#" in row for row in sketch(values, 80, 8, ascii=True)) == 8


def test_a_run_without_spikes_has_no_solid_column() -> None:
    assert not any("█" in row for row in sketch(steady(1000), 80, 8))


def test_the_axes_say_milliseconds_and_seconds_or_iterations() -> None:
    values = [*steady(999), 200.0]
    lines = sketch(values, 80, 8, seconds=123.4)
    assert lines[0].startswith("200.0 ms".rjust(len("median 100.2 ms")))
    assert any("median 100.2 ms" in line for line in lines)
    assert lines[-1].split() == ["0", "s", "123.4", "s,", "1,000", "inferences"]
    assert sketch(values, 80, 8, noun="walk")[-1].split() == ["walk", "0", "999"]


def test_the_median_is_a_line_across_where_nothing_stands() -> None:
    values = np.linspace(1.0, 100.0, 1000)  # half of the columns stay below it
    row = next(line for line in sketch(values.tolist(), 80, 8) if "median" in line)
    assert "┄" in row


def test_no_iteration_no_lines() -> None:
    assert sketch([], 80, 8) == []
