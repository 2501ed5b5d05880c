"""The recorder's own command line, for a target that gets nothing but this: `python3 numatune-bench.pyz bench -o FILE`.

It records and judges nothing: percentiles, spikes and causes are worked out where the results are brought to.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from contextlib import suppress
from typing import Any, NoReturn, Optional

from . import instances, options
from .cpus import parse_cpu_list
from .errors import BAD_INPUT, INVALID_RUN, BenchError
from .files import check_writable
from .model.cache import cache_folder
from .model.engine import import_engine
from .packages import bundled
from .packages.optional import import_numpy, python_version
from .placing import policy
from .probe import DEFAULT_MIB, DEFAULT_SECONDS
from .probe import Request as Walk
from .probe import record as record_walk
from .result import write_result

NAME = "numatune-bench"
VERSION = str(getattr(sys.modules[__name__.partition(".")[0]], "__version__", ""))
"""The version of the package around this one; the recorder imports nothing of it."""
TRUSTED: tuple[str, ...] = getattr(sys.modules[__name__.partition(".")[0]], "TRUSTED_WHEELS", ())
"""Hashes of a person's own wheels, which `numatune pack --trust-wheel` writes into the package around this one."""

OK, INTERNAL = 0, 4
_AFTERWARDS = (
    "This only recorded. `numatune report` or `numatune compare`, where numatune is installed, judge the file."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise BenchError(f"{message} (see {self.prog} --help)")


def main(words: Optional[list[str]] = None) -> int:
    """Run the command line; 0 recorded, 2 bad usage or input, 3 a run that does not count, 4 an internal error."""
    try:
        return _run(_parser().parse_args(words))
    except BenchError as error:
        _say(str(error))
        return error.code
    except KeyboardInterrupt:
        _say("interrupted: nothing was left half-written")
        return INVALID_RUN
    except BrokenPipeError:
        # The reader of stdout went away; keep Python from complaining again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INVALID_RUN
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}; free space or check the path, then run again")
        return BAD_INPUT
    except Exception as error:
        if os.environ.get("NUMATUNE_TRACEBACK"):
            raise
        _say(f"internal error: {type(error).__name__}: {error} (NUMATUNE_TRACEBACK=1 shows where; please report it)")
        return INTERNAL


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=NAME, description="Record latencies on this host. Nothing is judged here.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="bench|probe", parser_class=_Parser)
    bench = commands.add_parser("bench", help="the pinned ResNet", allow_abbrev=False)
    options.add_arguments(bench)
    probe = commands.add_parser("probe", help="a memory walk of seconds, without the model", allow_abbrev=False)
    _add_walk(probe)
    for one in (bench, probe):
        one.add_argument(
            "--packages",
            choices=("auto", "carry", "target"),
            default="auto",
            help="carry: wheels from beside this file; target: what this Python has; auto: the wheels if there are any",
        )
        one.add_argument("--wheels", metavar="DIR", help="where the wheels lie (default: beside this file)")
        one.add_argument("--site", metavar="DIR", help="where they are unpacked (default: in the cache)")
        one.add_argument("-o", "--output", required=True, metavar="FILE", help="where the raw samples go")
    return parser


def _add_walk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, metavar="S", help="(default: %(default)g)")
    parser.add_argument("--size", type=int, default=DEFAULT_MIB, metavar="MIB", help="memory (default: %(default)s)")
    parser.add_argument("--threads", type=options.thread_count, metavar="N|auto", help="default: auto, one per core")
    parser.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, such as 2-5 (default: all that may be used)")
    parser.add_argument("--memory", choices=policy.CHOICES, default=policy.CHOICES[0], help="(default: none)")
    options.add_anyway(parser)


def _run(args: argparse.Namespace) -> int:
    check_writable(args.output)
    if args.cpus is not None:
        _reach(parse_cpu_list(args.cpus))
    _find_packages(args, ("numpy", "onnxruntime") if args.command == "bench" else ("numpy",))
    progress = _Progress("inferences" if args.command == "bench" else "walks")
    try:
        results = (_bench if args.command == "bench" else _walk)(args, progress)
        for path, result in results.items():
            write_result(result, path)
    finally:
        progress.clear()
    events = [event for result in results.values() for event in result["invalidating_events"]]
    for event in events:
        _tell(f"This run does not count for a verdict: {event['detail']}.")
    for path, result in results.items():
        _tell(f"{len(result['latency_ns']):,} samples in {path}")
    _tell(_AFTERWARDS)
    return INVALID_RUN if events else OK


def _bench(args: argparse.Namespace, progress: _Progress) -> dict[str, dict[str, Any]]:
    """Path -> result, one for each instance."""
    parts = instances.split(options.make_request(args, None, (NAME, *sys.argv[1:]), VERSION))
    paths = [instances.path_of(args.output, suffix) for suffix, _request in parts]
    for path in paths:
        check_writable(path)
    return dict(zip(paths, instances.record_all([request for _suffix, request in parts], _say, progress.show)))


def _walk(args: argparse.Namespace, progress: _Progress) -> dict[str, dict[str, Any]]:
    request = Walk(
        seconds=args.seconds,
        size=args.size,
        threads=args.threads,
        cpus=None if args.cpus is None else parse_cpu_list(args.cpus),
        memory=args.memory,
        command=(NAME, *sys.argv[1:]),
        program_version=VERSION,
        anyway=args.anyway,
    )
    return {args.output: record_walk(request, say=_say, progress=progress.show)}


def _reach(cpus: list[int]) -> None:
    """Leave the default affinity for the CPUs that were asked for: isolcpus= takes isolated ones out of it."""
    with suppress(OSError):  # a cpuset, or a CPU that is not there: the recorder says which
        os.sched_setaffinity(0, {*os.sched_getaffinity(0), *cpus})


def _find_packages(args: argparse.Namespace, packages: tuple[str, ...]) -> None:
    """Put the wheels that came along before the target's own packages, and try both: a run needs minutes."""
    beside = args.wheels or os.path.dirname(os.path.abspath(sys.argv[0]))
    wheels = [] if args.packages == "target" else bundled.find_wheels(beside, python_version(), platform.machine())
    if args.packages == "carry" and not wheels:
        raise BenchError(f"no wheels in {beside}: make them with `numatune pack`, or name their folder with --wheels")
    site = bundled.unpacked(wheels, args.site or os.path.join(cache_folder(), "site"), TRUSTED) if wheels else ""
    if site:
        sys.path.insert(0, site)
        # Bytecode beside the modules would be nothing that the wheels hold: see `carried`.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for package in packages:
        try:
            # By the recorder's own ways, which keep thread pools and the engine's telemetry away.
            import_numpy() if package == "numpy" else import_engine()
        except BenchError as error:
            raise BenchError(_why_not(package, error, site, None if args.packages == "target" else beside)) from error


def _why_not(package: str, error: BenchError, site: str, wheels: Optional[str]) -> str:
    cause = error.__cause__
    if site:
        what = "is its file system mounted noexec, or the C library older than glibc 2.28?"
        return f"{package} from {site} cannot be imported: {cause}; {what} --site DIR unpacks elsewhere"
    bring = "bring it along with `numatune pack`"
    if isinstance(cause, ModuleNotFoundError) and cause.name == package:
        python = ".".join(map(str, python_version()))
        beside = "" if wheels is None else f", and {wheels} has no wheels"
        return f"{package} is not installed for {sys.executable} (Python {python}){beside}: {bring}"
    return f"{package} of {sys.executable} cannot be imported: {cause}; {bring}"


class _Progress:
    """Progress on stderr: a line that counts on a terminal, elsewhere one line at the start."""

    def __init__(self, noun: str) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = False
        self._noun = noun

    def show(self, done: int, total: int) -> None:
        if self._terminal:
            sys.stderr.write(f"\r{NAME}: {done:,} of {total:,} {self._noun}")
            sys.stderr.flush()
            self._drawn = True
        elif done == 0:
            _say(f"measuring, at most {total:,} {self._noun}")

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    plain = "".join(sign if sign.isprintable() else " " for sign in line)
    sys.stderr.write(f"{NAME}: {plain}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
