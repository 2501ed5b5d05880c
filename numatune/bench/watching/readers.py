"""Readers of counters that only grow: what was counted since the last call, by CPU or for the whole host."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection

from .process import NEEDS_ROOT

_CHUNK = 1 << 18

Totals = dict[str, dict[int, int]]
"""Counter -> key -> what it counted since boot; the key is a CPU, or -1 for the whole host."""


class Reader:
    """One kind of file. `unavailable` is counter -> why; `growth` is what was counted since the last call."""

    names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.unavailable: dict[str, str] = {}
        self._before: Totals = {}

    def growth(self, cpus: Collection[int]) -> dict[str, int]:
        """Counter -> growth since the last call, summed over `cpus` where it counts by CPU; empty the first time."""
        now = self.totals()
        grown: dict[str, int] = {}
        for name, after in now.items():
            before = self._before.get(name)
            if before is not None:
                grown[name] = sum(
                    max(0, value - before[key])
                    for key, value in after.items()
                    if key in before and (key < 0 or key in cpus)
                )
        self._before = now
        return grown

    def totals(self) -> Totals:
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open."""

    def lose(self, why: str) -> None:
        """None of its counters can be read."""
        self.unavailable = dict.fromkeys(self.names, why)


class OneFile(Reader):
    """A reader of one file, kept open."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path, self._handle = path, -1
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.lose(why_not(error, path))

    def text(self) -> bytes:
        """All of it: a read gives a page or so at most, whatever is asked for. Empty if it cannot be read."""
        parts: list[bytes] = []
        place = 0
        try:
            while self._handle >= 0:
                part = os.pread(self._handle, _CHUNK, place)
                if not part:
                    break
                parts.append(part)
                place += len(part)
        except OSError as error:
            self.lose(why_not(error, self._path))
            self.close()
        return b"".join(parts)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def why_not(error: OSError, path: str) -> str:
    """Why a file cannot be read, in the report's words."""
    if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:  # root that is refused lacks something else
        return f"{path}: {NEEDS_ROOT}"
    if error.errno == errno.ENOENT:
        return f"{path}: this host does not have it"
    return f"{path}: {error.strerror}"
