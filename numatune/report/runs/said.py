"""What a format of runs gets: the lines for a person, and the same as an object for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..layout import Style


class Said(NamedTuple):
    """One answer; only the form that is asked for is made."""

    lines: Callable[[Style], Iterable[str]]
    value: Callable[[], Any]
