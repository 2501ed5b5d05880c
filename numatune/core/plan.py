"""The planner: (snapshot, profile) to the changes that `tune` makes, and what it leaves to a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date
from typing import Optional

from .audit import judge_host
from .catalogue import setting
from .change import Change, Conflict, Left, Plan
from .host import Host
from .model import Finding, Snapshot
from .wanted import Profile


def make_plan(snapshot: Snapshot, profile: Profile, today: date, only: Optional[Collection[str]] = None) -> Plan:
    """Plan one host; `only` names the settings that are tuned, None those of the profile that are so by default.

    What is ok, not applicable or waived is left alone. What two settings both need (the boot service) is planned
    once, for the first of them; where they would write one path and not the same, neither is changed. Raises
    InputError as `judge` does.
    """
    host = Host(snapshot, profile)
    return plan_host(host, judge_host(host, today).findings, only)


def plan_host(host: Host, findings: Iterable[Finding], only: Optional[Collection[str]] = None) -> Plan:
    """Plan a host that was judged, as `make_plan` does."""
    wanted: list[Change] = []
    conflicts: list[Conflict] = []
    left: list[Left] = []
    for finding in findings:
        item = setting(finding.setting)
        if not finding.bad or (only is not None and item.name not in only):
            continue
        # What a container shows is its host's to change; what is tuned where it is named is left where nobody names it.
        unnamed = only is None and not item.by_default and item.name not in host.profile.also
        made, refused = ((), ()) if host.container or unnamed else item.planned(host, finding)
        wanted.extend(() if refused else made)
        conflicts.extend(refused)
        if not made and not refused:
            left.append(Left(finding.setting, finding.status, finding.reason, finding.remedy))
    clashes = list(_clashes(wanted))
    changes = _each_once(wanted, {clash.setting for clash in clashes})
    conflicts += clashes
    planned = {change.setting for change in changes} | {conflict.setting for conflict in conflicts}
    left = [item for item in left if setting(item.setting).part_of not in planned]
    return Plan(_in_order(changes), tuple(conflicts), tuple(left))


def _key(change: Change) -> tuple[str, ...]:
    # A service is started again after each setting's own files.
    return (*change.key, change.setting) if change.kind == "service" else change.key


def _clashes(changes: Iterable[Change]) -> Iterator[Conflict]:
    """Yield a conflict for each of two settings that would leave one path different: either may be tuned alone."""
    first: dict[tuple[str, ...], Change] = {}
    for change in changes:
        other = first.setdefault(_key(change), change)
        if (other.content, other.mode) != (change.content, change.mode):
            names = other.setting, change.setting
            message = (
                f"{names[0]} and {names[1]} would both write {change.path}, and not the same: leave one of them out "
                f"(`settings: {{{names[1]}: false}}` in the profile), then run again"
            )
            yield from (Conflict(name, change.path, 0, "", message) for name in names)


def _each_once(changes: Iterable[Change], without: Collection[str]) -> Collection[Change]:
    found: dict[tuple[str, ...], Change] = {}
    for change in changes:
        if change.setting not in without:
            found.setdefault(_key(change), change)
    return found.values()


def _in_order(changes: Collection[Change]) -> tuple[Change, ...]:
    # Of each setting, services last: they read what was written. Across settings the order of the catalogue stays, but
    # for files that another setting comes after (`Setting.after`).
    settings = list(dict.fromkeys(change.setting for change in changes))
    waiting = [(place, setting(name).after) for place, name in enumerate(settings)]

    def place(change: Change) -> tuple[float, bool]:
        at = settings.index(change.setting)
        if change.kind in ("file", "link"):
            first = min((place for place, after in waiting if change.setting in after), default=at)
            return (first - 0.5 if first < at else at), False
        return at, change.kind == "service"

    return tuple(sorted(changes, key=place))
