"""What is watched: a process, or the processes in the control group of a systemd unit; and whether it still lives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ..errors import BenchError, reason
from ..host import plain_name

_GROUP_ROOTS = ("", "/unified", "/systemd")
"""Where version 2 of the hierarchy is mounted, alone or beside version 1; systemd's own one of version 1 last."""

Ask = Callable[[str], Optional[dict[str, str]]]


@dataclass(frozen=True)
class Roots:
    """Where the kernel's files are; tests put trees of their own there."""

    proc: str = "/proc"
    sys: str = "/sys"


@dataclass(frozen=True)
class Target:
    """`group` is the folder of a unit's control group, None for one process; `pid` the main process, 0 if not known."""

    kind: str
    name: str
    pid: int
    group: Optional[str] = None

    def pids(self) -> list[int]:
        """The processes that belong to it now; those of a unit's sub-groups too."""
        if self.group is None:
            return [self.pid]
        found: list[int] = []
        for folder, _folders, files in os.walk(self.group):
            if "cgroup.procs" in files:
                found.extend(_numbers(os.path.join(folder, "cgroup.procs")))
        return found


def find_target(pid: Optional[int], unit: Optional[str], roots: Roots, ask: Optional[Ask] = None) -> Target:
    """The target that one of `pid` and `unit` names; BenchError where there is no such thing, or nothing runs in it.

    `unit` is a unit's name, ".service" if it has no ending, or the path of a control group such as "/system.slice/x".
    """
    if (pid is None) == (unit is None):
        raise BenchError("name what to watch, either with --pid N or with --unit NAME")
    if pid is not None:
        return _process(pid, roots)
    name = unit or ""
    if not name.strip("/") or "\0" in name or ".." in name.split("/"):
        raise BenchError(f"--unit {name!r} is no name of a unit")
    if name.startswith("/"):
        return _group(name, name, 0, roots)
    if "." not in name:
        name += ".service"
    said = (ask_systemd if ask is None else ask)(name)
    if said is None:  # no systemd to ask: where it would have put a service of the system
        return _group(name, f"/system.slice/{name}", 0, roots)
    if said.get("LoadState") == "not-found":
        raise BenchError(f"--unit {name}: systemd knows no such unit; see `systemctl list-units`")
    if not said.get("ControlGroup"):
        raise BenchError(f"--unit {name}: the unit does not run; start it first")
    main = said.get("MainPID", "0")
    return _group(name, said["ControlGroup"], int(main) if main.isdecimal() else 0, roots)


def ask_systemd(name: str) -> Optional[dict[str, str]]:
    """What systemd says of a unit, by property; None where there is no systemd."""
    command = ["systemctl", "show", "--property=LoadState,ControlGroup,MainPID", "--", name]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    pairs = (line.partition("=") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {key: value for key, _equals, value in pairs}


def _process(pid: int, roots: Roots) -> Target:
    if pid < 1:
        raise BenchError(f"--pid {pid}: a process number is 1 or more")
    folder = f"{roots.proc}/{pid}"
    try:
        # A thread's number opens the same folder, though only processes are listed.
        with open(f"{folder}/status", errors="replace") as file:
            groups = [line.split()[1] for line in file if line.startswith("Tgid:")]
        with open(f"{folder}/comm", "rb") as comm:
            name = plain_name(comm.read())
    except (FileNotFoundError, ProcessLookupError):
        raise BenchError(f"--pid {pid}: there is no such process") from None
    except OSError as error:
        raise BenchError(f"--pid {pid}: {folder} cannot be read ({reason(error)}): run as root or its user") from error
    if groups and groups[0] != str(pid):
        raise BenchError(f"--pid {pid}: that is a thread of process {groups[0]}; name the process")
    return Target("pid", name, pid)


def _group(name: str, path: str, main: int, roots: Roots) -> Target:
    for root in _GROUP_ROOTS:
        folder = f"{roots.sys}/fs/cgroup{root}{path.rstrip('/')}"
        if os.path.exists(f"{folder}/cgroup.procs"):
            target = Target("unit", name, main, folder)
            if not target.pids():
                raise BenchError(f"--unit {name}: no process runs in its control group {path}; start it first")
            return target
    raise BenchError(f"--unit {name}: there is no control group {path} on this host; is the unit running?")


def _numbers(path: str) -> list[int]:
    """Process numbers of a cgroup.procs; none where the group went away, 0 (a process elsewhere) left out."""
    try:
        with open(path) as file:
            return [int(line) for line in file.read().split() if line.isdecimal() and line != "0"]
    except OSError:
        return []
