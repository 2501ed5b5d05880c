"""The JSON of `numatune audit` and `numatune plan`: the contract that other programs read."""

from __future__ import annotations

import json

from .hosts import Run


def audit(run: Run) -> str:
    """Return the audit (schema numatune/audit/1)."""
    return _dump({"schema": "numatune/audit/1", **_head(run), "hosts": [host.as_dict() for host in run.hosts]})


def plan(run: Run) -> str:
    """Return the plans (schema numatune/plan/1)."""
    hosts = [{"name": host.name, **(host.plan.as_dict() if host.plan else {})} for host in run.hosts]
    return _dump({"schema": "numatune/plan/1", **_head(run), "hosts": hosts})


def _head(run: Run) -> dict[str, object]:
    return {
        "version": run.version,
        "profile": run.profile,
        "started": run.started,
        "finished": run.finished,
        "partial": run.partial,
        "summary": run.summary(),
    }


def _dump(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True) + "\n"
