"""The command that runs the script, as the user who logs in or as another by sudo, and what sudo's refusals mean.

With a password sudo is asked for one command only, which prints a marker and then becomes `sh -s`. The password is sent
when sudo's prompt has come, the script when the marker has: no line of the script can be taken for a password, and it
works where sudo forgets a password at once (`timestamp_timeout=0`) or asks for none.
"""

from __future__ import annotations

import re
import secrets
import shlex
from dataclasses import dataclass, field

from .endpoint import Become
from .failure import Failure, clean

PLAIN = "exec sh -s"
# Messages in English, whatever the host speaks; `env`, because a login shell need not be a POSIX shell.
_SUDO = "exec env LC_ALL=C sudo"

_PROMPT_LIKE = re.compile(r"(?:password|passphrase|passwort|mot de passe)[^\n]{0,80}:\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Escalation:
    """One use of sudo with a password: its prompt and its marker, both made for this one connection."""

    user: str
    prompt: str = field(default_factory=lambda: f"numatune-{secrets.token_hex(8)}:")
    marker: str = field(default_factory=lambda: f"numatune-{secrets.token_hex(8)}")

    @property
    def command(self) -> str:
        """The command line for the exec request; it holds no secret."""
        inner = shlex.quote(f"echo {self.marker}; exec sh -s")
        return f"{_SUDO} -S -p {shlex.quote(self.prompt)} -u {shlex.quote(self.user)} -- sh -c {inner}"

    def asked(self, errors: str) -> int:
        """Return how often sudo has asked for the password, by what is on standard error.

        A PAM module may insist on a prompt of its own; one that ends the text and has the look of one counts too.
        """
        count = errors.count(self.prompt)
        return count if count or not _PROMPT_LIKE.search(errors) else 1


def command(become: Become | None, user: str) -> str:
    """Return the command line without a password; raises Failure("become") for a method that is not sudo."""
    if become is None or become.user == user:
        return PLAIN
    if become.method != "sudo":
        raise Failure("become", f"becoming another user by {clean(become.method, 40)!r} is not supported; use sudo")
    return f"{_SUDO} -n -u {shlex.quote(become.user)} -- sh -s"


def starter(become: Become | None, user: str) -> str:
    """Say what starts the collector on the host, for a message that it did not."""
    shell = f"the login shell of {clean(user, 40)}" if user else "the login shell"
    return shell if become is None or become.user == user else f"{shell}, or sudo,"


_REASONS = (
    ("must have a tty", "its sudoers demands a terminal: set `Defaults !requiretty` for this user"),
    ("a terminal is required", "it wants to ask for a password: give one with --ask-become-pass, or allow NOPASSWD"),
    ("a password is required", "it wants a password: give one with --ask-become-pass, or allow NOPASSWD"),
    ("password is required", "it wants a password: give one with --ask-become-pass, or allow NOPASSWD"),
    (
        "interactive authentication is required",
        "it wants a password: give one with --ask-become-pass, or allow NOPASSWD",
    ),
    ("not in the sudoers file", "this user is not in the sudoers file: allow `sh` for it, or log in as another user"),
    ("may not run sudo", "this user may not run sudo there: allow `sh` for it, or log in as another user"),
    ("is not allowed to", "sudoers does not allow this user to run `sh`: allow it, or log in as another user"),
    ("sorry, try again", "the password is wrong"),
    ("incorrect password", "the password is wrong"),
    ("incorrect authentication", "the password is wrong"),
    ("authentication failed", "the password is wrong"),
    ("maximum 3 incorrect", "the password is wrong"),
    ("unknown user", "the user to become does not exist there"),
    ("account validation failure", "the account is locked or expired there"),
    ("must be owned by uid 0", "its sudo is not installed setuid root"),
    ("effective uid is not 0", "its sudo may not gain privileges (a container, or nosuid)"),
    ("syntax error", "its sudoers has a syntax error: run `visudo -c` there"),
    ("parse error", "its sudoers has a syntax error: run `visudo -c` there"),
    ("no valid sudoers sources", "its sudoers cannot be read: run `visudo -c` there"),
)
_MISSING = re.compile(r"sudo.{0,3}:.*(?:not found|no such file)|unknown command:? .?sudo", re.IGNORECASE)


def refusal(errors: str, status: int | None, by_sudo: bool) -> Failure | None:
    """Return the failure where it was sudo that ended the command, by standard error and the exit status."""
    if not by_sudo:
        return None
    if _MISSING.search(errors):
        return Failure(
            "become", "sudo is not installed there (or not in the PATH of a login); install it, or log in as root"
        )
    folded = errors.lower()
    for words, reason in _REASONS:
        if words in folded:
            return Failure("become", f"sudo refused: {reason}")
    said = [line for line in errors.splitlines() if line.lower().startswith(("sudo:", "sudo-rs:", "sorry,"))]
    if said:
        return Failure("become", f"sudo refused: {clean(said[-1], 160)}")
    if status == 127:
        return Failure("become", "sudo or sh was not found there; install it, or log in as root")
    return None


WRONG = "sudo refused: the password is wrong"
