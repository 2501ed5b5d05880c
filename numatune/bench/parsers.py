"""The kernel's texts that the recorder and the watch both read, as numbers: one parser each, so that they agree.

Pure: a text comes in, and a line that is cut off or garbled is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Optional

from . import counted
from .cpus import format_cpu_list

TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of a CPU's line in /proc/stat."""

NO_ACCOUNTS = "schedstat: this kernel's scheduler keeps no accounts of it"
WITHOUT_ACCOUNTS = b"0 0 0\n"
"""The schedstat of every thread where the scheduler keeps no accounts, and of a thread that has not run yet."""

_VMSTAT = tuple((name, f"\n{field} ".encode()) for name, field in counted.fields(counted.VMSTAT).items())
# These have one number for the whole host, which on a host with one CPU looks like a column. They are errors.
_NO_INTERRUPTS = frozenset(("ERR", "MIS", "Err"))


def parse_vmstat(text: bytes) -> dict[str, int]:
    """Return the counters in /proc/vmstat or a part of it; what the kernel does not count is left out."""
    text = b"\n" + text
    found: dict[str, int] = {}
    for name, key in _VMSTAT:
        place = text.find(key)
        end = text.find(b"\n", place + 1)
        value = text[place + len(key) : end]
        if 0 <= place < end and value.isdigit():
            found[name] = int(value)
    return found


def cpu_ticks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (CPU, its columns in the order of TIMES) from /proc/stat or a part of it; a CPU offline has no line."""
    for line in text.splitlines():
        if line.startswith("cpu"):
            name, *columns = line.split()
            if name[3:].isdecimal():
                yield int(name[3:]), columns


def parse_cpu_times(text: str, cpus: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return CPU -> its ticks by kind; a CPU without a line is left out."""
    wanted = set(cpus)
    return {
        cpu: dict(zip(TIMES, map(int, filter(str.isdecimal, columns))))
        for cpu, columns in cpu_ticks(text)
        if cpu in wanted
    }


def interrupt_columns(header: str) -> list[int]:
    """Return the CPUs that have a column in /proc/interrupts, by its first line."""
    return [int(name[3:]) for name in header.split() if name[3:].isdecimal()]


def parse_interrupt_line(line: str, columns: int) -> Optional[tuple[str, list[int]]]:
    """Return (name, count in each column) of a line of /proc/interrupts; None for one without a column for each CPU.

    The name is the label and what the kernel says last about it, such as "36 virtio1-req.0" or "LOC Local timer
    interrupts": a number is given to another device when one goes.
    """
    label, _colon, rest = line.partition(":")
    label = label.strip()
    fields = rest.split(None, columns)
    if label in _NO_INTERRUPTS or len(fields) < columns or not all(map(str.isdecimal, fields[:columns])):
        return None
    words = re.split(r"\s{2,}", fields[columns].strip()) if len(fields) > columns else [""]
    return f"{label} {words[-1]}".strip(), list(map(int, fields[:columns]))


def parse_interrupts(text: str, cpus: Sequence[int]) -> dict[str, dict[int, int]]:
    """Return line of /proc/interrupts -> CPU -> count, for the CPUs in `cpus` that have a column."""
    lines = text.splitlines()
    if not lines:
        return {}
    shown = interrupt_columns(lines[0])
    wanted = set(cpus)
    columns = [(place, cpu) for place, cpu in enumerate(shown) if cpu in wanted]
    found: dict[str, dict[int, int]] = {}
    for line in lines[1:]:
        parsed = parse_interrupt_line(line, len(shown))
        if parsed is not None:
            name, counts = parsed
            found[name] = {cpu: counts[place] for place, cpu in columns}
    return found


def interrupts_between(before: dict[str, dict[int, int]], after: dict[str, dict[int, int]]) -> list[dict[str, object]]:
    """Return the lines of /proc/interrupts that grew, most first: name, the CPUs on which they did, by how much."""
    grown = []
    for name, counts in after.items():
        earlier = before.get(name, {})
        more = {cpu: count - earlier.get(cpu, 0) for cpu, count in counts.items() if count > earlier.get(cpu, 0)}
        if more:
            grown.append((sum(more.values()), name, format_cpu_list(more)))
    return [
        {"name": name, "cpus": cpus, "count": count}
        for count, name, cpus in sorted(grown, key=lambda one: (-one[0], one[1]))
    ]


def parse_schedstat(text: bytes) -> tuple[int, int]:
    """Return (ns on a CPU, ns that it waited for one) of a thread."""
    on_cpu, delay = text.split()[:2]
    return int(on_cpu), int(delay)


def sched_number(text: bytes, key: str) -> Optional[int]:
    """Return a number of /proc/PID/task/TID/sched or status; None where the text has none of that name."""
    found = re.search(rb"^" + re.escape(key.encode()) + rb"\s*:\s*(\d+)\s*$", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def cpu_stat_files(cgroup: str, mountinfo: str) -> list[str]:
    """Return cpu.stat of a process's cgroup and of those above it: version 2, and version 1's "cpu".

    `cgroup` is the process's, `mountinfo` the reader's own: the paths are those by which the reader opens them. A quota
    on a cgroup further up stops the process as well, and is counted there only.
    """
    mounts: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        fields, _dash, kind = line.partition(" - ")
        words, kinds = fields.split(), kind.split()
        if len(words) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            mounts.setdefault("", (words[3], words[4]))
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            mounts.setdefault("cpu", (words[3], words[4]))
    found: list[str] = []
    for line in cgroup.splitlines():
        _number, _colon, rest = line.partition(":")
        controllers, _colon, own = rest.partition(":")
        controller = "cpu" if "cpu" in controllers.split(",") else controllers
        if controller in mounts and ".." not in own.split("/"):
            top, mount = mounts[controller]
            below = PurePosixPath(own).relative_to(top) if _is_below(own, top) else PurePosixPath()
            found += [str(PurePosixPath(mount, folder, "cpu.stat")) for folder in (below, *below.parents)]
    return list(dict.fromkeys(found))


def parse_cpu_stat(text: bytes) -> dict[str, int]:
    """Return the counts of throttling in a cpu.stat; empty where its cgroup can have no quota, as the root.

    Version 2 has the time in microseconds, version 1 in nanoseconds.
    """
    values = dict(line.partition(b" ")[::2] for line in text.splitlines())
    periods, times = counted.of(counted.QUOTA)
    found: dict[str, int] = {}
    for name, key, factor in (
        (periods, b"nr_throttled", 1),
        (times, b"throttled_usec", 1000),
        (times, b"throttled_time", 1),
    ):
        value = values.get(key, b"")
        if value.isdigit():
            found[name] = factor * int(value)
    return found


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
