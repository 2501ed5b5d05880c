"""The small parts of ssh_config's language: words and quotes, patterns, times, tokens."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping
from functools import lru_cache

_BLANKS = " \t\r\n\f"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# As strtol takes it, with its unit.
_NUMBER = re.compile(r"[ \t\r\n\v\f]*(\+?[0-9]++|-0++(?![0-9]))([smhdwSMHDW]?)")
MOST = 2**31 - 1  # of the int in which OpenSSH keeps a number


def keyword(line: str) -> tuple[str, str]:
    """Split a line into its first word in lower case and the rest: `Port 22`, `Port=22`, `Port = 22`, `"Port" 22`.

    Both are "" for a blank line and for a comment, and for a keyword with a quote that does not end: OpenSSH too
    overlooks such a line.
    """
    # For OpenSSH a NUL ends the line.
    text = line.partition("\0")[0].rstrip(_BLANKS).lstrip(" \t\r\n")
    if not text or text.startswith("#"):
        return "", ""
    try:
        word, rest = delimited(text)
        if not word:
            word, rest = delimited(rest)  # `=` in front is overlooked
    except ValueError:
        return "", ""
    return word.lower() if word.isascii() else word, rest  # the Kelvin sign is no K to ssh


def delimited(text: str) -> tuple[str, str]:
    """Return the first word, which ends at a blank, a quoted end or one `=`, and the rest."""
    end = next((place for place, sign in enumerate(text) if sign in ' \t\r\n"='), None)
    if end is None:
        return text, ""
    if text[end] == '"':
        close = text.find('"', end + 1)
        if close < 0:
            raise ValueError("a quote that does not end")
        return text[:end] + text[end + 1 : close], text[close + 1 :].lstrip(" \t\r\n")
    rest = text[end + 1 :].lstrip(" \t\r\n")
    if text[end] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(" \t\r\n")
    return text[:end], rest


def split(text: str) -> list[str]:
    r"""Return the arguments of a line: both quotes, `\` before a quote, a blank or itself, and `#` where a word begins.

    Raises ValueError for a quote that does not end.
    """
    found: list[str] = []
    place = 0
    while place < len(text):
        if text[place] in " \t":
            place += 1
            continue
        if text[place] == "#":
            break
        word, place = _word(text, place)
        found.append(word)
    return found


def _word(text: str, place: int) -> tuple[str, int]:
    made: list[str] = []
    quote = ""
    while place < len(text):
        sign, following = text[place], text[place + 1 : place + 2]
        if sign == "\\" and following and (following in "'\"\\" or (not quote and following == " ")):
            made.append(following)
            place += 1
        elif not quote and sign in " \t":
            break
        elif not quote and sign in "'\"":
            quote = sign
        elif sign == quote:
            quote = ""
        else:
            made.append(sign)
        place += 1
    if quote:
        raise ValueError("a quote that does not end")
    return "".join(made), place


@lru_cache(maxsize=65536)
def pattern(text: str) -> re.Pattern[str]:
    """Return the expression of an OpenSSH pattern, in which only `*` and `?` are special."""
    parts = (
        "".join(".*" if part.startswith("*") else "." if part == "?" else re.escape(part)) for part in _parts(text)
    )
    return re.compile("".join(parts), re.DOTALL)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"(\*+|\?)", text) if part]


def in_list(name: str, patterns: str, *, lower: bool = False) -> bool:
    """Return whether a name is in a comma-separated list of patterns; one that begins with `!` and matches ends it.

    `lower` compares both in lower case, as host names are.
    """
    if lower:
        name, patterns = name.lower(), patterns.lower()
    found = False
    for each in patterns.split(","):
        negated = each.startswith("!")
        text = each[1:] if negated else each
        if pattern(text).fullmatch(name):
            if negated:
                return False
            found = True
    return found


def seconds(text: str) -> int | None:
    """Return a time such as `90`, `1m30s` or `2H` in seconds, None for `none`; raises ValueError."""
    if text == "none":
        return None
    if not re.fullmatch(f"(?:{_NUMBER.pattern})+", text):
        raise ValueError(f"not a time: {text[:40]!r}")
    found = sum(int(number) * _UNITS[unit.lower()] for number, unit in _NUMBER.findall(text))
    if found > MOST:
        raise ValueError(f"not a time: {text[:40]!r} is more than {MOST} seconds")
    return found


def tokens(text: str, known: Mapping[str, str]) -> str:
    """Replace %h and the like; raises ValueError for one that is not in `known`."""

    def one(found: re.Match[str]) -> str:
        sign = found[1]
        if sign == "%":
            return "%"
        if sign not in known:
            raise ValueError(f"%{sign} in {text[:80]!r} is not known here")
        return known[sign]

    return re.sub(r"%(.?)", one, text, flags=re.DOTALL)


def variables(text: str, environment: Mapping[str, str]) -> str:
    """Replace ${NAME}; raises ValueError for one that is not set, as OpenSSH refuses it."""

    def one(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise ValueError(f"${{{found[1]}}} in {text[:80]!r} is not set")
        return environment[found[1]]

    return re.sub(r"\$\{([^}]*)\}", one, text)


def tilde(text: str, home: str) -> str:
    """Replace a leading `~` by `home` and `~name` by that account's; raises ValueError for an unknown account."""
    if not text.startswith("~"):
        return text
    name, slash, rest = text[1:].partition("/")
    if name:
        try:
            home = pwd.getpwnam(name).pw_dir
        except KeyError:
            raise ValueError(f"no account {name[:40]!r} for {text[:80]!r}") from None
    return home.rstrip("/") + slash + rest if slash else home
