"""A counter is declared in one place; everything else takes it from there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from numatune.bench.counted import ALL, BY_NAME
from numatune.verdict.causes import CAUSES, Cause

ROOT = Path(__file__).parents[2]
TABLE = "numatune/bench/counted.py"

USED = {
    "numatune/verdict/causes.py": "a cause names the counters that show it",
    "numatune/verdict/doses.py": "its keys are causes, some of which are called as their counter is",
    "numatune/verdict/bursts.py": "what a burst says that no cause shows",
}
"""Where a module's own table names a counter, and why that is no second declaration."""


def declared(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, counter) of every name of a counter in the tables and constants of a module and its classes."""
    module = ast.parse(source)
    bodies = [module.body, *(item.body for item in module.body if isinstance(item, ast.ClassDef))]
    for item in (item for body in bodies for item in body if isinstance(item, (ast.Assign, ast.AnnAssign))):
        for node in ast.walk(item):
            if isinstance(node, ast.Constant) and node.value in BY_NAME:
                yield node.lineno, str(node.value)


def test_no_other_table_declares_a_counter() -> None:
    found = {}
    for path in sorted(ROOT.glob("numatune/**/*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place != TABLE and place not in USED:
            found.update({f"{place}:{line}": name for line, name in declared(path.read_text("utf-8"))})
    assert found == {}


def test_the_rule_bites() -> None:
    source = 'RISE = {"minor_faults": 50.0}\nclass Idle:\n    NAMES = ("a", "idle_exits")\n'
    source += 'def f():\n    return "steal_ns"'
    assert [name for _line, name in declared(source)] == ["minor_faults", "idle_exits"]


def test_a_counter_has_one_entry_and_its_words() -> None:
    assert len(BY_NAME) == len(ALL)
    assert len({counter.words for counter in ALL}) == len(ALL)
    assert all(counter.over_pace is None or counter.least is not None for counter in ALL)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_cause_is_on_counters_that_exist(cause: Cause) -> None:
    assert set(cause.counters) <= set(BY_NAME)
    assert cause.least > 0
