"""What one plane says of a setting: the noun that judges, keepers and starts hand each other."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from ..model import Line
from ..status import Plane

Right = Callable[[str], bool]
"""Whether a value, as it is written or shown, is one that is wanted."""


class Said(NamedTuple):
    """What one plane says: right, wrong, nothing (NONE) or unread; the value, and the line that says it.

    `why` says why it is not known, or why a line that stands is nothing. `masked` is the line of a wanted value over
    which `where` wins. `holder` names who else keeps the value right, `note` is worth saying beside any status, and
    `remedy` is what would let a line be applied.
    """

    plane: Plane
    value: Optional[str] = None
    where: Optional[Line] = None
    why: str = ""
    masked: bool = False
    holder: str = ""
    note: str = ""
    remedy: str = ""


def said(value: str, right: Right, where: Optional[Line] = None) -> Said:
    """Return what a plane says that holds this value."""
    return Said(Plane.RIGHT if right(value) else Plane.WRONG, value, where)


def unread(why: str) -> Said:
    """Return what a plane says of which nothing is known."""
    return Said(Plane.UNREAD, why=why)
