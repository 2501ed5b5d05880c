"""The period of the spikes: a periodogram of their bursts over time, tested against bursts at random places.

NUMA balancing scans about once a second, timers and cron jobs have periods of their own. Spikes that come in bursts
count as one event: else a few bursts would show a period that is only their length.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

FEWEST = 6
"""Bursts below which no period is looked for."""

_BURST_GAP = 3  # iterations: spikes that follow each other as closely are one burst
_CYCLES = 3.0  # a period that fits fewer times into the run is none
_MOST_BINS = 1 << 15
_BINS_PER_ITERATION = 4
_OVERSAMPLING = 4
_NEARLY = 0.8
"""A narrow pulse has as much power at each multiple of its frequency: the lowest peak of nearly the most counts."""


def spike_period(times_seconds: Values, excess: Values, seed: int = 1, rounds: int = 500) -> tuple[float, float] | None:
    """The strongest period of the spikes, seconds, and the chance to see one as strong where there is none.

    Both arrays have shape (iterations,): the start of each iteration, rising, and by how much it was slower than usual,
    0 where it is no spike (any unit). None with fewer than six bursts, or where the run is too short for a period.
    """
    if times_seconds.shape != excess.shape or times_seconds.ndim != 1:
        raise ValueError(f"one time for each excess is needed, not {times_seconds.shape} and {excess.shape}")
    places, weights = _bursts(excess)
    if places.size < FEWEST:
        return None
    seconds = float(times_seconds[-1] - times_seconds[0])
    step = float(np.median(np.diff(times_seconds)))
    if step <= 0.0 or seconds < 2 * _CYCLES * step:
        return None
    width = max(step / _BINS_PER_ITERATION, seconds / _MOST_BINS)
    bins = np.floor((times_seconds - times_seconds[0]) / width).astype(np.intp)
    size = int(bins[-1]) + 1
    spectrum = _Spectrum(bins, size, width, step)
    if spectrum.frequencies.size < 3:
        return None
    observed = spectrum.power(places, weights)
    generator = np.random.default_rng(seed)
    strongest = float(observed.max())
    as_strong = 1  # the observed arrangement is one of those possible
    for _ in range(rounds):
        elsewhere = _random_places(generator, times_seconds.size, places.size)
        as_strong += float(spectrum.power(elsewhere, generator.permutation(weights)).max()) >= strongest
    frequency = float(spectrum.frequencies[_lowest_peak(observed)])
    return 1.0 / frequency, as_strong / (rounds + 1)


class _Spectrum:
    """Power over the frequencies between three cycles a run and one every second iteration."""

    def __init__(self, bins: Indices, size: int, width: float, step: float) -> None:
        self._bins, self._size = bins, size
        self._padded = 1 << math.ceil(math.log2(_OVERSAMPLING * size))
        frequencies = np.fft.rfftfreq(self._padded, width)
        self._range = (frequencies >= _CYCLES / (size * width)) & (frequencies <= 0.5 / max(step, 2.0 * width))
        self.frequencies = frequencies[self._range]

    def power(self, places: Indices, weights: Values) -> Values:
        """The power of events of these weights at these iterations, shape (frequencies,)."""
        series = np.bincount(self._bins[places], weights, minlength=self._size)
        transformed = np.fft.rfft(series - series.mean(), self._padded)[self._range]
        return np.asarray(transformed.real**2 + transformed.imag**2, dtype=np.float64)


def _bursts(excess: Values) -> tuple[Indices, Values]:
    """The first iteration of each burst of spikes, and its weight: one outstanding spike must not drown the others."""
    spikes = np.flatnonzero(excess > 0)
    if not spikes.size:
        return spikes, np.empty(0)
    first = np.concatenate(([True], np.diff(spikes) > _BURST_GAP))
    sums = np.add.reduceat(excess[spikes], np.flatnonzero(first))
    return spikes[first], np.minimum(sums / float(np.median(sums)), 1.0)


def _random_places(generator: np.random.Generator, iterations: int, count: int) -> Indices:
    """Random iterations, as far apart as bursts are; not random moments, which the length of iterations would show."""
    room = iterations - _BURST_GAP * (count - 1)
    places = np.sort(generator.choice(room, size=count, replace=False))
    return np.asarray(places + _BURST_GAP * np.arange(count), dtype=np.intp)


def _lowest_peak(power: Values) -> int:
    """The index of the lowest frequency whose power is a local maximum and nearly the largest of all."""
    inner = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] >= power[2:])) + 1
    largest = int(power.argmax())
    high = inner[power[inner] >= _NEARLY * power[largest]]
    return int(high[0]) if high.size else largest
