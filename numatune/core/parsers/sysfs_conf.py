"""sysfs.conf, of Debian's sysfsutils: "attribute = value" for files below /sys, which its script writes at boot."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..model import Line
from .tmpfiles import Write

CONF, FOLDER = "/etc/sysfs.conf", "/etc/sysfs.d"
_BLANK = " \t\r\f\v"
_MOST = 2


class Applied(NamedTuple):
    """The writes of one file, in order, and whether a line that the script does not know ended it and all files."""

    writes: tuple[Write, ...]
    ended: bool


def applied(path: str, text: str) -> Applied:
    """Return what the script makes of a file; of the lines that set a mode or an owner, nothing."""
    found = []
    # It ends lines at line feeds alone: what ends in a carriage return is written with it.
    for number, line in enumerate(text.split("\n"), 1):
        said = line.partition("#")[0]
        if not said.strip(_BLANK):
            continue
        left, sign, right = said.partition("=")
        named = re.split(f"[{_BLANK}]+", left.strip(_BLANK))
        if sign and len(named) <= _MOST:
            # The script's sed takes the sign out of such a line alone.
            said = " ".join([*named, right.lstrip(_BLANK)])
        # As the shell reads words.
        words = re.split("[ \t]+", said.strip(" \t"), maxsplit=2)
        first, value, more = (*words, "", "")[:3]
        if value and not more:
            pattern = re.sub("/+", "/", f"/sys/{first}")
            found.append(Write(pattern, value, Line(path, number, line.strip())))
        elif first not in ("mode", "owner") or not more:
            return Applied(tuple(found), True)
    return Applied(tuple(found), False)
