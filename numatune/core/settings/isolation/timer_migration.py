"""Timer migration: timers that idle CPUs set up run on a CPU that is busy."""

from __future__ import annotations

from ...kit.starts import always, first, sysctl_argument
from ...kit.sysctl_d import SysctlD
from ...kit.value import Value, integer, setting_of

_KEY = "kernel.timer_migration"

TIMER_MIGRATION = setting_of(
    Value(
        setting="timer_migration",
        path="/proc/sys/kernel/timer_migration",
        key=_KEY,
        wanted="0",
        named="off",
        keeper=SysctlD(
            _KEY,
            "/etc/sysctl.d/99-zz-numatune-timer-migration.conf",
            "Timers of idle CPUs would run on busy ones, which serve.",
        ),
        starts=first(sysctl_argument(_KEY, integer), always("1")),
        harm="a busy CPU, which serves, also runs the timers of idle ones",
        absent="this kernel migrates no timers (built for one CPU, or without NO_HZ)",
    ),
    title="Timer migration",
    why="With timer migration, a timer that an idle CPU sets up is queued on a CPU that is busy, so that the idle "
    "one can sleep on. On a serving host the busy CPUs are those that serve, and each such timer interrupts a "
    "request. Sources differ. TuneD's profile network-latency turns it off; OpenShift's Node Tuning Operator keeps "
    "it on, so that timers leave a CPU when a workload gets it for itself. So numatune reports it, and tunes it "
    "where it is named.",
    remedy="kernel.timer_migration = 0 in /etc/sysctl.d and in the running kernel.",
    references=(
        "https://docs.kernel.org/admin-guide/sysctl/kernel.html",
        "https://github.com/redhat-performance/tuned/blob/master/profiles/network-latency/tuned.conf",
    ),
)
