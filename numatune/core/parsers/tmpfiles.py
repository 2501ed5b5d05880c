"""tmpfiles.d lines that write a value to a kernel file (`w` and `w+`)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..model import Line

DIRECTORIES = ("/etc/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d")
"""Without /run/tmpfiles.d, which a reboot empties."""


@dataclass(frozen=True)
class Write:
    """One write: the path pattern, the value, and where it stands."""

    pattern: str
    value: str
    where: Line

    def covers(self, path: str) -> bool:
        """Return whether the write reaches a path."""
        return fnmatchcase(path, self.pattern)


def writes(path: str, text: str) -> list[Write]:
    """Return the writes of one file, in order: type, path, mode, user, group, age, argument."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("w"):
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if len(words) >= 7 and words[0].rstrip("!+-=~^$") == "w":
            found.append(Write(words[1], " ".join(words[6:]), Line(path, number, line.strip())))
    return found
