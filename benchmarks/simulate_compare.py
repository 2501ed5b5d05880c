"""How often `compare` gives each verdict where the truth is known: simulated runs with and without an effect.

Prints a table with 95 % intervals, and whether false "eliminated" stays at most 5 % by the interval's lower end where
nothing changed. Each side has three launches of 1,000 iterations. It asserts nothing; the exit code is 1 where a false
"eliminated" is more frequent than that.

    python benchmarks/simulate_compare.py --rounds 2000 --jobs 2
"""

from __future__ import annotations

import argparse
import collections
import functools
import multiprocessing
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from numatune.verdict.comparison import compare
from numatune.verdict.decision import VERDICTS
from numatune.verdict.run import Run

LAUNCHES, ITERATIONS = 3, 1000
MEDIAN_NS = 100e6
NOISE, DRIFT, DRIFT_MEMORY = 0.006, 0.004, 0.995
"""Of the median: the deviation of the lognormal noise and of the AR(1) drift, and how much of the drift stays."""

LAUNCH_SPREAD = 0.02
"""Launches differ in their median by so much: it must not matter."""

BURST = 4.0
"""Mean length of a burst, iterations; some last far longer."""

LARGEST_FALSE_SHARE = 0.05
ENVIRONMENT = {
    "machine": "m",
    "cpu_model": "c",
    "arch": "x86_64",
    "model": {"name": "resnet152", "size": 224, "graph_sha256": "g", "weights_sha256": "w"},
    "batch": 1,
    "precision": "fp32",
    "memory_policy": "none",
    "engine": {"name": "onnxruntime", "version": "1"},
    "numpy": "2",
    "threads": 2,
}


@dataclass(frozen=True)
class Scene:
    """What both sides are like: shares of iterations that are spikes, alone or in bursts.

    `spread` is the deviation of the logarithm of a launch's own share.
    """

    name: str
    before: float
    after: float
    clustered: bool = False
    spread: float = 0.0

    @property
    def same(self) -> bool:
        return self.before == self.after


SCENES = (
    Scene("(a) no effect, 1 %", 0.01, 0.01),
    Scene("(b) no effect, 1 % in bursts, launches differ", 0.01, 0.01, True, 0.4),
    Scene("(b') no effect, 0.3 % in bursts, launches differ", 0.003, 0.003, True, 0.4),
    Scene("(c) 2 % to 0.2 %", 0.02, 0.002),
    Scene("(d) 0.5 % to 0.05 %", 0.005, 0.0005),
    Scene("(e) no spikes at all", 0.0, 0.0),
    Scene("(f) 2 % to 0.2 % in bursts", 0.02, 0.002, True),
)


def main() -> int:
    """Simulate every scene and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="comparisons a scene (default: 2000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sizes = f"{LAUNCHES} launches of {ITERATIONS:,} iterations a side"
    print(f"{args.rounds:,} comparisons a scene, {sizes}, seed {args.seed}")
    print("share of each verdict, % (95 % interval)\n")
    met = True
    with multiprocessing.Pool(args.jobs) if args.jobs > 1 else _Alone() as pool:
        for number, scene in enumerate(SCENES):
            started = time.perf_counter()
            judge = functools.partial(verdict_of, scene, args.seed, number)
            counts = collections.Counter(pool.imap_unordered(judge, range(args.rounds), chunksize=10))
            print(f"{scene.name}   [{time.perf_counter() - started:.0f} s]")
            for verdict in VERDICTS:
                if counts[verdict]:
                    print(f"    {verdict:<13}{described(counts[verdict], args.rounds)}")
            if scene.same:
                low, _high = interval(counts["eliminated"], args.rounds)
                met = met and low <= LARGEST_FALSE_SHARE
                word = "at most" if low <= LARGEST_FALSE_SHARE else "MORE THAN"
                print(f'    false "eliminated": {word} 5 %, {described(counts["eliminated"], args.rounds)}')
            sys.stdout.flush()
    return 0 if met else 1


def verdict_of(scene: Scene, seed: int, number: int, round_: int) -> str:
    """The verdict of one simulated comparison; the same for the same arguments."""
    generator = np.random.default_rng((seed, number, round_))
    sides = [
        [made_run(scene, share, generator, f"{2 * launch + side:02}") for launch in range(LAUNCHES)]
        for side, share in enumerate((scene.before, scene.after))
    ]
    return compare(*sides).verdict


def made_run(scene: Scene, share: float, generator: np.random.Generator, started: str) -> Run:
    """One launch: lognormal noise, a level that drifts, and spikes of 1.15 to some 3 medians."""
    drift = np.empty(ITERATIONS)
    level, step = DRIFT * generator.standard_normal(), DRIFT * np.sqrt(1.0 - DRIFT_MEMORY**2)
    for at, kick in enumerate(step * generator.standard_normal(ITERATIONS)):
        level = DRIFT_MEMORY * level + kick
        drift[at] = level
    latency = np.exp(NOISE * generator.standard_normal(ITERATIONS) + drift)
    rate = share * np.exp(scene.spread * generator.standard_normal() - scene.spread**2 / 2)
    spikes = np.fromiter(places(scene, rate, generator), dtype=np.intp)
    latency[spikes] *= 1.15 + generator.lognormal(np.log(0.3), 0.7, spikes.size)
    latency *= MEDIAN_NS * np.exp(LAUNCH_SPREAD * generator.standard_normal())
    return Run(f"run-{started}", latency, {}, ENVIRONMENT, started=started)


def places(scene: Scene, rate: float, generator: np.random.Generator) -> Iterable[int]:
    """The iterations that are spikes, each named once."""
    if not scene.clustered:
        return [int(at) for at in np.flatnonzero(generator.random(ITERATIONS) < rate)]
    # Two thirds of the iterations of a burst are slow.
    starts = np.flatnonzero(generator.random(ITERATIONS) < rate / (BURST * 2.0 / 3.0))
    found: set[int] = set()
    for start, length in zip(starts, generator.geometric(1.0 / BURST, starts.size), strict=True):
        found.update(int(start) + at for at in range(length) if generator.random() < 2.0 / 3.0)
    return sorted(at for at in found if at < ITERATIONS)


def interval(count: int, rounds: int) -> tuple[float, float]:
    """Clopper and Pearson's."""
    found = stats.binomtest(count, rounds).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def described(count: int, rounds: int) -> str:
    """A share with its interval, in per cent."""
    low, high = interval(count, rounds)
    return f"{100 * count / rounds:5.1f} ({100 * low:.1f} to {100 * high:.1f})"


class _Alone:
    """A pool of this process alone."""

    def __enter__(self) -> _Alone:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def imap_unordered(self, judge: functools.partial[str], rounds: Iterable[int], chunksize: int) -> Iterable[str]:
        del chunksize
        return map(judge, rounds)


if __name__ == "__main__":
    sys.exit(main())
