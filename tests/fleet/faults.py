"""Hosts that go wrong in every way that a fleet does, each by a server of our own on loopback.

    with Faults(tmp_path) as faults:
        hosts = faults.hosts(40, {"refuse": 2, "endless_output": 2})    # the rest are "good"
        faults.inventory(hosts)                                         # Ansible's JSON; faults.targets(hosts): ours

Every host has an address of its own in 127.0.0.0/8; what it does is chosen by the port. `EXPECTED` says how each kind
is to be classed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from numatune.transport.endpoint import Become, Endpoint, Secrets, Target

from .sshd import Sshd, addresses, make_key

GOOD = "good"
EXPECTED: dict[str, tuple[str, ...]] = {
    GOOD: ("",),
    "refuse": ("tcp",),
    "black_hole": ("tcp",),
    "drip_banner": ("banner",),
    "drip_output": ("timeout",),
    "endless_output": ("output",),
    "wrong_key": ("hostkey",),
    "unknown_key": ("hostkey",),
    "wrong_user_key": ("auth",),
    "failing_sudo": ("become",),
    "no_tool": ("exec",),
}
"""Kind → the phases that are right for it; "" is a judged host. These are the kinds of the big run, 5 % each."""

MORE: dict[str, tuple[str, ...]] = {
    "silent": ("banner",),
    "reset": ("banner",),
    "endless_banner": ("banner",),
    "web_server": ("banner",),
    "broken_kex": ("kex",),
    "drip_kex": ("kex", "timeout"),
    "escapes": ("exec", "parse"),
    "cut_stream": ("exec", "parse"),
}
"""Further kinds, for tests of the transports."""

_DRIP = "while :; do printf x; sleep 1; done"
_ESCAPES = r"printf '\033]0;owned\007\033[2J\377\376\n'; printf '\033[31mno\n' >&2; exit 3"
_CUT = r"printf 'numatune-snapshot 1\n@states\nf /proc/version\n'"
_SUDO = "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n"
_ORIGINAL = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'


@dataclass(frozen=True)
class Host:
    """One host: its alias says its kind and number; `become_user` is who it is to be read as, None for no change."""

    alias: str
    kind: str
    address: str
    port: int
    become_user: str | None = None


class Faults:
    """All the servers; `kinds` limits what is started (by default all of EXPECTED)."""

    def __init__(self, folder: Path, kinds: Sequence[str] = tuple(EXPECTED)) -> None:
        self.folder = folder
        self.kinds = (GOOD, *(kind for kind in kinds if kind != GOOD))
        self.good = Sshd(folder / GOOD, log_level="ERROR")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.touch()
        self._ports: dict[str, int] = {GOOD: self.good.port, "unknown_key": self.good.port}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Faults:
        with self._stack:
            self._stack.enter_context(self.good)
            sockets = self._stack.enter_context(_Sockets())
            for kind in self.kinds:
                if kind in self._ports:
                    continue
                if kind in _SOCKETS:
                    self._ports[kind] = sockets.serve(kind)
                else:
                    server = self._stack.enter_context(self._sshd(kind))
                    self._ports[kind] = server.port
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _sshd(self, kind: str) -> Sshd:
        folder = self.folder / kind
        folder.mkdir()
        if kind == "wrong_key":
            server = Sshd(folder, log_level="ERROR", host_key_types=("ed25519",))
            (folder / "authorized_keys").write_text(Path(f"{self.good.key}.pub").read_text())
            return server
        if kind == "wrong_user_key":
            make_key(folder / "other")
            (folder / "authorized_keys").write_text((folder / "other.pub").read_text())
            return Sshd(folder, log_level="ERROR", keys_of=self.good)
        return Sshd(folder, log_level="ERROR", keys_of=self.good, force=f"/bin/sh {self._script(kind, folder)}")

    def _script(self, kind: str, folder: Path) -> Path:
        tools = folder / "bin"
        tools.mkdir()
        if kind == "failing_sudo":
            (tools / "sudo").write_text(_SUDO)
            (tools / "sudo").chmod(0o755)
            text = f"PATH={tools}:$PATH; export PATH; {_ORIGINAL}"
        elif kind == "no_tool":
            (tools / "sh").symlink_to("/bin/sh")
            text = f"PATH={tools}; export PATH; {_ORIGINAL}"
        else:
            text = {"drip_output": _DRIP, "endless_output": "exec yes", "escapes": _ESCAPES, "cut_stream": _CUT}[kind]
        (folder / "force.sh").write_text(text + "\n")
        return folder / "force.sh"

    def hosts(self, count: int, shares: Mapping[str, int]) -> list[Host]:
        """Return `count` hosts, kinds spread evenly, and write known_hosts for them."""
        kinds = [kind for kind, number in shares.items() for _ in range(number)]
        kinds += [GOOD] * (count - len(kinds))
        # A stride that shares no factor with the count mixes the kinds, the same way in each run.
        stride = next(step for step in range(max(1, count * 3 // 8), count + 2) if _coprime(step, count))
        mixed = [kinds[number * stride % count] for number in range(count)]
        other = "nobody" if os.geteuid() == 0 else "root"
        hosts = [
            Host(
                f"{kind.replace('_', '-')}-{number:04}",
                kind,
                address,
                self._ports[kind],
                other if kind == "failing_sudo" else None,
            )
            for number, (kind, address) in enumerate(zip(mixed, addresses(count), strict=True))
        ]
        lines: list[str] = []
        for host in hosts:
            if host.kind != "unknown_key":
                lines += self.good.known_lines([host.address], host.port)
        self.known_hosts.write_text("".join(lines))
        return hosts

    def targets(self, hosts: Sequence[Host]) -> list[Target]:
        """Return the hosts as the transports take them."""
        return [
            Target(
                Endpoint(
                    alias=host.alias,
                    hostname=host.address,
                    port=host.port,
                    user=self.good.user,
                    identity_files=(str(self.good.key),),
                    identities_only=True,
                    use_agent=False,
                    known_hosts=(str(self.known_hosts),),
                    # `ssh` reads its configuration itself; the default key exchange would cost it 55 ms of CPU.
                    ssh_args=(
                        *("-F", "none", "-o", f"UserKnownHostsFile={self.known_hosts}"),
                        *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "KexAlgorithms=curve25519-sha256"),
                    ),
                    become=Become(user=host.become_user) if host.become_user else None,
                ),
                Secrets(),
            )
            for host in hosts
        ]

    def inventory(self, hosts: Sequence[Host]) -> Path:
        """Write the hosts as an inventory of Ansible's."""
        self.good.known_hosts = self.known_hosts
        common = self.good.variables("")
        del common["ansible_host"], common["ansible_port"]
        entries: dict[str, dict[str, object]] = {}
        for host in hosts:
            entries[host.alias] = {"ansible_host": host.address, "ansible_port": host.port}
            if host.become_user:
                entries[host.alias] |= {"ansible_become": True, "ansible_become_user": host.become_user}
        path = self.folder / "inventory.json"
        path.write_text(json.dumps({"all": {"hosts": entries, "vars": common}}))
        return path


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


# --- servers that never come to speak SSH ---

_VERSION = b"SSH-2.0-OpenSSH_9.2\r\n"


async def _drip_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await _say(writer, b"S")
        await asyncio.sleep(1)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _endless_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await _say(writer, b"x" * 65536)


async def _web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    await _say(writer, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n\x1b[31m<html>\r\n")


async def _broken_kex(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, _VERSION)
    await reader.read(1)
    await _say(writer, b"\x00\x00\x00\x0c\x0a" + bytes(range(64)))


async def _drip_kex(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, _VERSION + b"\x00\x00\x04\x0c\x0a\x14")
    while True:
        await _say(writer, b"a")
        await asyncio.sleep(1)


async def _say(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


_HANDLERS = {
    "drip_banner": _drip_banner,
    "silent": _silent,
    "reset": _reset,
    "endless_banner": _endless_banner,
    "web_server": _web_server,
    "broken_kex": _broken_kex,
    "drip_kex": _drip_kex,
}
_SOCKETS = ("refuse", "black_hole", *_HANDLERS)


class _Sockets:
    """The servers of plain sockets: one thread with one event loop for all of them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._kept: list[socket.socket] = []

    def __enter__(self) -> _Sockets:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        for each in self._kept:
            each.close()

    def serve(self, kind: str) -> int:
        """Start one; return its port."""
        listener = socket.socket()
        listener.bind(("0.0.0.0", 0))
        port = int(listener.getsockname()[1])
        self._kept.append(listener)
        if kind == "refuse":
            return port  # bound, so that nobody else takes it, and never listening
        if kind == "black_hole":
            self._fill(listener, port)
            return port
        listener.listen(1024)
        self._run(self._start(kind, listener))
        return port

    def _fill(self, listener: socket.socket, port: int) -> None:
        """Fill the queue of a listener that never accepts: the kernel drops every SYN from then on."""
        listener.listen(0)
        for _ in range(16):
            guest = socket.socket()
            self._kept.append(guest)
            guest.settimeout(0.3)
            try:
                guest.connect(("127.0.0.1", port))
            except TimeoutError:
                return
        raise RuntimeError("the queue of a listener that never accepts does not fill on this kernel")

    async def _start(self, kind: str, listener: socket.socket) -> None:
        await asyncio.start_server(_quiet(_HANDLERS[kind]), sock=listener)

    async def _end(self) -> None:
        # Its accept loops and handlers; their ends are waited for, so that none outlives the loop.
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


def _quiet(handler: Any) -> Any:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Clients leave when they have seen enough, and the loop ends with the test.
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    return serve
