"""Passwords and passphrases that somebody must type: asked once, before the run, on the terminal and nowhere else."""

from __future__ import annotations

import base64
import getpass
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import InputError
from ..transport.agent import agent

_MAGIC = b"openssh-key-v1\0"
_MOST_KEY = 1 << 20


def has_terminal() -> bool:
    """Return whether this process has a terminal on which it can ask."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask(prompt: str) -> str:
    """Return what is typed at the terminal, unseen; raises InputError, one line, without a terminal.

    Without one, getpass would read stdin and show what is typed.
    """
    if not has_terminal():
        what = prompt.strip().rstrip(":")
        raise InputError(
            f"{what} is to be asked for, but there is no terminal; set it as an (encrypted) variable instead"
        )
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise InputError(f"{prompt.strip().rstrip(':')}: nothing was typed") from None


def locked_keys(files: Iterable[str]) -> list[str]:
    """Return those of the private key files that are encrypted and that no running agent holds."""
    locked = [name for name in files if is_encrypted(name)]
    if not locked:
        return []
    held = agent_keys()
    return [name for name in locked if _public(name) not in held]


def is_encrypted(name: str) -> bool:
    """Return whether a file is a private key under a passphrase; False where it cannot be read."""
    text = _read(name)
    if b"BEGIN OPENSSH PRIVATE KEY" in text:
        body = _openssh_body(text)
        return bool(body) and _string(body, len(_MAGIC))[0] != b"none"
    return b"BEGIN ENCRYPTED PRIVATE KEY" in text or b"Proc-Type: 4,ENCRYPTED" in text


def agent_keys() -> frozenset[bytes]:
    """Return the public keys (SSH's wire form) that the agent of SSH_AUTH_SOCK holds; none where it does not answer."""
    running = agent()
    identities = running.keys() if running else ()
    return frozenset(blob for blob, _comment in identities)


def _public(name: str) -> bytes | None:
    """Return a private key file's public half: from the file beside it, or from its own unencrypted head."""
    words = _read(name + ".pub").split()
    try:
        if len(words) > 1:
            return base64.b64decode(words[1], validate=True)
        body = _openssh_body(_read(name))
        place = len(_MAGIC)
        for _ in range(3):  # cipher, key derivation, its options
            _text, place = _string(body, place)
        return _string(body, place + 4)[0]  # after the count of keys
    except (ValueError, struct.error):
        return None


def _openssh_body(text: bytes) -> bytes:
    lines = [line for line in text.splitlines() if line and not line.startswith(b"-----")]
    try:
        body = base64.b64decode(b"".join(lines))
    except ValueError:
        return b""
    return body if body.startswith(_MAGIC) else b""


def _string(data: bytes, place: int) -> tuple[bytes, int]:
    (size,) = struct.unpack(">I", data[place : place + 4])
    end = place + 4 + int(size)
    if end > len(data):
        raise struct.error("cut short")
    return data[place + 4 : end], end


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as stream:
            return stream.read(_MOST_KEY)
    except OSError:
        return b""
