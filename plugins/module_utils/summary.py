# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""A report and its plan as the few lines that a person reads in ten seconds: what is wrong first, why, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .core.model import Plan, phrase

_FINE = ("ok", "waived", "not_applicable")
_SEVERITIES = ("critical", "warning", "info")
_WORDS = {
    "wrong": "is wrong",
    "masked": "is configured, but something else wins",
    "lost_at_reboot": "is right now and lost at the next boot",
    "pending_reboot": "is right at the next boot, not yet now",
    "unknown": "could not be judged",
}


def summarize(report: Mapping[str, Any], plan: Plan) -> list[str]:
    """Return the lines for one host."""
    findings = sorted(
        report["findings"], key=lambda item: (item["status"] == "unknown", _SEVERITIES.index(item["severity"]))
    )
    bad = [item for item in findings if item["status"] not in _FINE]
    lines = [_headline(report, bad)]
    for item in bad:
        lines += _finding(item)
    for status, words in (("ok", "ok"), ("waived", "waived"), ("not_applicable", "does not apply")):
        names = [item["setting"] for item in findings if item["status"] == status]
        if names:
            lines.append(f"{words}: {', '.join(names)}")
    lines += [f"note: {note}" for note in report.get("notes", [])]
    return lines + _plan(plan)


def _headline(report: Mapping[str, Any], bad: list[Mapping[str, Any]]) -> str:
    count = len(bad)
    what = f"{count} of {len(report['findings'])} settings need attention" if bad else "all settings are right"
    facts = report["facts"]
    topology = facts.get("topology") or {}
    where = [f"kernel {facts['kernel']}"] if facts.get("kernel") else []
    where += [f"CPUs {topology['online']}"] if topology.get("online") else []
    nodes = topology.get("nodes")
    where += [f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"] if nodes else []
    return what + (f" ({', '.join(where)})" if where else "")


def _finding(item: Mapping[str, Any]) -> list[str]:
    wanted = f" (is {item['runtime']}, wanted {item['expected']})" if item["runtime"] and item["expected"] else ""
    head = f"{item['severity'].upper()}: {item['setting']} {_WORDS.get(item['status'], item['status'])}{wanted}"
    if item["reason"]:
        head += f": {item['reason']}"
    return [head, f"  do: {item['remedy']}"] if item["remedy"] else [head]


def _plan(plan: Plan) -> list[str]:
    lines = [f"REFUSED: {conflict.message}" for conflict in plan.conflicts]
    for group in plan.groups():
        tail = "; takes effect at a reboot" if group[0].needs_reboot else ""
        lines.append(f"tune.yml would {phrase(group)}{tail}")
    if not plan.changes and not plan.conflicts:
        lines.append("tune.yml would change nothing")
    left = [item.setting for item in plan.left]
    if left:
        lines.append(f"left to a person: {', '.join(left)}")
    return lines
