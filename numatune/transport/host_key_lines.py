"""Lines of known_hosts as OpenSSH reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Pure functions on bytes."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))
_SHA1_BLOCK = 64


class Line(NamedTuple):
    """One key: marker ("", "revoked" or "cert-authority"), the field of host names, type, public blob, and where."""

    marker: str
    hosts: bytes
    kind: str
    blob: bytes
    path: str = ""
    number: int = 0


class Salted(NamedTuple):
    """A line whose name is hashed, ready to be compared: the two padded keys of HMAC-SHA1, and the wanted digest."""

    inner: bytes
    outer: bytes
    digest: bytes
    line: Line

    def is_of(self, name: bytes) -> bool:
        """Return whether the line is for `name`; twice as fast as hmac.digest, which sets up a key each time."""
        sha1 = hashlib.sha1
        return sha1(self.outer + sha1(self.inner + name).digest()).digest() == self.digest


class BadLineError(ValueError):
    """A line that holds no key; the text says why."""


def lines(data: bytes, path: str = "", after: int = 0) -> Iterator[tuple[int, Line | BadLineError]]:
    """Yield (number, line or why it is none) of every line that is neither blank nor a comment.

    `path` is the file of the data, `after` the number of its lines before it.
    """
    for number, raw in enumerate(data.split(b"\n"), after + 1):
        text = raw.strip(b" \t\r")
        if not text or text.startswith(b"#"):
            continue
        try:
            yield number, parse(text, path, number)
        except BadLineError as error:
            yield number, error


def parse(text: bytes, path: str = "", number: int = 0) -> Line:
    """Return one line, stripped already; raises BadLineError."""
    marker = ""
    if text.startswith(b"@"):
        # OpenSSH wants a blank here where the line has any; behind a tab a revoked key is as revoked.
        first, *rest = text.split(None, 1)
        text = rest[0] if rest else b""
        marker = first[1:].decode("ascii", "replace")
        if marker not in ("revoked", "cert-authority"):
            raise BadLineError("an unknown marker")
    words = text.split(None, 3)
    if len(words) < 3:
        raise BadLineError("no key")
    hosts, kind = words[0], words[1]
    if kind.isdigit():
        raise BadLineError("a key of SSH protocol 1")
    try:
        # Strict: OpenSSH too refuses signs after the padding and signs of another alphabet.
        blob = binascii.a2b_base64(words[2], strict_mode=True)
    except binascii.Error:
        raise BadLineError("bad base64") from None
    if len(words[2]) != (len(blob) + 2) // 3 * 4:
        raise BadLineError("bad base64")  # signs after the padding, which Python takes
    size = int.from_bytes(blob[:4], "big")
    if not blob or blob[4 : 4 + size] != kind or len(blob) <= 4 + size:
        raise BadLineError("the key is not of the type that the line says")
    return Line(marker, hosts, kind.decode("ascii", "replace"), blob, path, number)


def salted(line: Line) -> Salted:
    """Return a line whose field of names is `|1|salt|digest`; raises BadLineError."""
    parts = line.hosts.split(b"|")
    if len(parts) != 4 or parts[1] != b"1":
        raise BadLineError("an unknown hash of a name")
    try:
        salt, digest = binascii.a2b_base64(parts[2]), binascii.a2b_base64(parts[3])
    except binascii.Error:
        raise BadLineError("bad base64 in the hash of a name") from None
    if len(salt) != 20 or len(digest) != 20:
        raise BadLineError("a hash of a name that is too long or too short")
    key = salt.ljust(_SHA1_BLOCK, b"\0")
    return Salted(key.translate(_INNER), key.translate(_OUTER), digest, line)


def in_patterns(name: bytes, hosts: bytes) -> bool:
    """Return whether a list of patterns holds a name; a pattern that begins with `!` and matches excludes it."""
    found = False
    for each in hosts.lower().split(b","):
        negated = each.startswith(b"!")
        if _expression(each[1:] if negated else each).fullmatch(name):
            if negated:
                return False
            found = True
    return found


def _expression(text: bytes) -> re.Pattern[bytes]:
    made = _expressions.get(text)
    if made is None:
        parts = (part for part in re.split(rb"(\*+|\?)", text) if part)
        source = b"".join(b".*" if part[:1] == b"*" else b"." if part == b"?" else re.escape(part) for part in parts)
        made = _expressions[text] = re.compile(source, re.DOTALL)
    return made


_expressions: dict[bytes, re.Pattern[bytes]] = {}


def written(name: str, kind: str, blob: bytes, salt: bytes | None) -> bytes:
    """Return the line for a new key, with its end; the name is hashed where there is a salt of 20 bytes.

    Raises ValueError for a name that would stand for others, or for something else than a name.
    """
    field = name.encode("utf-8", "surrogateescape")
    if not name or name[0] in "|@#" or any(sign in "*?!," or sign.isspace() or sign < " " for sign in name):
        raise ValueError(f"{name[:80]!r} cannot be put on file as one host's name")
    if salt is not None:
        key = salt.ljust(_SHA1_BLOCK, b"\0")
        inner = hashlib.sha1(key.translate(_INNER) + field).digest()
        digest = hashlib.sha1(key.translate(_OUTER) + inner).digest()
        field = b"|1|%s|%s" % (_base64(salt), _base64(digest))
    return b"%s %s %s\n" % (field, kind.encode("ascii"), _base64(blob))


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
