"""The judge: (snapshot, profile) to findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Optional

from .catalogue import setting
from .host import Host
from .loaders.next_boot import OUTSIDE
from .machine.facts import facts
from .model import UNASKED, Finding, HostReport, Severity, Snapshot, Status
from .undo import runs
from .wanted import Profile

# What tune refuses is shown in so many words.
_SHOWN = 3
_WORSE = ("ok", "findings", "incomplete")


def judge(
    snapshot: Snapshot,
    profile: Profile,
    today: date,
    fail_on: Severity = Severity.WARNING,
    require: Optional[Iterable[str]] = None,
    under_way: bool = False,
) -> HostReport:
    """Judge one host: a finding for every setting of the profile.

    The host is "incomplete" when a required setting is unknown (`require`, else the critical ones), "findings" when
    a bad one is at `fail_on` or worse, a run of tune or a revert was interrupted or one left the host out of
    service, else "ok"; a mark of a run that is odd or cannot be read for an error makes it "incomplete". `today`
    decides whether a waiver still holds. With `under_way` it is a run of tune that asks, and its own mark does not
    count. Raises InputError when the profile's CPU roles do not fit the host.
    """
    return judge_host(Host(snapshot, profile), today, fail_on, require, under_way)


def judge_host(
    host: Host,
    today: date,
    fail_on: Severity = Severity.WARNING,
    require: Optional[Iterable[str]] = None,
    under_way: bool = False,
) -> HostReport:
    """Judge a host of which nothing need be derived again, as `judge` does."""
    snapshot = host.snapshot
    notes = [*([host.roles.note] if not host.roles.split else []), *runs.notes(snapshot, under_way)]
    findings = tuple(_finding(host, name, today) for name in host.profile.settings)
    required = None if require is None else set(require)
    status = max(_status(findings, fail_on, required), runs.status(snapshot, under_way), key=_WORSE.index)
    return HostReport(status, facts(snapshot, host.topology), findings, tuple(notes))


def _finding(host: Host, name: str, today: date) -> Finding:
    finding = setting(name).judge(host)
    if host.container and finding.status is not Status.NOT_APPLICABLE:
        finding = _of_its_host(finding, host.container)
    severity = host.profile.severities.get(name)
    if severity is not None:
        finding = replace(finding, severity=severity)
    if not finding.bad:
        return finding
    if finding.status is Status.UNKNOWN and not finding.remedy:
        finding = replace(finding, remedy=_how_to_know(finding.reason))
    refused = "" if host.container else _refused(host, finding)
    if refused:
        finding = replace(finding, remedy=refused)
    for waiver in host.profile.waivers:
        if waiver.setting == name:
            if date.fromisoformat(waiver.expires) >= today:
                return replace(finding, status=Status.WAIVED, waiver=waiver)
            reason = f"waived by {waiver.owner} until {waiver.expires}, which has passed; {finding.reason}"
            finding = replace(finding, reason=reason)
    return finding


def _of_its_host(finding: Finding, container: str) -> Finding:
    """Return the finding of a container: what it shows is its host's, and so is what the next boot comes to."""
    reason = f"this is a container ({container}), and the kernel is its host's, as is what sets it at boot"
    remedy = "audit and tune the container's host"
    return replace(
        finding, status=Status.UNKNOWN, persisted=None, next_boot=None, masked_by=None, reason=reason, remedy=remedy
    )


def _refused(host: Host, finding: Finding) -> str:
    """Return what must be done first, in tune's own words, where the remedy is tune and tune refuses; else ""."""
    if "playbooks/tune.yml" not in finding.remedy:
        return ""
    messages = list(dict.fromkeys(item.message for item in setting(finding.setting).planned(host, finding)[1]))
    more = [f"{len(messages) - _SHOWN} more, which `numatune plan` names"] * (len(messages) > _SHOWN)
    return "; ".join([*messages[:_SHOWN], *more]).replace("then run again", "then run playbooks/tune.yml")


def _how_to_know(reason: str) -> str:
    """Return what makes known what could not be read, by the reason why it could not."""
    if "needs root" in reason:
        return "run the audit as root (--become over SSH), which may read what is named here"
    if UNASKED in reason:
        return "collect this host again (`numatune collect -o DIR HOST`), then judge what that writes"
    if "not in the captured tree" in reason:
        return "capture what is named here too (`numatune collect -o DIR HOST` does)"
    if " failed: " in reason:
        return "look by hand: numatune could not read what is named here"
    if OUTSIDE in reason:
        return "look at the arguments that its kernel is started with (by a hypervisor or over the network)"
    return "look by hand: what is named here was read, and does not tell it"


def _status(findings: tuple[Finding, ...], fail_on: Severity, required: Optional[set[str]]) -> str:
    bad = [finding for finding in findings if finding.bad]
    for finding in bad:
        wanted = finding.severity is Severity.CRITICAL if required is None else finding.setting in required
        if wanted and finding.status is Status.UNKNOWN:
            return "incomplete"
    return "findings" if any(finding.severity.rank <= fail_on.rank for finding in bad) else "ok"
