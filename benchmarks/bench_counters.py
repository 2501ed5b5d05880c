"""The recorder's own cost: its counters, its loop against a bare one, its memory, and the time until it measures.

Prints medians and intervals; asserts nothing. It uses the user's cache of weights and makes them first where they are
missing. `--quick` takes about half a minute instead of some three, and its figures are worth as much less.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PROGRAM = "import sys; from numatune.cli import main; sys.exit(main())"
MODEL, SIZE = "resnet152", 224
IDLE_THREADS = 52
COLD_BYTES = 64 << 20
"""Written before each reading of the idle threads: more than the caches hold, as after an inference."""


def main() -> None:
    """Measure everything, or with `--loop THREADS BLOCKS LENGTH` be the process that compares the two loops."""
    if sys.argv[1:2] == ["--loop"]:
        print(json.dumps(both_loops(*map(int, sys.argv[2:5]))))
        return
    quick = "--quick" in sys.argv[1:]
    runs, iterations, blocks = (1, 30, 6) if quick else (3, 60, 24)
    print(f"the recorder ({MODEL}, {SIZE} pixels, {iterations} inferences a run)")
    record("1", 2)  # makes the weights where there are none, so that the runs below find them cached
    for threads in ("1", "auto"):
        recorded(threads, runs, iterations)
    idle_threads(40 if quick else 200)
    for threads in sorted({1, free_cores()}):
        compare_loops(threads, blocks, 8)


def recorded(threads: str, runs: int, iterations: int) -> None:
    """Print what some runs say of their own cost."""
    results = [record(threads, iterations) for _ in range(runs)]
    cost = [result["counter_cost_ns"] for result, _ in results]
    tiers = [result["tier_cost_ns"] for result, _ in results]
    used = results[0][0]["environment"]["threads"]
    print(
        f"{used} thread{'s' if used > 1 else ' '}   counters of tier B: "
        f"p50 {statistics.median(one['p50'] for one in cost) / 1e3:.1f} us, "
        f"p90 {statistics.median(one['p90'] for one in cost) / 1e3:.1f} us   wanted: p50 at most 50 us"
    )
    whole = ", ".join(f"{tier} {statistics.median(one[tier]['p50'] for one in tiers) / 1e3:.1f}" for tier in "ABCD")
    each = [one["per_thread_ns"] for one in tiers if one["per_thread_ns"] is not None]
    share = f"; schedstat {statistics.median(each) / 1e3:.1f} us a thread" if each else ""
    print(f"            whole readings, without strides: {whole} us{share}")
    rare = {name: n for name, n in results[0][0]["counter_strides"].items() if n > 1}
    print(f"            read more rarely: {rare or 'none'}")
    print(
        f"            start to first inference: {describe([r['seconds_to_first_iteration'] for r, _ in results])} s   "
        "wanted: at most 5 s"
    )
    medians = [statistics.median(result["latency_ns"]) / 1e6 for result, _ in results]
    print(f"            p50 of an inference: {describe(medians)} ms")
    print(f"            peak resident memory: {describe([peak for _, peak in results])} MB   wanted: at most 900 MB")
    marked = sorted({event["event"] for result, _ in results for event in result["invalidating_events"]})
    if marked:
        print(f"            not quiet while measuring: {', '.join(marked)}")


def describe(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} (from {min(values):.2f} to {max(values):.2f})"


def record(threads: str, iterations: int) -> tuple[dict[str, Any], float]:
    """One result of `numatune bench` and its peak memory in MB; 3 is a run that is marked: the machine was busy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-c", PROGRAM, "bench", "--model", MODEL, "--size", str(SIZE), "--threads", threads]
        command += ["--iterations", str(iterations), "-o", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (Path(folder) / "err").open("w+") as err:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, env=environment)
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3) or not path.exists():
                err.seek(0)
                sys.exit(f"numatune bench ended with {process.returncode}: {err.read().strip()[-300:]}")
        return json.loads(path.read_text()), usage.ru_maxrss * 1024 / 1e6


def idle_threads(rounds: int) -> None:
    """Print what the run delay of 52 threads costs to read, whole and by its stride, with caches warm and cold."""
    from numatune.bench.counters.sources import Schedstat, middle
    from numatune.bench.counters.tiers import timed

    stop, ready = threading.Event(), threading.Barrier(IDLE_THREADS + 1)
    ids: list[int] = []

    def sleep() -> None:
        ids.append(threading.get_native_id())
        ready.wait()
        stop.wait()

    workers = [threading.Thread(target=sleep) for _ in range(IDLE_THREADS)]
    for worker in workers:
        worker.start()
    ready.wait()
    source = Schedstat(ids)
    try:
        if not source.names:
            print(f"{IDLE_THREADS} idle threads: {source.unavailable}")
            return
        source.room(1)
        cold, noise = bytearray(COLD_BYTES), bytes(COLD_BYTES)
        limit = (Schedstat.limit_ns or 0) / 1e3
        print(f"{IDLE_THREADS} idle threads, schedstat of all of them (above {limit:.0f} us read more rarely)")
        for name, disturb in (("warm", lambda: None), ("caches cold", lambda: cold.__setitem__(slice(None), noise))):
            costs = []
            for _ in range(rounds):
                disturb()
                costs.append(timed(source))
            costs.sort()
            stride = source.stride(middle(costs))
            cost, dear = middle(costs) / 1e3, costs[len(costs) * 9 // 10] / 1e3
            print(
                f"            {name}: whole p50 {cost:.1f} us, p90 {dear:.1f} us, {cost / IDLE_THREADS:.2f} us "
                f"a thread, read after one iteration of {stride}: {cost / stride:.1f} us an iteration"
            )
    finally:
        source.close()
        stop.set()
        for worker in workers:
            worker.join()


def free_cores() -> int:
    from numatune.bench.cpus import choose_cpus

    return len(choose_cpus(None))


def compare_loops(threads: int, blocks: int, length: int) -> None:
    """Print the ratio of the medians of numatune's loop and of a bare one, measured in turns in one process."""
    command = [sys.executable, __file__, "--loop", str(threads), str(blocks), str(length)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the comparison of the loops ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    bare, counted = json.loads(done.stdout)
    ratio, low, high = ratio_of_medians(counted, bare)
    print(
        f"{threads} thread{'s' if threads > 1 else ' '}   numatune's loop against a bare one, in turns, "
        f"{blocks} blocks of {length} each: {median_of(counted) / 1e6:.2f} against {median_of(bare) / 1e6:.2f} ms\n"
        f"            ratio of medians {ratio:.4f}, 95 % interval {low:.4f} to {high:.4f}   "
        "wanted: it includes 1.01 or less"
    )


def both_loops(threads: int, blocks: int, length: int) -> tuple[list[list[int]], list[list[int]]]:
    """Latencies in ns by block, of the bare loop and of numatune's with tier B, on one session, ABBA."""
    from numatune.bench import measure
    from numatune.bench.counters.tiers import Counters
    from numatune.bench.cpus import choose_cpus
    from numatune.bench.model.cache import ensure_model
    from numatune.bench.model.engine import Session, import_engine
    from numatune.bench.placing import pinning

    cpus = choose_cpus(threads)
    import_engine()
    model = ensure_model(MODEL, measure.ignore)
    from numatune.bench.model.weights import images

    bare: list[list[int]] = []
    counted: list[list[int]] = []
    with ExitStack() as kept:
        counters = Counters(2 * blocks * (length + 2), "B", cpus)
        kept.callback(counters.close)
        kept.enter_context(pinning.idle_helper())
        kept.enter_context(pinning.pinned_caller(cpus[0]))
        earlier = pinning.thread_ids()
        session = Session(model.graph_path, cpus, images(1, SIZE))
        counters.watch([threading.get_native_id(), *(pinning.thread_ids() - earlier)])
        for _ in range(5):
            session.infer()
            counters.probe()
        counters.settle()
        read, run = counters.reader(), session.infer
        limits = measure.Limits(length + 1)
        for block in range(2 * blocks):
            if block % 4 in (0, 3):
                bare.append(bare_loop(run, length + 1)[1:])
            else:
                taken, _offsets = measure._time_each(run, read, limits, measure.ignore, measure.ignore)
                counted.append(list(taken)[1:])
    return bare, counted


def bare_loop(run: Any, length: int) -> list[int]:
    """What a benchmark without counters does. The first of a block, after the other loop's end, is left out of both."""
    taken = []
    for _ in range(length):
        start = time.perf_counter_ns()
        run()
        taken.append(time.perf_counter_ns() - start)
    return taken


def median_of(blocks: Sequence[Sequence[int]]) -> float:
    return statistics.median(value for block in blocks for value in block)


def ratio_of_medians(above: list[list[int]], below: list[list[int]], draws: int = 2000) -> tuple[float, float, float]:
    """The ratio, and its 95 % interval by a bootstrap of the pairs of neighbouring blocks."""
    chance = random.Random(1)
    pairs = list(zip(above, below, strict=True))
    ratios = []
    for _ in range(draws):
        drawn = chance.choices(pairs, k=len(pairs))
        ratios.append(median_of([one for one, _ in drawn]) / median_of([other for _, other in drawn]))
    ratios.sort()
    return median_of(above) / median_of(below), ratios[draws * 25 // 1000], ratios[draws * 975 // 1000]


if __name__ == "__main__":
    main()
