"""Which CPUs the threads run on, from those they may use: one per physical core of one NUMA node, or of all nodes.

The recorder does not decide which CPUs serve; the caller passes them in (`candidates`). Left alone, it takes every
CPU that this process may run on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Optional

from .errors import BenchError

_CPU = "/sys/devices/system/cpu"
_NODE = "/sys/devices/system/node"


def parse_cpu_list(text: str) -> list[int]:
    """CPU numbers of a kernel list such as "0-3,8"; sorted, each once. An empty text is an empty list."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BenchError(f"{text.strip()!r} is not a list of CPUs: write it like 0-3,8")
        low, high = int(first), int(last or first)
        if high < low or high > 65_535:
            raise BenchError(f"{text.strip()!r} is not a list of CPUs: {part} is no range")
        cpus.update(range(low, high + 1))
    return sorted(cpus)


def format_cpu_list(cpus: Iterable[int]) -> str:
    """The kernel list of some CPU numbers: [0, 1, 2, 8] is "0-2,8"."""
    parts: list[str] = []
    ordered = sorted(set(cpus))
    start = 0
    for index, cpu in enumerate(ordered):
        if index + 1 < len(ordered) and ordered[index + 1] == cpu + 1:
            continue
        first = ordered[start]
        parts.append(str(cpu) if first == cpu else f"{first}-{cpu}")
        start = index + 1
    return ",".join(parts)


def allowed_cpus() -> list[int]:
    """CPUs that this process may run on, sorted."""
    return sorted(os.sched_getaffinity(0))


def node_of_cpus() -> dict[int, int]:
    """CPU -> NUMA node; empty on a kernel without NUMA."""
    nodes: dict[int, int] = {}
    try:
        names = os.listdir(_NODE)
    except OSError:
        return nodes
    for name in names:
        if name.startswith("node") and name[4:].isdecimal():
            for cpu in parse_cpu_list(_read(f"{_NODE}/{name}/cpulist")):
                nodes[cpu] = int(name[4:])
    return nodes


def first_of_each_core(cpus: Sequence[int]) -> list[int]:
    """One CPU per physical core: of thread siblings, the lowest that is in `cpus`."""
    chosen: list[int] = []
    taken: set[int] = set()
    for cpu in sorted(set(cpus)):
        if cpu not in taken:
            chosen.append(cpu)
            text = _read(f"{_CPU}/cpu{cpu}/topology/thread_siblings_list")
            taken.update(parse_cpu_list(text))
    return chosen


def choose_cpus(threads: Optional[int], candidates: Optional[Sequence[int]] = None) -> list[int]:
    """The CPU of each thread, the calling thread's first.

    `threads` None is one per physical core of one node: the node with the most cores among `candidates`, the lowest
    where several have as many. A number takes that node first and then the others. `candidates` None is every CPU
    that this process may use.
    """
    by_node = _cores_by_node(candidates)
    order = sorted(by_node, key=lambda node: (-len(by_node[node]), node))
    if threads is None:
        return by_node[order[0]]
    return _first(threads, [cpu for node in order for cpu in by_node[node]])


def spread_cpus(threads: Optional[int], candidates: Optional[Sequence[int]] = None) -> list[int]:
    """The CPU of each thread when the threads are to lie on all nodes: the nodes take turns, the lowest first.

    `threads` None is one per physical core of the whole host; `candidates` as for `choose_cpus`.
    """
    by_node = _cores_by_node(candidates)
    turns = zip_longest(*(by_node[node] for node in sorted(by_node)))
    cores = [cpu for turn in turns for cpu in turn if cpu is not None]
    return cores if threads is None else _first(threads, cores)


def _cores_by_node(candidates: Optional[Sequence[int]]) -> dict[int, list[int]]:
    """Node -> one CPU for each of its cores; at least one in all, or a BenchError."""
    allowed = allowed_cpus()
    wanted = allowed if candidates is None else sorted(set(candidates))
    outside = sorted(set(wanted) - set(allowed))
    if outside:
        raise BenchError(
            f"CPU {format_cpu_list(outside)} cannot be used here: this process may run on {format_cpu_list(allowed)}"
        )
    cores = first_of_each_core(wanted)
    if not cores:
        raise BenchError("no CPU to run on: the list of CPUs is empty")
    nodes = node_of_cpus()
    by_node: dict[int, list[int]] = {}
    for cpu in cores:
        by_node.setdefault(nodes.get(cpu, 0), []).append(cpu)
    return by_node


def _first(threads: int, cores: list[int]) -> list[int]:
    """The first `threads` of `cores`, or a BenchError: a core never gets two threads."""
    if threads < 1:
        raise BenchError(f"--threads {threads}: at least one thread is needed")
    if threads > len(cores):
        # A spinning barrier on an oversubscribed core takes a median of 55 ms to a second.
        raise BenchError(
            "--threads {}: there {} for it (CPUs {}); use at most that many".format(
                threads,
                "is one free core" if len(cores) == 1 else f"are {len(cores)} free cores",
                format_cpu_list(cores),
            )
        )
    return cores[:threads]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
