"""How long the kernel let a thread wait for a CPU: by its own account, not by a load average."""

from __future__ import annotations

OWN = "thread-self"
_LEAST_S, _SHARE = 0.25, 0.2


def run_delay(task: str = OWN) -> float:
    """Return the seconds in which a task was ready to run and did not since it began; 0.0 where that is not known.

    `task` is a path below /proc: "thread-self", a process's number (its first thread), "self/task/N".
    """
    # Not Path.read_text(): this is asked for every host, and that costs three times as much.
    try:
        with open(f"/proc/{task}/schedstat", "rb", buffering=0) as file:
            return int(file.read(80).split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0  # a kernel without CONFIG_SCHED_INFO, or a task that has ended


def starved(late_s: float, lasted_s: float) -> bool:
    """Return whether what a deadline ended after `lasted_s` may well succeed on a machine that is not late.

    A fifth of its time, and a quarter of a second, is more than the turns of threads take.
    """
    return late_s >= max(_LEAST_S, _SHARE * lasted_s)
