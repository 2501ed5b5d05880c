"""The causes of a spike that a run can show: which counter shows each, what one event may cost, what cures it.

The bounds keep the cost model honest: a counter that merely rises with the spikes cannot explain more of them than its
events can cost. A cause is a line here; how its dose is made from the counters is in `doses`.
"""

from __future__ import annotations

from dataclasses import dataclass

US, MS = 1e3, 1e6


@dataclass(frozen=True)
class Cause:
    """One cause: `counters` are those that its dose is made of, `least` the smallest dose worth naming.

    `low` and `high` bound what one unit of the dose costs in ns, or, where the dose is a time, how many ns of latency
    one ns of it makes; there the lower bound is for a service of unknown threads, all of which may have waited at once.
    `at_pace` marks what grows with time alone, such as timer interrupts: only what exceeds its pace is a dose.
    `total` is the place of the run's total in the result's `run`, where there is one.
    """

    name: str
    words: str
    counters: tuple[str, ...]
    least: float
    low: float
    high: float
    settings: tuple[str, ...]
    remedy: str
    is_time: bool = False
    at_pace: bool = False
    total: tuple[str, ...] = ()


# A page fault: 0.2 us for a page in cache, 20 us for one that is migrated or zeroed under contention (measured: 1.1-1.4
# us for a hinting fault). A wait is as long as it is; one of all threads at once (a stopped process) counts once in the
# latency and as often as there are threads in the sum, hence the lower bound of half a thread's part.
CAUSES = (
    Cause(
        "numa_hinting_faults", "NUMA hinting faults", ("minor_faults", "numa_hint_faults"), 50.0, 0.2 * US, 20 * US,
        ("numa_balancing",), "turn automatic NUMA balancing off (kernel.numa_balancing = 0), or give the service a "
        "memory policy of its own", total=("vmstat", "numa_hint_faults"),
    ),
    Cause(
        "minor_faults", "other minor faults", ("minor_faults",), 50.0, 0.2 * US, 20 * US, (),
        "touch memory before serving, keep it (no trimming allocator), and do not fork from the serving process",
    ),
    Cause(
        "major_faults", "major faults (pages read from disk)", ("major_faults",), 1.0, 0.02, 1.5, (),
        "lock the model in memory (mlock), turn swap off, and keep its files in the page cache", is_time=True,
    ),
    Cause(
        "quota", "the control group's CPU quota", ("quota_throttled", "run_delay_ns"), 1.0, 0.02, 1.5, (),
        "take the quota away (CPUQuota=, cpu.max) or raise it above what the threads use", is_time=True,
        total=("cgroup_throttled",),
    ),
    Cause(
        "run_delay", "run delay (another task had the CPU)", ("run_delay_ns",), 1.0 * MS,
        0.02, 1.5, ("core_isolation",), "keep other work off the serving CPUs (core isolation, a slice for the rest)",
        is_time=True,
    ),
    Cause(
        "voluntary_waits", "voluntary waits (its threads slept: a lock, a signal, a file)",
        ("cpu_time_ns", "run_delay_ns"), 1.0 * MS, 0.02, 1.5, (),
        "look at what the process waits for: locks, files, signals, a debugger; numatune has no setting for it",
        is_time=True,
    ),
    Cause(
        "migrations", "migrations to another CPU", ("cpu_migrations",), 1.0, 1 * US, 1 * MS, ("core_isolation",),
        "pin each serving thread to its CPU",
    ),
    Cause(
        "interrupts", "interrupts on the serving CPUs", ("interrupts",), 20.0, 0.5 * US, 50 * US,
        ("irqbalance", "irq_affinity"), "move interrupts to housekeeping CPUs", at_pace=True,
    ),
    Cause(
        "frequency_changes", "changes of the CPU frequency", ("frequency_changes",), 1.0, 1 * US, 20 * MS,
        ("cpu_governor",), "set the governor and the energy preference to performance", total=("frequency_changes",),
    ),
    Cause(
        "idle_exits", "exits from idle states", ("idle_exits",), 5.0, 0.5 * US, 1 * MS, ("cpu_idle",),
        "cap the exit latency of the idle states", at_pace=True, total=("idle_exits",),
    ),
    Cause(
        "throttling", "throttling for heat or power", ("throttle_events",), 1.0, 10 * US, 100 * MS, (),
        "cool the host, or lower its load: no setting cures heat", total=("thermal_throttles",),
    ),
    Cause(
        "steal", "steal (the hypervisor had the CPU)", ("steal_ns",), 1.0 * MS, 0.02, 1.5, (),
        "ask for CPUs that are not shared, or measure on the bare host", is_time=True, total=("cpu_jiffies", "steal"),
    ),
)  # fmt: skip

BY_NAME = {cause.name: cause for cause in CAUSES}
