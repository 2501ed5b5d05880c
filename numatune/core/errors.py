"""The errors that the core raises; each message is one line that says what, where and what to do."""

from __future__ import annotations


class NumatuneError(Exception):
    """Base of every error that a user can mend; its text is one line."""


class InputError(NumatuneError):
    """What the user or a file said cannot be used: a profile, a CPU list, a name."""


class SnapshotError(NumatuneError):
    """A snapshot is cut, empty or not a snapshot at all."""
