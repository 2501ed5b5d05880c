"""One colour and one shape for each cause, the same in every figure and table, and the names of the counters.

No thirteen colours are told apart by everybody, so the shape and the pattern differ too; all are readable on white and
on near-black. Memory is warm, the scheduler blue and green, the machine violet and ochre.
"""

from __future__ import annotations

from dataclasses import dataclass

from .plain import plain

UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Look:
    """How a cause is drawn: a colour, a marker, the pattern of a bar, and a short name."""

    colour: str
    symbol: str
    pattern: str
    short: str


LOOKS = {
    "numa_hinting_faults": Look("#d55e00", "diamond", "", "NUMA hinting faults"),
    "minor_faults": Look("#e69f00", "circle", "", "other minor faults"),
    "major_faults": Look("#cc6677", "square", "/", "major faults"),
    "run_delay": Look("#2b83ba", "triangle-up", "", "run delay"),
    "voluntary_waits": Look("#56b4e9", "triangle-down", "\\", "voluntary waits"),
    "migrations": Look("#44aa99", "triangle-right", "x", "migrations"),
    "quota": Look("#009e73", "pentagon", "-", "CPU quota"),
    "interrupts": Look("#cc79a7", "star", "", "interrupts"),
    "frequency_changes": Look("#aa4499", "hexagon", "|", "frequency changes"),
    "idle_exits": Look("#8c7ae6", "bowtie", "+", "idle-state exits"),
    "throttling": Look("#b07d2b", "hourglass", ".", "throttling"),
    "steal": Look("#999933", "star-diamond", "/", "steal"),
    UNEXPLAINED: Look("#888888", "circle-open", "", "unexplained"),
}

BEFORE, AFTER = "#d55e00", "#2b83ba"
RUNS = ("#2b83ba", "#d55e00", "#009e73", "#cc79a7", "#999933", "#56b4e9", "#e69f00", "#aa4499")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

# Counter -> (its name, divisor, unit).
COUNTERS: dict[str, tuple[str, float, str]] = {
    "minor_faults": ("minor faults", 1.0, ""),
    "major_faults": ("major faults", 1.0, ""),
    "voluntary_switches": ("voluntary switches", 1.0, ""),
    "involuntary_switches": ("involuntary switches", 1.0, ""),
    "cpu_migrations": ("migrations to another CPU", 1.0, ""),
    "cpu_time_ns": ("time on a CPU, all threads", 1e6, "ms"),
    "run_delay_ns": ("run delay, all threads", 1e6, "ms"),
    "numa_pte_updates": ("pages unmapped by NUMA balancing, whole host", 1.0, ""),
    "numa_hint_faults": ("hinting faults, whole host", 1.0, ""),
    "numa_hint_faults_local": ("hinting faults on the own node, whole host", 1.0, ""),
    "numa_pages_migrated": ("pages migrated by NUMA balancing, whole host", 1.0, ""),
    "pgmigrate_success": ("pages migrated, whole host", 1.0, ""),
    "compact_stall": ("compaction stalls, whole host", 1.0, ""),
    "thp_fault_alloc": ("huge pages given at a fault, whole host", 1.0, ""),
    "steal_ns": ("steal on the serving CPUs", 1e6, "ms"),
    "irq_ns": ("time in interrupts", 1e6, "ms"),
    "softirq_ns": ("time in soft interrupts", 1e6, "ms"),
    "idle_ns": ("time in idle states", 1e6, "ms"),
    "idle_exits": ("exits from idle states", 1.0, ""),
    "interrupts": ("interrupts on the serving CPUs", 1.0, ""),
    "frequency_changes": ("frequency changes", 1.0, ""),
    "throttle_events": ("thermal throttle events", 1.0, ""),
    "quota_throttled": ("periods throttled by the CPU quota", 1.0, ""),
    "quota_throttled_ns": ("time throttled by the CPU quota", 1e6, "ms"),
    "host_switches": ("context switches, whole host", 1.0, ""),
}


def look(cause: str) -> Look:
    """The look of a cause; one without a look of its own is drawn as what is not explained, under its own name."""
    found = LOOKS.get(cause)
    return found or Look("#888888", "x", "", cause.replace("_", " "))


def counter_words(name: str) -> tuple[str, float, str]:
    """(name, divisor, unit) of a counter; the name of one that is not listed is a file's, and made safe."""
    found = COUNTERS.get(name)
    if found is not None:
        return found
    known = name.removesuffix("_ns")
    words = plain(known.replace("_", " "), 80)
    return (words, 1.0, "") if known == name else (words, 1e6, "ms")
