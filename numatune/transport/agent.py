"""The user's agent: its keys and its signatures, each asked for within a deadline.

paramiko's client of the agent waits without end, and asks for the list of keys once for each host.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time

from .failure import clean

_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = 12
_SIGN_REQUEST = 13
_SIGN_RESPONSE = 14
_LARGEST_ANSWER = 256 << 10
_LIST_S = 3.0
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentError(Exception):
    """The agent cannot be asked, refuses, or does not answer in time."""


class Agent:
    """The agent behind one socket path; its list of keys is read once. Threads may share it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._keys: tuple[tuple[bytes, str], ...] | None = None
        self.problem = ""

    def keys(self) -> tuple[tuple[bytes, str], ...]:
        """Return (public key blob, comment) of each key; () with `problem` set where the agent does not answer."""
        with self._lock:
            if self._keys is None:
                try:
                    self._keys = _identities(_ask(self.path, bytes([_REQUEST_IDENTITIES]), _LIST_S))
                except AgentError as error:
                    self._keys = ()
                    self.problem = f"the agent {error}"
            return self._keys

    def sign(self, blob: bytes, data: bytes, algorithm: str, seconds: float) -> bytes:
        """Return the signature blob of `data` by the key `blob`; raises AgentError."""
        flags = _FLAGS.get(algorithm, 0)
        request = bytes([_SIGN_REQUEST]) + _string(blob) + _string(data) + struct.pack(">I", flags)
        answer = _ask(self.path, request, seconds)
        if answer[:1] != bytes([_SIGN_RESPONSE]):
            raise AgentError("refused to sign")
        return _take(answer, 1)[0]


def _ask(path: str, request: bytes, seconds: float) -> bytes:
    end = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(max(0.001, seconds))
            sock.connect(path)
            sock.sendall(_string(request))
            (size,) = struct.unpack(">I", _read(sock, 4, end))
            if not 0 < size <= _LARGEST_ANSWER:
                raise AgentError("answers with nonsense")
            return _read(sock, size, end)
    except TimeoutError:
        raise AgentError(f"did not answer within {seconds:.0f} s") from None
    except OSError as error:
        raise AgentError(f"cannot be reached: {error.strerror}") from None


def _read(sock: socket.socket, size: int, end: float) -> bytes:
    data = b""
    while len(data) < size:
        sock.settimeout(max(0.001, end - time.monotonic()))
        piece = sock.recv(size - len(data))
        if not piece:
            raise AgentError("closed the connection")
        data += piece
    return data


def _identities(answer: bytes) -> tuple[tuple[bytes, str], ...]:
    if answer[:1] != bytes([_IDENTITIES_ANSWER]) or len(answer) < 5:
        raise AgentError("gave no list of keys")
    (count,) = struct.unpack_from(">I", answer, 1)
    at = 5
    found = []
    for _ in range(min(count, 1000)):
        blob, at = _take(answer, at)
        comment, at = _take(answer, at)
        found.append((blob, clean(comment, 80)))
    return tuple(found)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes, at: int) -> tuple[bytes, int]:
    if len(data) < at + 4:
        raise AgentError("cut its answer short")
    (size,) = struct.unpack_from(">I", data, at)
    end = at + 4 + size
    if len(data) < end:
        raise AgentError("cut its answer short")
    return data[at + 4 : end], end


_agents: dict[str, Agent] = {}


def agent(path: str | None = None) -> Agent | None:
    """Return the agent at `path` or of SSH_AUTH_SOCK, the same one within a process; None where there is none."""
    path = path or os.environ.get("SSH_AUTH_SOCK")
    return _agents.setdefault(path, Agent(path)) if path else None
