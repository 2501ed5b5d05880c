"""ssh_config files as blocks of settings: each file is read and checked once."""

from __future__ import annotations

import glob
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ...core.errors import NumatuneError
from . import words

_MOST_NESTED = 16
_MOST_BYTES = 16 << 20

_STRING = frozenset(
    "hostname user hostkeyalias identityagent identityfile certificatefile revokedhostkeys"
    " pkcs11provider bindaddress bindinterface preferredauthentications".split()
)
_FLAG = frozenset(
    "identitiesonly compression hashknownhosts checkhostip nohostauthenticationforlocalhost passwordauthentication"
    " kbdinteractiveauthentication gssapiauthentication hostbasedauthentication".split()
)
_COMMAND = frozenset("proxycommand knownhostscommand".split())
_NUMBER = frozenset("serveralivecountmax requiredrsasize".split())
_LIST = frozenset("userknownhostsfile globalknownhostsfile".split())
_ALGORITHMS = frozenset("ciphers macs kexalgorithms hostkeyalgorithms".split())
_TIME = frozenset("connecttimeout serveraliveinterval".split())
_CHOICE = {
    "stricthostkeychecking": ("yes", "true", "no", "false", "off", "ask", "accept-new"),
    "addressfamily": ("any", "inet", "inet6"),
    "canonicalizehostname": ("yes", "true", "no", "false", "always"),
    "pubkeyauthentication": ("yes", "true", "no", "false", "unbound", "host-bound"),
    "verifyhostkeydns": ("yes", "true", "no", "false", "ask"),
}
_OTHER_NAMES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "identityfile2": "identityfile",
}

Value = str | int | bool | tuple[str, ...] | None


class SshConfigError(NumatuneError):
    """ssh_config, or the word that names a host, cannot be used; the text says where and why."""


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


_read: dict[tuple[str, bool], tuple[tuple[tuple[str, object], ...], File]] = {}


def read(path: str, home: str, *, by_user: bool, guarded: bool) -> File | None:
    """Return a file and what it includes; None where there is none. It is read again only when one of them changed.

    `by_user`: relative Include paths mean ~/.ssh, not /etc/ssh. `guarded`: refuse a file that others may write to.
    Raises SshConfigError.
    """
    kept = _read.get((path, by_user))
    if kept is not None and all(_signature(each) == was for each, was in kept[0]):
        return kept[1]
    seen: list[str] = []
    found = _Reader(home, by_user, seen).file(path, guarded, 0)
    if found is not None:
        _read[path, by_user] = (tuple((each, _signature(each)) for each in seen), found)
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
    seen: list[str]

    def file(self, path: str, guarded: bool, depth: int) -> File | None:
        if depth > _MOST_NESTED:
            raise SshConfigError(f"{path}: Include is nested more than {_MOST_NESTED} times")
        text = _text(path, guarded)
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
                    named = word == "host"
                    head = (tuple(words.split(rest)), None, where) if named else (None, criteria(rest), where)
                elif word == "include":
                    body.extend(self._included(rest, depth))
                elif word:
                    body.extend(Setting(key, value, where) for key, value in setting(word, rest))
            except ValueError as error:
                raise SshConfigError(f"{where}: {error}") from None
        blocks.append(Block(*head, tuple(body)))
        return _file([block for block in blocks if block.body or block.match])

    def _included(self, rest: str, depth: int) -> Iterator[File]:
        for given in words.split(rest):
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
        any(criterion.lstrip("!") == "final" for criterion, _ in block.match or ())
        or any(isinstance(item, File) and item.wants_final for item in block.body)
        for block in blocks
    )
    return File(tuple(blocks), final, literal, tuple(general))


def _text(path: str, guarded: bool) -> str | None:
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
        raise SshConfigError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, which is no ssh_config")
    return os.fsdecode(data)


def criteria(rest: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a Match line: criterion in lower case (with its `!`), argument ("" for those without).

    Raises ValueError.
    """
    found: list[tuple[str, str]] = []
    while rest and not rest.startswith("#"):
        word, rest = words.delimited(rest)
        name = word.lower()
        argument = ""
        if name.lstrip("!") not in ("all", "canonical", "final"):
            if not rest or rest.startswith("#"):
                raise ValueError(f"Match {word[:40]} needs an argument")
            argument, rest = words.delimited(rest)
        found.append((name, argument))
    names = [name.lstrip("!") for name, _ in found]
    if not found:
        raise ValueError("Match needs a criterion")
    if "all" in names and not (names == ["all"] or (len(names) == 2 and names[0] in ("canonical", "final"))):
        raise ValueError("Match all stands alone, or after canonical or final")
    return tuple(found)


@lru_cache(1024)  # the options of an inventory are mostly the same for all of its hosts
def setting(word: str, rest: str) -> tuple[tuple[str, Value], ...]:
    """Return (keyword, value) of one line, () for what no connection of ours depends on; raises ValueError."""
    word = _OTHER_NAMES.get(word, word)
    if word in _COMMAND:
        return ((word, _needed(rest.lstrip(" \t="))),)
    if word == "proxyjump":
        return ((word, _needed(rest.lstrip(" \t=").partition("#")[0].rstrip())),)
    if word not in _STRING | _FLAG | _LIST | _ALGORITHMS | _TIME | _NUMBER | {*_CHOICE, "port"}:
        return ()
    arguments = words.split(rest)
    if word in _LIST:
        return ((word, tuple(_needed(each) for each in arguments) or (_needed(""),)),)
    if len(arguments) != 1 and word != "preferredauthentications":
        raise ValueError(f"{word} takes one argument, found {len(arguments)}")
    return ((word, _value(word, _needed(arguments[0] if arguments else ""))),)


def _value(word: str, text: str) -> Value:
    if word in _ALGORITHMS:
        return tuple(text.split(","))
    if word in _TIME:
        return words.seconds(text)
    if word == "port":
        return _port(text)
    if word in _NUMBER:
        if not text.isascii() or not text.isdigit():
            raise ValueError(f"{word}: not a number: {text[:40]!r}")
        return int(text)
    if word in _FLAG:
        if text.lower() not in ("yes", "true", "no", "false"):
            raise ValueError(f"{word}: not yes or no: {text[:40]!r}")
        return text.lower() in ("yes", "true")
    if word in _CHOICE:
        if text.lower() not in _CHOICE[word]:
            raise ValueError(f"{word}: {text[:40]!r} is none of {', '.join(_CHOICE[word])}")
        return text.lower()
    return text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise ValueError(f"not a port: {text[:40]!r}") from None


def _needed(text: str) -> str:
    if not text:
        raise ValueError("an argument is missing")
    return text
