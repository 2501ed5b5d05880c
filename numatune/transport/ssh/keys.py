"""The keys that a host is offered, in order: each private key file is read once within a process."""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..agent import Agent, AgentError, agent
from ..endpoint import Endpoint
from .blobs import CERTIFICATE, kind_of, too_short

_TYPES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ecdsa-": paramiko.ECDSAKey,
    "ssh-rsa": paramiko.RSAKey,
}

# (data to sign, algorithm of the signature, seconds) -> signature blob
Sign = Callable[[bytes, str, float], bytes]


class UnusableKeyError(Exception):
    """A key cannot be used; the text says why."""


@dataclass(frozen=True, repr=False)
class Identity:
    """A key to offer: what to call it in a message, its public blob and type, and how to sign with it."""

    name: str
    blob: bytes
    kind: str
    sign: Sign
    asks_first: bool  # a signature may need a touch or a confirmation, so the server is asked before

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The signature algorithms that fit, best first."""
        tail = CERTIFICATE if self.kind.endswith(CERTIFICATE) else ""
        if self.kind.removesuffix(CERTIFICATE) == "ssh-rsa":
            return (f"rsa-sha2-512{tail}", f"rsa-sha2-256{tail}")
        return (self.kind,)


class _Files:
    """Private keys by (path, passphrase): read once, whatever the number of hosts and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str | None], list[Identity] | str] = {}
        self._public: dict[str, bytes | None] = {}

    def identities(self, path: str, passphrase: str | None) -> list[Identity]:
        """Return the certificate (where one lies beside it) and the key of a file; raises UnusableKeyError."""
        with self._lock:
            found = self._known.get((path, passphrase))
            if found is None:
                try:
                    found = _load(path, passphrase)
                except UnusableKeyError as error:
                    found = str(error)
                self._known[path, passphrase] = found
        if isinstance(found, str):
            raise UnusableKeyError(found)
        return found

    def public(self, path: str) -> bytes | None:
        """Return the public blob of a key file by its .pub, so that the agent's copy of it can be told."""
        with self._lock:
            if path not in self._public:
                self._public[path] = _public(path)
            return self._public[path]


files = _Files()


def offered(endpoint: Endpoint, passphrase: str | None, notes: list[str]) -> Iterator[Identity]:
    """Yield the keys to offer: those of the agent that are named, key files, then the agent's others.

    OpenSSH offers the agent's others before files that the agent does not hold; with 20 keys in the agent its
    server hangs up before the right one. What cannot be used is said in `notes`.
    """
    source = agent(endpoint.identity_agent) if endpoint.use_agent else None
    held = dict(source.keys()) if source is not None else {}
    if source is not None and source.problem:
        notes.append(source.problem)
    done: set[bytes] = set()
    for identity in _in_order(endpoint, passphrase, notes, source, held):
        if identity.blob in done:
            continue
        done.add(identity.blob)
        if too_short(identity.blob, endpoint.rsa_bits):
            notes.append(f"{identity.name} is not offered: an RSA key of fewer bits than RequiredRSASize wants")
            continue
        yield identity


def _in_order(
    endpoint: Endpoint, passphrase: str | None, notes: list[str], source: Agent | None, held: dict[bytes, str]
) -> Iterator[Identity]:
    by_file = {path: files.public(path) for path in endpoint.identity_files}
    if source is not None:
        yield from (_from_agent(source, blob, path) for path, blob in by_file.items() if blob in held)
    for path, blob in by_file.items():
        if blob not in held:
            try:
                yield from files.identities(path, passphrase)
            except UnusableKeyError as error:
                notes.extend([str(error)] if str(error) else [])
    if source is not None and not endpoint.identities_only:
        yield from (_from_agent(source, blob, comment or "a key of the agent") for blob, comment in held.items())


def _from_agent(source: Agent, blob: bytes, name: str) -> Identity:
    def sign(data: bytes, algorithm: str, seconds: float) -> bytes:
        try:
            return source.sign(blob, data, algorithm.removesuffix(CERTIFICATE), seconds)
        except AgentError as error:
            raise UnusableKeyError(f"the agent {error} with {name}") from None

    return Identity(f"{name} (agent)", blob, kind_of(blob), sign, asks_first=True)


def _load(path: str, passphrase: str | None) -> list[Identity]:
    if not Path(path).is_file():
        raise UnusableKeyError("")  # the default files need not exist
    if not os.access(path, os.R_OK):
        raise UnusableKeyError(f"{path} cannot be read")
    _check_mode(path)
    key = _private(path, passphrase)

    def sign(data: bytes, algorithm: str, seconds: float) -> bytes:
        return key.sign_ssh_data(data, algorithm).asbytes()

    bare = Identity(path, key.asbytes(), key.get_name(), sign, asks_first=False)
    certificate = _blob_of(f"{path}-cert.pub")
    if certificate is None:
        return [bare]
    return [Identity(f"{path}-cert.pub", certificate, kind_of(certificate), sign, asks_first=False), bare]


def _check_mode(path: str) -> None:
    """Refuse a key that others may read, as OpenSSH does: of the files of the account that runs this, no others'."""
    state = Path(path).stat()
    if state.st_uid == os.getuid() and state.st_mode & 0o077:
        raise UnusableKeyError(f"{path} has bad permissions: others may use it: chmod 600 {shlex.quote(path)}")


def _private(path: str, passphrase: str | None) -> paramiko.PKey:
    # Each class decrypts before it looks at the type, which takes a second of an encrypted key: the one of the .pub.
    likely = next((each for word, each in _TYPES.items() if kind_of(_public(path) or b"").startswith(word)), None)
    for kind in _TYPES.values() if likely is None or passphrase is None else (likely,):
        try:
            return kind.from_private_key_file(path, passphrase)
        except paramiko.PasswordRequiredException:
            raise UnusableKeyError(f"{path} is encrypted: add it to the agent, or give its passphrase") from None
        except Exception:  # each class has its own errors for a key of another type; the loop's end says what is left
            continue
    whole = _without_comment(path) if passphrase is None else None
    if whole is not None:
        return whole
    if passphrase is not None:
        raise UnusableKeyError(
            f"{path} cannot be used: the passphrase does not open it, or its type is unknown to paramiko"
        )
    raise UnusableKeyError(f"{path} cannot be used: damaged, or of a type unknown to paramiko; --transport openssh may")


def _without_comment(path: str) -> paramiko.PKey | None:
    """Return a key that paramiko takes for empty: one whose comment is empty and whose length needs no padding.

    Every ECDSA key of 256 bits without a comment is such a one, and one of eight RSA keys without.
    """
    try:
        key = serialization.load_ssh_private_key(Path(path).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    return paramiko.RSAKey(key=key) if isinstance(key, rsa.RSAPrivateKey) else None


def _public(path: str) -> bytes | None:
    """An identity file may itself be a .pub, for a key that only the agent holds."""
    return _blob_of(path if path.endswith(".pub") else f"{path}.pub")


def _blob_of(path: str) -> bytes | None:
    """The blob of a public key or certificate file; None where there is none."""
    try:
        words = Path(path).read_bytes()[:65536].split()
        return base64.b64decode(words[1], validate=True)
    except (OSError, IndexError, binascii.Error):
        return None
