"""The engine and numpy that belong to each Python: the newest pair that the package index offers for it.

onnxruntime stopped building for Python 3.9 at 1.19.2 and for 3.10 at 1.23.2. Results of different pairs are never
compared; every result records what it ran with, locked or not.
"""

from __future__ import annotations

OLDEST_PYTHON = (3, 9)

LOCKS: dict[tuple[int, int], dict[str, str]] = {
    (3, 9): {"onnxruntime": "1.19.2", "numpy": "2.0.2"},
    (3, 10): {"onnxruntime": "1.23.2", "numpy": "2.2.6"},
    (3, 11): {"onnxruntime": "1.32.0", "numpy": "2.4.6"},
}
"""Versions from a Python on, until the next entry."""


def lock_for(python: tuple[int, int]) -> dict[str, str]:
    """The versions for a Python such as (3, 12); empty for one older than any entry."""
    known = [version for version in LOCKS if version <= python]
    return dict(LOCKS[max(known)]) if known else {}


def requirements(python: tuple[int, int]) -> tuple[str, ...]:
    """The lock as pip requirements, such as ("numpy==2.4.6", "onnxruntime==1.32.0")."""
    return tuple(f"{name}=={version}" for name, version in sorted(lock_for(python).items()))
