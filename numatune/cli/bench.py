"""`numatune bench`: record a pinned run and show its spikes, and what came with them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..bench import DEFAULT_ITERATIONS, QUICK_ITERATIONS
from .errors import BAD_INPUT, INCOMPLETE, OK, CliError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..verdict.company import Company, Spike
    from ..verdict.run import Run
    from ..verdict.statistics import Summary

SHOWN = 15
_BAR = 30

# Counter -> (its name in a sentence, divisor, unit).
_WORDS = {
    "minor_faults": ("minor faults", 1.0, ""),
    "major_faults": ("major faults", 1.0, ""),
    "voluntary_switches": ("voluntary switches", 1.0, ""),
    "involuntary_switches": ("involuntary switches", 1.0, ""),
    "cpu_migrations": ("migrations", 1.0, ""),
    "run_delay_ns": ("run delay", 1e6, " ms"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--model", choices=("resnet152", "resnet50"), default="resnet152", help="(default: resnet152)")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="side of the image (default: 224)")
    parser.add_argument(
        "--threads", type=_threads, default=None, metavar="N|auto", help="default: auto, one per core of one node"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help=f"inferences (default: {DEFAULT_ITERATIONS})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_ITERATIONS} inferences; the result says that it is provisional"
    )
    parser.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, such as 2-5 (default: the serving CPUs)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the raw samples go")


def run(args: argparse.Namespace) -> int:
    """Record, write the result, print what a person reads in ten seconds; 3 where the run counts for nothing."""
    from ..bench.errors import BenchError
    from ..bench.files import check_writable
    from ..bench.recorder import record
    from ..bench.result import write_result

    if importlib.util.find_spec("scipy") is None:  # before minutes of measuring, not after
        raise CliError("scipy is not installed: the benchmark needs it; pip install 'numatune[bench]'", BAD_INPUT)
    bar = _Progress()
    try:
        check_writable(args.output)
        result = record(_request(args), say=bar.say, progress=bar.show)
        write_result(result, args.output)
    except BenchError as error:
        raise CliError(str(error), error.code) from error
    finally:
        bar.clear()
    _report(result, args.output, args.format)
    return INCOMPLETE if result["invalidating_events"] else OK


def _request(args: argparse.Namespace) -> Any:
    from ..bench.cpus import parse_cpu_list
    from ..bench.recorder import Request

    iterations = args.iterations
    if iterations is None:
        iterations = QUICK_ITERATIONS if args.quick else DEFAULT_ITERATIONS
    cpus = parse_cpu_list(args.cpus) if args.cpus is not None else serving_cpus()
    return Request(
        model=args.model,
        size=args.size,
        threads=args.threads,
        cpus=cpus,
        iterations=iterations,
        provisional=args.quick,
        command=("numatune", *sys.argv[1:]),
        program_version=__version__,
    )


def serving_cpus() -> list[int] | None:
    """The CPUs that serve on this host by its topology; None is every CPU that this process may run on."""
    from ..bench.cpus import allowed_cpus
    from ..core.host import Host
    from ..core.profile import builtin
    from ..core.snapshot import parse_stream
    from ..transport import local

    roles = Host(parse_stream(local.stream()), builtin("inference-latency")).roles
    # taskset or a container may leave this process only some of them, or none.
    usable = sorted(set(roles.serving) & set(allowed_cpus()))
    return usable if roles.split and usable else None


def _threads(word: str) -> int | None:
    return None if word == "auto" else int(word)


_threads.__name__ = "number of threads"  # argparse names it in its complaint


class _Progress:
    """Progress on stderr: a bar on a terminal, one line at the start elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = False

    def say(self, line: str) -> None:
        self.clear()
        print(f"numatune: {line}", file=sys.stderr, flush=True)

    def show(self, done: int, total: int) -> None:
        if self._terminal:
            filled = _BAR * done // total
            bar = "#" * filled + "-" * (_BAR - filled)
            sys.stderr.write(f"\r{bar} {done:,} of {total:,}")
            sys.stderr.flush()
            self._drawn = True
        elif done == 0:
            self.say(f"measuring {total:,} inferences")

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


def _report(result: dict[str, Any], path: str, form: str) -> None:
    from ..verdict.company import find_company, list_spikes
    from ..verdict.run import parse_run
    from ..verdict.statistics import spike_indices, summarise

    run = parse_run(result, path)
    indices = spike_indices(run)
    summary, spikes, company = summarise(run), list_spikes(run, indices), find_company(run, indices)
    if form == "json":
        print(json.dumps(_as_object(result, path, summary, spikes, company), indent=1))
        return
    for line in _heading(result, summary):
        print(line)
    if spikes:
        print(f"\nSpikes (slower than {summary.threshold:.2f} × the median):")
        for line in _table(spikes):
            print(line)
        print("\n" + _sentence(run, company, len(spikes)))
    else:
        print(f"\nNo spike: nothing was slower than {summary.threshold:.2f} × the median.")
    waited = _waiting_all_along(run, result["environment"]["threads"])
    if waited:
        print(waited)
    for event in result["invalidating_events"]:
        print(f"\nThis run does not count for a verdict: {event['detail']}.")
    for name, why in result["counters_unavailable"].items():
        print(f"Not counted: {_WORDS.get(name, (name,))[0]} ({why}).")
    print(f"\nRaw samples: {path}")


def _heading(result: dict[str, Any], summary: Summary) -> list[str]:
    environment = result["environment"]
    model, pinning = environment["model"], environment["pinning"]
    threads = _count(environment["threads"], "thread")
    placed = "each alone on its CPU, read back from the kernel" if pinning["ok"] else "NOT where they belong"
    what = f"{model['name']} {model['size']}×{model['size']} fp32, {threads} on CPU {pinning['cpus']} ({placed})"
    percentiles = f"p50 {summary.p50_ms:.1f} ms   p90 {summary.p90_ms:.1f}   p99 {summary.p99_ms:.1f}   "
    spikes = f"{_count(summary.spikes, 'spike')}, {summary.spikes_per_1000:.1f} per 1,000"
    if summary.spikes:
        spikes += f"; they cost {summary.excess_share:.2%} of the time"
    lines = [
        f"{what}; {_count(summary.iterations, 'inference')}",
        f"  {percentiles}max {summary.max_ms:.1f} ({summary.max_over_p50:.2f} × p50)",
        f"  {spikes}",
    ]
    if result["provisional"] or summary.iterations < DEFAULT_ITERATIONS:
        few = f"  Provisional: {summary.iterations:,} inferences cannot show that spikes are rare; "
        lines.append(few + f"take {DEFAULT_ITERATIONS:,} or more.")
    return lines


def _table(spikes: Sequence[Spike]) -> list[str]:
    """The slowest spikes in the order in which they came."""
    slowest = sorted(sorted(spikes, key=lambda spike: -spike.milliseconds)[:SHOWN], key=lambda spike: spike.iteration)
    lines = ["  iteration        ms  × median  what stood out (usual value)"]
    for spike in slowest:
        rises = ", ".join(
            f"{_WORDS[rise.counter][0]} {_amount(rise.counter, rise.value)} ({_amount(rise.counter, rise.usual)})"
            for rise in spike.rises
        )
        lines.append(f"  {spike.iteration:>9}{spike.milliseconds:>10.1f}{spike.times_median:>10.2f}  {rises or '-'}")
    if len(spikes) > len(slowest):
        lines.append(f"  … and {len(spikes) - len(slowest)} smaller ones")
    return lines


def _sentence(run: Run, company: Sequence[Company], spikes: int) -> str:
    """One sentence on what came with the spikes more often than chance gives."""
    if company:
        parts = [
            f"{_WORDS[one.counter][0]} rose in {one.with_spikes} of {one.spikes} spikes (typically to "
            f"{_amount(one.counter, one.typical)}) and in {one.elsewhere} of the {one.others:,} other inferences"
            for one in company
        ]
        text = "; ".join(parts)
        return f"What came with them: {text}."
    steal = float(run.host.get("steal_share", 0.0))
    seen = f" The hypervisor took {steal:.1%} of the CPUs' time over the run." if steal >= 0.001 else ""
    few = "too few to tell" if spikes < 3 else "look at what they do not see: interrupts, frequency, other tenants"
    return f"No counter rose with them more often than elsewhere: {few}.{seen}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _waiting_all_along(run: Run, threads: int) -> str:
    """A sentence where the usual inference waited for its CPUs: then other work is no spike, it is the rule."""
    import numpy as np

    delays = run.counters.get("run_delay_ns")
    usual = 0.0 if delays is None or np.isnan(delays).all() else float(np.nanmedian(delays)) / threads
    if usual < 0.05 * run.median:
        return ""
    share = usual / run.median
    return f"All along, the threads waited for their CPUs for {share:.0%} of the time: other work runs there."


def _amount(counter: str, value: float) -> str:
    _word, divisor, unit = _WORDS[counter]
    return f"{value / divisor:,.1f}{unit}" if unit else f"{value:,.0f}"


def _as_object(
    result: dict[str, Any], path: str, summary: Summary, spikes: Sequence[Spike], company: Sequence[Company]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": "numatune/bench-summary/1",
        "file": path,
        "provisional": result["provisional"],
        "summary": summary.as_dict(),
        "spikes": [asdict(spike) for spike in spikes],
        "company": [asdict(one) for one in company],
        "invalidating_events": result["invalidating_events"],
        "counters_unavailable": result["counters_unavailable"],
    }
