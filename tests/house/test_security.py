"""SECURITY.md: what it says holds a promise is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_what_holds_a_promise_exists() -> None:
    named = set(re.findall(r"`((?:tests|numatune|molecule)/[\w./-]+)`", PAGE))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_promise_names_what_holds_it() -> None:
    table = PAGE.partition("## What is promised")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 9
    for promise, holds in rows:
        assert re.search(r"`(?:tests|molecule)/", holds), promise
