"""A fleet in ten lines: how many hosts are what, then equal failures and equal findings as one line each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...core.host_status import NOT_JUDGED, UNREACHABLE, failed, without_judgement
from ...core.model import Severity
from ..layout import WIDTH, clean, folded

WORDS = {NOT_JUDGED: "not judged"}
"""A status of the JSON to how it is written for a person, where that differs."""

_LINES = 12
_VALUES = 3
_NAME, _VALUE, _REASON = 40, 60, 120

Group = tuple[tuple[str, ...], int, tuple[str, ...]]
"""What hosts share, how many they are, and the names of the first few."""


@dataclass(frozen=True)
class Overview:
    """What a run over many hosts came to.

    `failures` share (phase, message without a host's own words), `findings` share (setting, status, severity, value,
    expected), both with the most frequent first. `asked` counts the hosts that the run was to reach, `carried` those
    whose judgement is an earlier run's (`carried_from` says which), `unsure` those that are ok as far as known.
    """

    summary: dict[str, int]
    asked: int
    failures: Sequence[Group] = ()
    findings: Sequence[Group] = ()
    carried: int = 0
    carried_from: str = ""
    unsure: int = 0


def overview(view: Overview, details: str = "", width: int = WIDTH) -> str:
    """Return the totals, the failures and the findings; `details` says where the rest is."""
    lines = [folded(totals(view.summary, view.unsure), width)]
    lines.extend(_partial(view.asked - view.summary["hosts"], view.asked, width))
    if view.carried:
        again = view.summary["hosts"] - view.carried
        lines.append(_wrapped(f"{again:,} asked again, {view.carried:,} carried over from {view.carried_from}", width))
    lines.extend(_failures(view.failures, width))
    lines.extend(_section("found", list(_findings(view, width))))
    if details:
        lines.append(folded(details, width))
    return "\n".join(lines) + "\n"


def totals(counted: dict[str, int], unsure: int = 0) -> str:
    """Return the hosts by status: "3 hosts: 1 ok, 1 findings, 0 incomplete, 1 unreachable".

    `unsure` of those that are ok have settings that are not known, which no total leaves unsaid.
    """
    words = {name: name for name in counted if name not in ("hosts", NOT_JUDGED)}
    if counted[NOT_JUDGED]:
        words[NOT_JUDGED] = WORDS[NOT_JUDGED]
    if unsure:
        words["ok"] = f"ok ({unsure:,} of them as far as known)"
    return f"{hosts_of(counted['hosts'])}: " + ", ".join(f"{counted[name]:,} {word}" for name, word in words.items())


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    shown = lines[:_LINES]
    if len(lines) > _LINES:
        shown.append(f"   … and {len(lines) - _LINES:,} more kinds")
    return [f"{title}:", *shown]


def _failures(groups: Sequence[Group], width: int) -> list[str]:
    """Return a section for the hosts that were not reached, and one for those that could not be judged."""
    lines: list[str] = []
    for status, title in ((UNREACHABLE, "not reached"), (NOT_JUDGED, WORDS[NOT_JUDGED])):
        lines.extend(_section(title, [_failure(group, width) for group in groups if failed(group[0][0]) == status]))
    return lines


def _failure(group: Group, width: int) -> str:
    (phase, message), hosts, first = group
    return _wrapped(f"{hosts_of(hosts)}: {phase}: {clean(message)}; {names(hosts, first)}", width)


def _findings(view: Overview, width: int) -> Iterator[str]:
    """Yield a line for each setting and value; one for all values where they are many."""
    judged = view.summary["hosts"] - without_judgement(view.summary)
    alike: dict[tuple[str, ...], list[Group]] = {}
    for group in view.findings:
        alike.setdefault(group[0][:3], []).append(group)
    ranked: list[tuple[int, int, str]] = []
    for (setting, status, severity), groups in alike.items():
        rank = [item.value for item in Severity].index(severity)
        word = f"{setting} {status.replace('_', ' ')}"
        mark = "" if severity == "warning" else f" [{severity}]"
        if len(groups) > _VALUES:
            hosts = sum(group[1] for group in groups)
            first = groups[0]
            values = f"{word}{_value(first[0])} and {len(groups) - 1:,} other values{mark}"
            ranked.append((rank, hosts, f"{values}: {_of(hosts, judged)}: {names(hosts, first[2])}"))
            continue
        for what, hosts, some in groups:
            text = f"{word}{_value(what)}{mark}: {_of(hosts, judged)}: {names(hosts, some)}"
            ranked.append((rank, hosts, text))
    for _rank, _hosts, text in sorted(ranked, key=lambda item: (item[0], -item[1], item[2])):
        yield _wrapped(text, width)


def _value(what: tuple[str, ...]) -> str:
    _setting, status, _severity, value, expected = what
    if status == "lost_at_reboot":
        return f" ({_cut(value, _VALUE)} now)" if value else ""
    if status == "unknown":
        return f" ({_cut(value, _REASON)})" if value else ""
    wanted = f", want {_cut(expected, _VALUE)}" if expected else ""
    return f" = {_cut(value or '?', _VALUE)}{wanted}" if value or wanted else ""


def names(hosts: int, first: Sequence[str]) -> str:
    """Return "db1, db2, db3 and 34 more"."""
    shown = ", ".join(_cut(name, _NAME) for name in first)
    more = hosts - len(first)
    return f"{shown} and {more:,} more" if more > 0 else shown


def hosts_of(count: int) -> str:
    """Return "1 host" or "37 hosts"."""
    return f"{count:,} host{'s' if count != 1 else ''}"


def _of(hosts: int, judged: int) -> str:
    return f"{hosts:,} of {hosts_of(judged)}"


def _cut(text: str, most: int) -> str:
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(
        text, width, initial_indent="   ", subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )


def planned(summary: dict[str, int], asked: int, failures: Sequence[Group], width: int = WIDTH) -> str:
    """Return how many hosts would be changed, and the failures."""
    head = f"{hosts_of(summary['hosts'])}: {summary['findings']:,} with changes or conflicts, {summary['ok']:,} without"
    return _short(head, summary, asked, failures, width)


def collected(summary: dict[str, int], asked: int, failures: Sequence[Group], width: int = WIDTH) -> str:
    """Return how many hosts were saved, and the failures."""
    return _short(f"{hosts_of(summary['hosts'])}: {summary['ok']:,} saved", summary, asked, failures, width)


def _short(head: str, summary: dict[str, int], asked: int, failures: Sequence[Group], width: int) -> str:
    unfit = f", {summary[NOT_JUDGED]:,} {WORDS[NOT_JUDGED]}" if summary[NOT_JUDGED] else ""
    lines = [folded(f"{head}, {summary[UNREACHABLE]:,} not reached{unfit}", width)]
    lines.extend(_partial(asked - summary["hosts"], asked, width))
    lines.extend(_failures(failures, width))
    return "\n".join(lines) + "\n"


def _partial(left: int, asked: int, width: int) -> list[str]:
    said = f"partial: the run was stopped before {left:,} of {hosts_of(asked)} had answered"
    return [_wrapped(said, width)] if left > 0 else []
