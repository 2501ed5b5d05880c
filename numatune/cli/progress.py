"""Where a run is, on stderr: a line that is written over on a terminal, now and then a line in a log."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ..fleet.events import Progress

_EVERY_S = 30.0
_FEW = 10


class Display:
    """Shows progress while it is entered; on a terminal the line is gone at the end.

    Elsewhere of few hosts only that it takes long is said.
    """

    def __init__(self, stream: TextIO, begun: str, hosts: int) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._logs = not self._live and hosts > _FEW
        self._last = time.monotonic()
        self._text = ""
        self._broken = False
        if self._logs:
            self._write(f"numatune: {begun}\n")

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._write("\r\x1b[K")
        elif self._logs and self._text:
            self._write(f"numatune: {self._text}\n")

    def update(self, progress: Progress) -> None:
        """Take the newest state."""
        from ..fleet.progress import line

        if self._live:
            self._write(f"\r{line(progress, shutil.get_terminal_size().columns)}\x1b[K")
            return
        self._text = line(progress, 200)
        if time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            self._write(f"numatune: {self._text}\n")

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Who reads the progress went away; the run is for who reads the report.
            self._broken = True
