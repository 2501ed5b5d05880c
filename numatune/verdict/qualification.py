"""Whether a host qualifies: its comparison, its runs after the change and its audit, held against criteria.

What could not be read or judged is never good enough: it misses the criterion that asks for it, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from ..core.model import Severity, Status
from . import DEFAULT_LIMIT
from .decision import CLEAN, ELIMINATED, INCONCLUSIVE, INVALID, VERDICTS
from .errors import VerdictError
from .run import Run

PASSED, MISSED, UNKNOWN = "passed", "missed", "unknown"
_MOST = 1e15  # no criterion is larger; what is not a number is not within it either
MISSING_PER_ITERATION = 0.01
"""The share of iterations whose counter may be missing before the mean of the others says nothing."""


@dataclass(frozen=True)
class AuditCriteria:
    """A finding of these severities misses the criterion unless its status is one of those accepted."""

    severities: tuple[str, ...] = ("critical",)
    accepted: tuple[str, ...] = ("ok", "waived", "not_applicable")


@dataclass(frozen=True)
class Criteria:
    """What a host must meet; a limit that is None is not asked for, and neither is an audit that is None.

    `max_spikes_per_1000` is the limit of the verdict, and the rate that was seen after the change must be within it
    too. `launches` a side and `iterations` a launch are the fewest that count. Faults are means over the
    runs after, without their warm-up.
    """

    verdicts: tuple[str, ...] = (ELIMINATED, CLEAN)
    max_spikes_per_1000: float | None = DEFAULT_LIMIT
    max_hint_faults_per_iteration: float | None = None
    max_minor_faults_per_iteration: float | None = None
    max_p50_ratio: float | None = 1.25
    launches: int = 3
    iterations: int = 1000
    audit: AuditCriteria | None = AuditCriteria()

    @property
    def limit(self) -> float:
        """Spikes per 1,000 that the verdict tolerates."""
        return DEFAULT_LIMIT if self.max_spikes_per_1000 is None else self.max_spikes_per_1000

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Check:
    """One criterion: `status` is passed, missed or unknown, `reason` the figures that say so."""

    criterion: str
    status: str
    reason: str


@dataclass(frozen=True)
class Qualification:
    """All criteria that were asked for."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.status == PASSED for check in self.checks)

    @property
    def incomplete(self) -> bool:
        """Whether something that was asked for could not be judged."""
        return any(check.status == UNKNOWN for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """One for each criterion that is not met, in the order of the criteria."""
        return tuple(check.reason for check in self.checks if check.status != PASSED)

    def as_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "incomplete": self.incomplete,
            "reasons": list(self.reasons),
            "checks": [asdict(check) for check in self.checks],
        }


def parse_criteria(data: Any, source: str) -> Criteria:
    """The criteria of a decoded file, defaults where it says nothing; VerdictError names the key that is wrong."""
    if not isinstance(data, Mapping):
        raise VerdictError(f"{source}: criteria are a mapping such as verdicts: [eliminated, clean]")
    _refuse_unknown_keys(data, Criteria, source, "")
    given = dict(data)
    parsed: dict[str, Any] = {}
    if "verdicts" in given:
        parsed["verdicts"] = _words(given["verdicts"], VERDICTS, f"{source}: verdicts", (INVALID,))
    for name in ("max_spikes_per_1000", "max_hint_faults_per_iteration", "max_minor_faults_per_iteration"):
        if name in given:
            parsed[name] = _limit(given[name], f"{source}: {name}", 0.0)
    if parsed.get("max_spikes_per_1000") is not None and not 0.0 < parsed["max_spikes_per_1000"] < 1000.0:
        raise VerdictError(f"{source}: max_spikes_per_1000: a number above 0 and below 1000, or null")
    if "max_p50_ratio" in given:
        parsed["max_p50_ratio"] = _limit(given["max_p50_ratio"], f"{source}: max_p50_ratio", 0.01)
    for name in ("launches", "iterations"):
        if name in given:
            parsed[name] = _whole(given[name], f"{source}: {name}")
    if "audit" in given:
        parsed["audit"] = _audit_criteria(given["audit"], source)
    return replace(Criteria(), **parsed)


def qualify(
    criteria: Criteria,
    comparison: Mapping[str, Any],
    before: Sequence[Run],
    after: Sequence[Run],
    audit: Mapping[str, Any] | None = None,
) -> Qualification:
    """Hold a comparison (as `Comparison.as_dict()` has it), its runs, and one host's audit against the criteria.

    `audit` is one entry of `hosts` in `numatune audit --format json`. The order of the checks is that of the criteria.
    """
    checks = [_verdict(criteria, comparison), *_amounts(criteria, before, after)]
    if criteria.max_spikes_per_1000 is not None:
        seen = float(comparison["after"]["spikes_per_1000"])
        checks.append(_at_most("max_spikes_per_1000", "spikes per 1,000 after", seen, criteria.max_spikes_per_1000))
    if criteria.max_p50_ratio is not None:
        seen = float(comparison["median"]["ratio"])
        checks.append(_at_most("max_p50_ratio", "the median after in medians before", seen, criteria.max_p50_ratio))
    for name, counter, words in (
        ("max_hint_faults_per_iteration", "numa_hint_faults", "NUMA hinting faults an inference after"),
        ("max_minor_faults_per_iteration", "minor_faults", "minor faults an inference after"),
    ):
        limit = getattr(criteria, name)
        if limit is not None:
            checks.append(_counter(name, counter, words, after, limit))
    if criteria.audit is not None:
        checks.append(_audit(criteria.audit, audit))
    return Qualification(tuple(checks))


def _verdict(criteria: Criteria, comparison: Mapping[str, Any]) -> Check:
    verdict = str(comparison["verdict"])
    said = f"{verdict}: {comparison['reason']}"
    if verdict == INVALID:
        because = "; ".join(map(str, comparison.get("invalid", ())[:1]))
        return Check("verdicts", UNKNOWN, f"{said}{f' ({because})' if because else ''}")
    if verdict in criteria.verdicts:
        return Check("verdicts", PASSED, said)
    status = UNKNOWN if verdict == INCONCLUSIVE else MISSED
    return Check("verdicts", status, f"the verdict is {said}; accepted is {' or '.join(criteria.verdicts)}")


def _amounts(criteria: Criteria, before: Sequence[Run], after: Sequence[Run]) -> list[Check]:
    fewest = min(len(before), len(after))
    shortest = min((run.latency.size for run in (*before, *after)), default=0)
    return [
        _at_least("launches", "launches a side", fewest, criteria.launches),
        _at_least("iterations", "inferences a launch", shortest, criteria.iterations),
    ]


def _counter(name: str, counter: str, words: str, runs: Sequence[Run], limit: float) -> Check:
    total, read = 0.0, 0
    for run in (one.steady() for one in runs):
        values = run.counters.get(counter)
        if values is None:
            why = run.unavailable.get(counter, "record with --counters C or D" if "hint" in counter else "not recorded")
            return Check(name, UNKNOWN, f"{counter} was not read in {run.path}: {why}")
        known = ~np.isnan(values)
        stride = run.strides.get(counter, 1)
        # With a stride, one reading holds the sum of that many iterations.
        covered = min(int(known.sum()) * stride, values.size)
        if not covered or covered < (1.0 - MISSING_PER_ITERATION) * values.size - stride:
            return Check(name, UNKNOWN, f"{counter} was read in {int(known.sum())} of {values.size} of {run.path}")
        total += float(values[known].sum())
        read += covered
    return _at_most(name, words, total / read if read else math.nan, limit)


def _audit(criteria: AuditCriteria, audit: Mapping[str, Any] | None) -> Check:
    if audit is None:
        return Check("audit", UNKNOWN, "no audit after the change was given")
    if audit.get("error") or not audit.get("findings"):
        error = audit.get("error")
        why = error.get("message", "unreachable") if isinstance(error, Mapping) else "it holds no findings"
        return Check("audit", UNKNOWN, f"the audit judged nothing: {why}")
    if not all({"setting", "status", "severity"} <= finding.keys() for finding in audit["findings"]):
        return Check("audit", UNKNOWN, "the audit holds a finding without a setting, a status or a severity")
    bad = [
        (str(finding.get("setting")), str(finding.get("status")))
        for finding in audit["findings"]
        if finding.get("severity") in criteria.severities and finding.get("status") not in criteria.accepted
    ]
    if not bad:
        return Check("audit", PASSED, f"no {' or '.join(criteria.severities)} finding")
    status = UNKNOWN if any(word == Status.UNKNOWN.value for _name, word in bad) else MISSED
    return Check("audit", status, "audit: " + ", ".join(" ".join(one) for one in bad))


def _at_most(criterion: str, words: str, value: float, limit: float) -> Check:
    if math.isnan(value):
        return Check(criterion, UNKNOWN, f"{words}: nothing was read")
    if value <= limit:
        return Check(criterion, PASSED, f"{words}: {value:.3g}, at most {limit:g}")
    return Check(criterion, MISSED, f"{words}: {value:.3g}, more than {limit:g}")


def _at_least(criterion: str, words: str, value: int, fewest: int) -> Check:
    if value >= fewest:
        return Check(criterion, PASSED, f"{words}: {value:,}")
    return Check(criterion, MISSED, f"{words}: {value:,}, fewer than {fewest:,}")


def _audit_criteria(value: Any, source: str) -> AuditCriteria | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise VerdictError(f"{source}: audit: a mapping such as severities: [critical], or null for no audit")
    _refuse_unknown_keys(value, AuditCriteria, source, "audit.")
    parsed = AuditCriteria()
    if "severities" in value:
        every = tuple(item.value for item in Severity)
        parsed = replace(parsed, severities=_words(value["severities"], every, f"{source}: audit.severities"))
    if "accepted" in value:
        every = tuple(item.value for item in Status)
        never = (Status.UNKNOWN.value,)
        parsed = replace(parsed, accepted=_words(value["accepted"], every, f"{source}: audit.accepted", never))
    return parsed


def _refuse_unknown_keys(data: Mapping[str, Any], kind: type, source: str, prefix: str) -> None:
    known = [field.name for field in fields(kind)]
    for key in data:
        if key not in known:
            raise VerdictError(f"{source}: no criterion is named {prefix}{key}; there is {', '.join(known)}")


def _words(value: Any, known: Sequence[str], where: str, never: Sequence[str] = ()) -> tuple[str, ...]:
    possible = [word for word in known if word not in never]
    if not isinstance(value, list | tuple) or not value:
        raise VerdictError(f"{where}: a list of {', '.join(possible)}")
    for word in value:
        if word in never:
            raise VerdictError(f"{where}: {word} is never good enough")
        if word not in possible:
            raise VerdictError(f"{where}: {word!r} is none of {', '.join(possible)}")
    return tuple(map(str, value))


def _limit(value: Any, where: str, lowest: float) -> float | None:
    if value is None:
        return None
    return _number(value, where, lambda number: math.isfinite(number) and number >= lowest, f"from {lowest:g}, or null")


def _whole(value: Any, where: str) -> int:
    return int(_number(value, where, lambda number: number == int(number) and number >= 1, "without fraction, from 1"))


def _number(value: Any, where: str, fits: Callable[[float], bool], wanted: str) -> float:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not whole or not abs(value) <= _MOST or not fits(value):
        raise VerdictError(f"{where}: a number {wanted}, not {value!r}")
    return float(value)
