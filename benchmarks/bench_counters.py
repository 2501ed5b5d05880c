"""The recorder's own cost: tier B's counters per iteration, and the time from start to the first measured inference.

Prints medians; asserts nothing. It uses the user's cache of weights and makes them first where they are missing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = "import sys; from numatune.cli import main; sys.exit(main())"
RUNS = 3


def main() -> None:
    """Run the benchmark a few times, short, at one thread and at as many as it takes by itself."""
    print("the recorder (resnet152, 224 pixels, 60 inferences a run)")
    record("1", 2)  # makes the weights where there are none, so that the runs below find them cached
    for threads in ("1", "auto"):
        results = [record(threads, 60) for _ in range(RUNS)]
        cost = [result["counter_cost_ns"] for result in results]
        leads = [result["seconds_to_first_iteration"] for result in results]
        medians = [statistics.median(result["latency_ns"]) / 1e6 for result in results]
        used = results[0]["environment"]["threads"]
        print(
            f"{used} thread{'s' if used > 1 else ' '}   counters of tier B: "
            f"p50 {statistics.median(one['p50'] for one in cost) / 1e3:.1f} us, "
            f"p90 {statistics.median(one['p90'] for one in cost) / 1e3:.1f} us   wanted: p50 at most 50 us"
        )
        print(f"            start to first inference: {describe(leads)} s   wanted: at most 5 s")
        print(f"            p50 of an inference: {describe(medians)} ms")
        marked = sorted({event["event"] for result in results for event in result["invalidating_events"]})
        if marked:
            print(f"            not quiet while measuring: {', '.join(marked)}")


def describe(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} (from {min(values):.2f} to {max(values):.2f})"


def record(threads: str, iterations: int) -> dict:
    """One result of `numatune bench`; 3 is a run that is marked, because the machine was busy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-c", PROGRAM, "bench", "--threads", threads]
        command += ["--iterations", str(iterations), "-o", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode not in (0, 3) or not path.exists():
            sys.exit(f"numatune bench ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return json.loads(path.read_text())


if __name__ == "__main__":
    main()
