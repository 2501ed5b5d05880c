"""A TuneD profile's tuned.conf, as its ConfigParser reads it: sections of NAME=value lines."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from ..model import Line
from ..text import lines

_SECTION = re.compile(r"\[(.+)\].*")


class Value(NamedTuple):
    """What one option is set to, and the line."""

    text: str
    where: Line


def sections(path: str, text: str) -> Optional[dict[str, dict[str, Value]]]:
    """Return section -> option -> value, None where TuneD would refuse the file.

    The last line of an option wins; one that is continued on the next line holds a newline.
    """
    found: dict[str, dict[str, Value]] = {}
    options: Optional[dict[str, Value]] = None
    name = ""
    for number, line in enumerate(lines(text), 1):
        word = line.strip()
        if not word or word[0] in "#;":
            continue
        word = re.split(r"\s#", word, maxsplit=1)[0].rstrip()
        if options is not None and name and line[0].isspace():
            options[name] = options[name]._replace(text=f"{options[name].text}\n{word}")
            continue
        section = _SECTION.fullmatch(word)
        if section:
            options, name = found.setdefault(section[1], {}), ""
            continue
        name, sign, value = (part.strip() for part in word.partition("="))
        if options is None or not name or not sign:
            return None
        options[name] = Value(value, Line(path, number, word))
    return found
