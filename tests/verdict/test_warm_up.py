"""The warm-up is found where the level changes, and no spike is ever taken for it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from numatune.verdict.warm_up import LARGEST_SHARE, Values, find_warm_up, warm_up_end


def level(iterations: int = 1000, noise: float = 0.005, seed: int = 0) -> Values:
    return 100e6 * (1.0 + noise * np.random.default_rng(seed).standard_normal(iterations))


@pytest.mark.parametrize("factor", [1.3, 1.05, 0.95])
@pytest.mark.parametrize("length", [8, 30, 200])
def test_a_start_on_another_level_is_the_warm_up(length: int, factor: float) -> None:
    latency = level()
    latency[:length] *= factor
    found = find_warm_up(latency)
    assert abs(found.end - length) <= 2
    assert found.steady
    assert not found.kept[:length].any()
    assert found.kept[found.end :].all()
    assert found.factor == pytest.approx(factor, rel=0.01)


def test_a_start_that_slowly_settles_is_the_warm_up() -> None:
    latency = level()
    latency *= 1.0 + 0.3 * np.exp(-np.arange(1000) / 30)
    end = warm_up_end(latency)
    assert 50 <= end <= 200
    assert np.median(latency[end : end + 20]) < 1.03 * np.median(latency)


@pytest.mark.parametrize("seed", range(20))
def test_an_even_run_has_none(seed: int) -> None:
    assert warm_up_end(level(seed=seed)) == 0
    assert warm_up_end(level(noise=0.05, seed=seed)) == 0


def test_a_slow_drift_below_the_tolerance_has_none() -> None:
    walk = np.cumsum(np.random.default_rng(1).standard_normal(1000))
    assert warm_up_end(level() * (1.0 + 0.004 * walk / walk.std())) == 0


@pytest.mark.parametrize("length", range(1, 6))
def test_spikes_at_the_start_are_not_the_warm_up(length: int) -> None:
    latency = level()
    latency[:length] *= 1.5
    assert find_warm_up(latency).kept.all()


@pytest.mark.parametrize("seed", range(10))
def test_a_long_burst_at_the_start_is_not_the_warm_up(seed: int) -> None:
    generator = np.random.default_rng(seed)
    latency = level()
    latency[:40] *= 1.15 + generator.lognormal(np.log(0.3), 0.7, 40)
    assert find_warm_up(latency).kept.all()


def test_bursts_later_on_and_at_the_end_leave_the_start_alone() -> None:
    latency = level()
    latency[300:360] *= 1.6
    latency[-8:] *= 1.6
    assert find_warm_up(latency).kept.all()


def test_a_spike_within_the_warm_up_stays() -> None:
    latency = level()
    latency[:60] *= 1.2
    latency[[10, 11, 40]] *= 1.5
    found = find_warm_up(latency)
    assert found.end == 60
    assert list(np.flatnonzero(found.kept[:60])) == [10, 11, 40]


def test_a_run_that_never_settles_is_left_whole() -> None:
    for start, stop in ((0, 400), (500, 1000)):
        latency = level()
        latency[start:stop] *= 1.3
        found = find_warm_up(latency)
        assert (found.end, found.steady) == (0, False)
        assert found.kept.all()
    ramp = find_warm_up(level() * np.linspace(1.3, 1.0, 1000))
    assert not ramp.steady
    assert ramp.kept.all()


def test_short_and_even_and_long_runs() -> None:
    assert warm_up_end(np.array([3.0, 1.0])) == 0
    assert warm_up_end(np.full(1000, 1e8)) == 0
    assert warm_up_end(np.concatenate((np.full(20, 1.3e8), np.full(980, 1e8)))) == 20
    assert warm_up_end(np.concatenate((level(50) * 1.2, level(50)))) == 0
    latency = level(50_000)
    latency[:3000] *= 1.15  # more points than are searched: found to the width of a bin
    end = warm_up_end(latency)
    assert 2900 <= end <= 3100
    assert end < LARGEST_SHARE * latency.size


def test_without_the_library_no_warm_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    latency = level()
    latency[:60] *= 1.3
    found = find_warm_up(latency)
    assert (found.end, found.steady) == (0, True)
    assert found.kept.all()
