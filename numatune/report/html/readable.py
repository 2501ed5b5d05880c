"""Text of a file made safe and readable: every string of a result is somebody else's.

Host names, task names and kernel lines may hold markup, terminal escapes or a page's worth of text. Jinja escapes what
goes into the page; what goes into a figure or into the data of one is made safe here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 400
"""Signs of one text that a page shows; what is longer is cut, and says so."""

MOST = 1e30
"""No number of a file that means something is larger, and none is infinite."""

UNKNOWN = "not known"

FIXED = "\u00a0"
"""A space at which no line breaks."""


def plain(value: Any, longest: int = LONGEST) -> str:
    """A value of a file as one line without signs that steer a terminal or turn text around; None is "not known"."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, Mapping | list | tuple):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    signs = "".join(sign if sign.isprintable() or sign == FIXED else " " for sign in text)
    text = " ".join(word for word in signs.split(" ") if word)
    return text if len(text) <= longest else f"{text[:longest]}… (cut)"


def label(value: Any, longest: int = 60) -> str:
    """The same for a text field of a figure, which reads a part of HTML and `%{…}` of its own."""
    text = plain(value, longest)
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("%{", "% {"), ("$", "＄")):
        text = text.replace(sign, safe)
    return text


def embed(value: Any) -> str:
    """JSON for a <script type="application/json">: ASCII, and nothing in it can end the element or open another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def inside(value: Any, *keys: str) -> Any:
    """What stands at a path of keys in a decoded file; None where the path leads nowhere."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(value: Any) -> float | None:
    """A number of a file, None where there is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and -MOST < value < MOST
    return float(value) if known else None


def items(value: Any) -> Sequence[Any]:
    """A list of a file, empty where there is none."""
    return value if isinstance(value, list | tuple) else ()


def ms(value: float) -> str:
    """Milliseconds with as many digits as matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def count(amount: float, noun: str) -> str:
    """Such as "1 spike" or "2,000 spikes"."""
    return f"{amount:,.0f} {noun if amount == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """More than one of it."""
    return f"{noun}es" if noun.endswith(("s", "ch")) else f"{noun}s"


def sentence(text: str) -> str:
    """A text of this program as a sentence: a capital, unless a name with capitals of its own begins it, and a dot."""
    first, *_rest = text.split(maxsplit=1) or [""]
    return (text[:1].upper() + text[1:] if first.islower() else text) + ("" if text.endswith(".") else ".")


def percent(share: float) -> str:
    """A share as a percentage that is never rounded to nothing or to all."""
    if 0 < share < 0.005:
        return f"under 1{FIXED}%" if share >= 0.0005 else f"{share * 100:.2g}{FIXED}%"
    if 0.995 <= share < 1:
        return f"over 99{FIXED}%"
    return f"{share * 100:.0f}{FIXED}%"


def chance(p: float) -> str:
    """A p-value."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def p_of(p: float) -> str:
    """The same in a sentence."""
    return f"p{FIXED}<{FIXED}0.0001" if p < 1e-4 else f"p{FIXED}={FIXED}{p:.2g}"
