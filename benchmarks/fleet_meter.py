"""Run one command and say what it and everything that it started used: CPU seconds, peak memory, wall time.

    python benchmarks/fleet_meter.py REPORT.json SAMPLE_S COMMAND…

CPU is what the kernel counted for every process below this one once they had ended (orphans too: they become children
of this process; those that stay for more than five seconds after the command are ended, and said). Memory is the peak
of the sum of all their proportional set sizes, looked at every SAMPLE_S seconds (0: not at all).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_S = 5.0


def main() -> None:
    """Measure."""
    report, sample_s, command = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    memory = _Memory(sample_s)
    memory.start()
    started = time.monotonic()
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    wall = time.monotonic() - started
    memory.stop.set()
    memory.join()
    ended = _reap()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report.write_text(
        json.dumps(
            {
                "code": code,
                "wall_s": wall,
                "cpu_s": used.ru_utime + used.ru_stime,
                "user_s": used.ru_utime,
                "peak_mb": memory.peak / 1e6 if memory.peak else None,
                "largest_rss_mb": used.ru_maxrss * 1024 / 1e6,
                "processes_ended": ended,
            }
        )
    )


def _reap() -> int:
    """Wait for orphans; end those that stay. Returns how many were ended."""
    end, ended = time.monotonic() + _ORPHANS_S, 0
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            if time.monotonic() > end:
                for child in _children(os.getpid()):
                    os.kill(child, signal.SIGKILL)
                    ended += 1
            time.sleep(0.02)


class _Memory(threading.Thread):
    def __init__(self, every_s: float) -> None:
        super().__init__(daemon=True)
        self._every_s = every_s
        self.stop = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while self._every_s and not self.stop.wait(self._every_s):
            self.peak = max(self.peak, sum(map(_pss, _below(os.getpid()))))


def _below(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_below(child)]
    return found


def _children(pid: int) -> list[int]:
    # A process has children by each of its threads.
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass  # it has ended meanwhile
    return found


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has ended meanwhile
    return 0


if __name__ == "__main__":
    main()
