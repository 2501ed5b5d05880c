"""What the ssh program of this machine says of single lines of ssh_config: whether it would refuse them.

The lines are put under a Host line that no host fits, where ssh checks them and does nothing that they say. A Host,
Match or Include of the user's is never among them, since it would end that block, and ssh runs the command of a
`Match exec` even to print its configuration: `refused` puts each line together again from a keyword that is none of the
three. What is to be asked of a Match line comes after `originalhost` with a name that no host has (`criterion`): ssh
runs no command once a criterion is not met. One process serves all doubtful lines of a file.

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
from . import keywords, words
from .keywords import SshConfigError

NOBODY = "numatune-asks-about-no-host.invalid"
_SECONDS = 20
_NEVER = f"Match originalhost {NOBODY} "
_BLOCKS = ("host", "match", "include")
_UNKNOWN = "Bad configuration option"
# Said of a keyword that ssh passes over; "unsupported option", in small letters, is a value that it refuses.
_TAKEN = re.compile(r"(?:Unsupported|Deprecated) option")
_PLAIN = re.compile(r"[a-z0-9]+")  # every keyword of ssh
_BAD = re.compile(r"/dev/stdin:? line (\d+): (.*)")


@dataclass
class Doubt:
    """A line that only an ssh program can judge, with its keyword.

    `unknown`: no table here has the keyword. `ignored`: IgnoreUnknown names it, should ssh not know it either.
    """

    where: str
    word: str
    line: str
    unknown: bool = False
    ignored: bool = False


@dataclass
class Doubts:
    """Lines that only an ssh program can judge."""

    _found: list[Doubt] = field(default_factory=list)

    def add(self, doubt: Doubt) -> None:
        """Take a line."""
        self._found.append(doubt)

    def settle(self) -> list[tuple[str, str]]:
        """Return what only IgnoreUnknown lets pass: keyword, where. Raises SshConfigError for the first bad line."""
        places = {line: place for place, line in enumerate(dict.fromkeys(each.line for each in self._found))}
        told = refused(tuple(places)) if places else {}
        excused = []
        for each in self._found:
            place = places[each.line]
            if each.ignored and _foreign(told, place):
                excused.append((each.word, each.where))
                continue
            said = _refusal(told, place, each.unknown)
            if said is not None:
                text = clean(f"{each.word[:40]}: {said}", 200)
                raise SshConfigError(f"{each.where}: {text}; ssh refuses the whole file for it")
        return excused


def judged(word: str, argument: str, ignored: str = "") -> bool:
    """Have ssh judge an option of a command line; return whether ssh alone knows it. Raises ValueError.

    `ignored` is the list of an IgnoreUnknown before it.
    """
    if words.keyword(f"{word} {argument}")[0] in _BLOCKS:
        raise ValueError("ssh takes no Host, Match or Include on its command line: write it into a file for -F")
    known = keywords.checked_by(word, argument)
    if known == "table":
        return False
    told = refused((f"{word} {argument}",))
    if words.in_list(word, ignored, lower=True) and (_foreign(told, 0) or (told is None and known == "nobody")):
        return False
    said = _refusal(told, 0, known == "nobody")
    if said is not None:
        raise ValueError(clean(said, 160))
    return known == "nobody"


def _foreign(told: dict[int, str] | None, place: int) -> bool:
    return told is not None and told.get(place, "").startswith(_UNKNOWN)


def _refusal(told: dict[int, str] | None, place: int, unknown: bool) -> str | None:
    said = told.get(place) if told else None
    if unknown and (said is not None or told is None):
        return "no keyword of ssh_config: take it out, or name it in IgnoreUnknown"
    return said


def criterion(name: str, argument: str) -> str:
    """Return the line to ask `refused` whether ssh knows a criterion of Match; it decides about no host."""
    return f'{_NEVER}{name} "{argument}"'


@lru_cache(64)
def refused(lines: tuple[str, ...]) -> dict[int, str] | None:
    """Return place of line -> ssh's words about it, for those that it refuses; None where no ssh can be asked.

    A line is `keyword arguments`, or what `criterion` made. One that holds a line break or a NUL is refused, and so is
    one that begins a block; neither is shown to ssh.
    """
    broken = [place for place, line in enumerate(lines) if any(sign in line for sign in "\n\0")]
    if broken:
        return dict.fromkeys(broken, "it holds a line break or a NUL")
    shown, found = [f"Host {NOBODY}"], {}
    for place, line in enumerate(lines):
        word, rest = words.keyword(line)
        if line.startswith(_NEVER):
            shown.append(line)
        elif _PLAIN.fullmatch(word) and word not in _BLOCKS:
            shown.append(f"{word}={rest}")
        else:
            shown.append("")
            found[place] = f"{_UNKNOWN}: {word}"
    text = "".join(f"{line}\n" for line in shown)
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
        return found
    for line in told.stderr.decode("utf-8", "replace").splitlines():
        if (match := _BAD.match(line)) and not _TAKEN.match(match[2]):
            found[int(match[1]) - 2] = match[2]
    return found or None
