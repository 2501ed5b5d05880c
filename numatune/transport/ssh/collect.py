"""The collector's script run on one host over one connection with one exec: its framed stream, or why not."""

from __future__ import annotations

from typing import Any

from .. import become, outcome
from ..capture import Capture
from ..endpoint import Target
from ..failure import Failure, clean, hidden, hiding
from ..limits import Limits
from ..output_memory import Place
from .channel import Command
from .classify import failure_of
from .connect import connect
from .gateways import Gateways
from .hostkeys import Known
from .link import Link
from .packets import LateError
from .session import Session


def collect(
    target: Target,
    script: str,
    limits: Limits,
    known: Known,
    gateways: Gateways | None = None,
    place: Place | None = None,
) -> str:
    """Run `script` by `sh -s` on the target and return what it printed, from the stream's first line on.

    `known` gives the index of some known_hosts files; `gateways` are those of the process (made for this one host
    when None); `place` counts what this host sends among all hosts of the process. Raises Failure, and nothing else,
    whatever the host does; it takes no longer than `limits.total_s`.
    """
    with hiding(target.secrets.hide):
        return _collected(target, script, limits, known, gateways, place)


def _collected(
    target: Target, script: str, limits: Limits, known: Known, gateways: Gateways | None, place: Place | None
) -> str:
    total = limits.start()
    endpoint = target.endpoint
    if endpoint.unsupported:
        what = clean("; ".join(endpoint.unsupported), 200)
        raise Failure(
            "resolve", f"not connected, since only the ssh program can honour {what}: use --transport openssh"
        )
    own = Gateways() if gateways is None and endpoint.jumps else None
    link: Link | None = None
    sock: Any = None
    try:
        shared = gateways or own
        if endpoint.jumps and shared is not None:
            sock = shared.channel(endpoint, target.secrets, limits, total, known)
        else:
            sock = connect(endpoint, limits, total)
        link = Link(endpoint, target.secrets, limits, total, known)
        session = link.open(sock)
        return _run(session, target, script, limits, place)
    except Exception as error:  # the target's bytes cause it, wherever it comes from: it is this host's failure
        raise failure_of(error, link.session if link else None, link.login if link else None) from None
    finally:
        if link is not None:
            link.close()
        if sock is not None:
            sock.close()
        if own is not None:
            own.close()


def _run(session: Session, target: Target, script: str, limits: Limits, place: Place | None) -> str:
    endpoint = target.endpoint
    line = become.command(endpoint.become, endpoint.user)
    by_sudo = line != become.PLAIN
    capture = Capture(limits.output_bytes, session.total, place)
    capture.starter, capture.hide = become.starter(endpoint.become, endpoint.user), target.secrets.hide
    session.begin("exec", limits.channel_s)
    command = Command(session, capture)
    command.open()
    if by_sudo and endpoint.become is not None and target.secrets.become_password is not None:
        _escalate(command, become.Escalation(endpoint.become.user), target.secrets.become_password, limits)
    else:
        command.execute(line)
    session.phase, session.packetizer.deadline = "output", session.total
    try:
        command.send(script.encode())
        command.end_input()
        command.finish()
    except LateError:
        raise capture.late() from None
    return _stream(command, script, by_sudo)


def _escalate(command: Command, sudo: become.Escalation, password: str, limits: Limits) -> None:
    """Start sudo, give it the password if it asks, and return when it has started `sh`; raises Failure("become")."""
    if "\n" in password or "\0" in password:
        raise Failure("become", "the become password holds a line break, which sudo would take for its end")
    session, output = command.session, command.output
    session.begin("become", limits.auth_s)
    # What a login prints comes before the marker and is dropped with it.
    command.output = head = Capture(outcome.HEAD, session.packetizer.deadline)
    marker = f"{sudo.marker}\n".encode()
    command.execute(sudo.command)
    command.until(lambda: marker in head.data() or sudo.asked(command.error_text()) > 0)
    if not command.over and marker not in head.data():
        told = len(command.errors)
        command.send(f"{password}\n".encode())
        command.until(lambda: marker in head.data() or sudo.asked(command.errors[told:].decode("utf-8", "replace")) > 0)
        if marker not in head.data() and not command.over:
            raise Failure("become", become.WRONG)
    before, found, rest = head.data().partition(marker)
    if not found:
        raise _refused(command) or _ended(command, before)
    command.output = output
    output.starter = "the shell that sudo started"
    if rest:
        output.feed(rest)


def _stream(command: Command, script: str, by_sudo: bool) -> str:
    """Return the output if it is what the script prints; otherwise raise what it shows."""
    found = outcome.stream(command.output.text(), script, command.status)
    if found is None:
        raise (_refused(command) if by_sudo else None) or _ended(command, command.output.data())
    return found


def _refused(command: Command) -> Failure | None:
    return become.refusal(hidden(command.error_text()), command.status, by_sudo=True)


def _ended(command: Command, printed: bytes) -> Failure:
    """The failure of a command that ended without the stream."""
    said = outcome.quoted(command.error_text(), printed)
    if command.refused:
        return Failure("exec", "the server runs no commands for this user (a forced command, or SFTP only)")
    if command.signal:
        return Failure("exec", f"the script was ended by SIG{command.signal}{said}; is the host short of memory?")
    if command.status is None:
        return Failure("exec", f"the server ended the session without a status{said}; read its log")
    return outcome.ended(command.status, said)
