"""Recording from the command line: where the file goes, how far it is, and what it says in the end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ..report.runs.run_report import Report, Wording, as_object, lines_of
from ..report.runs.said import Said
from . import output
from .errors import CliError

if TYPE_CHECKING:
    from collections.abc import Callable

_BAR = 30


def record_to(path: str, record: Callable[[], dict[str, Any]], bar: Progress) -> dict[str, Any]:
    """Record and write the result to `path`, which is tried before minutes of measuring; CliError says what failed."""
    from ..bench.errors import BenchError
    from ..bench.files import check_writable
    from ..bench.result import write_result

    try:
        check_writable(path)
        result = record()
        write_result(result, path)
    except BenchError as error:
        raise CliError(str(error), error.code) from error
    finally:
        bar.clear()
    return result


def print_report(report: Report, form: str, wording: Wording) -> None:
    """Print what a run says, in a format of runs."""
    output.write(form, Said(lambda style: lines_of(report, wording, style), lambda: as_object(report)))


class Progress:
    """Progress on stderr: a bar on a terminal, one line at the start elsewhere; `start` words it from a total."""

    def __init__(self, start: Callable[[int], str], unit: str = "") -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = False
        self._start, self._unit = start, unit

    def say(self, line: str) -> None:
        self.clear()
        print(f"numatune: {line}", file=sys.stderr, flush=True)

    def show(self, done: int, total: int) -> None:
        if self._terminal:
            filled = _BAR * done // total
            bar = "#" * filled + "-" * (_BAR - filled)
            sys.stderr.write(f"\r{bar} {done:,} of {total:,}{self._unit}")
            sys.stderr.flush()
            self._drawn = True
        elif done == 0:
            self.say(self._start(total))

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False
