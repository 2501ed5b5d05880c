"""What holds for every test: a run in the background does not hand its ignored signals on to what the tests start."""

from __future__ import annotations

import signal


def _stay(_number: int, _frame: object) -> None:
    """Do nothing: this process goes on, as whoever started it in the background wants."""


# A shell's background job ignores SIGINT, one of nohup SIGHUP, and every program that it starts inherits that: the
# tests that send one would wait for ever. A handler is not inherited.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _stay)
