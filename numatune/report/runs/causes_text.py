"""What caused the spikes, as lines for a person: shares, what was ruled out, and what is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .words import LISTED, name_of

if TYPE_CHECKING:
    from ...verdict.attribution import Attribution, NotRead, Period, RuledOut, Share

Findings = Sequence[Mapping[str, object]]
"""This host's audit as the result has it: objects with a `setting` and a `status`."""

_REGULAR = 0.01


def attribution_lines(attribution: Attribution, noun: str, findings: Findings = ()) -> list[str]:
    """The lines for `attribution`; `noun` names one iteration, `findings` link a cause's settings to the audit."""
    if not attribution.spikes:
        return []
    lines = []
    if attribution.shares:
        lost = f"{attribution.excess_ns / 1e6:,.0f} ms"
        lines.append(f"Of the {lost} that the spikes took beyond the median, these explain:")
        for share in attribution.shares:
            lines += _share(share, attribution.spikes, noun, findings)
        lines.append(f"  {_percent(attribution.unexplained):>5}              unexplained")
    if attribution.period is not None and attribution.period.p <= _REGULAR:
        lines.append(_regular(attribution.period))
    if attribution.ruled_out:
        lines += ["Ruled out:", *_ruled_out(attribution.ruled_out)]
    if attribution.not_read:
        lines += ["Neither named nor ruled out:", *_not_read(attribution.not_read)]
    return lines


def uncounted(unavailable: Mapping[str, str], attribution: Attribution | None) -> list[str]:
    """Which counters were not read and why, equal reasons together; without those that `attribution_lines` names."""
    named = () if attribution is None else attribution.not_read
    told = {one.why.partition(": ")[0] for one in named}
    grouped: dict[str, list[str]] = {}
    for counter, why in unavailable.items():
        if counter not in told:
            grouped.setdefault(why, []).append(name_of(counter))
    return [f"Not counted: {', '.join(names)} ({why})." for why, names in grouped.items()]


def _ruled_out(causes: Sequence[RuledOut]) -> list[str]:
    grouped: dict[str, list[RuledOut]] = {}
    for one in causes:
        grouped.setdefault(one.why, []).append(one)
    lines = []
    for why, alike in grouped.items():
        if len(alike) == 1:
            lines.append(f"  {alike[0].words}: {alike[0].counter} {why}")
        else:
            lines.append(f"  {', '.join(_short(one.words) for one in alike)}: {why.replace(' its ', ' their ')}")
    return lines


def _not_read(causes: Sequence[NotRead]) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for one in causes:
        counter, _colon, why = one.why.partition(": ")
        # The counter is named where it is not the cause's own name.
        grouped.setdefault(why if counter in LISTED and why else one.why, []).append(one.words)
    return [
        f"  {', '.join(words if len(alike) == 1 else _short(words) for words in alike)}: {why}"
        for why, alike in grouped.items()
    ]


def _short(words: str) -> str:
    return words.partition(" (")[0]


def headline(attribution: Attribution) -> list[str]:
    """What comes first: the strongest cause and what to do, or that there is none; no line without spikes."""
    if not attribution.spikes:
        return []
    if not attribution.shares:
        return ["No counter explains the spikes: nothing to do follows from this run."]
    share = attribution.shares[0]
    return [f"{_percent(share.share)} of the time that spikes cost: {share.words}", f"  do: {share.remedy}"]


def _share(share: Share, spikes: int, noun: str, findings: Findings) -> list[str]:
    cost = f"each ms of it costs {share.unit_cost:.2f} ms" if share.is_time else f"{share.unit_cost / 1e3:.2f} us each"
    interval = f"({100 * share.low:.0f}-{100 * share.high:.0f} %)"
    seen = f"with {share.spikes} of {spikes} spikes, {share.elsewhere} other {noun}s; {cost}"
    lines = [f"  {_percent(share.share):>5} {interval:<12} {share.words}: {seen}", f"{'':21}do: {share.remedy}"]
    for finding in findings:
        if finding.get("setting") in share.settings:
            lines.append(f"{'':21}this host's audit: {finding['setting']} is {finding.get('status')}")
    return lines


def _regular(period: Period) -> str:
    return f"They come every {period.seconds:.2g} s (p = {period.p:.2g} for spikes without a period)."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
