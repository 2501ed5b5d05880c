"""What can go wrong with a store, in one line."""

from __future__ import annotations

from ..core.errors import NumatuneError


class StoreError(NumatuneError):
    """A store cannot be opened, read or written; the text names the file and what to do."""
