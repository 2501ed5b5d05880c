"""numatune's own speed, side by side with what it is held against; prints medians and ratios, asserts nothing.

Each pair is measured in turns in one run, so that a busy machine slows both sides alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "tests"))

import synthetic  # noqa: E402  # it lies with the tests, which the line above makes importable

from numatune.core import audit, profile  # noqa: E402  # after the same line
from numatune.core.collecting import replay  # noqa: E402  # after the same line


def main() -> None:
    """Measure everything."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} CPUs, load {load}, Python {sys.version.split()[0]}\n")
    compare(
        "numatune --help", [str(BIN / "numatune"), "--help"],
        "python -c pass", [sys.executable, "-c", "pass"],
        rounds=20, wanted="at most 6",
    )  # fmt: skip
    compare(
        "numatune audit", [str(BIN / "numatune"), "audit"],
        "ansible localhost -m setup", [str(BIN / "ansible"), "localhost", "-m", "setup"],
        rounds=7, wanted="at most 0.2",
    )  # fmt: skip
    judging(128, 2, wanted="at most 5 ms")
    judging(512, 8, wanted="at most 20 ms")
    counters = Path(__file__).with_name("bench_counters.py")
    if counters.exists():
        sys.stdout.flush()
        subprocess.run([sys.executable, str(counters)], check=False)


def compare(
    name: str, command: Sequence[str], other_name: str, other: Sequence[str], *, rounds: int, wanted: str
) -> None:
    """Run two commands in turns and print the medians of their wall times."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        theirs.append(wall(other))
        mine.append(wall(command))
    first, second = statistics.median(mine), statistics.median(theirs)
    print(f"{name:<28} {first * 1e3:9.1f} ms   median of {rounds}, from {min(mine) * 1e3:.1f} to {max(mine) * 1e3:.1f}")
    print(f"{other_name:<28} {second * 1e3:9.1f} ms   from {min(theirs) * 1e3:.1f} to {max(theirs) * 1e3:.1f}")
    print(f"{'ratio':<28} {first / second:9.2f}      wanted: {wanted}\n")


def wall(command: Sequence[str]) -> float:
    """Return how long a command takes; one that is no audit, or dies, would make the figure a lie."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    taken = time.perf_counter() - start
    # 1 and 3 are an audit's findings.
    if done.returncode not in (0, 1, 3) or "Traceback" in done.stderr:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return taken


def judging(cpus: int, nodes: int, *, wanted: str, rounds: int = 15) -> None:
    """Print the CPU time of judging one made-up host, each time from a new snapshot."""
    wanted_profile = profile.builtin("inference-latency")
    files = synthetic.host(cpus, nodes)
    readings = [cpu(lambda: replay.collect(synthetic.Tree(files), complete=True)) for _ in range(rounds)]
    times = []
    for _ in range(rounds):
        snapshot = replay.collect(synthetic.Tree(files), complete=True)
        times.append(cpu(partial(audit.judge, snapshot, wanted_profile, date(2026, 1, 1))))
    print(f"{f'judging {cpus} CPUs':<28} {statistics.median(times) * 1e3:9.2f} ms   of CPU, median; wanted: {wanted}")
    print(f"{'  the first, imports warm':<28} {times[0] * 1e3:9.2f} ms")
    print(f"{'  (reading its tree':<28} {statistics.median(readings) * 1e3:9.2f} ms)\n")


def cpu(call: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
