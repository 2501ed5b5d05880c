"""A host's JSON read back into what the text report shows, so that both are made from one thing."""

from __future__ import annotations

import json
from typing import Any

from ...core.change import Change, Conflict, Left, Plan
from ...core.model import Evidence, Finding, HostReport, Line, Severity, Status, ValueGroup, Waiver
from .hosts import Judged


def host(text: str | bytes) -> Judged:
    """Return a host of an audit or of a plan; raises ValueError for what is neither."""
    try:
        return _host(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a host of a report: {type(error).__name__}") from None


def _host(value: dict[str, Any]) -> Judged:
    name, error = value["name"], value.get("error")
    if error is not None:
        return Judged(name, error={"phase": str(error["phase"]), "message": str(error["message"])})
    if "findings" in value:
        findings = tuple(_finding(item) for item in value["findings"])
        report = HostReport(value["status"], value["facts"], findings, tuple(value.get("notes", ())))
        return Judged(name, report, profile=str(value.get("profile", "")))
    return Judged(
        name,
        plan=Plan(
            tuple(Change(**item) for item in value["changes"]),
            tuple(Conflict(**item) for item in value["conflicts"]),
            tuple(Left(**{**item, "status": Status(item["status"])}) for item in value["left"]),
        ),
    )


def _finding(value: dict[str, Any]) -> Finding:
    setting, masked, waiver = value["setting"], value["masked_by"], value["waiver"]
    return Finding(
        setting,
        Status(value["status"]),
        Severity(value["severity"]),
        value["runtime"],
        value["persisted"],
        value["next_boot"],
        value["expected"],
        tuple(_group(item) for item in value["values"]),
        None if masked is None else Line(**masked),
        None if waiver is None else Waiver(setting, **waiver),
        value["reason"],
        tuple(Evidence(**item) for item in value["evidence"]),
        value["remedy"],
    )


def _group(value: dict[str, Any]) -> ValueGroup:
    kind = next(key for key in value if key != "value")
    return ValueGroup(kind, value[kind], value["value"])
