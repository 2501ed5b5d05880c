"""What holds for every test: signals that a run in the background ignores, and what runs side by side."""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

# Some shells export it, and text of that width is not what the tests expect.
os.environ.pop("COLUMNS", None)


def _stay(_number: int, _frame: object) -> None:
    """Do nothing: this process goes on, as whoever started it in the background wants."""


# A shell's background job ignores SIGINT, one of nohup SIGHUP, and every program that it starts inherits that: the
# tests that send one would wait for ever. A handler is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _stay)


@cache
def _shares(path: str) -> bool:
    return '@pytest.fixture(scope="module")' in (ROOT / path).read_text("utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one worker play the files with a fixture of their own, which would else be made once more in each.

    Not by xdist's own groups: their marks have no effect with pytest 9.2, and nothing says so.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if _shares(path) else nodeid

    return Scheduler(config, log)
