"""What the session uses of the inside of paramiko, fabric and invoke: declared in one place, and looked for at start.

paramiko has no public way to read packets in the caller's thread. All of this is there in paramiko 3.4 to 5.1, fabric
3.2 and invoke 2.1 to 3.0. A release that has changed any of it is named by `unexpected` before a host is asked, since
what it would do to a connection, or to the check of a host's key, nobody has tried.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import socket
from collections.abc import Callable, Iterator
from typing import Any

import paramiko

# Methods of theirs that ours replace: who calls them passes these arguments, and no others.
REPLACED: dict[str, dict[str, str]] = {
    "paramiko.Transport": {
        "_filter_algorithm": "type_",
        "_log": "level msg",
        "_parse_ext_info": "msg",
        "_really_parse_kex_init": "m ignore_first_byte",
        "_verify_key": "host_key sig",
        "run": "",
        "start_client": "event timeout",
    },
    "paramiko.packet.Packetizer": {"close": "", "read_all": "n check_rekey", "write_all": "out"},
    "paramiko.MissingHostKeyPolicy": {"missing_host_key": "client hostname key"},
}
# Methods of theirs that ours call: they must take these, by position where there is no `=`.
CALLED: dict[str, dict[str, str]] = {
    "paramiko.Transport": {
        "__init__": "sock packetizer_class= disabled_algorithms=",
        "_auth_trigger": "",
        "_enforce_strict_kex": "ptype",
        "_expect_packet": "ptype",
        "_send_kex_init": "",
        "_send_message": "data",
        "close": "",
        "get_security_options": "",
        "open_channel": "kind dest_addr src_addr timeout=",
        "start": "",
    },
    "paramiko.packet.Packetizer": {"__init__": "socket", "need_rekey": "", "read_message": "", "send_message": "data"},
    "paramiko.Channel": {"_unlink": "", "send": "s"},
    "paramiko.SSHClient": {
        "connect": "hostname port= username= sock= transport_factory= auth_strategy=",
        "set_missing_host_key_policy": "policy",
    },
    "paramiko.Message": {
        **dict.fromkeys(("asbytes", "get_binary", "get_boolean", "get_int", "get_string"), ""),
        **dict.fromkeys(("add_boolean", "add_byte", "add_int", "add_string"), "value"),
    },
    "fabric.Connection": {
        "__init__": "host user= port= config= gateway= forward_agent= connect_kwargs= inline_ssh_env=",
        "open": "",
    },
    "fabric.Config": {"__init__": "lazy= ssh_config="},
}
# Tables that every transport shares, and names of modules.
NAMES: dict[str, str] = {
    "paramiko.Transport": "_channel_handler_table _cipher_info _kex_info _key_info _mac_info _preferred_ciphers"
    " _preferred_compression _preferred_kex _preferred_keys _preferred_macs _preferred_pubkeys preferred_ciphers"
    " preferred_compression preferred_kex preferred_keys preferred_macs",
    "paramiko.packet.Packetizer": "closed",
    "paramiko.common": "CONNECTION_FAILED_CODE MSG_CHANNEL_CLOSE MSG_CHANNEL_DATA MSG_CHANNEL_EOF"
    " MSG_CHANNEL_EXTENDED_DATA MSG_CHANNEL_FAILURE MSG_CHANNEL_OPEN_FAILURE MSG_CHANNEL_OPEN_SUCCESS"
    " MSG_CHANNEL_REQUEST MSG_CHANNEL_SUCCESS MSG_CHANNEL_WINDOW_ADJUST MSG_DEBUG MSG_DISCONNECT MSG_IGNORE MSG_KEXINIT"
    " MSG_SERVICE_ACCEPT MSG_UNIMPLEMENTED MSG_USERAUTH_BANNER MSG_USERAUTH_FAILURE MSG_USERAUTH_SUCCESS"
    " cMSG_CHANNEL_DATA cMSG_CHANNEL_EOF cMSG_CHANNEL_FAILURE cMSG_CHANNEL_OPEN cMSG_CHANNEL_REQUEST"
    " cMSG_SERVICE_REQUEST cMSG_UNIMPLEMENTED cMSG_USERAUTH_REQUEST",
    "paramiko.ssh_exception": "IncompatiblePeer",
    "paramiko": "ChannelException ECDSAKey Ed25519Key PasswordRequiredException PKey RSAKey SSHConfig SSHException",
}
# What a transport has once it is made.
ATTRIBUTES = (
    "_channels _expected_packet _handler_table active auth_handler authenticated channel_events default_window_size"
    " host_key in_kex initial_kex_done local_version packetizer remote_version saved_exception session_id sock"
).split()


@functools.cache
def unexpected() -> str:
    """Return what of it the installed libraries do not have as it was tested, in a few words; "" where all is there.

    Costs a few milliseconds, once a process. It opens no connection, starts no thread and reads no file. Never raises.
    """
    try:
        return next(_differences(), "")
    except Exception as error:
        return f"looking at them raised {type(error).__name__}"


def _differences() -> Iterator[str]:
    for owner, methods in REPLACED.items():
        for name, wanted in methods.items():
            yield from _differs(owner, name, wanted, _is_called_so)
    for owner, methods in CALLED.items():
        for name, wanted in methods.items():
            yield from _differs(owner, name, wanted, _takes)
    for owner, names in NAMES.items():
        yield from (f"{owner}.{name} is missing" for name in names.split() if not hasattr(_found(owner), name))
    with socket.socket() as nobody:
        transport = paramiko.Transport(nobody)
        yield from (f"paramiko.Transport has no {name}" for name in ATTRIBUTES if not hasattr(transport, name))
    from .link import trial

    if not isinstance(trial(), paramiko.SSHClient):
        yield "fabric.Connection has no SSHClient of paramiko's"


def _differs(owner: str, name: str, wanted: str, fits: Callable[[inspect.Signature, str], bool]) -> Iterator[str]:
    method = getattr(_found(owner), name, None)
    if method is None:
        yield f"{owner}.{name} is missing"
    elif not fits(inspect.signature(method), wanted):
        yield f"{owner}.{name} takes other arguments"


def _found(owner: str) -> Any:
    module, _, name = owner.rpartition(".")
    if not name[:1].isupper():
        return importlib.import_module(owner)
    return getattr(importlib.import_module(module), name, None)


def _is_called_so(found: inspect.Signature, wanted: str) -> bool:
    usual = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, parameter in found.parameters.items() if parameter.kind in usual]
    return names == ["self", *wanted.split()]


def _takes(found: inspect.Signature, wanted: str) -> bool:
    words = wanted.split()
    named = {word[:-1]: None for word in words if word.endswith("=")}
    try:
        found.bind(None, *[None] * (len(words) - len(named)), **named)
    except TypeError:
        return False
    return True
