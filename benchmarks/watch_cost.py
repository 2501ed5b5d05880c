"""What `numatune watch` costs the service that it watches, and what it names when another task takes the service's CPU.

    benchmarks/watch_cost.py [--rounds 10] [--seconds 10] [--interval 0.25] [--cpu N] [--numpy] [--hog [SECONDS]]

The service is a plain C program (numpy where there is no compiler, or with --numpy) that multiplies matrices for some
milliseconds a request, pinned to one CPU, and logs each latency as a line. The matrices fit a core's own cache: where
they did not, what other virtual machines did to the shared one was slower than the hog. It runs on and on while `watch`
is attached and not, in turns; the first of a pair changes from round to round. Printed: the ratio of medians and of
99th percentiles, with against without, with 95 % intervals by a bootstrap of the pairs, and what the watcher used
itself.
--hog puts a task on the service's CPU, 60 ms in each 1.5 s, and prints what `watch` says, once with it and once
without. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PROGRAM = "import sys; from numatune.cli import main; sys.exit(main())"

C_SERVICE = r"""
#include <stdio.h>
#include <time.h>
enum { N = 128, TIMES = 27 };
static float a[N][N], b[N][N], c[N][N];
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}
int main(int count, char **words) {
    FILE *log = fopen(words[count - 1], "a");
    setvbuf(log, NULL, _IOLBF, 0);
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) { a[i][j] = i + j; b[i][j] = i - j; }
    for (;;) {
        double start = now();
        for (int times = 0; times < TIMES; times++)
            for (int i = 0; i < N; i++)
                for (int k = 0; k < N; k++)
                    for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
        a[0][0] = c[N - 1][N - 1] > 0;
        fprintf(log, "%.6f\n", (now() - start) * 1e3);
    }
}
"""
NUMPY_SERVICE = """
import sys, time
import numpy as np
log = open(sys.argv[1], "a", buffering=1)
a, b = np.random.default_rng(1).random((2, 400, 400), dtype=np.float32)
while True:
    start = time.perf_counter()
    a @ b
    log.write(f"{(time.perf_counter() - start) * 1e3:.6f}\\n")
"""
HOG = """
import time
while True:
    end = time.perf_counter() + 0.06
    while time.perf_counter() < end:
        pass
    time.sleep(1.44)
"""


def main() -> None:
    """Run the pairs, then the hog where it is asked for."""
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="numatune-watch-cost-") as name, service(Path(name), args) as (pid, log):
        time.sleep(1.0)  # the first requests warm up
        if args.hog is None:
            compare(pid, log, args)
        else:
            for words, wanted in (("without a hog", False), ("with a hog, 60 ms in each 1.5 s", True)):
                print(f"--- {words}")
                with hog(args.cpu) if wanted else contextlib.nullcontext():
                    print(watch_for(args.hog, pid, log, args))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each half of a round")
    parser.add_argument("--interval", default="0.25", metavar="S")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--numpy", action="store_true", help="a numpy loop instead of the C program")
    parser.add_argument("--hog", nargs="?", type=float, const=60.0, metavar="S")
    return parser.parse_args()


@contextlib.contextmanager
def service(folder: Path, args: argparse.Namespace) -> Iterator[tuple[int, Path]]:
    """The service, pinned, and its log."""
    log, compiler = folder / "latency.log", shutil.which("cc")
    log.touch()
    command = [sys.executable, "-c", NUMPY_SERVICE, str(log)]
    if compiler and not args.numpy:
        (folder / "service.c").write_text(C_SERVICE)
        subprocess.run([compiler, "-O2", "-o", folder / "service", folder / "service.c"], check=True)
        command = [str(folder / "service"), str(log)]
    print(f"the service: {'a C program' if compiler and not args.numpy else 'numpy'} on CPU {args.cpu}", flush=True)
    with pinned(command, args.cpu) as pid:
        yield pid, log


@contextlib.contextmanager
def pinned(command: list[str], cpu: int) -> Iterator[int]:
    """A process on one CPU, ended at the end."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def hog(cpu: int) -> contextlib.AbstractContextManager[int]:
    return pinned([sys.executable, "-c", HOG], cpu)


def compare(pid: int, log: Path, args: argparse.Namespace) -> None:
    """Pairs of stretches with and without, and the ratios."""
    pairs, shares, samples = [], [], []
    for turn in range(args.rounds):
        found = {}
        for attached in (turn % 2 == 0, turn % 2 == 1):
            if attached:
                found[True], share, sample = with_watch(pid, log, args)
                shares.append(share)
                samples.append(sample)
            else:
                found[False] = stretch(log, args.seconds)
        pairs.append((found[False], found[True]))
        p50, p99 = (np.percentile(found[True], q) / np.percentile(found[False], q) for q in (50, 99))
        print(f"round {turn + 1}: p50 × {p50:.4f}, p99 × {p99:.4f}, watch {shares[-1]:.2%} of one CPU", flush=True)
    requests = sum(len(latency) for pair in pairs for latency in pair)
    print(f"{requests:,} requests, median {statistics.median(np.median(a) for a, _b in pairs):.3f} ms without watching")
    for name, quantile in (("p50", 50), ("p99", 99)):
        logs = np.array([np.log(np.percentile(b, quantile) / np.percentile(a, quantile)) for a, b in pairs])
        drawn = np.random.default_rng(1).choice(logs, (10_000, logs.size)).mean(axis=1)
        low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
        print(f"{name} with / without: {np.exp(logs.mean()):.4f}, 95 % interval {low:.4f} to {high:.4f}")
    print(f"watch itself: {statistics.median(shares):.2%} of one CPU (at most {max(shares):.2%}), ", end="")
    print(f"a sample {statistics.median(samples) / 1e3:.0f} us of CPU time at the median")


def stretch(log: Path, seconds: float) -> np.ndarray:
    """The latencies, ms, of the requests that end in the next `seconds`."""
    start = log.stat().st_size
    time.sleep(seconds)
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().split(b"\n")
    return np.array([float(line) for line in lines[1:-1]])


def start_watch(pid: int, log: Path, args: argparse.Namespace, file: Path) -> subprocess.Popen[str]:
    """`numatune watch`, which has begun to sample when this returns."""
    command = [sys.executable, "-c", PROGRAM, "watch", "--pid", str(pid), "--interval", args.interval]
    command += ["--latency-log", str(log), "-o", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    if watch.stderr is None or "watching" not in watch.stderr.readline():
        sys.exit("numatune watch did not start")
    return watch


def with_watch(pid: int, log: Path, args: argparse.Namespace) -> tuple[np.ndarray, float, float]:
    """The latencies while it is watched, the share of one CPU that watching used, and a sample's CPU time, ns."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "watch.json"
        watch = start_watch(pid, log, args, file)
        latency = stretch(log, args.seconds)
        watch.send_signal(signal.SIGINT)
        watch.communicate()
        watching = json.loads(file.read_text())["watching"]
    time.sleep(0.5)  # what it worked out at its end is over
    return latency, watching["share"], watching["sample_ns"]["p50"]


def watch_for(seconds: float, pid: int, log: Path, args: argparse.Namespace) -> str:
    """What `watch` prints after some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        watch = start_watch(pid, log, args, Path(folder) / "watch.json")
        time.sleep(seconds)
        watch.send_signal(signal.SIGINT)
        return watch.communicate()[0]


if __name__ == "__main__":
    main()
