"""A folder in memory for what writes and syncs thousands of small trees: on a disk, each sync is waited for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder in memory, removed at the end; pytest's own where there is no such filesystem."""
    if not os.access(_MEMORY, os.W_OK) or not os.path.ismount(_MEMORY):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="numatune-test-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
