"""How many files this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_many_files() -> None:
    """Raise this process's limit of open files, 1,024 as a rule, to what it may have: 512 CPUs have more of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
