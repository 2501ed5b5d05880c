"""What a command that ended on a host has shown: the script's stream, or why there is none. For both SSH transports."""

from __future__ import annotations

from ..core.collecting.snapshot import MAGIC
from .failure import Failure, clean, hidden

HEAD = 64 << 10
"""Bytes that a login may print before the stream, and before sudo's marker."""

_END = "@end"
_TAIL = 4096
_FIRST = MAGIC.encode() + b"\n"


def begun(printed: bytearray) -> bool:
    """Return whether the collector's first line is in what a command printed."""
    return printed.startswith(_FIRST) or printed.find(b"\n" + _FIRST, 0, HEAD) >= 0


def stream(text: str, script: str, status: int | None) -> str | None:
    """Return what `script` printed, from the stream's first line on; None where `text` does not hold it."""
    if MAGIC not in script:
        return text if status == 0 else None
    begun = text.startswith(MAGIC)
    at = 0 if begun else text.find(f"\n{MAGIC}\n", 0, HEAD) + 1
    # A stream that is whole counts, whatever the login shell made of the status.
    whole = (begun or at > 0) and (status == 0 or text.rstrip().endswith(_END))
    return text[at:] if whole else None


def quoted(errors: str, printed: bytes) -> str:
    """Return what the host said last, for the end of a clause."""
    said = _last_line(errors) or _last_line(printed[-2 * _TAIL :].decode("utf-8", "replace"))
    return f"; it said: {said}" if said else ""


def ended(status: int, said: str) -> Failure:
    """Return the failure of a command that ended with `status` and without the stream; `said` is from `quoted`."""
    if status == 127:
        return Failure("exec", f"`sh` or a command it needs was not found there{said}; check the user's PATH")
    if status == 0:
        return Failure("exec", f"something else than the script ran (a forced command, or a restricted shell){said}")
    return Failure("exec", f"the script ended with status {status}{said}; try `ssh HOST sh -c true`")


def _last_line(text: str) -> str:
    # Secrets go before it is cut into lines, or at its beginning.
    lines = [line for line in hidden(text)[-_TAIL:].splitlines() if line.strip()]
    return clean(lines[-1], 160) if lines else ""
