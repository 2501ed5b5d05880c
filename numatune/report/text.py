"""What a person reads in ten seconds: what is wrong first, why, what to do."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
WIDTH = 100
_INDENT = " " * 6


class Style(NamedTuple):
    """How text is laid out: whether in colour, and how many signs a line has at most."""

    colour: bool = False
    width: int = WIDTH


def audit(hosts: Iterable[Judged], style: Style | None = None, more: str = "") -> Iterator[str]:
    """Yield the audit of every host; `more` comes last, after an empty line, as one line that counts them does."""
    between = ""
    for host in hosts:
        yield between + _host(host, style or Style())
        between = "\n"
    if more:
        yield between + more


def plan(hosts: Iterable[Judged], style: Style | None = None) -> Iterator[str]:
    """Yield, for each host, the changes in order, the conflicts, and what is left to a person."""
    between = ""
    for host in hosts:
        yield between + _plan(host, (style or Style()).width)
        between = "\n"


def totals(counted: dict[str, int], unsure: int = 0) -> str:
    """Return the hosts by status: "3 hosts: 1 ok, 1 findings, 0 incomplete, 1 unreachable".

    `unsure` of those that are ok have settings that are not known, which no total leaves unsaid.
    """
    words = {name: name for name in counted if name != "hosts"}
    if unsure:
        words["ok"] = f"ok ({unsure:,} of them as far as known)"
    return f"{counted['hosts']:,} hosts: " + ", ".join(f"{counted[name]:,} {word}" for name, word in words.items())


def clean(text: str) -> str:
    """Return text of a target without what could steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def folded(line: str, width: int) -> str:
    """Return a line in as many as the width asks for: under its own text where columns come before that."""
    if len(line) <= width:
        return line
    reach = width * 2 // 3
    indent = max((gap.end() for gap in re.finditer(" {2,}", line[:reach])), default=0)
    if indent >= reach:
        indent = 0
    if line[:indent].strip() == "":
        indent += 2
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def unsure(report: HostReport) -> int:
    """Return how many settings of a host that is ok are not known."""
    return sum(finding.status is Status.UNKNOWN for finding in report.findings) if report.status == "ok" else 0


def _host(host: Judged, style: Style) -> str:
    if host.report is None:
        error = host.error or {}
        return f"{clean(host.name)}: unreachable ({error.get('phase')}): {clean(error.get('message', ''))}\n"
    report = host.report
    unknown = unsure(report)
    # Nobody reads "ok" of a host of which something is not known.
    known = f" as far as known ({unknown} of {len(report.findings)} not known)" if unknown else ""
    word = f"{report.status}{known}"
    by = f", profile {clean(host.profile)}" if host.profile else ""
    lines = [f"{clean(host.name)}: {word} — {_shape(report)}{by}"]
    lines.extend(_wrapped(note, "   ", style.width) for note in report.notes)
    for status in _ORDER:
        found = [finding for finding in report.findings if finding.status is status]
        for finding in sorted(found, key=lambda item: item.severity.rank):
            lines.append(_finding(finding, style))
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


def _finding(finding: Finding, style: Style) -> str:
    word = finding.status.value.replace("_", " ")
    shown = f"\x1b[{_COLOURS[finding.status]}m{word}\x1b[0m" if style.colour else word
    start = f"   {word}{' ' * max(1, 15 - len(word))}"
    value = ""
    if finding.bad or finding.waiver:
        value = _value(finding)
        if finding.severity.value != "warning":
            value += f"  [{finding.severity.value}]"
    if finding.status in (Status.OK, Status.NOT_APPLICABLE) and finding.reason:
        value = f": {finding.reason}"
    # Wrapped without the colour, whose signs take no room.
    lines = [start + _wrapped(f"{finding.setting}{value}", _INDENT, style.width, first=start)[len(start) :]]
    lines[0] = lines[0].replace(word, shown, 1)
    if finding.status in (Status.OK, Status.NOT_APPLICABLE):
        return lines[0]
    if finding.waiver:
        lines.append(_waiver(finding, style.width))
    lines.append(_wrapped(finding.reason, _INDENT, style.width))
    if finding.remedy and finding.bad:
        lines.append(_wrapped("do: " + finding.remedy, _INDENT, style.width))
    return "\n".join(line for line in lines if line.strip())


def _waiver(finding: Finding, width: int) -> str:
    waiver = finding.waiver
    assert waiver is not None
    return _wrapped(f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}", _INDENT, width)


def _value(finding: Finding) -> str:
    """Say what runs and what is wanted; where what runs is right, that the next boot is what is left."""
    runs = clean(finding.runtime or "?")
    if finding.status is Status.LOST_AT_REBOOT:
        return f" = {runs} now, not after a reboot"
    if finding.status is Status.UNKNOWN and finding.runtime and finding.runtime == finding.expected:
        return f" = {runs} now, as wanted; not known after a reboot"
    if finding.expected:
        return f" = {runs}, want {finding.expected}"
    return f" = {runs}" if finding.waiver else ""


def _wrapped(text: str, indent: str, width: int, first: str | None = None) -> str:
    return textwrap.fill(
        clean(text),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plan(host: Judged, width: int) -> str:
    found = host.plan
    if found is None:
        return _host(host, Style(width=width))
    name = clean(host.name)
    count = len(found.changes)
    if count:
        reboot = sum(change.needs_reboot for change in found.changes)
        needs = f"{reboot} of them take effect at a reboot" if reboot else "none needs a reboot"
        lines = [f"{name}: tune.yml would make {count} change{'s' if count != 1 else ''}; {needs}"]
    else:
        lines = [f"{name}: tune.yml would change nothing"]
    lines.extend(_change(group, width) for group in found.groups())
    lines.extend(_conflict(conflict, width) for conflict in found.conflicts)
    if found.left:
        lines.append("   left to you (tune.yml does not change these):")
        lines.extend(_left(item, width) for item in found.left)
    return "\n".join(lines) + "\n"


def _change(group: tuple[Change, ...], width: int) -> str:
    first = group[0]
    reboot = "; takes effect at a reboot" if first.needs_reboot else ""
    what = _wrapped(f"{first.setting}: {phrase(group)}", "   ", width)
    return what + "\n" + _wrapped(f"{first.reason}{reboot}", _INDENT, width)


def _conflict(conflict: Conflict, width: int) -> str:
    return _wrapped(f"refused, {conflict.setting}: {conflict.message}", "   ", width)


def _left(item: Left, width: int) -> str:
    said = item.remedy or item.reason
    if item.status is Status.UNKNOWN and item.remedy:
        said = f"{item.reason}; {item.remedy}"
    return _wrapped(f"{item.setting} ({item.status.value.replace('_', ' ')}): {said}", _INDENT, width)
