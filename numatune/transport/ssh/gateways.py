"""Jump hosts: one connection for each chain of them within a process, shared by all hosts behind it."""

from __future__ import annotations

import threading
import time
from typing import Any

import paramiko

from ..delay import run_delay, starved
from ..endpoint import Endpoint, Secrets
from ..failure import Failure
from ..limits import Deadline, Limits
from .connect import connect
from .hostkeys import Known
from .link import Link
from .packets import LateError
from .session import Session

# How long a jump host's failure counts for the hosts behind it, before it is tried again.
_REMEMBERED_S = 20.0


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.link: Link | None = None
        self.failure: Failure | None = None
        self.failed_at = 0.0


class Gateways:
    """The jump hosts' connections of one process; threads may share it. `close` ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[Endpoint, ...], _Entry] = {}

    def channel(self, endpoint: Endpoint, secrets: Secrets, limits: Limits, total: Deadline, known: Known) -> Any:
        """Return a channel to the endpoint through its jumps, for use as a socket.

        Jump hosts get keys only: no password of the target is ever sent to them. Raises Failure, whose message names
        the jump host where it failed.
        """
        own = Secrets(password=None, become_password=None, key_passphrase=secrets.key_passphrase)
        session = self._session(endpoint.jumps, own, limits, total, known)
        return _through(session, endpoint.jumps[-1], endpoint, total.within(limits.connect_s))

    def _session(
        self, jumps: tuple[Endpoint, ...], secrets: Secrets, limits: Limits, total: Deadline, known: Known
    ) -> Session:
        with self._lock:
            entry = self._entries.setdefault(jumps, _Entry())
        jump = jumps[-1]
        if not entry.lock.acquire(timeout=total.left()):
            what = f"the jump host {jump.alias} was not reached within {total.seconds:.0f} s"
            raise Failure("timeout", what, late=True)
        try:
            session = entry.link.session if entry.link is not None else None
            if session is not None and session.active:
                return session
            if entry.failure is not None and time.monotonic() - entry.failed_at < _REMEMBERED_S:
                raise entry.failure
            return self._opened(entry, jumps, secrets, limits, total, known)
        finally:
            entry.lock.release()

    def _opened(
        self,
        entry: _Entry,
        jumps: tuple[Endpoint, ...],
        secrets: Secrets,
        limits: Limits,
        total: Deadline,
        known: Known,
    ) -> Session:
        jump = jumps[-1]
        begun, delay = time.monotonic(), run_delay()
        link = Link(jump, secrets, limits, total, known)
        try:
            if len(jumps) > 1:
                before = self._session(jumps[:-1], secrets, limits, total, known)
                sock = _through(before, jumps[-2], jump, total.within(limits.connect_s))
            else:
                sock = connect(jump, limits, total)
            session = link.open(sock)
        except Failure as failure:
            link.close()
            named = failure.message.startswith("jump host ")
            message = failure.message if named else f"jump host {jump.alias}: {failure.message}"
            told = Failure(failure.phase, message, failure.retry, failure.late)
            # One that may be this machine's own says nothing to the hosts behind it.
            own = told.late and starved(run_delay() - delay, time.monotonic() - begun)
            if not told.retry and not own:
                entry.failure, entry.failed_at = told, time.monotonic()
            raise told from None
        session.serve()
        entry.link, entry.failure = link, None
        return session

    def close(self) -> None:
        """End all connections, those to the last jumps first; never raises."""
        with self._lock:
            entries = sorted(self._entries.items(), key=lambda item: -len(item[0]))
            self._entries = {}
        for _, entry in entries:
            if entry.link is not None:
                entry.link.close()


def _through(session: Session, jump: Endpoint, endpoint: Endpoint, deadline: Deadline) -> Any:
    """Return a channel of the jump host's connection to the endpoint; raises Failure("tcp")."""
    where = (endpoint.hostname, endpoint.port)
    try:
        return session.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=max(0.001, deadline.left()))
    except paramiko.ChannelException as error:
        denied = error.code == 1
        why = "does not forward connections (AllowTcpForwarding)" if denied else f"cannot reach port {endpoint.port}"
        raise Failure("tcp", f"jump host {jump.alias}: it {why}; look at its sshd_config, its DNS and routes") from None
    except (paramiko.SSHException, OSError, EOFError, LateError):
        if session.active:
            text = f"no answer about port {endpoint.port} within {deadline.seconds:.1f} s; is the host behind it up?"
            raise Failure("tcp", f"jump host {jump.alias}: {text}", late=True) from None
        raise Failure(
            "banner", f"jump host {jump.alias}: its connection ended; it is opened again", retry=True
        ) from None
