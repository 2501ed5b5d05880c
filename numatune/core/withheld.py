r"""Secrets that boot configuration may hold, left out of what is read: GRUB's passwords, tokens in kernel arguments.

The collector's script leaves them out on the host (by the same expressions, see `sed_edits`), and whatever reads a
stream, a tree or an archive does so again: what is judged, stored or shown never held them. Only the modules that
change a host read it whole, on the host itself, for an entry is copied with all its arguments; what they tell passes
`value`.

An expression means the same to `sed -E` and to Python. None takes Python much longer than a line is long: a count
bounds what could be tried from every character on.
"""

from __future__ import annotations

import re
from typing import Any

MARK = "[left-out]"
"""What stands in the place of a secret; no blank, for it is part of one argument. It is never written to a host."""

_FOLDERS = ("/boot/", "/efi/", "/etc/default/grub", "/etc/grub.d/", "/etc/kernel/", "/etc/numatune/", "/etc/tuned/")
_FILES = ("/proc/cmdline", "/proc/mounts")
_STREAMED = re.compile(rf"^((?:{'|'.join(_FOLDERS)})[^:\n]*:|(?:{'|'.join(_FILES)}):)(.+)$", re.M)

# What a line must hold for one of the expressions to match, in lower case.
HINTS = ("pass", "pwd", "psk", "token", "secret", "credential", "key", "pbkdf2", "://", "iscsi:")


def _any_case(words: str) -> str:
    return re.sub("[a-z]", lambda found: f"[{found[0].upper()}{found[0]}]", words)


# A word, then what is in quotes, escaped or plain. Where they are never closed it is all up to the line's end: that
# quote stays, and so does the other one at the end, which may have been opened before; else the line could not be read
# as the shell's any more.
_VALUE = (
    r"""((")[^"]*[^"' 	][ 	]*('[' 	]*)?$|(')[^']*[^"' 	][ 	]*("[" 	]*)?$|\\"[^"]+$|\\'[^']+$"""
    r"""|([^ 	"'\\]+|\\"[^"]*"|\\.|"[^"]*"|'[^']*')+)"""
)
_WORDS = _any_case("passwd|password|passphrase|token|credential|api[_-]?key|auth[_-]?key|private[_-]?key")
# secretmem.enable= is an argument of the kernel, and no secret.
_NAMED = rf"(({_WORDS})[A-Za-z0-9_.-]{{0,64}}|{_any_case('secret')}([A-LN-Za-ln-z0-9_.-][A-Za-z0-9_.-]{{0,64}})?)="
_SHORT = rf"((^|[^A-Za-z])({_any_case('pass|pwd|psk')})=)"
EXPRESSIONS = (
    # GRUB's: password NAME PLAIN, password_pbkdf2 NAME HASH, up to the end of that command ("; fi" stays); what is a
    # variable of GRUB's holds none.
    (
        (
            r"""((^|[;{]|(then|else|do)[ 	])[ 	]*password(_pbkdf2)?[ 	]+[^ 	]+[ 	]+)"""
            r"""("[^$"][^"]*("|$)|'[^']+('|$)|\\.|[^$;"' 	\\])("[^"]*"|'[^']*'|\\.|[^;"'\\])*(("[^"]*|'[^']*|\\)$)?"""
        ),
        r"\1" + MARK,
    ),
    (r"""grub[.]pbkdf2[.][^ 	"';}]*""", MARK),
    (rf"({_NAMED}){_VALUE}", rf"\1{MARK}\6\7\8\9"),
    (rf"{_SHORT}{_VALUE}", rf"\1{MARK}\5\6\7\8"),
    # user:password@host, of a URL and of dracut's netroot=iscsi:
    (r"""(://)[^ 	/@"']+@""", r"\1" + MARK + "@"),
    (r"""(=iscsi:)[^ 	/@"']{1,256}@""", r"\1" + MARK + "@"),
)
"""(what is matched, what stands there instead) within one line, for `sed -E` and for Python."""

_COUNT = re.compile(r"\{([01]),\d+\}")


def sed_edits() -> tuple[str, ...]:
    """Return the edits for `sed -E` that leave secrets out of "PATH:LINE", in lines of the files that `covers` names.

    They have no counts, which take sed a millisecond to understand: they leave out as much, or more.
    """
    paths = "|".join([*_FOLDERS, *(f"{path}:" for path in _FILES)]).replace(".", "[.]")
    edits = [f"s%{_COUNT.sub(_any, found)}%{instead}%g" for found, instead in EXPRESSIONS]
    # The path is put aside: a file may be called password=x.
    return (rf"\%^({paths})%!b", "h", "s%^[^:]*:%%", *edits, "x", "s%:.*%%", "G", r"s%\n%:%")


def _any(count: re.Match[str]) -> str:
    return "+" if count[1] == "1" else "*"


_COMPILED = tuple((re.compile(found), instead) for found, instead in EXPRESSIONS)


def covers(path: str) -> bool:
    """Return whether a file is one of those that secrets are left out of."""
    return path.startswith(_FOLDERS) or path in _FILES


def text(content: str) -> str:
    """Return a text with its secrets left out; the number of its lines stays."""
    low = content.lower()
    if not any(word in low for word in HINTS):
        return content
    return "\n".join(map(_line, content.split("\n")))


def _line(content: str) -> str:
    for found, instead in _COMPILED:
        content = found.sub(instead, content)
    return content


def stream(content: str) -> str:
    """Return a collector's stream with the secrets of the files that `covers` names left out."""
    return _STREAMED.sub(lambda found: found[1] + text(found[2]), content)


def value(found: Any) -> Any:
    """Return what a module tells, with the secrets of every text in it left out."""
    if isinstance(found, str):
        return text(found)
    if isinstance(found, dict):
        return {key: value(item) for key, item in found.items()}
    if isinstance(found, (list, tuple)):
        return [value(item) for item in found]
    return found
