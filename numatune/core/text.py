"""Where a line ends: Linux text files know the line feed, and systemd's own files two more."""

from __future__ import annotations

import re

_BROKEN = re.compile("[\r\0]")


def lines(text: str) -> list[str]:
    """Split a text as its readers on Linux do: at each line feed, with the carriage return of a DOS file taken off.

    Python's own splitlines also ends lines at form feeds, U+2028 and others, which makes settings of comments.
    """
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return [line.removesuffix("\r") for line in found] if "\r" in text else found


def lines_with_ends(text: str) -> list[str]:
    """Return the lines as they stand, each with its line feed: joined, they are the text."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def systemd_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines of a file that systemd reads (read_line() in its fileio.c), each with its number from 1.

    There a carriage return or a NUL byte ends a line too; the number is the one that an editor shows.
    """
    numbered = list(enumerate(lines(text), 1))
    if not _BROKEN.search(text):
        return numbered
    return [(number, part) for number, line in numbered for part in _BROKEN.split(line)]
