"""How a command ends early: one line on stderr and a documented exit code."""

from __future__ import annotations

OK, FINDINGS, BAD_INPUT, INCOMPLETE, INTERNAL = 0, 1, 2, 3, 4


class CliError(Exception):
    """One line for stderr and the exit code that goes with it (cli contract: 2 bad input, 3 incomplete)."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code
