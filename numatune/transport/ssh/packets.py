"""Packets of one connection, read and written within a deadline, a largest packet and a number of bytes."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from ..limits import MIB, Deadline

# RFC 4253 asks for 35,000 bytes; OpenSSH sends no more than this.
LARGEST_PACKET = 256 << 10
_LARGEST_LINE = 4096
_READ = 64 << 10
# How long a gateway may take no more bytes before it counts as dead.
_GATEWAY_STALLS_S = 15.0
# Nothing but output is large: key exchange, authentication and banners fit into this.
_OVERHEAD = MIB


class LateError(Exception):
    """The deadline of the phase passed while waiting for the peer."""


class FloodError(Exception):
    """The peer sent more than any session needs."""


class Packets(Packetizer):
    """paramiko's packets on a socket that is read in large pieces, each wait no longer than the deadline allows.

    The base class waits in slices of 0.1 s for ever, reads each packet in two or three pieces, and believes any
    length that a packet announces. `deadline` is None for a gateway that serves others.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._sock = sock
        self._buffer = bytearray()
        self._deadline: Deadline | None = None
        self._end = float("inf")
        self.most_bytes: int | None = None
        self.received = 0

    @property
    def deadline(self) -> Deadline | None:
        """What no wait may pass; None for a gateway that serves others."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: Deadline | None) -> None:
        self._deadline = deadline
        self._end = float("inf") if deadline is None else deadline.end

    def allow(self, output_bytes: int | None) -> None:
        """Set how many bytes may come in all, protocol included; None sets no limit."""
        self.most_bytes = None if output_bytes is None else output_bytes + output_bytes // 16 + _OVERHEAD

    def _wait(self) -> None:
        """Give the socket what is left of the deadline; LateError when nothing is."""
        if self._deadline is None:
            return
        left = self._end - time.monotonic()
        if left <= 0:
            raise LateError
        self._sock.settimeout(left)

    def _fill(self) -> None:
        """Read what has come, at least a byte; raises LateError, FloodError, EOFError, OSError."""
        self._wait()
        try:
            data = self._sock.recv(_READ)
        except TimeoutError:
            raise LateError from None
        if not data:
            raise EOFError
        self.received += len(data)
        if self.most_bytes is not None and self.received > self.most_bytes:
            raise FloodError
        self._buffer += data

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Return n bytes; the name and arguments are the base class's."""
        if not 0 <= n <= LARGEST_PACKET:
            raise paramiko.SSHException(f"a packet of {n} bytes was announced")
        buffer = self._buffer
        # A peer that never stops sending never makes us wait, where the deadline is looked at too.
        if len(buffer) >= n and time.monotonic() >= self._end:
            raise LateError
        while len(buffer) < n:
            self._fill()
        data = bytes(buffer[:n])
        del buffer[:n]
        return data

    def line(self) -> bytes:
        """Return the next line without its end; SSHException for one that is longer than any version line."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LARGEST_LINE:
                raise paramiko.SSHException("the line where a version belongs does not end")
            self._fill()
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line[:_LARGEST_LINE]

    def write_all(self, out: Any) -> None:
        """Send all of `out`; raises LateError, OSError (EOFError where the peer has gone)."""
        view = memoryview(out)
        while view:
            self._wait()
            try:
                sent = self._sock.send(view) if self._deadline is not None else self._sent_on(view)
            except TimeoutError:
                raise LateError from None
            if sent <= 0:
                raise EOFError
            view = view[sent:]

    def _sent_on(self, view: memoryview) -> int:
        """Send some of it as a gateway: whoever sends holds the lock of all behind it, so one that stalls is closed."""
        if not isinstance(self._sock, socket.socket):
            return int(self._sock.send(view))
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        if not poll.poll(1000 * _GATEWAY_STALLS_S):
            self.close()
            raise LateError
        return self._sock.send(view, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close the socket; another thread that waits in recv() wakes up."""
        if self.closed:
            return
        try:
            if isinstance(self._sock, socket.socket):
                self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was never connected, or is closed already
        super().close()
