"""Boot Loader Specification entries (`loader/entries/*.conf`), as RHEL, Fedora and systemd-boot keep them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..model import Line
from ..text import lines


@dataclass(frozen=True)
class Entry:
    """One entry: its id (the file's name without .conf), title, version and options line."""

    ident: str
    title: str
    version: str
    options: Line


def parse(path: str, text: str) -> Entry:
    """Read one entry; several `options` lines count as one, and the last one gives the line's number."""
    title, version, options, at = "", "", [], 0
    for number, line in enumerate(lines(text), 1):
        # Blanks or tabs, any number of them, separate a key from its value.
        key, _, value = line.replace("\t", " ").strip(" ").partition(" ")
        if key == "title":
            title = value.strip()
        elif key == "version":
            version = value.strip()
        elif key == "options":
            options.append(value.strip())
            at = number
    ident = path.rpartition("/")[2].removesuffix(".conf")
    return Entry(ident, title, version, Line(path, at, " ".join(options)))


def newest_first(found: list[Entry]) -> list[Entry]:
    """Sort as the loader shows them: highest version first, numbers compared as numbers."""
    return sorted(found, key=lambda entry: _version_key(entry.version or entry.ident), reverse=True)


def _version_key(text: str) -> list[tuple[int, int, str]]:
    found = []
    for part in re.findall(r"[0-9]+|[A-Za-z]+", text):
        # Digits compare by how many they are and then as text: nobody says that there are few.
        digits = part.lstrip("0") if part.isdigit() else ""
        found.append((1, len(digits), digits) if part.isdigit() else (0, 0, part))
    return found
