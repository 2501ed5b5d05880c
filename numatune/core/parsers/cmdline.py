"""The kernel's command line: tokens, quoting, and which of several assignments the kernel keeps."""

from __future__ import annotations

import re
from typing import Optional

from ..cpuset import EMPTY, CpuSet, parse_list
from ..errors import InputError

_ISOLCPUS_FLAGS = ("nohz", "domain", "managed_irq")
# White space to the kernel; str.split() knows more.
_WORD = re.compile(r'(?:"[^"]*"?|[^ \t\n\v\f\r"])+')


def tokens(text: str) -> list[str]:
    """Split a command line as the kernel does: white space separates, double quotes hold it together."""
    text = text.strip(" \t\n\0")
    if '"' in text or not (text.isascii() and text.isprintable()):
        words = [word for word in (found.replace('"', "") for found in _WORD.findall(text)) if word]
    else:
        words = text.split()
    # What follows "--" is for init, not for the kernel.
    return words[: words.index("--")] if "--" in words else words


def values(text: str, key: str) -> list[str]:
    """Return every value of a key, in order; a bare key counts as "". "-" and "_" are one to the kernel."""
    wanted = key.replace("-", "_")
    pairs = (token.partition("=") for token in tokens(text))
    return [value for name, _, value in pairs if name == wanted or name.replace("-", "_") == wanted]


def last(text: str, key: str) -> Optional[str]:
    """Return the value that stays when each assignment replaces the one before; None without any."""
    found = values(text, key)
    return found[-1] if found else None


def isolcpus(value: str) -> tuple[frozenset[str], CpuSet]:
    """Split an isolcpus value into its flags and CPUs; without a flag the kernel means "domain".

    Raises InputError when the rest is no CPU list.
    """
    flags, rest = set(), value.split(",")
    while rest and rest[0] in _ISOLCPUS_FLAGS:
        flags.add(rest.pop(0))
    return frozenset(flags) or frozenset({"domain"}), parse_list(",".join(rest))


def cpus(text: str, key: str) -> CpuSet:
    """Return the union of the CPU lists of a key; what does not parse adds nothing, as in the kernel."""
    found = EMPTY
    for value in values(text, key):
        try:
            found = found | (isolcpus(value)[1] if key == "isolcpus" else parse_list(value))
        except InputError:
            continue
    return found
