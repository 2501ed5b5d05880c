"""A cache of weights for the whole session, apart from the user's own, and a way to run the command line."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The tests share their machine with whatever else runs there; a busy one must still run the recorder.
PROGRAM = """
import sys
from numatune.bench import validity
validity.CLEARLY_RUNNING = 1e9
from numatune.cli import main
sys.exit(main())
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def cache() -> Iterator[Path]:
    """An empty cache folder, removed at the end: the weights are large."""
    folder = Path(tempfile.mkdtemp(prefix="numatune-test-cache-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point this process at the session's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


@pytest.fixture
def start(cache: Path) -> Start:
    """Start `numatune …` in a process of its own; `file_bytes` limits the size of the files that it may write."""

    def begin(*words: str, file_bytes: int | None = None, folder: Path | None = None) -> subprocess.Popen[str]:
        def limit() -> None:
            # A shell's background job has Ctrl-C ignored from birth; the program under test is to hear it all the same.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        environment = {**os.environ, "XDG_CACHE_HOME": str(folder or cache), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd="/",
            preexec_fn=limit,
        )

    return begin
