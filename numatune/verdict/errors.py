"""What the statistics refuse: one line that says what, where and what to do."""

from __future__ import annotations


class VerdictError(Exception):
    """A result file that cannot be used, or runs that must not be compared."""
