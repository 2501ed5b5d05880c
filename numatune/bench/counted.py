"""Each counter once: its name, where the kernel counts it, its words, and which rise of it is worth naming.

Recorder, watch, verdict and reports take all of that from here. What a counter costs and what cures it is the verdict's
to say, in its causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

FAULTS, SWITCHES = "faults", "switches"
"""Of the own process getrusage(2); of another /proc/PID/stat, and sched or status of its threads."""
MIGRATIONS = "migrations"
"""perf_event_open(2), or /proc/PID/task/TID/sched."""
SCHEDSTAT = "/proc/PID/task/TID/schedstat"
VMSTAT = "/proc/vmstat"
STAT = "/proc/stat"
INTERRUPTS = "/proc/interrupts"
IDLE = "cpuidle/state*"
FREQUENCY = "cpufreq/stats"
THROTTLE = "thermal_throttle"
QUOTA = "cpu.stat"


@dataclass(frozen=True)
class Counter:
    """One counter. A name that ends in "_ns" is a time in nanoseconds, which reports show in ms.

    `file` is one of those above and `field` what it is called there. `words` name the counter in a table, `short` in a
    sentence; without `short` no sentence lists it. `least` is the smallest rise at one iteration that can cost what a
    spike costs, None where a rise says nothing; `over_pace` the same for what grows with time alone, counted above the
    pace at which it does. `total` is the place of its growth over the whole run in the result's "run". `optional` ones
    are missing without a word where a kernel has none. Without `joined` a counter follows the time that passes, so a
    watch does not join it with requests; `last` is drawn after the others.
    """

    name: str
    file: str
    field: str
    words: str
    short: str = ""
    least: Optional[float] = None
    over_pace: Optional[float] = None
    total: tuple[str, ...] = ()
    optional: bool = False
    joined: bool = True
    last: bool = False

    @property
    def is_time(self) -> bool:
        """Whether it counts nanoseconds."""
        return self.name.endswith("_ns")


# The order is that in which reports list them. A minor fault takes 0.2 to 20 us, a switch a few, hence the rises.
# On-CPU time has none: the engine's workers spin, so it follows the latency whatever the cause.
ALL = (
    Counter("minor_faults", FAULTS, "ru_minflt", "minor faults", "minor faults", 50.0),
    Counter("major_faults", FAULTS, "ru_majflt", "major faults", "major faults", 1.0),
    Counter("voluntary_switches", SWITCHES, "ru_nvcsw", "voluntary switches", "voluntary switches", 10.0),
    Counter("involuntary_switches", SWITCHES, "ru_nivcsw", "involuntary switches", "involuntary switches", 5.0),
    Counter("cpu_migrations", MIGRATIONS, "se.nr_migrations", "migrations to another CPU", "migrations", 1.0),
    Counter("cpu_time_ns", SCHEDSTAT, "1", "time on a CPU, all threads", "time on a CPU", joined=False, last=True),
    Counter("run_delay_ns", SCHEDSTAT, "2", "run delay, all threads", "run delay", 1e6),
    # NUMA balancing first, then compaction and huge pages: the kernel's order.
    Counter("numa_pte_updates", VMSTAT, "numa_pte_updates", "pages unmapped by NUMA balancing, whole host"),
    Counter(
        "numa_hint_faults", VMSTAT, "numa_hint_faults", "hinting faults, whole host", "hinting faults on the host",
        50.0, total=("vmstat", "numa_hint_faults"),
    ),
    Counter("numa_hint_faults_local", VMSTAT, "numa_hint_faults_local", "hinting faults on the own node, whole host"),
    Counter(
        "numa_pages_migrated", VMSTAT, "numa_pages_migrated", "pages migrated by NUMA balancing, whole host",
        "pages migrated on the host", 50.0,
    ),
    Counter("pgmigrate_success", VMSTAT, "pgmigrate_success", "pages migrated, whole host"),
    Counter("compact_stall", VMSTAT, "compact_stall", "compaction stalls, whole host", optional=True),
    Counter("thp_fault_alloc", VMSTAT, "thp_fault_alloc", "huge pages given at a fault, whole host", optional=True),
    Counter(
        "interrupts", INTERRUPTS, "", "interrupts on the serving CPUs", "interrupts", 50.0, 20.0, ("interrupts",)
    ),
    Counter("steal_ns", STAT, "steal", "steal on the serving CPUs", "stolen time", 1e6, total=("cpu_jiffies", "steal")),
    Counter("irq_ns", STAT, "irq", "time in interrupts", "time in interrupts", 1e6),
    Counter("softirq_ns", STAT, "softirq", "time in soft interrupts", "time in soft interrupts", 1e6),
    Counter("host_switches", STAT, "ctxt", "context switches, whole host", last=True),
    Counter("idle_exits", IDLE, "usage", "exits from idle states", "idle-state exits", 20.0, 5.0, ("idle_exits",)),
    Counter("idle_ns", IDLE, "time", "time in idle states", total=("idle_ns",), joined=False, last=True),
    Counter(
        "frequency_changes", FREQUENCY, "total_trans", "frequency changes", "frequency changes", 1.0,
        total=("frequency_changes",),
    ),
    Counter(
        "throttle_events", THROTTLE, "*_throttle_count", "thermal throttle events", "throttle events", 1.0,
        total=("thermal_throttles",),
    ),
    Counter(
        "quota_throttled", QUOTA, "nr_throttled", "periods throttled by the CPU quota", "periods throttled by quota",
        1.0, total=("cgroup_throttled",),
    ),
    Counter(
        "quota_throttled_ns", QUOTA, "throttled_usec", "time throttled by the CPU quota", "time throttled by quota",
        total=("cgroup_throttled_ns",),
    ),
)  # fmt: skip

BY_NAME = {counter.name: counter for counter in ALL}


def of(file: str) -> tuple[str, ...]:
    """Return the names of the counters that a file gives, in their order."""
    return tuple(counter.name for counter in ALL if counter.file == file)


def fields(file: str) -> dict[str, str]:
    """Return counter -> field of a file."""
    return {counter.name: counter.field for counter in ALL if counter.file == file}
