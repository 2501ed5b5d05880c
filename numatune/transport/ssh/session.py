"""The SSH protocol of one connection, run in the thread that asks: no thread of its own, no waiting in slices.

paramiko's Transport gives each connection a thread, and each request waits for it by an Event: two switches of threads
for each of a dozen round trips. Here the caller reads the packets until what it waits for has come; the key exchange,
the ciphers and the parsing are paramiko's.

What that is worth beside Transport as it comes, with the same socket, host key check, key and script
(`benchmarks/ssh_session.py`, 25 connections at once, 400 each in 16 interleaved blocks, paramiko 5.1.0, 2 busy CPUs):
0.67 of its CPU (0.65 to 0.73), 1.8 ms a host for 2.6; 0.74 (0.72 to 0.78) where Transport takes these ciphers and MACs.
The process is 5 MB larger, of 60. Against hosts that go wrong (`--hostile`), Transport

- takes another host key at a later key exchange for that of the host that was checked;
- leaves a thread behind that uses a whole CPU, where a host announces four billion extensions;
- waits without a timeout for the answer to an exec, and reads without a limit on bytes what is to be ignored;
- counts its timeout for the version line anew with each piece, so that a dripping host outlasts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko import common
from paramiko.message import Message
from paramiko.ssh_exception import IncompatiblePeer

from ..failure import clean
from ..limits import Deadline, Limits
from .packets import LateError, Packets
from .paramiko_types import Transport

Receiver = Callable[[Message], None]

_KEX_MESSAGES = range(30, 42)
_MOST_LINES = 50
_MOST_EXTENSIONS = 64

# AES-GCM in one call of OpenSSL for a packet, where CTR needs a MAC computed beside it in Python.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
# OpenSSH's own; paramiko would take MD5 and MACs cut to 96 bits too.
MACS = (
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1",
)


class DisconnectedError(Exception):
    """The peer sent a disconnect message; its text is cleaned."""


class ForeignError(Exception):
    """What answers is not an SSH 2 server; its text says what it sent, cleaned."""


# One key exchange under its standard name (RFC 8731), which paramiko does not know, and under the one before.
_CURVE, _CURVE_BEFORE = "curve25519-sha256", "curve25519-sha256@libssh.org"


def _with_curve(kex: tuple[str, ...]) -> tuple[str, ...]:
    """Put the standard name in front of the earlier one: a server may offer either alone."""
    return tuple(name for each in kex for name in ((_CURVE, each) if each == _CURVE_BEFORE else (each,)))


class Session(Transport):
    """A client's connection: `start_client` exchanges keys, `pump` reads packets until something is so.

    `phase` is what the connection is at (a word of failure.PHASES), for whoever classes an error. `receivers` maps
    message numbers of authentication and of channels to what takes them.
    """

    if _CURVE_BEFORE in Transport._kex_info and _CURVE not in Transport._kex_info:
        _kex_info = {**Transport._kex_info, _CURVE: Transport._kex_info[_CURVE_BEFORE]}
        _preferred_kex = _with_curve(Transport._preferred_kex)

    def __init__(self, sock: Any, limits: Limits, total: Deadline, **options: Any) -> None:
        super().__init__(sock, packetizer_class=Packets, **options)
        self.limits = limits
        self.total = total
        self.phase = "banner"
        self.greeting: list[str] = []
        self.receivers: dict[int, Receiver] = {}
        self.peer_lists: dict[str, list[str]] = {}
        self.packetizer: Packets
        self.packetizer.allow(limits.output_bytes)

    def _log(self, level: int, msg: str, *args: object) -> None:
        """Say nothing: what a target sends is reported once, cleaned, in its Failure."""

    def _filter_algorithm(self, type_: str) -> tuple[str, ...]:
        """Return what was chosen; paramiko would take out what `disabled_algorithms` names: nothing here."""
        return tuple(getattr(self, f"_preferred_{type_}"))

    def begin(self, phase: str, seconds: float) -> None:
        """Enter a phase: from here on nothing waits longer than `seconds`, or than the host's total."""
        self.phase = phase
        self.packetizer.deadline = self.total.within(seconds)

    def choose(self, attribute: str, wanted: tuple[str, ...]) -> None:
        """Set one of the security options ("kex", "ciphers", "digests", "key_types") to the known ones of `wanted`.

        Raises IncompatiblePeer where paramiko knows none of them.
        """
        known = {
            "kex": self._kex_info,
            "ciphers": self._cipher_info,
            "digests": self._mac_info,
            "key_types": self._key_info,
        }[attribute]
        usable = tuple(dict.fromkeys(name for name in wanted if name in known))
        if not usable:
            raise IncompatiblePeer(f"none of {', '.join(wanted)[:100]} is known to paramiko")
        setattr(self.get_security_options(), attribute, usable)

    # --- the handshake ---

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """Exchange versions and keys; the name and arguments are paramiko's, the limits are the session's own."""
        self.active = True
        self.begin("banner", self.limits.banner_s)
        self.packetizer.write_all(f"{self.local_version}\r\n".encode())
        self._read_version()
        self.begin("kex", self.limits.kex_s)
        self._send_kex_init()
        self._expect_packet(common.MSG_KEXINIT)
        self.pump(lambda: self.initial_kex_done)
        self.phase = "hostkey"

    def _read_version(self) -> None:
        for _ in range(_MOST_LINES):
            line = self.packetizer.line()
            if line.startswith(b"SSH-"):
                break
            self.greeting.append(clean(line, 120))
        else:
            raise ForeignError(f"it sent {_MOST_LINES} lines, none of them an SSH version: {self.greeting[0]!r}")
        # The version goes into the exchange hash as it came: what is not ASCII is refused by RFC 4253 anyway.
        text = line.decode("ascii", "replace")
        version = text.split("-", 2)[1:2]
        if "\ufffd" in text or version not in (["2.0"], ["1.99"]):
            raise ForeignError(f"its version line is {clean(line, 80)!r}, not SSH-2.0-…")
        self.remote_version = text

    def _really_parse_kex_init(self, m: Message, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed = super()._really_parse_kex_init(m, ignore_first_byte)
        # Kept for the message about peers that have nothing in common with us.
        self.peer_lists = {name: list(value) for name, value in parsed.items() if isinstance(value, list)}
        return parsed

    # --- what the peer could abuse in paramiko ---

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        """Verify the signature over the exchange hash; the first key, which is the one judged, stays the host's."""
        judged = self.host_key
        super()._verify_key(host_key, sig)
        if judged is not None and self.host_key.asbytes() != judged.asbytes():
            raise paramiko.SSHException("the host key changed during the connection")

    def _parse_ext_info(self, msg: Message) -> None:
        """Read what the server can do; paramiko would go on for the count it names, up to four billion of nothing."""
        count = msg.get_int()
        if count > _MOST_EXTENSIONS:
            raise paramiko.SSHException(f"{count} extensions were announced")
        self.server_extensions = {msg.get_string().decode("ascii", "replace"): msg.get_string() for _ in range(count)}

    # --- reading packets ---

    def pump(self, done: Callable[[], bool]) -> None:
        """Read packets until `done()`, and never stop amid a key exchange; raises what peer and deadline cause."""
        while self._expected_packet or self.in_kex or not done():
            self.step()

    def step(self) -> None:
        """Read one packet and give it to whatever it is for."""
        if self.packetizer.need_rekey() and not self.in_kex:
            self._send_kex_init()
        kind, message = self.packetizer.read_message()
        receiver = self.receivers.get(kind)
        if receiver is not None and not self._expected_packet:
            receiver(message)
        elif kind in (common.MSG_IGNORE, common.MSG_DEBUG):
            self._enforce_strict_kex(kind)
        elif kind == common.MSG_DISCONNECT:
            message.get_int()
            raise DisconnectedError(clean(message.get_string(), 160))
        else:
            self._dispatch(kind, message)

    def _dispatch(self, kind: int, message: Message) -> None:
        if self._expected_packet:
            if kind not in self._expected_packet:
                raise paramiko.SSHException(f"message {kind} came where {self._expected_packet} belongs")
            self._expected_packet = ()
            if kind in _KEX_MESSAGES:
                self.kex_engine.parse_next(kind, message)
                return
        if kind in self._handler_table:
            self._handler_table[kind](message)
        elif kind in self._channel_handler_table:
            channel = self._channels.get(message.get_int())
            if channel is not None:
                self._channel_handler_table[kind](channel, message)
                # paramiko takes what comes beyond the window that it granted, and nobody reads the second of the two.
                held = len(channel.in_buffer) + len(channel.in_stderr_buffer)
                if held > 2 * self.default_window_size:
                    raise paramiko.SSHException("data beyond the window")
        elif kind != common.MSG_UNIMPLEMENTED:
            answer = Message()
            answer.add_byte(common.cMSG_UNIMPLEMENTED)
            answer.add_int(message.seqno)
            self._send_message(answer)

    # --- serving others, as a gateway ---

    def serve(self) -> None:
        """Read packets in a new thread from now on, without a deadline: other connections go through this one."""
        self.packetizer.deadline = None
        self.packetizer.allow(None)
        self.sock.settimeout(None)
        self.receivers = {}
        self.start()

    def run(self) -> None:
        """Read packets until the connection ends; then end every channel on it. Never raises."""
        try:
            while self.active:
                self.step()
        except (LateError, EOFError, OSError) as error:
            self.saved_exception = error
        except Exception as error:  # whatever a hostile gateway sends, its channels end and say so
            self.saved_exception = error
        self.active = False
        for channel in list(self._channels.values()):
            channel._unlink()
        self.packetizer.close()
        for event in list(self.channel_events.values()):
            event.set()
