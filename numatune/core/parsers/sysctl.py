"""sysctl.d and sysctl.conf: assignments, and which of several files wins (sysctl.d(5), systemd's order)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional

from ..model import Line
from ..numbers import c_integer
from ..text import lines, systemd_lines
from .caching import kept_for_short

DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
"""In falling priority: a file in an earlier one hides a file of the same name in a later one."""

PERSISTENT = tuple(folder for folder in DIRECTORIES if not folder.startswith("/run/"))
"""Those that are still there after a reboot."""


# Of systemd's readers; str.strip() takes off more.
_BLANKS = " \t\r"


@dataclass(frozen=True)
class Assignment:
    """One assignment of the wanted key: the raw value and where it stands."""

    value: str
    where: Line
    pattern: bool = False


@kept_for_short
def assignments(path: str, text: str, key: str) -> tuple[Assignment, ...]:
    """Return the assignments of one dotted key in one file, in order.

    Keys may be written with dots or slashes and may hold patterns; a leading "-" only means that a failure is
    ignored. Comments start a line, never end one: what follows a value belongs to it.
    """
    found = []
    for number, line in systemd_lines(text):
        word = line.strip(_BLANKS)
        if not word or word[0] in "#;" or "=" not in word:
            continue
        name, _, value = word.partition("=")
        written = name.strip(_BLANKS).removeprefix("-").strip(_BLANKS)
        if _matches(written, key):
            pattern = any(sign in written for sign in "*?[")
            found.append(Assignment(value.strip(_BLANKS), Line(path, number, word), pattern))
    return tuple(found)


@kept_for_short
def excludes(text: str, key: str) -> bool:
    """Return whether a file keeps patterns off a key: a line "-key" that assigns nothing (sysctl.d(5))."""
    wanted = (f"-{key}", f"-{key.replace('.', '/')}")
    return any(line.strip(_BLANKS) in wanted for _, line in systemd_lines(text))


def _matches(name: str, key: str) -> bool:
    # Whichever separator comes first is the separator; the other one is then a literal.
    dotted = name.replace("/", ".") if _first_is_slash(name) else name
    # Patterns match paths under /proc/sys: none of their signs reaches over a separator.
    parts, wanted = dotted.split("."), key.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, wanted, parts))


def _first_is_slash(name: str) -> bool:
    slash, dot = name.find("/"), name.find(".")
    return slash >= 0 and (dot < 0 or slash < dot)


def files_in_order(paths: Iterable[str], directories: tuple[str, ...] = DIRECTORIES) -> list[str]:
    """Return the files that are read at boot, in the order in which they are applied.

    Files of all the directories are sorted by name together; of one name only the one in the directory of
    highest priority is read. tmpfiles.d has the same order over its own directories.
    """
    chosen: dict[str, str] = {}
    for directory in directories:
        for path in paths:
            parent, _, name = path.rpartition("/")
            if parent == directory and name.endswith(".conf"):
                chosen.setdefault(name, path)
    return [chosen[name] for name in sorted(chosen)]


def integer(value: str) -> Optional[int]:
    """Return the number that the kernel takes from a written value: the first word, in C notation.

    proc_dointvec reads the first word and ignores what follows white space, so "0 # off" is 0.
    """
    words = value.split()
    return c_integer(words[0]) if words else None


def listing(text: str, key: str) -> Optional[str]:
    """Return the value of a key in the output of `sysctl -a`, as an sosreport stores it."""
    for line in lines(text):
        name, _, value = line.partition(" = ")
        if name == key:
            return value.strip()
    return None
