"""The counters of runs and watches in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Counter -> (its name in a sentence, divisor, unit).
WORDS = {
    "minor_faults": ("minor faults", 1.0, ""),
    "major_faults": ("major faults", 1.0, ""),
    "voluntary_switches": ("voluntary switches", 1.0, ""),
    "involuntary_switches": ("involuntary switches", 1.0, ""),
    "cpu_migrations": ("migrations", 1.0, ""),
    "cpu_time_ns": ("time on a CPU", 1e6, " ms"),
    "run_delay_ns": ("run delay", 1e6, " ms"),
    "numa_hint_faults": ("hinting faults on the host", 1.0, ""),
    "numa_pages_migrated": ("pages migrated on the host", 1.0, ""),
    "interrupts": ("interrupts", 1.0, ""),
    "steal_ns": ("stolen time", 1e6, " ms"),
    "irq_ns": ("time in interrupts", 1e6, " ms"),
    "softirq_ns": ("time in soft interrupts", 1e6, " ms"),
    "idle_exits": ("idle-state exits", 1.0, ""),
    "frequency_changes": ("frequency changes", 1.0, ""),
    "throttle_events": ("throttle events", 1.0, ""),
    "quota_throttled": ("periods throttled by quota", 1.0, ""),
    "quota_throttled_ns": ("time throttled by quota", 1e6, " ms"),
}


def name_of(counter: str) -> str:
    """A counter's name in a sentence."""
    return WORDS.get(counter, (counter.replace("_", " "),))[0]


def amount_of(counter: str, value: float) -> str:
    """A counter's value in its unit."""
    _word, divisor, unit = WORDS.get(counter, ("", 1.0, ""))
    return f"{value / divisor:,.1f}{unit}" if unit else f"{value:,.0f}"


def noun_of(environment: Mapping[str, Any]) -> str:
    """What one iteration of a run is, by its environment."""
    from ..bench.probe import NAME

    model = environment.get("model")
    return "walk" if isinstance(model, dict) and model.get("name") == NAME else "inference"
