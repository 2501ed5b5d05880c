"""The planner: (snapshot, profile) to the changes that `tune` makes, and what it leaves to a person."""

from __future__ import annotations

from datetime import date

from .audit import judge
from .catalogue import setting
from .host import Host
from .model import Change, Conflict, Left, Plan, Snapshot
from .profile import Profile


def make_plan(snapshot: Snapshot, profile: Profile, today: date) -> Plan:
    """Plan one host. What is ok, not applicable or waived is left alone; raises InputError as `judge` does."""
    host = Host(snapshot, profile)
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    left: list[Left] = []
    for finding in judge(snapshot, profile, today).findings:
        if not finding.bad:
            continue
        plan = setting(finding.setting).changes
        made, refused = plan(host, finding) if plan else ((), ())
        changes.extend(made)
        conflicts.extend(refused)
        if not made and not refused:
            left.append(Left(finding.setting, finding.status, finding.reason, finding.remedy))
    return Plan(tuple(changes), tuple(conflicts), tuple(left))
