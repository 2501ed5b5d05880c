"""Lines of known_hosts as OpenSSH reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Pure functions on bytes."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))
_SHA1_BLOCK = 64
_BLANKS = b" \t"
# OpenSSH cuts a list into names of up to 1,022 signs; where one is longer, the list stands for nobody.
_LONGEST_NAME = 1022
_STRINGS = {b"ssh-ed25519": 2, b"ssh-rsa": 3} | {b"ecdsa-sha2-nistp%d" % bits: 3 for bits in (256, 384, 521)}
# Names of signatures, which OpenSSH takes for the type of the key that makes them.
_TYPES = {b"rsa-sha2-256": b"ssh-rsa", b"rsa-sha2-512": b"ssh-rsa"}


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
        # For OpenSSH a NUL ends the line; a carriage return is a sign like others, which base64 overlooks.
        text = raw.partition(b"\0")[0].lstrip(_BLANKS)
        if not text.rstrip(b"\r") or text.startswith(b"#"):
            continue
        try:
            yield number, parse(text, path, number)
        except BadLineError as error:
            yield number, error


def parse(text: bytes, path: str = "", number: int = 0) -> Line:
    """Return one line, without blanks in front; raises BadLineError."""
    marker = ""
    if text.startswith(b"@"):
        # OpenSSH wants a space here where the line has any; behind a tab a revoked key is as revoked.
        first, text = _word(text)
        marker = first[1:].decode("ascii", "replace")
        if marker not in ("revoked", "cert-authority"):
            raise BadLineError("an unknown marker")
    hosts, text = _word(text)
    kind, text = _word(text)
    key, _ = _word(text)
    if not key or kind.startswith(b"#"):
        raise BadLineError("no key")
    if kind.isdigit():
        raise BadLineError("a key of SSH protocol 1")
    if max(map(len, hosts.split(b","))) > _LONGEST_NAME:
        raise BadLineError("a name that is too long")
    blob = _of_base64(key.translate(None, b"\r\v\f"))
    if blob is None:
        raise BadLineError("bad base64")
    size = int.from_bytes(blob[:4], "big")
    if not blob or blob[4 : 4 + size] != _TYPES.get(kind, kind) or len(blob) <= 4 + size:
        raise BadLineError("the key is not of the type that the line says")
    if not _is_whole(blob, blob[4 : 4 + size]):
        raise BadLineError("the key is cut off")
    return Line(marker, hosts, blob[4 : 4 + size].decode("ascii", "replace"), blob, path, number)


def _is_whole(blob: bytes, kind: bytes) -> bool:
    """Return whether a key of a usual type is as many strings as its type has, and no more."""
    place = 0
    for _ in range(_STRINGS.get(kind, 0)):
        place += 4 + int.from_bytes(blob[place : place + 4], "big")
    return place in (0, len(blob))


def _word(text: bytes) -> tuple[bytes, bytes]:
    """Return the part before the next blank, and what follows the blanks; no other sign separates."""
    word = text.replace(b"\t", b" ").partition(b" ")[0]
    return word, text[len(word) :].lstrip(_BLANKS)


def _of_base64(text: bytes) -> bytes | None:
    """Return what the text stands for, None where OpenSSH takes it for none: there is one spelling of each value."""
    try:
        data = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    return data if _base64(data) == text else None


def salted(line: Line) -> Salted:
    """Return a line whose field of names is `|1|salt|digest`; raises BadLineError."""
    parts = line.hosts.split(b"|")
    if len(parts) != 4 or parts[1] != b"1":
        raise BadLineError("an unknown hash of a name")
    salt, digest = _of_base64(parts[2]), _of_base64(parts[3])
    if salt is None or digest is None:
        raise BadLineError("bad base64 in the hash of a name")
    if len(salt) != 20 or len(digest) != 20:
        raise BadLineError("a hash of a name that is too long or too short")
    key = salt.ljust(_SHA1_BLOCK, b"\0")
    return Salted(key.translate(_INNER), key.translate(_OUTER), digest, line)


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
