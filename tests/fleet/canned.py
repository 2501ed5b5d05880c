"""SSH servers that misbehave once they speak SSH, made of paramiko's server side; one thread a connection.

    with Canned(folder, after_kex=flood) as server: …    # server.port, server.seen, server.key_line

`before`, `after_kex`, `on_channel` and `on_exec` run in the server's threads with its paramiko.Transport (and the
channel); what they raise ends the connection.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from typing import Any

import paramiko


@functools.cache
def host_key() -> paramiko.RSAKey:
    """The host key of every server here; making one takes a while."""
    return paramiko.RSAKey.generate(2048)


class Server(paramiko.ServerInterface):
    """Lets in by `password`, or by any key when it is None; `seen` records every attempt."""

    def __init__(self, owner: Canned) -> None:
        self.owner = owner
        self.command: threading.Event = threading.Event()
        self.text = b""
        self.transport: paramiko.Transport | None = None

    def get_allowed_auths(self, username: str) -> str:
        return self.owner.allowed

    def get_banner(self) -> tuple[str | None, str | None]:
        return (self.owner.banner, "en")

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.owner.seen.append(("publickey", username))
        if self.owner.hangs:
            self.owner.ended.wait(30)
        return paramiko.AUTH_SUCCESSFUL if self.owner.password is None else paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.owner.seen.append(("password", password))
        if self.owner.hangs:
            self.owner.ended.wait(30)
        return paramiko.AUTH_SUCCESSFUL if password == self.owner.password else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        self.owner.seen.append(("keyboard-interactive", username))
        return paramiko.InteractiveQuery("\x1b[2J", "answer", *self.owner.prompts)

    def check_auth_interactive_response(self, responses: list[str]) -> Any:
        self.owner.seen.append(("answers", tuple(responses)))
        if self.owner.again:
            return paramiko.InteractiveQuery("", "", *self.owner.prompts)
        return paramiko.AUTH_SUCCESSFUL if list(responses) == [self.owner.password] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.owner.on_channel is not None and self.transport is not None:
            self.owner.on_channel(self.transport)
        return self.owner.channel

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.text = command
        self.owner.seen.append(("exec", command.decode()))
        self.command.set()
        return self.owner.executes


class Canned:
    """One such server on 127.0.0.1."""

    def __init__(
        self,
        *,
        password: str | None = None,
        allowed: str = "publickey",
        prompts: tuple[Any, ...] = (("Password: ", False),),
        again: bool = False,
        banner: str | None = None,
        channel: int = paramiko.OPEN_SUCCEEDED,
        executes: bool = True,
        hangs: bool = False,
        before: Callable[[paramiko.Transport], None] | None = None,
        after_kex: Callable[[paramiko.Transport], None] | None = None,
        on_exec: Callable[[paramiko.Transport, paramiko.Channel], None] | None = None,
        on_channel: Callable[[paramiko.Transport], None] | None = None,
        disabled: dict[str, list[str]] | None = None,
    ) -> None:
        self.password, self.allowed, self.prompts, self.again, self.banner = password, allowed, prompts, again, banner
        self.channel, self.executes, self.after_kex, self.on_exec = channel, executes, after_kex, on_exec
        self.disabled, self.hangs, self.before = disabled, hangs, before
        self.on_channel = on_channel
        self.seen: list[tuple[str, Any]] = []
        self.key: paramiko.PKey = host_key()
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []

    @property
    def known_line(self) -> str:
        """Its line of known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.key.get_name()} {self.key.get_base64()}\n"

    def __enter__(self) -> Canned:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        transport = paramiko.Transport(sock, disabled_algorithms=self.disabled)
        transport.add_server_key(self.key)
        server = Server(self)
        server.transport = transport
        # Whatever the client does to it, or it to the client: the test looks at the client.
        with contextlib.suppress(Exception):
            if self.before is not None:
                self.before(transport)
            transport.start_server(server=server)
            if self.after_kex is not None:
                self.after_kex(transport)
            channel = transport.accept(10) if transport.is_active() else None
            while channel is not None and transport.is_active() and not server.command.wait(0.02):
                pass
            if channel is not None and server.command.is_set() and self.on_exec is not None:
                self.on_exec(transport, channel)
            while transport.is_active() and not self.ended.wait(0.05):
                pass
        transport.close()
