"""Why a host could not be read: one class, told apart by the phase in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..core.host_status import PROFILE

PHASES = (
    "resolve",
    "tcp",
    "banner",
    "kex",
    "hostkey",
    "auth",
    "become",
    "exec",
    "timeout",
    "output",
    "parse",
    PROFILE,
)
MOST_CHARACTERS = 600


class Failure(Exception):  # noqa: N818 - it is the word of the reports
    """One host's failure: `phase` (one of PHASES), `message` (one printable line that says what to do), and why.

    `retry` is True only where another try may help: a server that dropped the connection before authentication,
    as sshd's MaxStartups does. `late` is True where a deadline ended the host, which may be well where this machine
    was late; `waited_s` is for how long a program that served the host here got no CPU. Raises ValueError for a phase
    that is none. It pickles across processes.
    """

    def __init__(
        self, phase: str, message: str, retry: bool = False, late: bool = False, waited_s: float = 0.0
    ) -> None:
        if phase not in PHASES:
            raise ValueError(f"not a phase: {phase!r}")
        self.phase = phase
        self.message = _printable(message, MOST_CHARACTERS)
        self.retry = retry
        self.late = late
        self.waited_s = waited_s
        super().__init__(phase, self.message, retry, late, waited_s)

    def __str__(self) -> str:
        return f"{self.phase}: {self.message}"

    def as_dict(self) -> dict[str, str]:
        """Return {"phase": …, "message": …}, the form of the reports."""
        return {"phase": self.phase, "message": self.message}


_hide: ContextVar[Callable[[str], str]] = ContextVar("hide", default=str)


@contextmanager
def hiding(hide: Callable[[str], str]) -> Iterator[None]:
    """Take secrets out of whatever of a host's this thread quotes within: `clean` applies `hide` first.

    A host may repeat what it was told anywhere (a disconnect, a list of methods, the name of a signal); all of it comes
    through `clean`. Words of numatune's own do not: with the password "wrong", `the password is ***` would tell it.
    """
    token = _hide.set(hide)
    try:
        yield
    finally:
        _hide.reset(token)


def hidden(text: str) -> str:
    """Return what a host said without the secrets of `hiding`: for what is matched or cut before `clean` gets it."""
    return _hide.get()(text)


def clean(text: object, most: int = 200) -> str:
    """Return what a target said as one line of printable characters, cut to `most`.

    Terminal escapes, control characters, undecodable bytes and the signs that turn the direction of writing become
    spaces; runs of spaces become one. Secrets become `***` (see `hiding`), before anything is cut.
    """
    return _printable(hidden(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)), most)


def _printable(raw: str, most: int) -> str:
    # Cut before the work as well: a message may be as long as a packet.
    raw = raw[: 4 * most]
    signs = raw if raw.isprintable() else "".join(sign if sign.isprintable() else " " for sign in raw)
    line = " ".join(signs.split())
    return line if len(line) <= most else line[: most - 1] + "…"
