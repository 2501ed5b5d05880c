"""One recorded run or one watch as a report takes it: its series, its figures, and what caused its spikes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...verdict.attribution import Attribution, attribute
from ...verdict.errors import VerdictError
from ...verdict.run import Run, Samples
from ...verdict.statistics import Summary, spike_indices, summarise
from ...verdict.watch_file import Watched
from ...verdict.watched import as_run, cost_run, request_threshold, spike_rows, summarise_requests
from .blame import blame

Findings = Mapping[str, Mapping[str, Any]]
Audit = tuple[str, Findings]

BEFORE, AFTER = "before", "after"
NO_ATTRIBUTION = Attribution(0, 0.0, (), 0.0, (), (), None)


@dataclass(frozen=True)
class Series:
    """What the timeline draws. `seconds` and `latency` (ns) have one entry for each row, both are empty where nobody
    logged a latency; the counters have one for each of `counter_seconds`. `unit` is seconds, or what a row is.

    `median` and `limit`, ns: what is usual, and what a spike is slower than. `warm_up` rows at the start do not count.
    """

    seconds: Samples
    latency: Samples
    counter_seconds: Samples
    counters: Mapping[str, Samples]
    strides: Mapping[str, int]
    median: float
    limit: float
    unit: str
    warm_up: int = 0


@dataclass(frozen=True)
class Source:
    """`run` holds what is judged; of a watch its rows are windows, and without a latency log `summary` is None.

    `latencies`, ns, are those of the distribution. `side` is "before", "after" or empty; `noun` is what has a latency,
    `row` what a row of the run is; `findings` setting -> the audit's finding, None where the host was not audited;
    `blamed` row -> the cause that its spike is drawn with; `unjudged` why nothing is said of causes, empty where it is.
    """

    run: Run
    result: Mapping[str, Any]
    series: Series
    latencies: Samples
    attribution: Attribution
    summary: Summary | None
    blamed: Mapping[int, str] = field(default_factory=dict)
    side: str = ""
    noun: str = "inference"
    row: str = "inference"
    findings: Findings | None = None
    host_name: str = ""
    unjudged: str = ""
    watched: Watched | None = None

    @property
    def injected(self) -> bool:
        """Whether the spikes were made on purpose."""
        return bool(self.run.environment.get("injection"))

    @property
    def invalid(self) -> bool:
        """Whether the run counts for nothing in a verdict."""
        return bool(self.run.events)


def of_run(
    run: Run, result: Mapping[str, Any], threshold: float | None = None, side: str = "", noun: str = "inference"
) -> Source:
    """Everything that a report says of one run; `threshold` is its own where none is given."""
    found, summary, steady = attribute(run, threshold), summarise(run, threshold), run.steady()
    timed = run.offsets.size > 0
    seconds = run.offsets / 1e9 if timed else np.arange(run.latency.size, dtype=np.float64)
    series = Series(
        seconds, run.latency, seconds, run.counters, run.strides, steady.median, summary.threshold * steady.median,
        "seconds since the start" if timed else f"{noun} number", run.warm_up.end,
    )  # fmt: skip
    blamed = blame(run, found, spike_indices(run, threshold))
    return Source(run, result, series, steady.latency, found, summary, blamed, side, noun, noun)


def of_watch(watched: Watched) -> Source:
    """The same of a watch: windows on the axis of time, requests as what has a latency."""
    run, summary, judged = as_run(watched), summarise_requests(watched), cost_run(watched)
    windows = (watched.starts + watched.lengths) / 1e9
    strides = _strides(watched.data.get("counter_strides"))
    unit = "seconds since the start"
    if run is None or summary is None or judged is None:
        empty = np.empty(0)
        series = Series(empty, empty, windows, watched.counters, strides, 0.0, 0.0, unit)
        rows = Run(
            watched.path, watched.lengths, watched.counters, watched.environment, watched.events,
            started=str(watched.data.get("started", "")), unavailable=watched.unavailable, settled=True,
            host=_mapping(watched.data.get("run")),
        )  # fmt: skip
        why = "no request was logged while watching"
        return Source(
            rows, watched.data, series, empty, NO_ATTRIBUTION, None, noun="request", row="window", unjudged=why,
            watched=watched,
        )  # fmt: skip
    limit, spikes = request_threshold(watched), spike_rows(watched, run)
    seconds = (run.offsets + run.latency) / 1e9
    series = Series(
        seconds, run.latency, windows, watched.counters, strides, float(np.median(watched.latency)), limit, unit
    )
    found = attribute(*judged)
    common = judged[2]
    blamed = blame(judged[0], found, spikes, None if common is None else common.usual)
    return Source(
        run, watched.data, series, watched.latency, found, summary, blamed, noun="request", row="window",
        watched=watched,
    )  # fmt: skip


def with_audit(source: Source, given: Audit | None) -> Source:
    """The source with its host's audit: the one in its file, made when it was recorded, and the one `given`, which says
    more; where the two disagree on a setting, the file's. VerdictError where the file's own is none."""
    own = source.result.get("audit")
    if own is None:
        return source if given is None else replace(source, host_name=given[0], findings=given[1])
    try:
        name, findings = findings_of(own)
    except ValueError as error:
        raise VerdictError(f"{source.run.path}: its audit: {error}") from error
    if given is None:
        return replace(source, host_name=name, findings=findings)
    agreed = {
        setting: finding
        for setting, finding in given[1].items()
        if setting not in findings or findings[setting].get("status") == finding.get("status")
    }
    return replace(source, host_name=given[0] or name, findings={**findings, **agreed})


def findings_of(decoded: Any) -> Audit:
    """(name of the host, setting -> finding) of an audit's JSON, one host of it, or its list of findings.

    ValueError says in a few words what is wrong with it.
    """
    host = decoded
    if isinstance(decoded, Mapping) and "hosts" in decoded:
        hosts = decoded["hosts"]
        if not isinstance(hosts, list) or len(hosts) != 1:
            counted = len(hosts) if isinstance(hosts, list) else "no list of"
            raise ValueError(f"it holds {counted} hosts: give the audit of the host that was measured, and no other")
        host = hosts[0]
    listed = host.get("findings") if isinstance(host, Mapping) else host
    whole = isinstance(listed, list) and all(
        isinstance(one, Mapping) and isinstance(one.get("setting"), str) for one in listed
    )
    if not isinstance(listed, list) or not whole:
        raise ValueError("it holds no findings: give the output of `numatune audit --format json`")
    name = host.get("name", "") if isinstance(host, Mapping) else ""
    return str(name or ""), {one["setting"]: one for one in listed}


def _strides(value: Any) -> dict[str, int]:
    return {str(name): stride for name, stride in _mapping(value).items() if type(stride) is int}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
