"""What a comparison of runs, or of watches, says to a person."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...verdict.comparison import Comparison
    from ...verdict.decision import Side
    from ...verdict.qualification import Qualification
    from ...verdict.statistics import Summary


def lines_of(comparison: Comparison, found: Qualification | None = None) -> list[str]:
    """The verdict, what it rests on, and below it whether the host qualifies where that was asked."""
    return [*_lines(comparison), *([] if found is None else _qualified(found))]


def _lines(comparison: Comparison) -> list[str]:
    subject, nouns = comparison.subject, f"{comparison.subject.noun}s"
    lines = [f"{comparison.verdict}: {comparison.reason}", ""]
    lines += [f"invalid: {event}" for event in comparison.invalid]
    lines.append(f"  {'':<8}{nouns:>11}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'spikes':>8}{'per 1,000':>11}")
    lines.append(_row("before", comparison.before, comparison.launches_before))
    lines.append(_row("after", comparison.after, comparison.launches_after))
    lines.append("")
    threshold = f"  a spike is slower than {comparison.threshold:.2f} × its {subject.launch}'s median"
    threshold += f" (from the {comparison.quieter} {subject.files}, the quieter ones)"
    lines.append(f"{threshold}; blocks of {comparison.block} {nouns}; order {comparison.order.sequence}")
    tests = f"  Fisher's test on blocks: p = {comparison.decision.p_fewer:.2g} for fewer, "
    tests += f"{comparison.decision.p_more:.2g} for more"
    if comparison.shift is not None:
        tests += f"; block permutation of the p99: p = {min(comparison.shift.p_fell, comparison.shift.p_rose):.2g}"
    lines.append(tests)
    lines.append(_effect(comparison))
    lines.append(f"  after: at most {comparison.after.upper_per_1000:.1f} spikes per 1,000 (95 % bound)")
    lines += [f"  note: {remark}" for remark in comparison.remarks]
    if comparison.verdict in ("inconclusive", "reduced") and not comparison.doubt:
        lines.append("  " + _more(comparison))
    return lines


def _effect(comparison: Comparison) -> str:
    """By how much, with 95 % intervals."""
    change, low, high = comparison.difference
    line = f"  spikes per 1,000: {change:+.1f} ({low:+.1f} to {high:+.1f})"
    shift = comparison.shift
    if shift is not None and shift.interval is not None:
        low, high = shift.interval
        line += f"; p99 in medians × {shift.ratio:.2f} ({low:.2f} to {high:.2f})"
    return f"{line}; 95 % intervals"


def _more(comparison: Comparison) -> str:
    wanted, subject = comparison.would_decide, comparison.subject
    nouns = f"{subject.noun}s"
    if comparison.verdict == "reduced":
        if wanted is None:
            return f"at this rate the spikes stay above the limit, however many {nouns} are recorded"
        return f"at this rate about {wanted:,} {nouns} after the change would show it within the limit"
    if wanted is None:
        return f"at these rates even a million {nouns} a side would decide nothing"
    more = "watch for longer" if subject.files == "watches" else "record more launches"
    return f"at these rates about {wanted:,} {nouns} a side would decide: {more}"


def _row(name: str, side: Side, launches: Sequence[Summary]) -> str:
    p50, p99 = (statistics.median(values) for values in zip(*((o.p50_ms, o.p99_ms) for o in launches), strict=True))
    largest = max(one.max_ms for one in launches)
    times = "".join(f"{value:>9.1f}" if value >= 10.0 else f"{value:>9.3g}" for value in (p50, p99, largest))
    return f"  {name:<8}{side.iterations:>11,}{times}{side.spikes:>8}{side.per_1000:>11.1f}"


def _qualified(found: Qualification) -> list[str]:
    """What a person reads below the verdict."""
    head = "qualified: every criterion is met" if found.passed else "not qualified"
    return ["", head, *(f"  {check.status:<8}{check.criterion}: {check.reason}" for check in found.checks)]
