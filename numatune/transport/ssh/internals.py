"""What the session uses of paramiko's inside, declared in one place; a test looks for it in the installed one.

paramiko has no public way to read packets in the caller's thread. All of these are there from 3.4 to 5.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.message import Message

METHODS = (
    "_auth_trigger",
    "_enforce_strict_kex",
    "_expect_packet",
    "_filter_algorithm",
    "_log",
    "_parse_ext_info",
    "_really_parse_kex_init",
    "_send_kex_init",
    "_send_message",
    "_verify_key",
    "get_security_options",
)
TABLES = (
    "_channel_handler_table",
    "_cipher_info",
    "_kex_info",
    "_key_info",
    "_mac_info",
    "_preferred_ciphers",
    "_preferred_compression",
    "_preferred_kex",
    "_preferred_keys",
    "_preferred_macs",
    "_preferred_pubkeys",
)
ATTRIBUTES = ("_channels", "_expected_packet", "_handler_table", "channel_events", "in_kex", "initial_kex_done")

if TYPE_CHECKING:

    class Transport(paramiko.Transport):
        """paramiko's, with what its published types leave out."""

        _channel_handler_table: dict[int, Callable[[paramiko.Channel, Message], None]]
        _channels: Any
        _cipher_info: dict[str, Any]
        _expected_packet: tuple[int, ...]
        _handler_table: dict[int, Callable[[Message], None]]
        _kex_info: dict[str, Any]
        _key_info: dict[str, Any]
        _mac_info: dict[str, Any]
        auth_handler: Any
        host_key: Any
        server_extensions: dict[str, bytes]
        kex_engine: Any
        in_kex: bool
        initial_kex_done: bool

        def _auth_trigger(self) -> None: ...
        def _enforce_strict_kex(self, ptype: int) -> None: ...
        def _expect_packet(self, *ptypes: int) -> None: ...
        def _really_parse_kex_init(self, m: Message, ignore_first_byte: bool = False) -> dict[str, Any]: ...
        def _send_kex_init(self) -> None: ...
        def _send_message(self, data: Message) -> None: ...
        def _verify_key(self, host_key: bytes, sig: bytes) -> None: ...

else:
    Transport = paramiko.Transport
