"""The tests hold in the background, where SIGINT and SIGHUP are ignored from birth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
INNER = "NUMATUNE_TEST_IN_BACKGROUND"
ASKS = f"import signal; print([signal.getsignal(number) is signal.SIG_IGN for number in {[int(n) for n in IGNORED]}])"


def ignore() -> None:
    """Begin as `nohup make test &` does."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def test_what_a_test_starts_hears_its_signals() -> None:
    if INNER in os.environ:
        said = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=True).stdout
        assert said.split() == ["[False,", "False,", "False]"]
        for number in IGNORED:
            os.kill(os.getpid(), number)  # the run itself goes on
        return
    here = f"{Path(__file__)}::{test_what_a_test_starts_hears_its_signals.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", here],
        cwd=Path(__file__).parents[2],
        env={**os.environ, INNER: "1"},
        preexec_fn=ignore,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
