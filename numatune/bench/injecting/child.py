"""A program of `guardian` as a child process, started without disturbing this one; it ends when told to, or with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from ..cpus import format_cpu_list
from ..errors import BenchError, reason
from . import guardian

_ENDS_WITHIN = 10.0
_BOOT = """
import sys
sys.path.append(sys.argv[1])
import importlib
importlib.import_module(sys.argv[2]).main(*sys.argv[3:])
"""


class Child:
    """One program of `guardian` in a process of its own, started without a copy of this process's memory.

    subprocess uses vfork or posix_spawn for it; a plain fork would leave copy-on-write faults to the first inference.
    """

    def __init__(self, role: str, cpus: Sequence[int], *words: str) -> None:
        root = os.path.abspath(__file__)  # in a zipapp the archive's own path, which Python can import from as well
        for _part in __name__.split("."):
            root = os.path.dirname(root)
        # Isolated, without site: nothing in the user's environment or working folder is imported.
        command = [sys.executable, "-I", "-S", "-c", _BOOT, root, guardian.__name__]
        try:
            self._process = subprocess.Popen(
                [*command, role, format_cpu_list(cpus), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                close_fds=False,  # what Python opens is not inherited; the program closes what else there may be
            )
        except OSError as error:
            raise BenchError(f"cannot start {sys.executable or 'Python'} for the injection: {reason(error)}") from error
        self.pid = self._process.pid
        assert self._process.stdout is not None
        if self._process.stdout.read(1) != guardian.READY:
            self.end()
            raise BenchError(f"the injection's own process ended at once, with status {self._process.returncode}")

    def end(self) -> bytes:
        """Tell it to end, wait for that, and give what it has written."""
        try:
            said, _errors = self._process.communicate(timeout=_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return b""
        return bytes(said)

    @property
    def failed(self) -> bool:
        return self._process.returncode != 0
