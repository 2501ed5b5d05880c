"""How a remedy names a playbook: settings say `playbooks/tune.yml`, and a report says what is typed at its reader's."""

from __future__ import annotations

import re
from dataclasses import replace

from .change import Plan
from .model import HostReport

# With what is typed behind it: one command, as a whole.
_NAMED = re.compile(r"`?\bplaybooks/(tune|revert|audit)\.yml\b( --tags [a-z_]+| -e [a-z_]+=[a-z]+)?`?")


def spelled(text: str, command: str) -> str:
    """Return a text with its playbooks named by `command`, in which {} stands for the playbook's name.

    `command` is in backticks; a tag or a variable behind the playbook's name comes into them too.
    """
    if not command:
        return text
    return _NAMED.sub(lambda match: f"{command[:-1].replace('{}', match[1])}{match[2] or ''}{command[-1]}", text)


def report_spelled(report: HostReport, command: str) -> HostReport:
    """Return the report with the playbooks of its remedies and notes named by `command`; the evidence stays as read."""
    findings = tuple(replace(item, remedy=spelled(item.remedy, command)) for item in report.findings)
    return replace(report, findings=findings, notes=tuple(spelled(note, command) for note in report.notes))


def plan_spelled(plan: Plan, command: str) -> Plan:
    """Return the plan with the playbooks of what is left to a person named by `command`."""
    left = tuple(replace(item, remedy=spelled(item.remedy, command)) for item in plan.left)
    return replace(plan, left=left)
