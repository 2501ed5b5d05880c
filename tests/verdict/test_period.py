"""A period is found where there is one, and chance seldom makes one."""

from __future__ import annotations

import numpy as np
import pytest

from numatune.verdict.period import Values, spike_period

STEP = 0.1


def train(
    period: float, *, width: int = 1, alone: int = 0, missed: float = 0.2, seed: int = 0, iterations: int = 1000
) -> tuple[Values, Values]:
    """Times and excess: a burst of `width` at each period, some left out, with a little jitter; other spikes alone."""
    generator = np.random.default_rng(seed)
    times, excess = STEP * np.arange(iterations), np.zeros(iterations)
    for moment in np.arange(0.3, iterations * STEP, period):
        start = round((moment + 0.02 * period * generator.standard_normal()) / STEP)
        if generator.random() >= missed:
            excess[max(0, start) : start + width] = generator.lognormal(0, 1)
    excess[generator.integers(0, iterations, alone)] = generator.lognormal(0, 1)
    return times, excess


@pytest.mark.parametrize("period", [0.5, 1.0, 1.3, 4.0])
@pytest.mark.parametrize(("width", "alone"), [(1, 0), (2, 4)])
def test_a_period_is_found_and_not_its_harmonic(period: float, width: int, alone: int) -> None:
    found = spike_period(*train(period, width=width, alone=alone))
    assert found is not None
    seconds, p = found
    assert seconds == pytest.approx(period, rel=0.03)
    assert p < 0.05


def test_slow_iterations_do_not_shift_the_period() -> None:
    """Spikes lengthen their own iterations: time counts, not the number of the iteration."""
    generator = np.random.default_rng(2)
    times, excess, clock, due = [], [], 0.0, 1.0
    for _ in range(1000):
        late = clock + STEP > due
        times.append(clock)
        excess.append(0.6 if late else 0.0)
        clock += STEP + (0.6 if late else 0.0) + 0.002 * generator.random()
        due += 2.0 if late else 0.0
    found = spike_period(np.array(times), np.array(excess))
    assert found is not None
    assert found[0] == pytest.approx(2.0, rel=0.02)
    assert found[1] < 0.01


@pytest.mark.parametrize("clustered", [False, True])
def test_chance_seldom_makes_a_period(clustered: bool) -> None:
    generator = np.random.default_rng(5)
    low = 0
    for _ in range(60):
        excess = np.zeros(1000)
        for start in np.flatnonzero(generator.random(1000) < 0.01):
            excess[start : start + (generator.geometric(0.3) if clustered else 1)] = generator.lognormal(0, 1)
        found = spike_period(STEP * np.arange(1000), excess, rounds=100)
        low += found is not None and found[1] <= 0.05
    assert low <= 8


def test_one_enormous_spike_does_not_hide_a_period() -> None:
    times, excess = train(1.0)
    excess[503] = 1000.0
    found = spike_period(times, excess)
    assert found is not None
    assert found[0] == pytest.approx(1.0, rel=0.03)


def test_too_little_for_a_period() -> None:
    times = STEP * np.arange(1000)
    few, burst = np.zeros(1000), np.zeros(1000)
    few[::200] = 1.0
    burst[400:450] = 1.0  # many spikes, one event
    assert spike_period(times, np.zeros(1000)) is None
    assert spike_period(times, few) is None
    assert spike_period(times, burst) is None
    assert spike_period(np.zeros(40), np.ones(40)) is None
    assert spike_period(np.empty(0), np.empty(0)) is None
    with pytest.raises(ValueError, match="one time for each excess"):
        spike_period(times, few[:10])


def test_the_answer_is_the_same_each_time() -> None:
    assert spike_period(*train(1.0)) == spike_period(*train(1.0))
