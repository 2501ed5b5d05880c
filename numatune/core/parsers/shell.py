"""Environment files such as /etc/default/irqbalance: NAME=value lines, the last one of a name wins."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple, Optional

from ..model import Line
from ..text import lines, lines_with_ends

_ASSIGNMENT = re.compile(r"\s*(export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_COMMENT = re.compile(r"\s#")
# shlex takes time by the square of a word's length; no variable that is read here is as long.
_LONGEST = 4096

PLAIN = re.compile(r"""(?:"([^"\\$`]*)"|'([^']*)'|([^\s"'\\$`;&|<>()]*))\s*(?:#.*)?""")
"""A value on one line that a shell takes as it stands: in double quotes, in single ones, or one word."""


class Assignment(NamedTuple):
    """One line that sets a variable.

    `clean` says that a shell and systemd read it alike: systemd ignores a line with "export", and takes a comment
    after the value for a part of the value.
    """

    where: Line
    value: str
    comment: str
    clean: bool


def variable(path: str, text: str, name: str) -> Optional[tuple[str, Line]]:
    """Return the last value of a variable, unquoted, with its line; None where it is not set."""
    found = None
    for number, line in enumerate(lines(text), 1):
        word = line.strip().removeprefix("export ").lstrip()
        key, sign, value = word.partition("=")
        if not sign or key != name:
            continue
        try:
            parts = shlex.split(value, comments=True) if len(value) <= _LONGEST else [value]
        except ValueError:
            parts = [value]
        found = (parts[0] if parts else "", Line(path, number, line.strip()))
    return found


def assignments(path: str, text: str, name: str) -> list[Assignment]:
    """Return every line that sets a variable, in order; comments are none."""
    found = []
    for number, line in enumerate(lines(text), 1):
        match = _ASSIGNMENT.fullmatch(line)
        if match and match[2] == name:
            value, comment = _parts(match[3])
            found.append(Assignment(Line(path, number, line.strip()), value, comment, not match[1] and not comment))
    return found


def _parts(text: str) -> tuple[str, str]:
    """Return the value, unquoted, and the comment behind it."""
    word = text.strip()
    if word[:1] == "#" and text[:1].isspace():
        return "", word
    end = word.find(word[0], 1) if word[:1] in ('"', "'") else 0
    if end > 0:
        rest = word[end + 1 :]
        comment = rest.lstrip()
        if not rest or (rest[0].isspace() and comment[0] == "#"):
            return word[1:end], comment
    start = _COMMENT.search(word)
    return (word[: start.start()].rstrip(), word[start.start() + 1 :]) if start else (word, "")


def with_variable(text: str, name: str, value: str, instead_of: str = "") -> str:
    """Return the text with a variable set by one clean line, and no line that sets another one, `instead_of`.

    The line stands where the last of the variable stood, else where the other one did, else at the end. All other
    lines stay byte for byte; a comment behind a value that goes gets a line of its own.
    """
    whole = lines_with_ends(text)
    ours = [item.where.line - 1 for item in assignments("", text, name)]
    others = [item.where.line - 1 for item in assignments("", text, instead_of)]
    place = (ours or others or [len(whole)])[-1]
    made = []
    for number, line in enumerate([*whole, ""]):
        if number != place and number not in others:
            made.append(line)
            continue
        match = _ASSIGNMENT.fullmatch(line)
        comment = _parts(match[3])[1] if match else ""
        made.append(f"{comment.rstrip()}\n" if comment else "")
        if number == place:
            made.append(f"{_line_end(''.join(made))}{name}={value}\n")
    return "".join(made)


def _line_end(before: str) -> str:
    """Return what a line needs before it: an end of the last one, and of one that a backslash would continue."""
    if not before:
        return ""
    end = "" if before.endswith("\n") else "\n"
    return end + "\n" if lines(before)[-1].endswith("\\") else end
