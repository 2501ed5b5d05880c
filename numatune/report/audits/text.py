"""What a person reads in ten seconds: what is wrong first, why, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...core import report_lines as said
from ...core.change import Change
from ...core.model import Finding, Status
from ..layout import Style, folded, wrapped
from . import fleet, reading
from .hosts import Judged
from .view import View

_COLOURS = {Status.WRONG: "31", Status.MASKED: "31", Status.LOST_AT_REBOOT: "33", Status.PENDING_REBOOT: "33"}
_COLOURS.update({Status.UNKNOWN: "35", Status.OK: "32", Status.WAIVED: "36", Status.NOT_APPLICABLE: "2"})
_INDENT = " " * 6
_MORE = "(--details shows every host; --report FMT=PATH writes them to a file)"


def write_audit(view: View, style: Style) -> Iterator[str]:
    """Yield the audit: of many hosts the sum, and each host where the view shows it."""
    hosts = view.run.summary["hosts"]
    if view.summed:
        yield fleet.overview(view.overview(), "" if view.details else _MORE, style.width)
        yield "\n" if view.details and hosts else ""
    if not view.details:
        return
    sure = 0
    between = ""
    for text in view.run.texts():
        host = reading.host(text)
        sure += bool(host.report and said.unsure(host.report))
        yield between + _host(host, style)
        between = "\n"
    if hosts > 1 and not view.summed:
        yield between + folded(fleet.totals(view.run.summary, sure), style.width) + "\n"


def write_plan(view: View, style: Style) -> Iterator[str]:
    """Yield the plan of every host, and what all come to where the view is summed up."""
    yield from plan((reading.host(text) for text in view.run.texts()), style)
    if view.summed:
        made = view.overview()
        yield "\n" + fleet.planned(made.summary, made.asked, made.failures, style.width)


def audit(hosts: Iterable[Judged], style: Style | None = None) -> Iterator[str]:
    """Yield the audit of every host."""
    between = ""
    for host in hosts:
        yield between + _host(host, style or Style())
        between = "\n"


def plan(hosts: Iterable[Judged], style: Style | None = None) -> Iterator[str]:
    """Yield, for each host, the changes in order, the conflicts, and what is left to a person."""
    between = ""
    for host in hosts:
        yield between + _plan(host, (style or Style()).width)
        between = "\n"


def _host(host: Judged, style: Style) -> str:
    if host.report is None:
        error = host.error or {}
        status = fleet.WORDS.get(host.status, host.status)
        said_of = f"{host.name}: {status} ({error.get('phase')}): {error.get('message', '')}"
        return wrapped(said_of, _INDENT, style.width, first="") + "\n"
    by = f", profile {host.profile}" if host.profile else ""
    lines = [wrapped(f"{host.name}: {said.headline(host.report)}{by}", _INDENT, style.width, first="")]
    lines.extend(wrapped(note, "   ", style.width) for note in host.report.notes)
    lines.extend(_finding(finding, style) for finding in said.ordered(host.report.findings))
    return "\n".join(lines) + "\n"


def _finding(finding: Finding, style: Style) -> str:
    word = said.word(finding.status)
    shown = f"\x1b[{_COLOURS[finding.status]}m{word}\x1b[0m" if style.colour else word
    start = f"   {word}{' ' * max(1, 15 - len(word))}"
    # Wrapped without the colour, whose signs take no room.
    first = start + wrapped(said.about(finding), _INDENT, style.width, first=start)[len(start) :]
    lines = [wrapped(text, _INDENT, style.width) for text in said.below(finding)]
    return "\n".join([first.replace(word, shown, 1), *lines])


def _plan(host: Judged, width: int) -> str:
    found = host.plan
    if found is None:
        return _host(host, Style(width=width))
    lines = [wrapped(f"{host.name}: {said.plan_headline(found)}", _INDENT, width, first="")]
    lines.extend(_change(group, width) for group in found.groups())
    lines.extend(wrapped(said.conflict(conflict), "   ", width) for conflict in found.conflicts)
    if found.left:
        lines.append(f"   {said.LEFT}")
        lines.extend(wrapped(said.left(item), _INDENT, width) for item in found.left)
    return "\n".join(lines) + "\n"


def _change(group: tuple[Change, ...], width: int) -> str:
    why = f"{group[0].reason}{said.when(group)}"
    return wrapped(said.change(group), "   ", width) + "\n" + wrapped(why, _INDENT, width)
