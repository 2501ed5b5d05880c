"""One connection to one host, made the same way for targets and for jump hosts: fabric, our session, strict keys."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
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


class _NoSshConfig(paramiko.SSHConfig):
    """No ssh_config, without paramiko's work of filling in what nobody wrote."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        """Return nothing for any host."""
        return paramiko.SSHConfigDict()


class _Config(fabric.Config):  # type: ignore[misc] # fabric has no types
    """fabric's configuration without its files: what a connection is comes from the Endpoint alone.

    fabric and invoke would look for four files of theirs at each clone(), a Python file among them. invoke asks each
    value whether it has a root and a place below it, and makes a list of dir() for the error that says no: a tenth of
    what a host costs.
    """

    _keypath: tuple[str, ...] = ()

    @property
    def _root(self) -> _Config:
        return self

    def _clone_init_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super()._clone_init_kwargs(*args, **kwargs), "ssh_config": _NoSshConfig()}

    def load_base_conf_files(self) -> None:
        """Read nothing."""

    def load_ssh_config(self) -> None:
        """Read nothing: ssh_config is read once, by `transport.ssh_config`."""


class _Connection(fabric.Connection):  # type: ignore[misc] # fabric has no types
    """fabric's connection, whose assignments are plain: the base looks through dir() at each of its sixteen."""

    __setattr__ = object.__setattr__


_template = _Config()
_cloning = threading.Lock()
_free: deque[_Config] = deque()


@contextlib.contextmanager
def _config() -> Iterator[_Config]:
    """Lend a clone to one connection while it opens: those of several threads on one Config race.

    Threads come and go; there are as many clones as connections ever opened at once.
    """
    try:
        config = _free.pop()
    except IndexError:
        with _cloning:
            config = _Config.clone(_template)
    try:
        yield config
    finally:
        _free.append(config)


def _connection(endpoint: Endpoint, config: _Config, further: dict[str, Any]) -> _Connection:
    return _Connection(
        endpoint.hostname,
        user=endpoint.user,
        port=endpoint.port,
        config=config,
        gateway=False,
        forward_agent=False,
        connect_kwargs=further,
        inline_ssh_env=False,
    )


def trial() -> object:
    """Return what a connection as they are made here holds as its client; nothing is connected."""
    with _config() as config:
        return _connection(Endpoint("trial", "localhost"), config, {}).client


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
        with _config() as config:
            further = {"sock": sock, "transport_factory": self._transport, "auth_strategy": self.login}
            connection = _connection(endpoint, config, further)
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
