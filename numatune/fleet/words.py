"""The TARGET words of a command without an inventory: `[user@]host[:port]`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..core.errors import InputError
from ..transport.failure import clean

_HOST = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\-]*")
_USER = re.compile(r"[^\s:@/\-\x00-\x1f\x7f][^\s:/\x00-\x1f\x7f]*")


class Word(NamedTuple):
    """One TARGET: the word as given, and its parts; None where it says nothing."""

    text: str
    host: str
    user: str | None = None
    port: int | None = None


def parse(text: str) -> Word:
    """Return the parts of `[user@]host[:port]`; an IPv6 address with a port stands in brackets, alone it need not.

    Raises InputError, one line. A word, a user or a host that begins with `-` is refused: a program that is handed it
    would take it for an option.
    """
    user: str | None
    user, at, rest = text.rpartition("@")
    if not at:
        user = None
    elif not _USER.fullmatch(user):
        raise _bad(text, "no user that can be used")
    host, port = _split(text, rest)
    if not _HOST.fullmatch(host) and not is_ipv6(host):
        raise _bad(text, "no host name and no address" if host else "no host")
    return Word(text, host, user, port)


def parse_all(texts: Iterable[str]) -> list[Word]:
    """Return the words in their order, each user, host and port once (the first spelling names it)."""
    words: dict[tuple[str | None, str, int | None], Word] = {}
    for text in texts:
        word = parse(text)
        words.setdefault((word.user, word.host, word.port), word)
    return list(words.values())


def usable_host(host: str) -> bool:
    """Return whether a host's name or address may be handed to a resolver or to `ssh`."""
    return bool(_HOST.fullmatch(host)) or is_ipv6(host)


def usable_user(user: str) -> bool:
    """Return whether a login name may be handed to a server or to `ssh`."""
    return bool(_USER.fullmatch(user))


def is_ipv6(text: str) -> bool:
    """Return whether it is an IPv6 address, with or without a zone (`fe80::1%eth0`)."""
    address, percent, zone = text.partition("%")
    if percent and not re.fullmatch(r"[A-Za-z0-9_.\-]+", zone):
        return False
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _split(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or not is_ipv6(host):
            raise _bad(text, "brackets hold an IPv6 address: [::1] or [::1]:22")
        return host, _port(text, port[1:]) if port else None
    if rest.count(":") > 1:
        if not is_ipv6(rest):
            raise _bad(text, "no IPv6 address; with a port it stands in brackets: [::1]:22")
        return rest, None
    host, colon, port = rest.partition(":")
    return host, _port(text, port) if colon else None


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise _bad(text, "a port is a number from 1 to 65535")
    return int(port)


def _bad(text: str, why: str) -> InputError:
    return InputError(f"{clean(text, 80) or repr(text)}: {why}; a target is [user@]host[:port]")
