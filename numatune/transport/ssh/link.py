"""One connection to one host, made the same way for targets and for jump hosts: fabric, our session, strict keys.

fabric's `Connection` opens it: it hands paramiko's client the socket, our session as its transport and our login. Its
configuration files, its command runner and its gateways are not used.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

import fabric
import paramiko

from ..endpoint import Endpoint, Secrets, chosen
from ..failure import Failure
from ..limits import Deadline, Limits
from .authentication import Authentication
from .classify import failure_of
from .hostkeys import Known, StrictKeys, algorithms
from .session import CIPHERS, MACS, Session

# It prints tracebacks of what hostile servers send, unasked; what matters of it is in the Failure.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class _Connection(fabric.Connection):  # type: ignore[misc] # fabric has no types
    """fabric's connection without its search through dir() at each of its sixteen assignments: 0.2 ms a host."""

    __setattr__ = object.__setattr__


class _Config(fabric.Config):  # type: ignore[misc] # fabric has no types
    """fabric's configuration, which invoke asks at each value for these two: a miss makes a list of dir(), 0.03 ms."""

    _keypath: tuple[str, ...] = ()
    _root = property(lambda self: self)


class _OfThread(threading.local):
    """fabric's configuration, one for each thread: threads that share one race, even where they only read it."""

    def __init__(self) -> None:
        self.config = _Config(lazy=True, ssh_config=paramiko.SSHConfig())


_own = _OfThread()


def _connection(endpoint: Endpoint, further: dict[str, Any]) -> _Connection:
    """Return fabric's connection to an endpoint, which alone says what it is: `lazy` reads none of fabric's files."""
    return _Connection(
        endpoint.hostname,
        user=endpoint.user,
        port=endpoint.port,
        config=_own.config,
        gateway=False,
        forward_agent=False,
        connect_kwargs=further,
        inline_ssh_env=False,
    )


def trial() -> object:
    """Return what a connection as they are made here holds as its client; nothing is connected."""
    return _connection(Endpoint("trial", "localhost"), {}).client


class Link:
    """A connection to `endpoint` over a connected socket, or over a channel of a jump host.

    `open` ends with the user logged in; it raises Failure. Closing is for the caller, at any time.
    """

    def __init__(self, endpoint: Endpoint, secrets: Secrets, limits: Limits, total: Deadline, known: Known) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.total = total
        self.login = Authentication(endpoint, secrets)
        self._known = known(endpoint.known_hosts)
        self.session: Session | None = None

    def _transport(self, sock: Any, **options: Any) -> Session:
        endpoint = self.endpoint
        self.session = session = Session(sock, self.limits, self.total, **options)
        usual = session.get_security_options()
        session.choose("ciphers", chosen(endpoint.ciphers, CIPHERS))
        session.choose("digests", chosen(endpoint.macs, MACS))
        session.choose("kex", chosen(endpoint.kex, tuple(usual.kex)))
        session.choose("key_types", algorithms(endpoint, self._known, tuple(usual.key_types)))
        return session

    def open(self, sock: Any) -> Session:
        """Exchange keys, check the host's, log in; return the session. Raises Failure, whatever the host sends."""
        endpoint = self.endpoint
        further = {"sock": sock, "transport_factory": self._transport, "auth_strategy": self.login}
        connection = _connection(endpoint, further)
        # fabric sets a policy that trusts any key; this one must be there before anything is sent.
        connection.client.set_missing_host_key_policy(StrictKeys(endpoint, self._known))
        try:
            connection.open()
        except Exception as error:  # whatever the host's bytes cause, in paramiko too, is a failure of this host
            raise failure_of(error, self.session, self.login) from None
        if self.session is None:
            raise Failure("exec", "the SSH library made no session of ours; is another fabric or paramiko installed?")
        return self.session

    def close(self) -> None:
        """End the connection; never raises."""
        if self.session is not None:
            # It may have ended by itself.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self.session.close()
            self.session.packetizer.close()
