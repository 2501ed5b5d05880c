"""The sentences of the report: what was measured, where, and what to think of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...verdict.attribution import Attribution, Share
from ...verdict.comparison import Comparison
from ...verdict.watched import COMMON_NOTE, spikes_are_common
from .palette import counter_words
from .readable import count, inside, items, ms, number, p_of, percent, plain, sentence
from .source import BEFORE, Findings, Source

FEW = 1000
"""Iterations below which a run cannot show that spikes are rare."""


def measured(source: Source) -> str:
    """Such as "resnet152 224×224 fp32, batch 1, 2 threads on CPU 0-1"."""
    environment = source.run.environment
    if source.watched is not None:
        target = source.watched.target
        threads, cpus = number(target.get("most_threads")), target.get("cpus")
        what = f"{kind_of(target)} {plain(target.get('name'), 80)}, watched"
    else:
        what = _workload(environment)
        threads, cpus = number(environment.get("threads")), inside(environment, "pinning", "cpus")
    what += f", {count(threads, 'thread')}" if threads else ""
    return what + (f" on CPU {plain(cpus, 80)}" if cpus else "")


def kind_of(target: Mapping[str, Any]) -> str:
    """What kind of thing is watched."""
    return "process" if target.get("kind") == "pid" else plain(target.get("kind"), 40)


def _workload(environment: Mapping[str, Any]) -> str:
    model = environment.get("model")
    name, size = plain(inside(model, "name"), 80), plain(inside(model, "size"), 20)
    if inside(model, "stride_bytes") is not None:
        return f"{name} over {size} MiB"
    batch, of = environment.get("batch"), number(inside(environment, "instances", "of"))
    what = f"{name} {size}×{size} {plain(environment.get('precision'), 20)}"
    what += f", {plain(batch, 20)} images at a time" if batch not in (None, 1) else ""
    return what + (
        f", instance {plain(inside(environment, 'instances', 'index'), 20)} of {of:.0f}" if of and of > 1 else ""
    )


def host(source: Source) -> str:
    """On which host: its name where an audit gives it, its processor, its kernel."""
    environment = source.run.environment
    name = f"{plain(source.host_name, 80)}: " if source.host_name else ""
    machine = environment.get("machine")
    known = f", machine {plain(machine, 40)}" if machine else ""
    return f"{name}{plain(environment.get('cpu_model'), 80)}, kernel {plain(environment.get('kernel'), 80)}{known}"


def headline(sources: Sequence[Source], comparison: Comparison | None) -> str:
    """One sentence for a person in a hurry."""
    if comparison is not None:
        before = [source for source in sources if source.side == BEFORE and source.summary is not None]
        worst = max(before, key=lambda source: source.attribution.excess_ns, default=None)
        causes = f" Before: {main_causes(worst.attribution)}" if worst and worst.attribution.spikes else ""
        return sentence(comparison.reason) + causes
    if len(sources) == 1:
        return outcome(sources[0])
    spiky = [(source.summary, source) for source in sources if source.summary is not None and source.summary.spikes]
    if not spiky:
        return f"None of {count(len(sources), 'run')} has a spike."
    worst = max(spiky, key=lambda pair: pair[0].excess_share)[1]
    return f"{len(spiky)} of {count(len(sources), 'run')} have spikes; the worst: {outcome(worst)}"


def outcome(source: Source) -> str:
    """Spikes of one run, what they cost, and what caused most of it."""
    summary = source.summary
    if summary is None:
        return "No latency was logged: only what the counters did is known, and no cause of latency follows from that."
    if not summary.spikes:
        slow = f"{summary.threshold:.2f} × the median of {ms(summary.p50_ms)} ms"
        return f"No spike in {count(summary.iterations, source.noun)}: none took longer than {slow}."
    cost = percent(summary.excess_share)
    text = f"{count(summary.spikes, 'spike')} in {count(summary.iterations, source.noun)} "
    text += f"({summary.spikes_per_1000:.1f} per 1,000), the slowest {ms(summary.max_ms)} ms where the median is "
    said = f"What caused them is not said: {source.unjudged}." if source.unjudged else main_causes(source.attribution)
    return text + f"{ms(summary.p50_ms)} ms; they cost {cost} of the time. {said}"


def main_causes(found: Attribution) -> str:
    """The causes that matter and what is left, in one sentence."""
    if not found.shares:
        return "No counter that was read was shown to explain them."
    parts = [f"{share.words} ({percent(share.share)})" for share in found.shares if share.share >= 0.05][:3]
    parts = parts or [f"{found.shares[0].words} ({percent(found.shares[0].share)})"]
    rest = f"; {percent(found.unexplained)} is unexplained" if found.unexplained >= 0.05 else ""
    return f"The lost time went to {', '.join(plain(part) for part in parts)}{rest}."


def price(share: Share) -> str:
    """What one event of a cause costs by the model."""
    cost = share.unit_cost
    if share.is_time:
        return f"{cost:.2f} ns of latency for each ns"
    return f"{cost / 1e6:.3g} ms each" if cost >= 1e6 else f"{cost / 1e3:.3g} µs each"


def period(found: Attribution) -> str:
    """A sentence on the rhythm of the spikes, empty where there is none to speak of."""
    if found.period is None:
        return ""
    rate = 1.0 / found.period.seconds if found.period.seconds > 0 else 0.0
    text = f"every {found.period.seconds:.3g} s ({rate:.3g} Hz)"
    if found.period.p > 0.05:
        return f"The spikes have no rhythm: the strongest, {text}, is no stronger than chance gives."
    hinting = any(share.cause == "numa_hinting_faults" for share in found.shares)
    told = (
        " NUMA balancing scans a process about once a second." if hinting and 0.5 <= found.period.seconds <= 2.0 else ""
    )
    return f"The spikes come {text}; chance gives a rhythm this strong with {p_of(found.period.p)}.{told}"


def finding(setting: str, findings: Findings | None) -> str:
    """What the audit of this host says of a setting."""
    if findings is None:
        return "this host's audit was not given: `numatune audit --format json`, and --audit FILE"
    found = findings.get(setting)
    if found is None:
        return "the audit given does not judge it"
    status = plain(found.get("status"), 40).replace("_", " ")
    runtime, wanted = found.get("runtime"), found.get("expected")
    values = f", it is {plain(runtime, 80)}" if runtime is not None else ""
    values += f", wanted {plain(wanted, 80)}" if wanted is not None and status != "ok" else ""
    reason = found.get("reason")
    return f"{status}{values}" + (f" ({plain(reason)})" if reason else "")


def remarks(source: Source) -> list[str]:
    """What limits the meaning of one run, in sentences."""
    run, environment, said = source.run, source.run.environment, []
    injection = environment.get("injection")
    if injection:
        kind = injection.get("kind") if isinstance(injection, Mapping) else injection
        said.append(f"The spikes were made on purpose (--inject {plain(kind, 60)}): this run says nothing of the host.")
    if run.provisional:
        said.append("Provisional (--quick): too few iterations to show that spikes are rare.")
    elif source.watched is None and run.latency.size < FEW:
        few = count(run.latency.size, source.noun)
        said.append(f"{few} cannot show that spikes are rare; take {FEW:,} or more.")
    if not run.warm_up.steady:
        said.append("The run has no steady state: its level keeps moving, and nothing was left out as warm-up.")
    if source.watched is not None and spikes_are_common(source.attribution.spikes, run.latency.size):
        said += COMMON_NOTE
    if source.watched is not None and source.result.get("partial"):
        said.append("The watch ended early: it is partial.")
    if inside(environment, "pinning", "ok") is False:
        said.append("A thread was not on the CPU where it belongs.")
    if inside(environment, "memory", "hides"):
        policy = plain(environment.get("memory_policy"), 40)
        said.append(f"The memory policy {policy} hides NUMA balancing: the kernel leaves such memory alone.")
    steal = number(run.host.get("steal_share"))
    if steal is not None and steal >= 0.001:
        said.append(f"The hypervisor took {percent(steal)} of the serving CPUs' time over the run.")
    return said


def event_words(event: Mapping[str, Any]) -> str:
    """An invalidating event in one line."""
    return plain(event.get("detail") or event.get("event") or "an event without a name")


def nouns(sources: Sequence[Source]) -> str:
    """What has a latency in several runs, in one word; empty without any."""
    named = {source.noun for source in sources}
    return "iteration" if len(named) > 1 else "".join(named)


def alt_timeline(source: Source, counters: Sequence[str]) -> str:
    """The text alternative of the timeline."""
    summary, series = source.summary, source.series
    names = ", ".join(counter_words(name)[0] for name in counters)
    if summary is None:
        return f"Counters over time: {names}."
    text = f"Latency over time: median {ms(summary.p50_ms)} ms, 99th percentile {ms(summary.p99_ms)} ms, slowest "
    text += f"{ms(float(series.latency.max()) / 1e6)} ms at {source.row} {int(series.latency.argmax()):,}; "
    text += f"{count(summary.spikes, 'spike')}."
    return text + (f" Under it, on the same axis: {names}." if names else "")


def alt_shares(found: Attribution) -> str:
    """The text alternative of the bar of shares."""
    parts = [f"{one.words} {percent(one.share)} ({percent(one.low)} to {percent(one.high)})" for one in found.shares]
    return "; ".join([*parts, f"unexplained {percent(found.unexplained)}"])


def quiet_counters(source: Source) -> str:
    """The counters that stayed at zero all along: read, and not drawn."""
    names = [
        counter_words(name)[0]
        for name, values in source.series.counters.items()
        if not np.isnan(values).all() and not np.nan_to_num(values).any()
    ]
    return ", ".join(plain(name, 80) for name in names)


def cost_of_reading(result: Mapping[str, Any]) -> list[str]:
    """What reading the counters cost, tier by tier."""
    said = []
    tiers = result.get("tier_cost_ns")
    if isinstance(tiers, Mapping):
        for tier, cost in tiers.items():
            p50, p90 = number(inside(cost, "p50")), number(inside(cost, "p90"))
            if p50 is not None and p90 is not None:
                said.append(f"tier {plain(tier, 20)}: {p50 / 1e3:.0f} µs (p90 {p90 / 1e3:.0f})")
        each = number(tiers.get("per_thread_ns"))
        said += [f"{each / 1e3:.1f} µs more for each thread"] if each is not None else []
    return said


def tasks(value: Any) -> list[tuple[str, str, str, str]]:
    """(task, pid, ms on a CPU, CPUs allowed) of the foreign tasks, most first."""
    rows = []
    for one in items(value):
        if isinstance(one, Mapping):
            spent = number(one.get("cpu_ms"))
            time = "" if spent is None else f"{spent:,.0f}"
            rows.append((plain(one.get("task"), 60), plain(one.get("pid"), 20), time, plain(one.get("cpus"), 80)))
    return rows
