"""Kernel files that show a choice: every word that may be written, the chosen one in brackets.

`always [madvise] never` is the value `madvise`: that alone is compared, written, kept in the journal and put back.
"""

from __future__ import annotations

from typing import Optional


def chosen(text: str) -> str:
    """Return the word in brackets of a choice; of any other text, all of it."""
    words = text.split()
    picked = [word[1:-1] for word in words if word[:1] == "[" and word[-1:] == "]" and len(word) > 2]
    bare = "".join(words)
    return picked[0] if len(picked) == 1 and bare.count("[") == bare.count("]") == 1 else text


def shown_after(text: str, written: str) -> Optional[str]:
    """Return what a kernel file shows once a value was written; None where it is a choice that lacks that word."""
    if chosen(text) == text:
        return written
    offered, word = [item.strip("[]") for item in text.split()], written.strip()
    if word not in offered:
        return None
    return " ".join(f"[{item}]" if item == word else item for item in offered) + "\n"
