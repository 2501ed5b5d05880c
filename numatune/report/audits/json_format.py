"""The JSON of `numatune audit` and `numatune plan`: the contract that other programs read.

It comes in pieces, host by host: a report of 10,000 hosts never lies in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..layout import Style
from .hosts import Run
from .view import View


def write_audit(view: View, _style: Style) -> Iterator[str]:
    """Yield the JSON of an audit."""
    return pieces(view.run, "audit")


def write_plan(view: View, _style: Style) -> Iterator[str]:
    """Yield the JSON of a plan."""
    return pieces(view.run, "plan")


def pieces(run: Run, command: str) -> Iterator[str]:
    """Yield the report of an audit (schema numatune/audit/1) or a plan (numatune/plan/1)."""
    head = {
        "schema": f"numatune/{command}/1",
        "version": run.version,
        "profile": run.profile,
        "started": run.started,
        "finished": run.finished,
        "partial": run.partial,
        "summary": run.summary,
        **run.more,
    }
    yield json.dumps(head, indent=1).removesuffix("\n}") + ',\n "hosts": ['
    before = "\n  "
    for text in run.texts():
        yield before + text
        before = ",\n  "
    yield "\n ]\n}\n" if run.summary["hosts"] else "]\n}\n"
