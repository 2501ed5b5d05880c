"""The progress line: what it says, and that it never wraps."""

from __future__ import annotations

import pytest

from numatune.fleet.events import Progress
from numatune.fleet.progress import estimate, line

MIDDLE = Progress(1000, {"ok": 250, "findings": 50, "incomplete": 0, "unreachable": 12}, {"tcp": 7, "auth": 5}, 8, 45.2)


def test_a_wide_terminal_gets_everything() -> None:
    assert line(MIDDLE, 200) == (
        "312/1,000 hosts · ok 250 · findings 50 · unreachable 12 (tcp 7, auth 5) · 8 in flight · 45 s, about 100 s left"
    )


@pytest.mark.parametrize("width", range(1, 130))
def test_it_never_fills_the_row(width: int) -> None:
    assert len(line(MIDDLE, width)) < width
    if width > 20:
        assert line(MIDDLE, width).startswith("312/1,000 hosts")


def test_a_narrow_terminal_loses_detail_before_counts() -> None:
    assert line(MIDDLE, 80) == "312/1,000 hosts · ok 250 · findings 50 · unreachable 12 · 45 s"
    assert line(MIDDLE, 30) == "312/1,000 hosts · 45 s"


@pytest.mark.parametrize(
    ("progress", "left"),
    [
        (Progress(1000, {"ok": 250}, {}, 8, 30.0), 90.0),
        (Progress(1000, {"ok": 2}, {}, 8, 30.0), None),  # too few to go by
        (Progress(1000, {"ok": 250}, {}, 8, 1.0), None),  # too early
        (Progress(1000, {"ok": 1000}, {}, 0, 30.0), None),
        (Progress(0), None),
    ],
)
def test_an_estimate_is_given_when_there_is_something_to_go_by(progress: Progress, left: float | None) -> None:
    assert estimate(progress) == left


def test_long_times_are_told_in_minutes_and_hours() -> None:
    assert line(Progress(10, {"ok": 5}, {}, 0, 600.0)) == "5/10 hosts · ok 5 · 10 min, about 10 min left"
    assert line(Progress(10, {"ok": 5}, {}, 0, 9000.0)) == "5/10 hosts · ok 5 · 2 h 30 min, about 2 h 30 min left"
