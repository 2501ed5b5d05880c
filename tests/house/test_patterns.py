"""No regular expression takes time by the square of what somebody else wrote: no two repeats beside each other overlap.

`\\s*(.*?)\\s*` tries every way to share a run of blanks: a line of a mebibyte would take hours.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as codes
from re import _parser as parser
from typing import Any

import pytest

ROOT = Path(__file__).parents[2] / "numatune"
SIGNS = frozenset(map(chr, range(128))) | {"\u2028"}
CATEGORIES = {
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_NOT_SPACE: lambda sign: not sign.isspace(),
    codes.CATEGORY_DIGIT: str.isdigit,
    codes.CATEGORY_NOT_DIGIT: lambda sign: not sign.isdigit(),
    codes.CATEGORY_WORD: lambda sign: sign.isalnum() or sign == "_",
    codes.CATEGORY_NOT_WORD: lambda sign: not (sign.isalnum() or sign == "_"),
}
UNBOUNDED = 1000
# It finds tokens one behind the other in what a profile asks for, and never fails after a run of blanks.
EXEMPT = {"numatune/core/loaders/arguments.py"}
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)


def signs(item: Any) -> frozenset[str]:
    """Return the characters that one item of a parsed expression may take."""
    kind, value = item
    if kind is codes.LITERAL:
        return frozenset(chr(value))
    if kind is codes.NOT_LITERAL:
        return SIGNS - {chr(value)}
    if kind is codes.ANY:
        return SIGNS
    if kind is codes.RANGE:
        return frozenset(sign for sign in SIGNS if value[0] <= ord(sign) <= value[1])
    if kind is codes.CATEGORY:
        return frozenset(filter(CATEGORIES[value], SIGNS))
    if kind is codes.IN:
        negated = value[0][0] is codes.NEGATE
        found = frozenset[str]().union(*map(signs, value[negated:]))
        return SIGNS - found if negated else found
    if kind in REPEATS:
        return frozenset().union(*map(signs, value[2]))
    if kind is codes.SUBPATTERN:
        return frozenset().union(*map(signs, value[-1]))
    if kind is codes.BRANCH:
        return frozenset().union(*(signs(part) for branch in value[1] for part in branch))
    return frozenset()


def flat(items: Any) -> Iterator[Any]:
    """Yield the items in their order, groups opened."""
    for item in items:
        if item[0] is codes.SUBPATTERN:
            yield from flat(item[1][-1])
        else:
            yield item


def inside(items: Any) -> Iterator[Any]:
    """Yield each sequence of items: the expression, its branches, what its repeats repeat."""
    items = list(flat(items))
    yield items
    for kind, value in items:
        if kind is codes.BRANCH:
            for branch in value[1]:
                yield from inside(branch)
        elif kind in REPEATS:
            yield from inside(value[2])


def unbounded(item: Any) -> bool:
    return item[0] in REPEATS and item[1][1] > UNBOUNDED


def may_be_empty(item: Any) -> bool:
    return item[0] is codes.AT or (item[0] in REPEATS and item[1][0] == 0)


def overlaps(pattern: str, flags: int = 0) -> bool:
    """Return whether two repeats without end can share what they take, or one repeats what already repeats."""
    for items in inside(parser.parse(pattern, flags)):
        before: list[frozenset[str]] = []
        for number, item in enumerate(items):
            if unbounded(item):
                taken = signs(item)
                # What takes all that is left of a line needs no second try.
                rest = taken == SIGNS and all(map(may_be_empty, items[number + 1 :]))
                if any(taken & other for other in before) and not rest:
                    return True
                body = list(flat(item[1][2]))
                if len(body) == 1 and unbounded(body[0]):
                    return True
                before = [*(before if may_be_empty(item) else []), taken]
            elif not may_be_empty(item):
                before = []
    return False


def written(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield each expression that a module writes out: the function of `re`, the line, the expression."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.args
        ):
            text = node.args[0]
            if isinstance(text, ast.JoinedStr):
                # What is put in is a name or a word.
                parts = [part.value if isinstance(part, ast.Constant) else "x" for part in text.values]
                yield node.func.attr, node.lineno, "".join(map(str, parts))
            elif isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield node.func.attr, node.lineno, text.value


def found() -> list[str]:
    bad = []
    for path in sorted(ROOT.rglob("*.py")):
        for function, line, text in written(path):
            if function == "escape" or str(path.relative_to(ROOT.parent)) in EXEMPT:
                continue
            items = list(flat(parser.parse(text)))
            # Tried from each character of a run, each time to its end.
            begins = function not in ("match", "fullmatch", "compile") and unbounded(items[0])
            begins = begins and not all(map(may_be_empty, items[1:]))
            if overlaps(text) or begins:
                bad.append(f"{path.relative_to(ROOT.parent)}:{line}: {text}")
    return bad


def test_no_pattern_takes_quadratic_time() -> None:
    assert not found()


@pytest.mark.parametrize("pattern", [r"\s*(.*?)(?:\s+#)?\s*", r"(a+)+", r"\s*(x)?\s*,", r"[ab]*b+"])
def test_what_overlaps_is_seen(pattern: str) -> None:
    assert overlaps(pattern)
    assert re.compile(pattern)


@pytest.mark.parametrize("pattern", [r"\s*\S+\s*", r"a*b*", r"\s+(\S+)\s*(.*)$", r"\s+(\S+) x\s*", r"[^=]*=.*"])
def test_what_does_not_overlap_passes(pattern: str) -> None:
    assert not overlaps(pattern)
