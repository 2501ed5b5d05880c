"""Does attribution name what was injected? Each injector × FP32 and INT8 × some repeats, with two controls.

    benchmarks/injectors.py [--repeats 3] [--iterations 300] [--only KIND …] [--precisions fp32 int8]
                            [--threads N] [--model NAME] [--size PIXELS] [--folder DIR] [--yes-change-this-host]

The controls are runs without injection, and `faults-elsewhere`, whose faults no inference waits for. The repeats are
the outer loop, so that a machine whose speed drifts treats all kinds alike. Every run is a row of the table and a line
of rows.jsonl, those that failed or were marked too. `numa-balancing` switches a setting of the whole host on for each
of its runs, so it is left out, and said to be, unless --yes-change-this-host is given.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from numatune.verdict.attribution import attribute  # noqa: E402  # after the line above
from numatune.verdict.run import load_run  # noqa: E402  # after the same line

PROGRAM = "import sys; from numatune.cli import main; sys.exit(main())"
# Injector -> the cause that is right; "" where none is, and what was injected must not be named.
EXPECTED = {
    "none": "",
    "faults-elsewhere": "",
    "hog": "run_delay",
    "fork": "minor_faults",
    "sigstop": "voluntary_waits",
    "numa-balancing": "numa_hinting_faults",
}
# The cause that a control must not be blamed for.
BLAMELESS = {"faults-elsewhere": "minor_faults"}
NEEDS_TIER = {"numa-balancing": "C"}  # hinting faults are told from other minor faults by /proc/vmstat
RIGHT = {True: "yes", False: "NO", None: "-"}


def main() -> None:
    """Run everything that was asked for and print a row for each run."""
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    kinds = args.only or list(EXPECTED)
    if "numa-balancing" in kinds and not args.agreed:
        kinds = [kind for kind in kinds if kind != "numa-balancing"]
        print("numa-balancing left out: it changes a setting of this host; say --yes-change-this-host to agree")
    print(f"{'injected':<17}{'precision':<10}{'#':>2} {'bursts':>6}{'p50 ms':>8}{'spikes':>7}  right  causes")
    rows = []
    with (args.folder / "rows.jsonl").open("a") as kept:
        for repeat in range(1, args.repeats + 1):
            for kind in kinds:
                for precision in args.precisions:
                    row = measure(args, kind, precision, repeat)
                    rows.append(row)
                    kept.write(json.dumps(row) + "\n")
                    kept.flush()
                    print(describe(row), flush=True)
    print()
    for line in tally(rows):
        print(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--iterations", type=int, default=300, metavar="N")
    parser.add_argument("--only", nargs="+", choices=tuple(EXPECTED), metavar="KIND", help=", ".join(EXPECTED))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "int8"), default=["fp32", "int8"])
    parser.add_argument("--threads", default="auto", metavar="N|auto")
    parser.add_argument("--model", default="resnet152")
    parser.add_argument("--size", default="224", metavar="PIXELS")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/injectors", metavar="DIR")
    parser.add_argument("--yes-change-this-host", action="store_true", dest="agreed")
    return parser.parse_args()


def measure(args: argparse.Namespace, kind: str, precision: str, repeat: int) -> dict[str, Any]:
    """One run and what is said of it; "failed" holds the message where there is no result."""
    path = args.folder / f"{kind}-{precision}-{repeat}.json"
    path.unlink(missing_ok=True)  # an older run must not stand in for one that failed
    command = [sys.executable, "-c", PROGRAM, "bench", "--model", args.model, "--size", args.size]
    command += ["--threads", args.threads, "--iterations", str(args.iterations), "--precision", precision]
    command += ["--counters", NEEDS_TIER.get(kind, "B"), "-o", str(path)]
    if kind != "none":
        command += ["--inject", kind]
    if kind == "numa-balancing":
        command.append("--yes-change-this-host")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    row: dict[str, Any] = {"injected": kind, "precision": precision, "repeat": repeat, "file": path.name}
    # 3 is a run that is marked, because the machine was busy; it has its result.
    if done.returncode not in (0, 3) or not path.exists():
        return {**row, "failed": f"ended with {done.returncode}: {done.stderr.strip()[-300:]}"}
    run = load_run(str(path))
    found = attribute(run)
    injection = run.environment.get("injection") or {}
    return {
        **row,
        "started": run.started,
        "iterations": len(run.latency),
        "bursts": injection.get("bursts"),
        "median_ms": run.median / 1e6,
        "marks": [event["event"] for event in run.events],
        "right": judge(kind, found),
        "attribution": found.as_dict(),
    }


def judge(kind: str, found: Any) -> bool | None:
    """Whether the right cause is named first, or a control is not blamed; None where there is nothing to name."""
    named = [share.cause for share in found.shares]
    if kind in BLAMELESS:
        return BLAMELESS[kind] not in named
    if not EXPECTED[kind] or not found.spikes:
        return None
    return named[:1] == [EXPECTED[kind]]


def describe(row: dict[str, Any]) -> str:
    start = f"{row['injected']:<17}{row['precision']:<10}{row['repeat']:>2}"
    if "failed" in row:
        return f"{start}  {row['failed']}"
    found = row["attribution"]
    causes = [
        f"{share['cause']} {share['share']:.0%} ({share['low']:.0%} to {share['high']:.0%})"
        for share in found["shares"]
    ]
    said = ", ".join(causes) or "no cause"
    if found["spikes"]:
        said += f"; unexplained {found['unexplained']:.0%}"
    marks = f"  [{', '.join(row['marks'])}]" if row["marks"] else ""
    bursts = "-" if row["bursts"] is None else row["bursts"]
    right = RIGHT[row["right"]]
    return f"{start} {bursts:>6}{row['median_ms']:>8.1f}{found['spikes']:>7}  {right:<5}  {said}{marks}"


def tally(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line for each injector: how often it was judged rightly, out of all runs."""
    for kind in dict.fromkeys(row["injected"] for row in rows):
        mine = [row for row in rows if row["injected"] == kind]
        right = sum(row.get("right") is True for row in mine)
        failed = sum("failed" in row for row in mine)
        quiet = sum("failed" not in row and row["right"] is None for row in mine)
        if kind == "none":
            spikes = sum(row["attribution"]["spikes"] for row in mine if "failed" not in row)
            said = f"{spikes} spikes in {len(mine) - failed} runs without injection"
        elif kind in BLAMELESS:
            said = f"{BLAMELESS[kind]} not blamed in {right} of {len(mine)} runs"
        else:
            causes = [[share["cause"] for share in row["attribution"]["shares"]] for row in mine if "failed" not in row]
            named = sum(EXPECTED[kind] in found for found in causes)
            said = f"{EXPECTED[kind]} named first in {right} of {len(mine)} runs, at all in {named}"
            said += f", {quiet} without a spike" if quiet else ""
        yield f"{kind:<17}{said}{f', {failed} failed' if failed else ''}"


if __name__ == "__main__":
    main()
