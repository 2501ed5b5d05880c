"""A small /proc and /sys in a folder, whose numbers a test sets."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from numatune.bench.watching.target import Roots


@dataclass
class Thread:
    """What the kernel counts of one thread."""

    cpu_ns: int = 0
    delay_ns: int = 0
    slices: int = 1
    voluntary: int = 0
    involuntary: int = 0
    migrations: int = 0
    allowed: str = "0-1"
    last_cpu: int = 0


@dataclass
class Process:
    """A process: its name, when it started (ticks since boot), its faults, state and threads."""

    comm: str = "serve"
    started: int = 0
    minor: int = 0
    major: int = 0
    state: str = "S"
    threads: dict[int, Thread] = field(default_factory=dict)


def stat(pid: int, process: Process, last_cpu: int = 0) -> str:
    """A line of /proc/PID/stat with the fields that are read."""
    fields = ["0"] * 50
    fields[0] = process.state
    fields[7], fields[9] = str(process.minor), str(process.major)
    fields[17], fields[19], fields[36] = str(len(process.threads)), str(process.started), str(last_cpu)
    return f"{pid} (a) b ({process.comm}) {' '.join(fields)}\n"


class Tree:
    """Files under `folder`/proc and `folder`/sys; `sched` False is a kernel without /proc/PID/sched."""

    def __init__(self, folder: Path, sched: bool = True) -> None:
        self.proc, self.sys, self.sched = folder / "proc", folder / "sys", sched
        self.proc.mkdir()
        self.sys.mkdir()
        self.mount("25 30 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")

    def mount(self, mountinfo: str) -> None:
        """Write what the watcher sees mounted."""
        self.put("proc/self/mountinfo", mountinfo)

    @property
    def roots(self) -> Roots:
        return Roots(str(self.proc), str(self.sys))

    def put(self, path: str, text: str) -> None:
        """Write proc/… or sys/…; a file that is open elsewhere stays the same file."""
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def show(self, pid: int, process: Process) -> None:
        """Make the tree show this of a process; threads that it has no more go."""
        base = f"proc/{pid}"
        self.put(f"{base}/stat", stat(pid, process))
        self.put(f"{base}/comm", process.comm + "\n")
        self.put(f"{base}/status", f"Name:\t{process.comm}\nTgid:\t{pid}\n")
        self.put(f"{base}/cgroup", "0::/system.slice/serve.service\n")
        for tid, thread in process.threads.items():
            task = f"{base}/task/{tid}"
            self.put(f"{task}/schedstat", f"{thread.cpu_ns} {thread.delay_ns} {thread.slices}\n")
            self.put(f"{task}/stat", stat(tid, process, thread.last_cpu))
            self.put(
                f"{task}/status",
                f"Name:\tx\nCpus_allowed_list:\t{thread.allowed}\nvoluntary_ctxt_switches:\t{thread.voluntary}\n"
                f"nonvoluntary_ctxt_switches:\t{thread.involuntary}\n",
            )
            if self.sched:
                self.put(
                    f"{task}/sched",
                    f"x ({tid}, #threads: 2)\n----\nse.nr_migrations      :   {thread.migrations}\n"
                    f"nr_switches   :  99\nnr_voluntary_switches   :   {thread.voluntary}\n"
                    f"nr_involuntary_switches   :   {thread.involuntary}\n",
                )
        for folder in (self.proc / str(pid) / "task").iterdir():
            if int(folder.name) not in process.threads:
                shutil.rmtree(folder)

    def remove(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid))
