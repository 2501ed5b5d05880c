"""tmpfiles.d lines that write a value to a kernel file (`w` and `w+`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..model import Line
from ..text import systemd_lines
from .caching import kept_for_short

# A word, of which one pair of quotes is taken off; the argument is the rest of the line as it stands.
_WORD = r"""(?:"([^"]*)"|'([^']*)'|([^ \t"'][^ \t]*))"""
_LINE = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})(?:[ \t]+{_WORD}){{4}}[ \t]+([^ \t].*)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_ESCAPE = re.compile(r"%%|\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|(.))")

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


@kept_for_short
def writes(path: str, text: str) -> tuple[Write, ...]:
    """Return the writes of one file, in order: type, path, mode, user, group, age, argument.

    Measured with systemd 252: quotes around the first six are taken off, while those in the argument, and what
    looks like a comment there, are written.
    """
    found = []
    for number, line in systemd_lines(text):
        line = line.strip(" \t")
        match = _LINE.fullmatch(line) if line[:1] in ("w", '"', "'") else None
        if match and next(filter(None, match.groups()[:3]), "").rstrip("!+-=~^$") == "w":
            pattern = next(filter(None, match.groups()[3:6]), "")
            found.append(Write(pattern, _ESCAPE.sub(_unescaped, match[10]), Line(path, number, line)))
    return tuple(found)


def _unescaped(match: re.Match[str]) -> str:
    if match[0] == "%%":
        return "%"
    if match[3]:
        return _ESCAPES.get(match[3], match[3])
    return chr(int(match[1], 16) if match[1] else int(match[2], 8))
