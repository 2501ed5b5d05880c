"""ssh_config files as blocks of settings: each file is read and checked once."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..failure import clean
from . import asked, keywords, words
from .keywords import SshConfigError, Value

MOST_NESTED = 16
_MOST_BYTES = 16 << 20
# The keyword of a Setting whose value says what ssh would do here that is not known: `Settings.unsure` gathers them.
UNSURE = "?"
_CRITERIA = frozenset("all canonical final host originalhost user localuser exec".split())
_CRITERION = re.compile(r"!?[a-z0-9-]+")


@dataclass(frozen=True)
class Setting:
    """One line that counts for a connection, its value checked; `where` is file and line."""

    keyword: str
    value: Value
    where: str


@dataclass(frozen=True)
class File:
    """One file: its blocks in order, and which of them can be for a host that is named outright."""

    blocks: tuple[Block, ...]
    wants_final: bool
    literal: dict[str, list[int]] = field(default_factory=dict)
    general: tuple[int, ...] = ()
    ignored: tuple[str, ...] = ()  # the lists of IgnoreUnknown, those before this file too
    excused: tuple[tuple[str, str], ...] = ()  # what they let pass: keyword, where

    def candidates(self, host: str) -> Iterator[Block]:
        """Yield the blocks that may be for `host`, in order: a file may have a Host block for each of 10,000 hosts."""
        places = self.literal.get(host)
        for place in sorted([*places, *self.general]) if places else self.general:
            yield self.blocks[place]


@dataclass(frozen=True)
class Block:
    """What stands under one Host line (`hosts`) or Match line (`match`: pairs of criterion, argument)."""

    hosts: tuple[str, ...] | None
    match: tuple[tuple[str, str], ...] | None
    where: str
    body: tuple[Setting | File, ...]


_read: dict[tuple[str, bool, tuple[str, ...]], tuple[tuple[tuple[str, object], ...], File]] = {}


def read(path: str, home: str, *, by_user: bool, guarded: bool, ignored: tuple[str, ...] = ()) -> File | None:
    """Return a file and what it includes; None where there is none. It is read again only when one of them changed.

    `by_user`: relative Include paths mean ~/.ssh, not /etc/ssh. `guarded`: refuse a file that others may write to.
    `ignored`: the lists of IgnoreUnknown so far. Raises SshConfigError.
    """
    kept = _read.get((path, by_user, ignored))
    if kept is not None and all(_signature(each) == was for each, was in kept[0]):
        return kept[1]
    reader = _Reader(home, by_user, list(ignored))
    found = reader.file(path, guarded, 0)
    if found is not None:
        excused = (*reader.excused, *reader.doubts.settle())
        found = replace(found, ignored=tuple(reader.ignored), excused=excused)
        _read[path, by_user, ignored] = (tuple((each, _signature(each)) for each in reader.seen), found)
    return found


def _signature(path: str) -> object:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


@dataclass
class _Reader:
    home: str
    by_user: bool
    ignored: list[str]
    seen: list[str] = field(default_factory=list)
    doubts: asked.Doubts = field(default_factory=asked.Doubts)
    excused: list[tuple[str, str]] = field(default_factory=list)

    def file(self, path: str, guarded: bool, depth: int) -> File | None:
        if depth > MOST_NESTED:
            raise SshConfigError(f"{path}: Include is nested more than {MOST_NESTED} times")
        text = text_of(path, guarded)
        if text is None:
            return None
        self.seen.append(path)
        blocks: list[Block] = []
        head: tuple[tuple[str, ...] | None, tuple[tuple[str, str], ...] | None, str] = (None, None, path)
        body: list[Setting | File] = []
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{path}:{number}"
            try:
                word, rest = words.keyword(line)
                if word in ("host", "match"):
                    blocks.append(Block(*head, tuple(body)))
                    body = []
                    head = (_names(rest), None, where) if word == "host" else (None, self._criteria(rest, where), where)
                elif word == "include":
                    body.extend(self._included(rest, depth, where))
                elif word:
                    body.extend(self._settings(word, rest, line, where))
            except ValueError as error:
                raise SshConfigError(f"{where}: {error}") from None
        blocks.append(Block(*head, tuple(body)))
        return _file([block for block in blocks if block.body or block.match])

    def _settings(self, word: str, rest: str, line: str, where: str) -> Iterator[Setting]:
        settings = keywords.setting(word, rest)
        known = keywords.checked_by(word, rest)
        ignored = known != "table" and self._ignores(word)
        if known == "nobody" and ignored:
            self.excused.append((word, where))
        elif known != "table":
            unknown = known == "nobody"
            self.doubts.add(asked.Doubt(where, word, line.partition("\0")[0], unknown, ignored))
            if unknown:
                yield Setting(UNSURE, f"{clean(word, 40)} ({where})", where)
        for key, value in settings:
            if key == "ignoreunknown":
                self.ignored.append(str(value))
            yield Setting(key, value, where)

    def _ignores(self, word: str) -> bool:
        # Whether the list is for the host in question is looked at there (`Settings`).
        return any(words.in_list(word, each, lower=True) for each in self.ignored)

    def _criteria(self, rest: str, where: str) -> tuple[tuple[str, str], ...]:
        found = criteria(rest)
        for name, argument in found:
            if not _CRITERION.fullmatch(name):
                raise ValueError(f"Match {name[:40]!r}: ssh knows no such criterion")
            if name.removeprefix("!") not in _CRITERIA:
                self.doubts.add(asked.Doubt(where, "Match", asked.criterion(name, argument)))
        return found

    def _included(self, rest: str, depth: int, where: str) -> Iterator[File | Setting]:
        arguments = words.split(rest)
        if not all(arguments) or not rest:
            raise ValueError("Include lacks a path")
        for given in arguments:
            if "${" in given or "%" in given:
                yield Setting(UNSURE, f"Include {clean(given, 80)} ({where})", where)  # by ssh's version
            if given.startswith("~") and not self.by_user:
                raise ValueError(f"Include {given[:80]}: the system's file cannot include from a home")
            base = f"{self.home}/.ssh" if self.by_user else "/etc/ssh"
            path = given if given.startswith(("/", "~")) else f"{base}/{given}"
            for each in sorted(glob.glob(words.tilde(path, self.home))):
                found = self.file(each, True, depth + 1)
                if found is not None:
                    yield found


def _file(blocks: list[Block]) -> File:
    literal: dict[str, list[int]] = {}
    general: list[int] = []
    for place, block in enumerate(blocks):
        if block.hosts is None or any(sign in name for name in block.hosts for sign in "*?!"):
            general.append(place)
        else:
            for name in dict.fromkeys(block.hosts):
                literal.setdefault(name, []).append(place)
    final = any(
        any(criterion.removeprefix("!") == "final" for criterion, _ in block.match or ())
        or any(isinstance(item, File) and item.wants_final for item in block.body)
        for block in blocks
    )
    return File(tuple(blocks), final, literal, tuple(general))


def text_of(path: str, guarded: bool) -> str | None:
    """Return what a file holds, None where there is none; `guarded` as for `read`. Raises SshConfigError."""
    try:
        with Path(path).open("rb") as file:
            state = os.fstat(file.fileno())
            if guarded and (state.st_uid not in (0, os.getuid()) or state.st_mode & 0o022):
                raise SshConfigError(f"{path}: others may write to it, so it is not used: chmod go-w it, own it")
            if stat.S_ISDIR(state.st_mode):
                raise SshConfigError(f"{path}: is a directory")
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SshConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise SshConfigError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, too large for an ssh_config")
    return os.fsdecode(data)


def _names(rest: str) -> tuple[str, ...]:
    names = tuple(words.split(rest))
    if not names or not all(names):
        raise ValueError("Host lacks a name")
    return names


def criteria(rest: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a Match line: criterion in lower case (with its `!`), argument ("" for those without).

    Raises ValueError.
    """
    found: list[tuple[str, str]] = []
    while rest and not rest.startswith("#"):
        word, rest = words.delimited(rest)
        name = word.lower()
        if not name:
            break
        argument = ""
        if name.removeprefix("!") not in ("all", "canonical", "final"):
            if not rest or rest.startswith("#"):
                raise ValueError(f"Match {word[:40]} needs an argument")
            argument, rest = words.delimited(rest)
        found.append((name, argument))
    names = [name.removeprefix("!") for name, _ in found]
    if not found:
        raise ValueError("Match needs a criterion")
    if "all" in names and not (names == ["all"] or (len(names) == 2 and names[0] in ("canonical", "final"))):
        raise ValueError("Match all stands alone, or after canonical or final")
    return tuple(found)
