"""What a host's file is called."""

from __future__ import annotations

import hashlib
import re

_MOST = 180
"""Bytes of a file's name, of the 255 that a filesystem takes, leaving room for what is written beside it."""
_DIGEST = re.compile(r"-[0-9a-f]{10}$")


def file_name(name: str) -> str:
    """Return a file name for a host: its own word, of which nothing may steer a path.

    A name that had to be changed, or that ends as a changed one does, gets a digest of the whole, so that no two hosts
    share a file.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:_MOST]
    if plain and plain == name and not _DIGEST.search(name):
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{plain or 'host'}-{digest}"
