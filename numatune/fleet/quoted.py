"""What Ansible quotes of an inventory in its messages, taken out: values of secrets, and lines that it cannot read.

Ansible quotes the line, or the value, that it stumbles over, and which it is differs with the plugin and with what is
wrong. So it is not its messages that are taken apart here, but the files: what stands behind a name that is a secret's
is not to be in any message, whoever makes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"[\w.-]*(?:pass|pw|secret|token|credential|private_key|vault_key)[\w.-]*[\"']?\s*", re.IGNORECASE)
# Within braces only what is quoted is a value: a variable's name is what an error is about.
_TEMPLATE = re.compile(r"\{\{(.*?)(?:\}\}|$)")
_STRING = re.compile(r"'([^']*)'?|\"([^\"]*)\"?")
_WORD = re.compile(r"[^\s=:,;'\"\[\](){}|<>]+")
_ENDS = ".!?…"
_MASK = "***"
_MOST_BYTES, _MOST_FILES = 4 << 20, 20_000
_LONGEST = 2000


class Quoted:
    """The secrets of some inventory sources and of what lies beside them; the files are read when first asked for."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._sources = tuple(sources)
        self._words: set[str] | None = None
        self._lines: dict[str, str] = {}

    def add(self, variables: Mapping[str, Any]) -> None:
        """Count what the variables of a host hold under a secret's name, wherever it came from (a vault, a plugin)."""
        for name, value in variables.items():
            if _SECRET.match(str(name)):
                for leaf in _leaves(value):
                    self._read().update(_values(leaf))

    def hide(self, message: str, of_host: bool = False) -> str:
        """Return a line for the user without secrets, and (but for one about a host's variables) without whole lines.

        What cannot be parsed may hold a secret under any name.
        """
        words = self._read()
        message = whole_words(message, _LONGEST)
        for line, head in () if of_host else self._lines.items():
            if line in message:
                message = message.replace(line, f"{head} …")

        def masked(found: re.Match[str]) -> str:
            word = found[0]
            bare = word.rstrip(_ENDS)
            if word in words:
                return _MASK
            return _MASK + word[len(bare) :] if bare in words else word

        return _WORD.sub(masked, message)

    def _read(self) -> set[str]:
        if self._words is None:
            self._words = set()
            for path in _files(self._sources):
                self._take(_text(path))
        return self._words

    def _take(self, text: str) -> None:
        assert self._words is not None
        within: int | None = None  # the indent of a secret's name, while its value goes on in deeper lines
        for line in text.splitlines():
            stripped = " ".join(line.split())
            if not stripped or stripped.startswith("#"):
                continue
            head = re.match(r"[^\s=:\[]+", stripped)
            if head is not None and head.end() < len(stripped) and len(stripped) > 3:
                self._lines[stripped] = head[0]
            indent = len(line) - len(line.lstrip())
            if within is not None and indent > within:
                self._words.update(_values(stripped))
                continue
            found = _SECRET.search(stripped)
            within = indent if found is not None else None
            if found is not None:
                self._words.update(_values(stripped[found.end() :]))


def whole_words(text: str, most: int) -> str:
    """Return a text cut to `most` characters, and not within a word: a piece of a secret would not be known for one."""
    return text if len(text) <= most else text[:most].rpartition(" ")[0]


def is_odd_name(name: str) -> bool:
    """Return whether a host's name is a secret's variable and more, as `hosts: ansible_password x` makes it."""
    return (" " in name or "=" in name) and _SECRET.search(name) is not None


def _values(text: str) -> Iterator[str]:
    """Yield the words of a value, but for names in a template and for the names of further variables on its line."""
    for template in _TEMPLATE.findall(text):
        for one, other in _STRING.findall(template):
            for word in _WORD.findall(one or other):
                yield from _spellings(word)
    for word in _WORD.findall(_TEMPLATE.sub(" ", text)):
        if not word.startswith("ansible_"):
            yield from _spellings(word)


def _spellings(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield word
        yield word.rstrip(_ENDS) or word
        yield word.replace("\\", "\\\\")


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    else:
        try:
            # What is in a vault is deciphered here, or else not known to the message either.
            yield str(value)
        except Exception:
            return


def _files(sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files of the sources, and of group_vars and host_vars beside them and in the working directory."""
    seen = 0
    roots: dict[Path, None] = {}
    for source in sources:
        path = Path(source).expanduser()
        roots[path] = None
        for name in ("group_vars", "host_vars"):
            roots[(path if path.is_dir() else path.parent) / name] = None
            roots[Path(name)] = None
    for root in roots:
        if root.is_file():
            yield root
        for folder, _, names in os.walk(root):
            for name in names:
                seen += 1
                if seen > _MOST_FILES:
                    return
                yield Path(folder, name)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
