"""The protocol of the transport by paramiko against those who are in between, and servers that skip or bend a step.

What is asked each time: does anything reach the peer (`seen`) before the host has proved its key?
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from fleet.canned import Canned, host_key
from fleet.sshd import Sshd, make_key
from paramiko.message import Message

from numatune.transport.endpoint import Endpoint, Secrets, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.ssh import Gateways, collect, link, packets
from numatune.transport.ssh.packets import LateError, Packets
from numatune.transport.ssh.session import Session

SECRET = "correct-horse-battery"
QUICK = Limits(resolve_s=2, connect_s=2, banner_s=2, kex_s=4, auth_s=4, channel_s=3, total_s=10, output_bytes=1 << 20)


def echo(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    channel.sendall(b"hello\n")
    channel.send_exit_status(0)
    channel.close()


def raw(transport: paramiko.Transport, number: int, *parts: int | str | bytes) -> None:
    message = Message()
    message.add_byte(bytes([number]))
    for part in parts:
        if isinstance(part, int):
            message.add_int(part)
        else:
            message.add_string(part)
    transport._send_message(message)  # type: ignore[attr-defined] # a server that says what it may not


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def endpoint(folder: Path, port: int, key: paramiko.PKey | None = None) -> Endpoint:
    """A host on that port of 127.0.0.1, which has the canned server's key on file."""
    file = folder / f"known_{port}"
    file.write_text(f"[127.0.0.1]:{port} {(key or host_key()).get_name()} {(key or host_key()).get_base64()}\n")
    return Endpoint(
        alias="odd", hostname="127.0.0.1", port=port, user="someone", use_agent=False, known_hosts=(str(file),)
    )


def outcome(end: Endpoint, text: str = "echo hello\n") -> str | Failure:
    """What came, or the failure; either within the limits."""
    started = time.monotonic()
    try:
        return collect(Target(end, Secrets(password=SECRET)), text, QUICK, lambda files: KnownHosts(files))
    except Failure as failure:
        found = failure
    assert time.monotonic() - started < QUICK.total_s + 1
    assert found.message.isprintable()
    assert SECRET not in str(found)
    return found


def refused(server: Canned, folder: Path, phase: str = "kex") -> Failure:
    """A failure in that phase before the server learned anything."""
    found = outcome(endpoint(folder, server.port))
    assert isinstance(found, Failure), found
    assert found.phase == phase, found
    assert server.seen == []
    return found


def canned(**options: Any) -> Canned:
    return Canned(**{"password": SECRET, "allowed": "password", "on_exec": echo, **options})


# --- whose key it is ---


class Forger(paramiko.RSAKey):
    """Somebody in between who shows the host's public key, which is no secret, and signs with a key of their own."""

    def asbytes(self) -> bytes:
        return host_key().asbytes()


class Careless(paramiko.RSAKey):
    """The host's own key; `signed` says what becomes of the data that it signs."""

    signed: Callable[[bytes], bytes]

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        return super().sign_ssh_data(type(self).signed(data), algorithm)


def careless(change: Callable[[bytes], bytes]) -> paramiko.RSAKey:
    kind = type("Careless", (Careless,), {"signed": staticmethod(change)})
    made = kind(key=host_key().key)
    assert isinstance(made, paramiko.RSAKey)
    return made


def test_one_in_between_who_shows_the_hosts_key_cannot_sign_for_it(tmp_path: Path) -> None:
    server = canned()
    server.key = Forger(key=paramiko.RSAKey.generate(2048).key)
    assert server.key.get_base64() == host_key().get_base64()
    with server:
        assert "Signature verification" in refused(server, tmp_path).message


@pytest.mark.parametrize("kind", [paramiko.Ed25519Key, paramiko.ECDSAKey])
def test_nor_with_keys_of_other_types(kind: type[paramiko.PKey], tmp_path: Path) -> None:
    word = "ed25519" if kind is paramiko.Ed25519Key else "ecdsa"
    own, real = (
        kind.from_private_key_file(str(make_key(tmp_path / f"id_{name}", word, SECRET)), SECRET)
        for name in ("forger", "host")
    )
    server = canned()
    server.key = real
    end = endpoint(tmp_path, server.port, real)
    with server:
        assert outcome(end) == "hello\n"
        server.seen.clear()
        server.key = own
        own.asbytes = real.asbytes  # type: ignore[method-assign] # it shows the host's and signs with its own
        found = outcome(end)
        assert isinstance(found, Failure)
        assert "Signature verification" in found.message
        assert server.seen == []


def test_one_in_between_with_a_key_of_their_own(tmp_path: Path) -> None:
    server = canned()
    server.key = paramiko.RSAKey.generate(2048)
    with server:
        message = refused(server, tmp_path, "hostkey").message
    assert f"known_{server.port}:1" in message
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in message


@pytest.mark.parametrize("change", [lambda data: data[::-1], lambda data: data + b"\0", lambda data: b""])
def test_a_signature_over_anything_but_this_exchange(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    server = canned()
    server.key = careless(change)
    with server:
        assert "Signature verification" in refused(server, tmp_path).message


def test_a_signature_of_an_earlier_exchange(tmp_path: Path) -> None:
    first: list[bytes] = []

    def replayed(data: bytes) -> bytes:
        first.append(data)
        return first[0]

    server = canned()
    server.key = careless(replayed)
    with server:
        assert outcome(endpoint(tmp_path, server.port)) == "hello\n"
        server.seen.clear()
        refused(server, tmp_path)


def test_the_key_that_was_judged_stays_the_hosts(tmp_path: Path) -> None:
    def changes(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        transport.server_key_dict["rsa-sha2-512"] = transport.server_key_dict["rsa-sha2-256"] = other
        transport.renegotiate_keys()
        echo(transport, channel)

    other = paramiko.RSAKey.generate(2048)
    with canned(on_exec=changes) as server:
        found = outcome(endpoint(tmp_path, server.port))
    assert isinstance(found, Failure)
    assert "key changed" in found.message


# --- the order of its steps ---

EARLY = {
    "new keys": (21,),
    "a login that succeeded": (52,),
    "a service that was accepted": (6, "ssh-userauth"),
    "what it can do": (7, 0),
    "a channel's data": (94, 0, "x"),
    "a global request": (80, "x", 0),
    "unimplemented": (3, 0),
    "an answer to a key": (60, "x", "y"),
    "nothing of importance": (2, "x"),
    "a debug message": (4, 0, "x", "y"),
}


@pytest.mark.parametrize("parts", EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("strict", [True, False])
def test_what_comes_amid_the_key_exchange(parts: tuple[Any, ...], strict: bool, tmp_path: Path) -> None:
    def before(transport: paramiko.Transport) -> None:
        transport.advertise_strict_kex = strict  # type: ignore[attr-defined] # not in the published types
        inner = transport._negotiate_keys  # type: ignore[attr-defined] # where the client's KEXINIT comes in

        def negotiate(message: Message) -> None:
            inner(message)
            raw(transport, *parts)

        transport._handler_table[20] = negotiate  # type: ignore[attr-defined] # not in the published types

    with canned(before=before) as server:
        if not strict and parts[0] in (2, 4):
            # Allowed by RFC 4253, and by servers that do not know of strict key exchange.
            assert outcome(endpoint(tmp_path, server.port)) == "hello\n"
        else:
            refused(server, tmp_path)


def test_strict_key_exchange_lets_nothing_come_before_the_first_packet(tmp_path: Path) -> None:
    # What an attacker of CVE-2023-48795 puts in, to have a packet cut off behind it.
    def before(transport: paramiko.Transport) -> None:
        inner = transport._send_kex_init  # type: ignore[attr-defined] # not in the published types

        def send() -> None:
            raw(transport, 2, "x")
            inner()

        transport._send_kex_init = send  # type: ignore[attr-defined] # not in the published types

    with canned(before=before) as server:
        assert "KEXINIT was not the first" in refused(server, tmp_path).message


def test_strict_key_exchange_is_agreed_on_with_openssh(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Session] = []

    class Watched(Session):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(link, "Session", Watched)
    assert outcome(host_of(sshd, tmp_path)) == "hello\n"
    assert made[0].agreed_on_strict_kex  # type: ignore[attr-defined] # not in the published types
    assert not any("md5" in name or "-96" in name for name in made[0].preferred_macs)
    assert not any("cbc" in name for name in made[0].preferred_ciphers)


def test_a_login_that_succeeds_before_it_is_asked_for_is_none(tmp_path: Path) -> None:
    def early(transport: paramiko.Transport) -> None:
        inner = transport._activate_outbound  # type: ignore[attr-defined] # sends NEWKEYS

        def activate() -> None:
            inner()
            raw(transport, 52)

        transport._activate_outbound = activate  # type: ignore[attr-defined] # not in the published types

    with canned(before=early) as server:
        assert outcome(endpoint(tmp_path, server.port)) == "hello\n"
        assert ("answers", (SECRET,)) in server.seen


@pytest.mark.parametrize("parts", [(7, 0xFFFFFFFF), (7, 64), (80, "x" * 1000, 1), (7, 1, "server-sig-algs", b"\xff,,")])
def test_messages_that_would_keep_a_reader_busy(parts: tuple[Any, ...], tmp_path: Path) -> None:
    def send(transport: paramiko.Transport) -> None:
        for _ in range(50):
            raw(transport, *parts)

    with canned(after_kex=send) as server:
        found = outcome(endpoint(tmp_path, server.port))
    assert found == "hello\n" or isinstance(found, Failure)
    assert isinstance(found, Failure) or parts[1] != 0xFFFFFFFF


# --- bytes that are cut off or changed on the way ---


@contextmanager
def between(port: int, change: Callable[[int, bytes], bytes | None]) -> Iterator[int]:
    """Carry one connection at a time to `port`; `change` gets what the server sent, and the bytes before it.

    It returns what goes on to the client, None to end there.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=pour, args=(client, server), daemon=True)
            back.start()
            place = 0
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    made = change(place, data)
                    place += len(data)
                    if made is None:
                        break
                    client.sendall(made)
                    if len(made) < len(data):
                        break
                client.shutdown(socket.SHUT_RDWR)

    def pour(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                carry(listener.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_connection_that_is_cut_anywhere(tmp_path: Path) -> None:
    cut = 0
    reached = [0]

    def shorten(place: int, data: bytes) -> bytes | None:
        reached[0] = max(reached[0], place + len(data))
        return data[: cut - place] if place < cut else None

    with canned() as server, between(server.port, shorten) as port:
        end = endpoint(tmp_path, port)
        cut = 1 << 30
        assert outcome(end) == "hello\n"
        whole = reached[0]
        for part in range(14):
            cut = whole * part // 14
            found = outcome(end)
            assert isinstance(found, Failure), cut


def test_a_bit_that_is_turned_anywhere(tmp_path: Path) -> None:
    place_of = 0

    def turn(place: int, data: bytes) -> bytes:
        if not place <= place_of < place + len(data):
            return data
        made = bytearray(data)
        made[place_of - place] ^= 1
        return bytes(made)

    with canned() as server, between(server.port, turn) as port:
        end = endpoint(tmp_path, port)
        results = []
        for place_of in range(3, 1900, 77):
            server.seen.clear()
            found = outcome(end)
            # Padding before the new keys is not covered by the signature; nothing else may pass.
            assert found == "hello\n" or isinstance(found, Failure), place_of
            results.append(found)
    assert sum(isinstance(found, Failure) for found in results) > len(results) * 2 // 3


# --- new keys while it runs ---


def host_of(server: Sshd, folder: Path) -> Endpoint:
    return Endpoint(
        alias="web1",
        hostname="127.0.0.1",
        port=server.port,
        user=server.user,
        identity_files=(str(server.key),),
        use_agent=False,
        known_hosts=(str(server.known(["127.0.0.1"], folder / "known")),),
    )


def test_new_keys_again_and_again_while_it_runs_and_through_a_jump_host(tmp_path: Path, sshd: Sshd) -> None:
    text = "#" * 300_000 + "\nhead -c 600000 /dev/zero | tr '\\0' x\n"
    with Sshd(tmp_path / "server", wide=False, keys_of=sshd, lines=["RekeyLimit 32K"], log_level="DEBUG1") as server:
        end = host_of(server, tmp_path)
        assert outcome(end, text) == "x" * 600_000
        assert server.log.read_text().count("rekey after") > 10 or server.log.read_text().count("SSH2_MSG_NEWKEYS") > 10
        gateways = Gateways()
        try:
            behind = Target(replace(end, jumps=(replace(end, alias="jump"),)))
            for _ in range(2):
                assert collect(behind, text, QUICK, lambda files: KnownHosts(files), gateways) == "x" * 600_000
        finally:
            gateways.close()


# --- a gateway that turns ---


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_gateway_that_stops_reading_holds_nobody_for_ever(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "_GATEWAY_STALLS_S", 0.05)
    carrier = Packets(pair[0])
    with pytest.raises(LateError):
        carrier.write_all(b"x" * (32 << 20))
    assert carrier.closed


def test_a_gateway_that_floods_what_nobody_reads_is_left(pair: tuple[socket.socket, socket.socket]) -> None:
    session = Session(pair[0], QUICK, QUICK.start())
    channel = paramiko.Channel(0)
    channel._set_transport(session)  # type: ignore[attr-defined] # as open_channel does
    session._channels.put(0, channel)

    def flood() -> None:
        for _ in range(1000):
            message = Message()
            for part in (0, 1):
                message.add_int(part)
            message.add_string(b"x" * 30000)
            message.rewind()
            session._dispatch(95, message)

    with pytest.raises(paramiko.SSHException, match="beyond the window"):
        flood()


@pytest.mark.parametrize("size", [-12, 1 << 30])
def test_lengths_that_no_packet_has(size: int, pair: tuple[socket.socket, socket.socket]) -> None:
    carrier = Packets(pair[0])
    pair[1].sendall(b"y" * 100)
    with pytest.raises(paramiko.SSHException):
        carrier.read_all(size)


def test_a_wrong_passphrase_is_tried_once(tmp_path: Path) -> None:
    from numatune.transport.ssh.keys import UnusableKeyError, files

    key = make_key(tmp_path / "locked", "ecdsa", passphrase=SECRET)
    with pytest.raises(UnusableKeyError, match="does not open it"):
        files.identities(str(key), "no")
    assert files.identities(str(key), SECRET)[0].kind == "ecdsa-sha2-nistp256"
