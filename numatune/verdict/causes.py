"""The causes of a spike that a run can show: which counter shows each, what one event may cost, what cures it.

The bounds keep the cost model honest: a counter that merely rises with the spikes cannot explain more of them than its
events can cost. A cause is one entry here, with how it is drawn; what its counters are is in `bench.counted`, and how
a dose is made that is not simply its first counter in `doses`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..bench.counted import BY_NAME as COUNTERS

US, MS = 1e3, 1e6


@dataclass(frozen=True)
class Look:
    """How a cause is drawn: a colour, a marker, and the pattern of a bar, by plotly's names.

    No thirteen colours are told apart by everybody, so the shape and the pattern differ too; all are readable on white
    and on near-black. Memory is warm, the scheduler blue and green, the machine violet and ochre.
    """

    colour: str
    symbol: str
    pattern: str = ""


@dataclass(frozen=True)
class Cause:
    """One cause: `counters` are those that its dose is made of, the first of them its own where nothing else is said.

    `low` and `high` bound what one unit of the dose costs in ns, or, where the dose is a time, how many ns of latency
    one ns of it makes; there the lower bound is for a service of unknown threads, all of which may have waited at once.
    `brief` names it in a legend, by default `words` without what is in parentheses. `smallest` is the smallest dose
    worth naming where that is not its counter's; `by_total` says that a run in which its counter never grew, or was
    not read at each iteration, is told by its total: of interrupts that says nothing, since timers have some always.
    """

    name: str
    words: str
    counters: tuple[str, ...]
    low: float
    high: float
    settings: tuple[str, ...]
    remedy: str
    look: Look
    brief: str = ""
    is_time: bool = False
    smallest: float | None = None
    by_total: bool = True

    @property
    def short(self) -> str:
        """Its name in a legend."""
        return self.brief or self.words.partition(" (")[0]

    @property
    def at_pace(self) -> bool:
        """Whether it grows with time alone, as timer interrupts do: only what exceeds its pace is a dose."""
        return COUNTERS[self.counters[0]].over_pace is not None

    @property
    def least(self) -> float:
        """The smallest dose worth naming."""
        counter = COUNTERS[self.counters[0]]
        known = (self.smallest, counter.over_pace, counter.least)
        return next(value for value in known if value is not None)

    @property
    def total(self) -> tuple[str, ...]:
        """The place of the run's total in the result's `run`; empty where there is none."""
        places = (COUNTERS[name].total for name in self.counters)
        return next(filter(None, places), ()) if self.by_total else ()


# A page fault: 0.2 us for a page in cache, 20 us for one that is migrated or zeroed under contention (measured: 1.1-1.4
# us for a hinting fault). A wait is as long as it is; one of all threads at once (a stopped process) counts once in the
# latency and as often as there are threads in the sum, hence the lower bound of half a thread's part.
CAUSES = (
    Cause(
        "numa_hinting_faults", "NUMA hinting faults", ("minor_faults", "numa_hint_faults"), 0.2 * US, 20 * US,
        ("numa_balancing",), "turn automatic NUMA balancing off (kernel.numa_balancing = 0), or give the service a "
        "memory policy of its own", Look("#d55e00", "diamond"),
    ),
    Cause(
        "minor_faults", "other minor faults", ("minor_faults",), 0.2 * US, 20 * US, (),
        "touch memory before serving, keep it (no trimming allocator), and do not fork from the serving process",
        Look("#e69f00", "circle"),
    ),
    Cause(
        "major_faults", "major faults (pages read from disk)", ("major_faults",), 0.02, 1.5, (),
        "lock the model in memory (mlock), turn swap off, and keep its files in the page cache",
        Look("#cc6677", "square", "/"), is_time=True,
    ),
    Cause(
        "quota", "the control group's CPU quota", ("quota_throttled", "run_delay_ns"), 0.02, 1.5, (),
        "take the quota away (CPUQuota=, cpu.max) or raise it above what the threads use",
        Look("#009e73", "pentagon", "-"), "CPU quota", is_time=True,
    ),
    Cause(
        "run_delay", "run delay (another task had the CPU)", ("run_delay_ns",), 0.02, 1.5, ("core_isolation",),
        "keep other work off the serving CPUs (core isolation, a slice for the rest)",
        Look("#2b83ba", "triangle-up"), is_time=True,
    ),
    Cause(
        "voluntary_waits", "voluntary waits (its threads slept: a lock, a signal, a file)",
        ("cpu_time_ns", "run_delay_ns"), 0.02, 1.5, (),
        "look at what the process waits for: locks, files, signals, a debugger; numatune has no setting for it",
        Look("#56b4e9", "triangle-down", "\\"), is_time=True, smallest=1.0 * MS,
    ),
    Cause(
        "migrations", "migrations to another CPU", ("cpu_migrations",), 1 * US, 1 * MS, ("core_isolation",),
        "pin each serving thread to its CPU", Look("#44aa99", "triangle-right", "x"), "migrations",
    ),
    Cause(
        "interrupts", "interrupts on the serving CPUs", ("interrupts",), 0.5 * US, 50 * US,
        ("irqbalance", "irq_affinity"), "move interrupts to housekeeping CPUs", Look("#cc79a7", "star"), "interrupts",
        by_total=False,
    ),
    Cause(
        "frequency_changes", "changes of the CPU frequency", ("frequency_changes",), 1 * US, 20 * MS,
        ("cpu_governor",), "set the governor and the energy preference to performance",
        Look("#aa4499", "hexagon", "|"), "frequency changes",
    ),
    Cause(
        "idle_exits", "exits from idle states", ("idle_exits",), 0.5 * US, 1 * MS, ("cpu_idle",),
        "cap the exit latency of the idle states", Look("#8c7ae6", "bowtie", "+"), "idle-state exits",
    ),
    Cause(
        "throttling", "throttling for heat or power", ("throttle_events",), 10 * US, 100 * MS, (),
        "cool the host, or lower its load: no setting cures heat", Look("#b07d2b", "hourglass", "."), "throttling",
    ),
    Cause(
        "steal", "steal (the hypervisor had the CPU)", ("steal_ns",), 0.02, 1.5, (),
        "ask for CPUs that are not shared, or measure on the bare host", Look("#999933", "star-diamond", "/"),
        is_time=True,
    ),
)  # fmt: skip

BY_NAME = {cause.name: cause for cause in CAUSES}
