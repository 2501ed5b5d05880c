"""The variables that a grub.cfg sets: to which plain text, or in a form whose outcome is not known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..text import lines

# A word of GRUB's script: quotes hold blanks and ";" together; what follows "#" is a comment.
_WORD = re.compile(r"""#.*|;|((?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s;"'\\])+)""")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VALUE = re.compile(r"""(?:"([^"\\$]*)"|'([^']*)'|([^\s"'\\$]*))""")
_IF_EMPTY = re.compile(r"""\[ -z "?\$\{?([A-Za-z_]\w*)\}?"? \]""")
_TO = re.compile(r"(?:--set|-s)(?:=(\w+))?")
_OPEN = frozenset(("if", "for", "while", "until", "case"))
_CLOSE = frozenset(("fi", "done", "esac"))


@dataclass
class Variables:
    """What the script's top level leaves in variables, and on which line others are set in any other form.

    A submenu sees only what is exported.
    """

    plain: dict[str, str] = field(default_factory=dict)
    unclear: dict[str, int] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)


def variables(text: str, env: Optional[Mapping[str, str]]) -> Variables:
    """Return what a grub.cfg sets after it has loaded its environment block; None is a block that was not read.

    Plain is `set NAME=text` outside any condition, function and entry; and RHEL 8's `if [ -z "${NAME}" ]; then` around
    one, which leaves alone what the block holds.
    """
    found = Variables()
    depth, empty = 0, ""
    for number, words in _commands(text):
        first = words[0]
        if first == "export":
            found.exported.update(words[1:])
        if first in _OPEN:
            match = _IF_EMPTY.fullmatch(" ".join(words[1:]))
            empty = match[1] if first == "if" and match and not depth else ""
        elif first in ("else", "elif"):
            empty = ""
        depth += (first in _OPEN) + words.count("{") - (first in _CLOSE) - words.count("}")
        for name, value in _assigned(words):
            where = "" if not depth else "empty" if depth == 1 and name == empty else "inside"
            _put(found, env, name, value, where, number)
    return found


def _put(
    found: Variables, env: Optional[Mapping[str, str]], name: str, value: Optional[str], where: str, number: int
) -> None:
    if value is None or where == "inside" or (where == "empty" and env is None):
        found.unclear.setdefault(name, number)
    elif not where or not found.plain.get(name, (env or {}).get(name, "")):
        found.plain[name] = value


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each command's words with its line; words that only lead to a command are left out."""
    for number, line in enumerate(lines(text), 1):
        words: list[str] = []
        for match in _WORD.finditer(line):
            if match[1]:
                words.append(match[1])
                if len(words) == 1 and match[1] in ("then", "do", "else"):
                    # The command behind it stands for itself.
                    yield number, words
                    words = []
            elif words:
                yield number, words
                words = []
        if words:
            yield number, words


def _assigned(words: list[str]) -> Iterator[tuple[str, Optional[str]]]:
    """Yield the names that a command sets, with the text; None where it is made by the command, or of variables."""
    first = words[0]
    match = _ASSIGNMENT.fullmatch(words[1] if first == "set" and len(words) > 1 else first)
    if match:
        value = _VALUE.fullmatch(match[2])
        whole = len(words) == (2 if first == "set" else 1)
        yield match[1], (value[1] or value[2] or value[3] or "") if value and whole else None
    elif first == "unset":
        yield from ((name, "") for name in words[1:])
    elif first in ("read", "for"):
        yield from ((name, None) for name in words[1:2])
    else:
        for word, then in zip(words, [*words[1:], ""]):
            to = _TO.fullmatch(word)
            if to:
                yield (to[1] or then.partition(":")[2] or then), None
