"""What holds for every test: signals that a run in the background ignores, and what runs side by side."""

from __future__ import annotations

import os
import signal

import pytest

# Some shells export it, and text of that width is not what the tests expect.
os.environ.pop("COLUMNS", None)


def _stay(_number: int, _frame: object) -> None:
    """Do nothing: this process goes on, as whoever started it in the background wants."""


# A shell's background job ignores SIGINT, one of nohup SIGHUP, and every program that it starts inherits that: the
# tests that send one would wait for ever. A handler is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _stay)


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker play all tests that share a module's fixture, which would else be made once more in each."""
    for item in items:
        shared = [
            definition
            for found in item._fixtureinfo.name2fixturedefs.values()
            for definition in found
            if definition.scope == "module"
        ]
        if shared:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
