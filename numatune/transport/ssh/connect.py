"""From a name to a connected socket, each step within its deadline."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any

from ..endpoint import Endpoint
from ..failure import Failure, clean
from ..limits import Deadline, Limits

Address = tuple[int, Any]  # family, sockaddr

_MOST_ADDRESSES = 8


def connect(endpoint: Endpoint, limits: Limits, total: Deadline) -> socket.socket:
    """Return a socket connected to one of the endpoint's addresses; raises Failure("resolve"|"tcp").

    ssh_config's ConnectTimeout lowers the limit, and never raises it.
    """
    port = endpoint.port
    family = _FAMILIES[endpoint.address_family]
    addresses = resolve(endpoint.hostname, port, total.within(limits.resolve_s), family)
    seconds = min(endpoint.connect_timeout_s or limits.connect_s, limits.connect_s)
    deadline = total.within(seconds)
    problems: list[str] = []
    for number, (family, address) in enumerate(addresses):
        # An address that does not answer must not take the time of those behind it.
        left = deadline.left() / (len(addresses) - number)
        if left <= 0:
            problems.append(_SLOW)
            break
        try:
            return _connected(family, address, left)
        except OSError as error:
            problems.append(_said(error))
    raise _failure(port, problems, deadline)


_FAMILIES: dict[str, int] = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_SLOW = "timeout"
_REFUSED = "refused"


def _connected(family: int, address: Any, seconds: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address)
        # Each of the handshake's small packets would wait for the acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return _SLOW
    if error.errno == errno.ECONNREFUSED:
        return _REFUSED
    return (error.strerror or str(error)).lower()


def _failure(port: int, problems: list[str], deadline: Deadline) -> Failure:
    if all(problem == _REFUSED for problem in problems):
        return Failure("tcp", f"port {port} refuses connections; is sshd running there, on this port?")
    if all(problem == _SLOW for problem in problems):
        # Never because this machine was late: its kernel takes the answer, and is asked for it at the end once more.
        return Failure(
            "tcp",
            f"no answer from port {port} within {deadline.seconds:.1f} s;"
            " is the host up, and does a firewall drop the packets?",
        )
    what = ", ".join(dict.fromkeys(problems))
    reset = "reset" in what
    return Failure("tcp", f"port {port} cannot be reached: {what}; look at the route and the firewall", retry=reset)


# --- names ---


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.addresses: list[Address] = []
        self.problem = ""


def resolve(host: str, port: int, deadline: Deadline, family: int = socket.AF_UNSPEC) -> list[Address]:
    """Return the addresses of a name, those that the system prefers first; raises Failure("resolve").

    The system's resolver knows no deadline: it runs in a thread that is left behind when it does not answer.
    """
    try:
        return _addresses(host, port, family, socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except (OSError, UnicodeError):
        pass  # a name, then
    lookup = _Lookup()
    threading.Thread(target=_look_up, args=(lookup, host, port, family), daemon=True, name="numatune-resolve").start()
    if not lookup.done.wait(deadline.left()):
        what = f"no answer about its name within {deadline.seconds:.1f} s; look at /etc/resolv.conf"
        raise Failure("resolve", what, late=True)
    if not lookup.addresses:
        raise Failure("resolve", f"its name is not known ({lookup.problem}); check the inventory, HostName and DNS")
    return lookup.addresses


def _look_up(lookup: _Lookup, host: str, port: int, family: int) -> None:
    try:
        lookup.addresses = _addresses(host, port, family, socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError, ValueError) as error:
        lookup.problem = clean(getattr(error, "strerror", None) or error, 80).lower()
    finally:
        lookup.done.set()


def _addresses(host: str, port: int, family: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return list(dict.fromkeys((int(kind), address) for kind, _, _, _, address in found))[:_MOST_ADDRESSES]
