"""paramiko's Transport with the types of what its published ones leave out; `internals` looks whether it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from paramiko.message import Message

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
        _preferred_kex: tuple[str, ...]
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
