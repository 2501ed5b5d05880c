"""Errors of the recorder. It is shipped to targets on its own, so it shares no error class with the controller."""

from __future__ import annotations

BAD_INPUT, INVALID_RUN = 2, 3


class BenchError(Exception):
    """One line that says what went wrong, where and what to do; `code` is the exit status that goes with it."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def reason(error: OSError) -> str:
    """The words of an operating system error without its number and path."""
    return error.strerror or type(error).__name__
