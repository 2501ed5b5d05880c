"""Lists of names with `*`, `?` and `!` in known_hosts, found by a host's name without a pass over all of them.

A list stands for a name only where a part of it that has no `!` does. So the parts are kept by what they begin with, or
end with where they begin with a wildcard, or hold where they end with one too; `*` alone is compared with every name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .key_lines import Line

_WILD = re.compile(rb"[*?]")


def fits(name: bytes, pattern: bytes) -> bool:
    """Return whether a pattern, in which only `*` and `?` are special, stands for the whole name.

    In time linear in their product, whatever the pattern; a regular expression would have to be compiled for each.
    """
    at = place = 0
    star = again = -1
    while at < len(name):
        sign = pattern[place : place + 1]
        if sign == b"*":
            star, again = place, at
            place += 1
        elif sign == b"?" or (sign and sign[0] == name[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            again += 1
            at, place = again, star + 1
        else:
            return False
    return not pattern[place:].strip(b"*")


def in_patterns(name: bytes, hosts: bytes) -> bool:
    """Return whether a list of patterns holds a name; a pattern that begins with `!` and matches excludes it."""
    found = False
    for each in hosts.lower().split(b","):
        if each[:1] == b"!":
            if fits(name, each[1:]):
                return False
        elif not found:
            found = fits(name, each)
    return found


class Patterns:
    """Lines whose names are patterns."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._by_start: dict[bytes, list[int]] = {}
        self._by_end: dict[bytes, list[int]] = {}
        self._by_middle: dict[bytes, list[int]] = {}
        self._sizes: set[int] = set()  # of the keys of _by_middle
        self._others: list[int] = []

    def add(self, line: Line) -> None:
        """Take one line, behind those that are there."""
        number = len(self._lines)
        self._lines.append(line)
        for part in line.hosts.lower().split(b","):
            if not part or part[:1] == b"!":
                continue
            pieces = _WILD.split(part)
            longest = max(pieces, key=len)
            if pieces[0] or len(pieces) == 1:
                self._by_start.setdefault(pieces[0], []).append(number)
            elif pieces[-1]:
                self._by_end.setdefault(pieces[-1], []).append(number)
            elif longest:
                self._by_middle.setdefault(longest, []).append(number)
                self._sizes.add(len(longest))
            else:
                self._others.append(number)

    def of(self, name: bytes) -> Iterator[Line]:
        """Yield the lines for a name, in their order."""
        numbers = set(self._others)
        for place in range(len(name) + 1):
            numbers.update(self._by_start.get(name[:place], ()), self._by_end.get(name[place:], ()))
        for size in self._sizes:
            for place in range(len(name) - size + 1):
                numbers.update(self._by_middle.get(name[place : place + size], ()))
        for number in sorted(numbers):
            if in_patterns(name, self._lines[number].hosts):
                yield self._lines[number]
