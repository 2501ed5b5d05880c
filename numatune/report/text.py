"""What a person reads in ten seconds: what is wrong first, why, what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from ..core.model import Change, Conflict, Finding, HostReport, Left, Status, phrase
from .hosts import Judged

_ORDER = (
    Status.WRONG,
    Status.MASKED,
    Status.LOST_AT_REBOOT,
    Status.PENDING_REBOOT,
    Status.UNKNOWN,
    Status.WAIVED,
    Status.OK,
    Status.NOT_APPLICABLE,
)
_COLOURS = {Status.WRONG: "31", Status.MASKED: "31", Status.LOST_AT_REBOOT: "33", Status.PENDING_REBOOT: "33"}
_COLOURS.update({Status.UNKNOWN: "35", Status.OK: "32", Status.WAIVED: "36", Status.NOT_APPLICABLE: "2"})
_WIDTH = 100
_INDENT = " " * 6


def audit(hosts: Iterable[Judged], colour: bool = False, more: str = "") -> Iterator[str]:
    """Yield the audit of every host; `more` comes last, after an empty line, as one line that counts them does."""
    between = ""
    for host in hosts:
        yield between + _host(host, colour)
        between = "\n"
    if more:
        yield between + more


def plan(hosts: Iterable[Judged]) -> Iterator[str]:
    """Yield, for each host, the changes in order, the conflicts, and what is left to a person."""
    between = ""
    for host in hosts:
        yield between + _plan(host)
        between = "\n"


def totals(counted: dict[str, int]) -> str:
    """Return the hosts by status: "3 hosts: 1 ok, 1 findings, 0 incomplete, 1 unreachable"."""
    return f"{counted['hosts']:,} hosts: " + ", ".join(
        f"{counted[name]:,} {name}" for name in counted if name != "hosts"
    )


def clean(text: str) -> str:
    """Return text of a target without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _host(host: Judged, colour: bool) -> str:
    if host.report is None:
        error = host.error or {}
        return f"{clean(host.name)}: unreachable ({error.get('phase')}): {clean(error.get('message', ''))}\n"
    report = host.report
    unknown = sum(finding.status is Status.UNKNOWN for finding in report.findings)
    but = f", but {unknown} of {len(report.findings)} not known" if unknown and report.status == "ok" else ""
    by = f", profile {clean(host.profile)}" if host.profile else ""
    lines = [f"{clean(host.name)}: {report.status}{but} — {_shape(report)}{by}"]
    lines.extend(_wrapped(note, "   ") for note in report.notes)
    for status in _ORDER:
        found = [finding for finding in report.findings if finding.status is status]
        for finding in sorted(found, key=lambda item: item.severity.rank):
            lines.append(_finding(finding, colour))
    return "\n".join(lines) + "\n"


def _shape(report: HostReport) -> str:
    shape = report.facts["topology"]
    nodes = shape["nodes"]
    parts = [
        report.facts["kernel"] or "kernel not known",
        f"CPUs {shape['online']}" if shape["online"] else "CPUs not known",
        f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}" if nodes is not None else "nodes not known",
    ]
    if report.facts["virtualization"] not in ("none", "unknown"):
        parts.append(f"virtual ({report.facts['virtualization']})")
    return clean(", ".join(parts))


def _finding(finding: Finding, colour: bool) -> str:
    word = finding.status.value.replace("_", " ")
    shown = f"\x1b[{_COLOURS[finding.status]}m{word}\x1b[0m" if colour else word
    padding = " " * max(1, 15 - len(word))
    value = ""
    if finding.bad:
        value = f" = {clean(finding.runtime or '?')}, want {finding.expected}" if finding.expected else ""
        if finding.severity.value != "warning":
            value += f"  [{finding.severity.value}]"
    head = f"   {shown}{padding}{finding.setting}{value}"
    if finding.status is Status.OK:
        return f"{head}: {clean(finding.reason)}" if finding.reason else head
    if finding.status is Status.NOT_APPLICABLE:
        return f"{head}: {clean(finding.reason)}"
    lines = [head]
    if finding.waiver:
        lines.append(f"{_INDENT}waived by {clean(finding.waiver.owner)} until {finding.waiver.expires}")
    lines.append(_wrapped(finding.reason, _INDENT))
    if finding.remedy and finding.bad:
        lines.append(_wrapped("do: " + finding.remedy, _INDENT))
    return "\n".join(line for line in lines if line.strip())


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(clean(text), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _plan(host: Judged) -> str:
    found = host.plan
    if found is None:
        return _host(host, colour=False)
    name = clean(host.name)
    count = len(found.changes)
    if count:
        reboot = sum(change.needs_reboot for change in found.changes)
        needs = f"{reboot} of them take effect at a reboot" if reboot else "none needs a reboot"
        lines = [f"{name}: tune.yml would make {count} change{'s' if count != 1 else ''}; {needs}"]
    else:
        lines = [f"{name}: tune.yml would change nothing"]
    lines.extend(_change(group) for group in found.groups())
    lines.extend(_conflict(conflict) for conflict in found.conflicts)
    if found.left:
        lines.append("   left to you (tune.yml does not change these):")
        lines.extend(_left(item) for item in found.left)
    return "\n".join(lines) + "\n"


def _change(group: tuple[Change, ...]) -> str:
    first = group[0]
    reboot = "; takes effect at a reboot" if first.needs_reboot else ""
    return _wrapped(f"{first.setting}: {phrase(group)}", "   ") + "\n" + _wrapped(f"{first.reason}{reboot}", _INDENT)


def _conflict(conflict: Conflict) -> str:
    return _wrapped(f"refused, {conflict.setting}: {conflict.message}", "   ")


def _left(item: Left) -> str:
    return _wrapped(f"{item.setting} ({item.status.value.replace('_', ' ')}): {item.remedy or item.reason}", _INDENT)
