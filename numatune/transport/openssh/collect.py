"""The collector's script run on one host by the `ssh` program: its framed stream, or why there is none."""

from __future__ import annotations

import os

from .. import become, outcome
from ..capture import Capture
from ..endpoint import Target
from ..failure import Failure, hidden, hiding
from ..limits import Limits
from ..output_memory import Place
from . import arguments, askpass, config, messages
from .decided import decided
from .process import Ssh

_FAILED = 255


def collect(target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
    """Run `script` by `sh -s` on the target and return what it printed, from the stream's first line on.

    One ssh process, which is gone with its children when this returns or raises, whatever raises. Raises Failure, and
    takes no longer than `limits.total_s`. Where ssh_config asks what only ssh can tell, it is asked first (`decided`).
    `place` counts what this host sends among all hosts of the process.

    Host keys: "strict" or "accept-new", for the jump hosts too (see `config`). A ProxyCommand does what it does.
    """
    with hiding(target.secrets.hide):
        return _collected(target, script, limits, place)


def _collected(target: Target, script: str, limits: Limits, place: Place | None) -> str:
    endpoint = target.endpoint
    total = limits.start()
    if not endpoint.sure:
        endpoint = decided(endpoint, _environment(), limits, total)
    line = become.command(endpoint.become, endpoint.user)
    sudo = None
    if line != become.PLAIN and endpoint.become is not None and target.secrets.become_password is not None:
        sudo = become.Escalation(endpoint.become.user)
        line = sudo.command
    with config.opened(endpoint) as file, askpass.opened(endpoint, target.secrets) as asked:
        words = arguments.words(endpoint, limits, asked is not None, line, file)
        output = Capture(limits.output_bytes, total, place)
        output.starter, output.hide = become.starter(endpoint.become, endpoint.user), target.secrets.hide
        environment = _environment() | (asked.environment if asked is not None else {})
        with Ssh(words, environment, limits, total, output, asked) as ssh:
            ssh.entry = endpoint.key_entry
            if sudo is not None:
                _escalate(ssh, sudo, target.secrets.become_password or "", limits)
            ssh.send(script.encode())
            ssh.end_input()
            status = ssh.finish()
            try:
                return _stream(ssh, status, script, line != become.PLAIN)
            except Failure as error:
                if error.phase != "auth" or asked is None:
                    raise
                raise Failure("auth", error.message + asked.answers.hint) from None


def _environment() -> dict[str, str]:
    # ssh must never ask at a terminal: where there is no secret to give, every question is refused.
    refusing = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    return {**os.environ, **refusing, "LC_ALL": "C"}


def _escalate(ssh: Ssh, sudo: become.Escalation, password: str, limits: Limits) -> None:
    """Wait for sudo, give it the password if it asks, and return when it has started `sh`; raises Failure("become")."""
    if "\n" in password or "\0" in password:
        raise Failure("become", "the become password holds a line break, which sudo would take for its end")
    output = ssh.output
    ssh.output = head = Capture(outcome.HEAD)
    marker = f"{sudo.marker}\n".encode()

    def running() -> bool:
        if ssh.phase == "output":
            ssh.begin("become", limits.auth_s)
        return marker in head.data()

    # Not before the session runs: what a banner of a server on the way looks like is nobody's question.
    ssh.until(lambda: running() or (ssh.phase == "become" and sudo.asked(ssh.error_text(ssh.before_session)) > 0))
    if not ssh.over and not running():
        before = len(ssh.error_text())
        ssh.send(f"{password}\n".encode())
        ssh.until(lambda: running() or sudo.asked(ssh.error_text()[before:]) > 0)
        if not running() and not ssh.over:
            raise Failure("become", become.WRONG)
    printed, found, rest = head.data().partition(marker)
    if not found:
        status = ssh.finish()
        raise _failure(ssh, status, by_sudo=True, printed=printed)
    ssh.output = output
    output.starter = "the shell that sudo started"
    ssh.rest()
    if rest:
        output.feed(rest)


def _stream(ssh: Ssh, status: int, script: str, by_sudo: bool) -> str:
    """Return the output if it is what the script prints; otherwise raise what it shows."""
    found = outcome.stream(ssh.output.text(), script, status)
    if found is None:
        raise _failure(ssh, status, by_sudo, ssh.output.data())
    return found


def _failure(ssh: Ssh, status: int, by_sudo: bool, printed: bytes) -> Failure:
    began = ssh.phase in ("output", "become")
    refusal = become.refusal(hidden(ssh.error_text()), status, by_sudo) if began else None
    if refusal is not None:
        return refusal
    if status == _FAILED:
        lines = [hidden(line) for line in ssh.lines if line.strip()]
        return messages.failure("output" if began else ssh.phase, lines, ssh.entry)
    said = outcome.quoted(ssh.error_text(), printed)
    if status < 0:
        return Failure("exec", f"ssh was ended here by signal {-status}{said}")
    return outcome.ended(status, said)
