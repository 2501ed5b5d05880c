"""The socket between the parent and one worker: host numbers one way, results the other, never a pickle.

A worker reads hostile bytes, so what it sends is JSON and a payload, and the parent's end never blocks: a worker that
hangs in the middle of a message holds up nobody else.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_NUMBER = struct.Struct(">If")
_FRAME = struct.Struct(">II")
_STOP = 0xFFFF_FFFF
_CHUNK = 1 << 18


class LostError(Exception):
    """The other end is gone."""


class ParentEnd:
    """The parent's end: sends numbers, gets results as far as they have come."""

    def __init__(self, own: socket.socket) -> None:
        own.setblocking(False)
        self.socket = own
        self._buffer = bytearray()
        self.lost = False

    def send(self, number: int | None, seconds: float = 0.0) -> None:
        """Hand out a host by number, for so many seconds; None tells the worker that the run is stopped.

        A lost worker is told nothing.
        """
        # A host is 8 bytes and a worker holds no more hosts than it has threads: it always fits. That a worker is
        # lost shows when its last words have been received.
        with suppress(OSError):
            self.socket.sendall(_NUMBER.pack(_STOP if number is None else number, seconds))

    def receive(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the messages that are there, each once; sets `lost` when the worker has closed its end or died."""
        while True:
            try:
                data = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.lost = True
                return
            self._buffer += data
            yield from self._whole()

    def _whole(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        while len(self._buffer) >= _FRAME.size:
            head, body = _FRAME.unpack_from(self._buffer)
            end = _FRAME.size + head + body
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as view:
                message = json.loads(bytes(view[_FRAME.size : _FRAME.size + head]))
                payload = bytes(view[_FRAME.size + head : end])
            del self._buffer[:end]
            yield message, payload

    def close(self) -> None:
        """Close it, which ends a worker that listens."""
        self.socket.close()


class WorkerEnd:
    """The worker's end: any thread may send; a send waits while the parent is busy, which holds the thread's slot."""

    def __init__(self, own: socket.socket) -> None:
        own.setblocking(True)
        self.socket = own
        self._lock = threading.Lock()
        self._rest = b""

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Send one message; raises LostError when the parent is gone."""
        head = json.dumps(message).encode("ascii")
        with self._lock:
            try:
                self.socket.sendall(_FRAME.pack(len(head), len(payload)) + head + payload)
            except OSError:
                raise LostError from None

    def receive(self) -> list[tuple[int, float] | None]:
        """Wait for hosts and return each with its seconds, None for a stopped run.

        LostError when the parent has closed or died.
        """
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise LostError
        data = self._rest + data
        whole = len(data) - len(data) % _NUMBER.size
        self._rest = data[whole:]
        hosts = _NUMBER.iter_unpack(data[:whole])
        return [None if number == _STOP else (number, seconds) for number, seconds in hosts]


def pair() -> tuple[ParentEnd, socket.socket]:
    """Return the parent's end, and the socket from which the worker makes its own."""
    parent, worker = socket.socketpair()
    return ParentEnd(parent), worker
