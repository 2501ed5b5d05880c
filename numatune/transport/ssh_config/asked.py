"""What the ssh program of this machine says of single lines of ssh_config: whether it would refuse them.

The lines are put under a Host line that no host fits, where ssh checks them and does nothing that they say; none of
them is a Match with a command, so none runs. One process serves all doubtful lines of a file.

Without an ssh to ask, values are taken, since no connection of ours depends on them, and an unknown keyword is refused:
it may be a misspelt one that was meant to forbid something.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache

from ..failure import clean
from . import keywords
from .keywords import SshConfigError

NOBODY = "numatune-asks-about-no-host.invalid"
_SECONDS = 20
_BAD = re.compile(r"/dev/stdin:? line (\d+): (.*)")


@dataclass
class Doubts:
    """Lines that only an ssh program can judge."""

    _found: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def add(self, where: str, word: str, line: str, *, unknown: bool = False) -> None:
        """Take a line with its keyword; `unknown` says that no table here has it."""
        self._found.append((where, word, line, unknown))

    def settle(self) -> None:
        """Raise SshConfigError for the first line that is refused."""
        places = {line: place for place, line in enumerate(dict.fromkeys(line for _, _, line, _ in self._found))}
        told = refused(tuple(places)) if places else {}
        for where, word, line, unknown in self._found:
            said = _refusal(told, places[line], unknown)
            if said is not None:
                text = clean(f"{word[:40]}: {said}", 200)
                raise SshConfigError(f"{where}: {text}; ssh refuses the whole file for it")


def judged(word: str, argument: str) -> bool:
    """Have ssh judge an option of a command line; return whether ssh alone knows it. Raises ValueError."""
    known = keywords.checked_by(word, argument)
    if known == "table":
        return False
    said = _refusal(refused((f"{word} {argument}",)), 0, known == "nobody")
    if said is not None:
        raise ValueError(clean(said, 160))
    return known == "nobody"


def _refusal(told: dict[int, str] | None, place: int, unknown: bool) -> str | None:
    said = told.get(place) if told else None
    if unknown and (said is not None or told is None):
        return "no keyword of ssh_config: take it out, or name it in IgnoreUnknown"
    return said


@lru_cache(64)
def refused(lines: tuple[str, ...]) -> dict[int, str] | None:
    """Return place of line -> ssh's words about it, for those that it refuses; None where no ssh can be asked.

    A line is `keyword arguments`; one that holds a line break or a NUL is refused.
    """
    broken = [place for place, line in enumerate(lines) if any(sign in line for sign in "\n\0")]
    if broken:
        return dict.fromkeys(broken, "it holds a line break or a NUL")
    text = "".join(f"{line}\n" for line in (f"Host {NOBODY}", *lines))
    try:
        told = subprocess.run(
            ["ssh", "-G", "-F", "/dev/stdin", "numatune-asks"],
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if told.returncode == 0:
        return {}
    said = told.stderr.decode("utf-8", "replace").splitlines()
    found = {int(match[1]) - 2: match[2] for line in said if (match := _BAD.match(line))}
    return found or None
