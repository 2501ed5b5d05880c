"""A way to an sshd that a test opens: until then it takes connections and lets nothing through."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Listens on every loopback address, on one port; a context at whose end its connections are closed."""

    def __init__(self, to: int, closed: bool) -> None:
        self._to = to
        self._open = threading.Event()
        if not closed:
            self._open.set()
        self._ended = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._open.set()
        for sock in [self._listener, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()

    def open(self) -> None:
        """Let everything through from now on, what has waited included."""
        self._open.set()

    def wait_for(self, connections: int) -> None:
        """Wait until so many connections have come."""
        until = time.monotonic() + 60
        while self.connections < connections:
            assert time.monotonic() < until, f"{self.connections} of {connections} connections came"
            time.sleep(0.01)

    def _start(self, what: object, *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(near)
            self.connections += 1
            self._start(self._join, near)

    def _join(self, near: socket.socket) -> None:
        self._open.wait()
        if self._ended:
            return
        with suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self._to))
            self._sockets.append(far)
            self._start(self._carry, near, far)
            self._carry(far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
