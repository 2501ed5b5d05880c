"""What caused the spikes of a run, and how much of the time that they cost each cause explains.

Two steps. The gate: a cause is admitted when its counter stands out at spikes more often than elsewhere (Fisher's exact
test where spikes are rare, Benjamini-Hochberg over the causes tried). The share: a least-squares model of the excess
latency whose coefficients stay within what one event can cost (`causes`). A rank correlation does neither: it says
-0.28 where the cause is certain, because most iterations have no event at all.

A watched service may be slow by itself so often that a spike singles out nothing. Then the gate asks whether the
windows in which a counter stands out hold slower requests than the others (`ranks`), and nothing is ruled out by its
usual value: what is at work all along may cause spikes all along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from . import costs
from .causes import BY_NAME, Cause
from .dose import Dose, Marks, Unread, windows
from .doses import SLOWEST_FAULT, doses
from .period import spike_period
from .ranks import chance_of_slowness
from .run import Run, Samples
from .statistics import threshold_of

SIGNIFICANT = 0.05
SMALLEST_SHARE = 0.01
"""A cause that can explain less than this of the spikes' time is ruled out by what its events cost."""

_ENOUGH_ELSEWHERE = 5
_NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Share:
    """One cause: the share of the spikes' excess time that it explains, 0 to 1, with a 90 % interval.

    `cause` is a name of `causes.CAUSES`; `counters` those that show it; `unit_cost` ns for each event, or ns of latency
    for each ns where the dose is a time (`is_time`); `spikes` is in how many of the spikes it was seen.
    """

    cause: str
    words: str
    share: float
    low: float
    high: float
    counters: tuple[str, ...]
    unit_cost: float
    is_time: bool
    spikes: int
    elsewhere: int
    p: float
    settings: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class RuledOut:
    """A cause that the run rules out, by which counter, and why in words."""

    cause: str
    words: str
    counter: str
    why: str


@dataclass(frozen=True)
class NotRead:
    """A cause that the run can neither name nor rule out, and why."""

    cause: str
    words: str
    why: str


@dataclass(frozen=True)
class Period:
    """The strongest period of the spikes, seconds, and the chance to see one as strong in spikes without a period."""

    seconds: float
    p: float


@dataclass(frozen=True)
class Attribution:
    """The causes, strongest first; `unexplained` is the share of the excess that none of them explains."""

    spikes: int
    excess_ns: float
    shares: tuple[Share, ...]
    unexplained: float
    ruled_out: tuple[RuledOut, ...]
    not_read: tuple[NotRead, ...]
    period: Period | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Tried:
    """One cause at the gate: spikes and other iterations (or windows of a strided counter) with and without it.

    Only those count after which it was read; `unread` is the share of the spikes' excess of which that is not so.
    """

    cause: Cause
    dose: Dose
    hits: int
    spikes: int
    misses: int
    others: int
    p: float
    unread: float


@dataclass(frozen=True)
class Common:
    """Of a service whose spikes are common: its usual latency, ns, and the slowest request of each row of the run."""

    usual: float
    slowest: Samples


def attribute(run: Run, threshold: float | None = None, common: Common | None = None) -> Attribution:
    """Say what caused the spikes of `run`, by its own threshold (a multiple of its median) where none is given.

    With `common`, the threshold is a multiple of the latency that is usual, and the run has no warm-up.
    """
    steady = run.steady()
    limit = threshold_of(steady.relative) if threshold is None else threshold
    usual = steady.median if common is None else common.usual
    spikes = run.kept & (run.latency > limit * usual)
    excess = np.where(run.kept, run.latency - usual, 0.0)
    lost = float(excess[spikes].sum())
    if not spikes.any():
        return Attribution(0, 0.0, (), 0.0, (), (), None)
    found = doses(run)
    known = {name: dose for name, dose in found.items() if isinstance(dose, Dose)}
    tried = _gate(known, run.kept, spikes, excess, common)
    admitted = [one for one in tried if one.hits and one.p <= SIGNIFICANT]
    shares = _shares(admitted, run, spikes, excess)
    named = {share.cause for share in shares}
    ruled_out: list[RuledOut] = []
    not_read: list[NotRead] = []
    for one in tried:
        if one.cause.name in named:
            continue
        if common is not None and _all_along(one, run) > _NEGLIGIBLE * lost:
            not_read.append(NotRead(one.cause.name, one.cause.words, _may_be_all_along(one)))
        else:
            _judge_absent(one, run, spikes, excess, ruled_out, not_read)
    for name, dose in found.items():
        if isinstance(dose, Unread) and common is not None and _steady_faults(dose, run):
            why = "minor_faults never changed, and may be at work in all windows"
            not_read.append(NotRead(name, BY_NAME[name].words, why))
        elif isinstance(dose, Unread):
            _judge_unread(BY_NAME[name], dose, ruled_out, not_read)
    unexplained = max(0.0, 1.0 - sum(share.share for share in shares))
    return Attribution(
        int(spikes.sum()),
        lost,
        tuple(shares),
        unexplained,
        tuple(ruled_out),
        tuple(not_read),
        _period(run, np.where(spikes, excess, 0.0)),
    )


def _period(run: Run, excess: Samples) -> Period | None:
    if run.offsets.size == 0:
        return None
    found = spike_period(run.offsets / 1e9, excess)
    return None if found is None else Period(*found)


def _gate(
    found: Mapping[str, Dose], kept: Marks, spikes: Marks, excess: Samples, common: Common | None
) -> list[_Tried]:
    """Each dose against the spikes, its p corrected for how many were tried."""
    raw = [_try(BY_NAME[name], dose, kept, spikes, excess) for name, dose in found.items()]
    if common is not None:
        raw = [replace(one, p=chance_of_slowness(one.dose.marks, common.slowest)) for one in raw]
    if not raw:
        return []
    corrected = stats.false_discovery_control([one.p for one in raw])
    return [replace(one, p=float(p)) for one, p in zip(raw, corrected, strict=True)]


def _try(cause: Cause, dose: Dose, kept: Marks, spikes: Marks, excess: Samples) -> _Tried:
    marks, read = dose.marks, ~np.isnan(dose.values)
    lost = np.where(spikes, excess, 0.0)
    if dose.stride > 1:  # what is read after every so many iterations is tested on windows of so many
        lost = np.add.reduceat(lost, np.arange(0, lost.size, dose.stride))
        kept, spikes, marks, read = (windows(one, dose.stride) for one in (kept, spikes, marks, read))
    seen, slow, others = marks & read, spikes & read, kept & ~spikes & read
    hits, misses = int((seen & slow).sum()), int((seen & others).sum())
    table = np.array([[hits, int(slow.sum()) - hits], [misses, int(others.sum()) - misses]])
    p = float(stats.fisher_exact(table, alternative="greater")[1])
    unread = float(lost[~read].sum() / lost.sum())
    return _Tried(cause, dose, hits, int(slow.sum()), misses, int(others.sum()), p, unread)


def _shares(admitted: Sequence[_Tried], run: Run, spikes: Marks, excess: Samples) -> list[Share]:
    """What the admitted causes explain, strongest first; one that explains next to nothing is no cause."""
    if not admitted:
        return []
    columns = [costs.spread(one.dose, spikes, excess) for one in admitted]
    explained = costs.explain(columns, [costs.bounds(one.cause, run) for one in admitted], spikes, excess, run.kept)
    found = [
        Share(
            one.cause.name, one.cause.words, part.share, part.low, part.high, one.cause.counters, part.cost,
            one.cause.is_time, one.hits, one.misses, one.p, one.cause.settings, one.cause.remedy,
        )
        for one, part in zip(admitted, explained, strict=True)
        if part.share >= SMALLEST_SHARE
    ]  # fmt: skip
    return sorted(found, key=lambda share: -share.share)


def _all_along(one: _Tried, run: Run) -> float:
    """The most ns that all of a counter can have cost, its usual value included."""
    counter, factor = one.dose.counter, 1.0
    values = run.counters.get(counter)
    if counter == "major_faults":
        factor = SLOWEST_FAULT
    elif counter == "quota_throttled" and values is not None and np.nansum(values):
        values = run.counters.get("quota_throttled_ns", run.counters.get("run_delay_ns"))
    values = one.dose.values if values is None else values
    return float(costs.bounds(one.cause, run)[1] * factor * np.nansum(values))


def _steady_faults(dose: Unread, run: Run) -> bool:
    return dose.counter == "minor_faults" and dose.total == 0 and bool(np.nansum(run.counters["minor_faults"]))


def _may_be_all_along(one: _Tried) -> str:
    if not one.dose.marks.any():
        return f"{one.dose.counter} stood out in no window, and may be at work in all of them"
    number = one.hits + one.misses
    seen = f"{one.dose.counter} stood out in {number} window{'s' if number != 1 else ''}"
    return f"{seen}, and chance is not excluded that these were slower than the others (p = {one.p:.2g})"


def _judge_absent(
    one: _Tried, run: Run, spikes: Marks, excess: Samples, ruled_out: list[RuledOut], not_read: list[NotRead]
) -> None:
    """A cause that explains nothing: is it ruled out, or are there too few spikes to tell?"""
    name, words, counter = one.cause.name, one.cause.words, one.dose.counter
    unit = "spikes" if one.dose.stride == 1 else f"windows of {one.dose.stride} with a spike"
    if one.unread > _NEGLIGIBLE:
        not_read.append(NotRead(name, words, f"{counter} was not read for {one.unread:.0%} of the spikes' time"))
    elif not np.nansum(one.dose.values):
        ruled_out.append(RuledOut(name, words, counter, "never above its usual value in the whole run"))
    elif not one.hits:
        most = _hidden(one, run, spikes, excess)
        if most <= _NEGLIGIBLE:
            ruled_out.append(RuledOut(name, words, counter, f"rose in none of the {one.spikes} {unit}"))
        else:
            why = (
                f"{counter} rose too little at the spikes to stand out, and may explain up to {most:.0%} of their time"
            )
            not_read.append(NotRead(name, words, why))
    else:
        seen = f"rose in {one.hits} of {one.spikes} {unit} and in {one.misses:,} of {one.others:,} others"
        most = _most(one, run, spikes, excess)
        if most <= _NEGLIGIBLE:
            ruled_out.append(RuledOut(name, words, counter, f"{seen}, and explains at most {most:.1%} of their time"))
        elif one.p <= SIGNIFICANT:
            why = f"{counter} {seen}, but what came with it explains their time better"
            not_read.append(NotRead(name, words, why))
        else:
            not_read.append(NotRead(name, words, f"{counter} {seen}: chance is not excluded (p = {one.p:.2g})"))


def _hidden(one: _Tried, run: Run, spikes: Marks, excess: Samples) -> float:
    """The most that a cause can explain which stands out at no spike, by its bound: where inferences are short, so is
    what makes them slow. What the other iterations have as well is usual."""
    totals = np.add.reduceat(np.nan_to_num(one.dose.values), np.arange(0, spikes.size, one.dose.stride))
    slow = windows(spikes, one.dose.stride)
    if slow.all():
        return 1.0
    rise = max(0.0, float(totals[slow].mean() - totals[~slow].mean())) * int(slow.sum())
    return min(1.0, costs.bounds(one.cause, run)[1] * rise / float(excess[spikes].sum()))


def _most(one: _Tried, run: Run, spikes: Marks, excess: Samples) -> float:
    """The most that a cause can explain of the spikes' excess: by its bound, or by what it cost elsewhere.

    Elsewhere counts when it rose there often enough; two standard errors are added to its mean cost.
    """
    values = costs.spread(one.dose, spikes, excess)
    cost = costs.bounds(one.cause, run)[1]
    elsewhere = one.dose.marks & ~spikes
    if one.dose.stride == 1 and elsewhere.sum() >= _ENOUGH_ELSEWHERE:
        each = excess[elsewhere] / np.maximum(values[elsewhere], 1e-9)
        measured = float(each.mean() + 2.0 * each.std(ddof=1) / np.sqrt(each.size))
        cost = min(cost, max(0.0, measured))
    return float(np.minimum(cost * values[spikes], excess[spikes]).sum() / excess[spikes].sum())


def _judge_unread(cause: Cause, dose: Unread, ruled_out: list[RuledOut], not_read: list[NotRead]) -> None:
    if dose.total == 0:
        ruled_out.append(RuledOut(cause.name, cause.words, dose.counter, dose.why or "none in the whole run"))
        return
    seen = "" if dose.total is None else f"; {dose.total:,.0f} in the whole run"
    not_read.append(NotRead(cause.name, cause.words, f"{dose.counter}: {dose.why}{seen}"))
