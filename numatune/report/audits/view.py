"""What a format of audits and plans gets: the run, what it came to, and how much of it is to be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .fleet import Overview
from .hosts import Run


@dataclass(frozen=True)
class View:
    """One audit or plan as it is to be written.

    `overview` says what the hosts came to together, and is asked for only where it is shown: `summed` puts it before
    the hosts (of an audit) or after them (of a plan). `details` shows every host; data formats do so always.
    """

    run: Run
    overview: Callable[[], Overview]
    summed: bool = False
    details: bool = True
