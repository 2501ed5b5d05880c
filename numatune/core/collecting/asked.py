"""What a collector's script looked for: its snapshot says so, for another numatune may judge it later.

The script prints a short checksum for each of its sources. What a snapshot lacks is absent from the host only where
that script looked for it; what only today's list has is not captured, and nor are the lines of a long file that were
picked by another expression.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ..sources import CONFIGS, KERNEL_CONFIG, BuildOption, Command, Extract, File, ProgramWord, Source

_DIGITS = 6
"""Hexadecimal ones: a new source among 300 has the checksum of another one once in 50,000 times."""
_KERNEL = ("/proc/", "/sys/")


class Gaps(NamedTuple):
    """What a script did not look for: `paths` is an expression, "" for nothing, `commands` are names.

    `picked` matches the files of which it picked other lines; of `folders` it did not list what they hold.
    """

    paths: str = ""
    picked: str = ""
    folders: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()


def checksum(source: Source) -> str:
    """Return the checksum of a source that is one file or several, "" for one that no script looks for.

    Commands have none: a snapshot holds an answer for each that was asked, if only "absent".
    """
    said = {name: value for name, value in vars(source).items() if value and name != "captured_too"}
    if isinstance(source, (Command, ProgramWord)) or "captured_only" in said:
        return ""
    return hashlib.sha256(f"{type(source).__name__} {said}".encode()).hexdigest()[:_DIGITS]


def checksums(asked: Iterable[Source]) -> tuple[str, ...]:
    """Return the checksums of what a script looks for."""
    return tuple(dict.fromkeys(filter(None, map(checksum, asked))))


def gaps(said: Collection[str], answered: Collection[str], wanted: Iterable[Source]) -> Gaps:
    """Return which of the wanted sources a script did not look for that said these checksums and has these answers."""
    wanted = tuple(wanted)
    names = {source.name for source in wanted if isinstance(source, (Command, ProgramWord))} - set(answered)
    files = [source for source in wanted if checksum(source)]
    missing = [source for source in files if checksum(source) not in said]
    if not missing:
        return Gaps(commands=frozenset(names))
    other = [_path(source) for source in missing if isinstance(source, (Extract, BuildOption))]
    if CONFIGS in other:
        names.add(KERNEL_CONFIG)
    unlisted = [_path(source).rpartition("/") for source in missing if isinstance(source, File)]
    looked_for = [_path(source) for source in files if source not in missing]
    return Gaps(
        f"(?!(?:{_matching(looked_for)})$)(?:{_matching(map(_path, missing))})|{_matching(other)}",
        _matching(other),
        frozenset(folder for folder, _, name in unlisted if "*" in name and not folder.startswith(_KERNEL)),
        frozenset(names),
    )


def _path(source: Source) -> str:
    return (
        CONFIGS
        if isinstance(source, BuildOption)
        else ""
        if isinstance(source, (Command, ProgramWord))
        else source.path
    )


def _matching(patterns: Iterable[str]) -> str:
    """Return the expression that matches what the shell puts for these patterns, which hold "*" and "[0-9]" alone."""
    parts = (re.split(r"(\*|\[[0-9]-[0-9]\])", pattern) for pattern in dict.fromkeys(patterns))
    made = [
        "".join("[^/]*" if part == "*" else part if part[:1] == "[" else re.escape(part) for part in pattern)
        for pattern in parts
    ]
    return "|".join(made) or "(?!)"
