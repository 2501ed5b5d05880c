"""The gate for services whose spikes are common: as often wrong as it says, and sure where there is something."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from numatune.verdict.ranks import chance_of_slowness

WINDOWS = 240


def phases(generator: np.random.Generator, on: float, off: float) -> npt.NDArray[np.bool_]:
    """Windows that something was at work in, for so many at a time on average."""
    found = np.zeros(WINDOWS, dtype=np.bool_)
    place, state = 0, bool(generator.random() < on / (on + off))
    while place < WINDOWS:
        length = int(generator.geometric(1 / (on if state else off)))
        found[place : place + length] = state
        place, state = place + length, not state
    return found


def test_what_has_nothing_to_do_with_slowness_is_found_as_often_as_said() -> None:
    """Both come in bursts of a second or two, which a test that takes windows for independent falls for."""
    chances = []
    for seed in range(1000):
        generator = np.random.default_rng(seed)
        slow = 0.02 * np.abs(generator.standard_normal(WINDOWS))
        slow += phases(generator, 6, 10) * generator.uniform(0.0, 0.5, WINDOWS)
        chances.append(chance_of_slowness(phases(generator, 4, 12), slow))
    assert 0.03 < np.mean(np.array(chances) <= 0.05) < 0.07
    assert np.mean(np.array(chances) <= 0.01) < 0.02


def test_what_makes_windows_slow_is_found_among_those_that_are_slow_anyway() -> None:
    generator = np.random.default_rng(1)
    slow = phases(generator, 6, 10) * generator.uniform(0.0, 0.5, WINDOWS)
    marks = np.zeros(WINDOWS, dtype=np.bool_)
    marks[generator.choice(WINDOWS, 15, replace=False)] = True
    assert chance_of_slowness(marks, slow + 0.6 * marks) < 1e-4
    # Windows that are faster than the others are no cause of spikes.
    assert chance_of_slowness(marks, slow - 0.6 * marks) > 0.9


@pytest.mark.parametrize("every", [3, 4, 5, 8])
def test_what_comes_at_a_steady_pace_is_found_too(every: int) -> None:
    generator = np.random.default_rng(2)
    slow = phases(generator, 6, 10) * generator.uniform(0.0, 0.5, WINDOWS)
    marks = np.arange(WINDOWS) % every == 0
    assert chance_of_slowness(marks, slow + 0.6 * marks) < 1e-3
    assert chance_of_slowness(marks, slow) > 0.05


@pytest.mark.parametrize("windows", [3, 4])
def test_one_window_of_a_few_names_nothing(windows: int) -> None:
    marks = np.zeros(windows, dtype=np.bool_)
    marks[1] = True
    assert chance_of_slowness(marks, np.where(marks, 9.0, 1.0 + 0.01 * np.arange(windows))) > 0.05


def test_a_mark_on_all_windows_or_on_none_tells_nothing() -> None:
    slow = np.arange(10.0)
    assert chance_of_slowness(np.zeros(10, dtype=np.bool_), slow) == 1.0
    assert chance_of_slowness(np.ones(10, dtype=np.bool_), slow) == 1.0
    assert chance_of_slowness(slow > 5, np.ones(10)) == 1.0
