"""Which CPUs the threads run on, from those they may use: one per physical core of a NUMA node, a socket, or all.

The recorder does not decide which CPUs serve; the caller passes them in (`candidates`). Left alone, it takes every
CPU that this process may run on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Optional

from .errors import BenchError

SCOPES = ("node", "socket", "host")
"""What `--scope` takes: the threads lie on one NUMA node, on one socket, or on all sockets."""

INSTRUCTION_SETS = (
    "sse4_2 avx avx2 fma avx_vnni avx_vnni_int8 avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16"
    " amx_tile amx_int8 amx_bf16 asimd asimdhp asimddp i8mm bf16 sve sve2 svei8mm svebf16"
).split()
"""Those on which the speed of an inference depends, by the kernel's names."""

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


def isolated_cpus() -> list[int]:
    """CPUs that `isolcpus=` keeps out of the default affinity: a process runs on them only where it asks to."""
    return parse_cpu_list(_read(f"{_CPU}/isolated"))


def reach(cpus: Iterable[int]) -> None:
    """Let this process run on `cpus` too, beside those that it may use; where the kernel refuses, nothing changes."""
    with suppress(OSError):
        os.sched_setaffinity(0, {*allowed_cpus(), *cpus})


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


def choose_cpus(
    threads: Optional[int], candidates: Optional[Sequence[int]] = None, scope: Optional[str] = None
) -> list[int]:
    """The CPU of each thread, the calling thread's first; `candidates` None is every CPU that this process may use.

    A scope confines the threads to the node or the socket with the most cores among `candidates` (the lowest where
    several have as many), or lets the nodes of the whole host take turns; `threads` None is one per physical core of
    it. Without a scope `threads` None is one per core of that node, and a number that exceeds it takes from the others.
    """
    by_node = _cores_by_node(candidates)
    order = sorted(by_node, key=lambda node: (-len(by_node[node]), node))
    if scope == "node" or (scope is None and threads is None):
        cores = by_node[order[0]]
    elif scope is None:
        cores = [cpu for node in order for cpu in by_node[node]]
    elif scope == "socket":
        sockets: dict[str, list[int]] = {}
        for cpu in _in_turns(by_node):
            sockets.setdefault(_package(cpu), []).append(cpu)
        cores = max(sockets.values(), key=lambda socket: (len(socket), -min(socket)))
    else:
        cores = _in_turns(by_node)
    return cores if threads is None else _first(threads, cores)


def cores_of_each_node(candidates: Optional[Sequence[int]] = None) -> dict[int, list[int]]:
    """NUMA node -> one CPU for each of its cores, the lowest node first."""
    by_node = _cores_by_node(candidates)
    return {node: by_node[node] for node in sorted(by_node)}


def scope_of(cpus: Sequence[int]) -> str:
    """The narrowest scope that holds these CPUs."""
    nodes = node_of_cpus()
    if len({nodes.get(cpu, 0) for cpu in cpus}) == 1:
        return "node"
    return "socket" if len({_package(cpu) for cpu in cpus}) == 1 else "host"


def instruction_sets(cpuinfo: Optional[str] = None) -> list[str]:
    """Those of `INSTRUCTION_SETS` that the first CPU of /proc/cpuinfo has."""
    for line in (_read("/proc/cpuinfo") if cpuinfo is None else cpuinfo).splitlines():
        key, _colon, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return [name for name in INSTRUCTION_SETS if name in value.split()]
    return []


def spread_cpus(threads: Optional[int], candidates: Optional[Sequence[int]] = None) -> list[int]:
    """The CPU of each thread when the threads are to lie on all nodes: the nodes take turns, the lowest first.

    `threads` None is one per physical core of the whole host; `candidates` as for `choose_cpus`.
    """
    cores = _in_turns(_cores_by_node(candidates))
    return cores if threads is None else _first(threads, cores)


def _in_turns(by_node: dict[int, list[int]]) -> list[int]:
    """All cores, the nodes taking turns, the lowest first: the first few lie on as many nodes as there are."""
    turns = zip_longest(*(by_node[node] for node in sorted(by_node)))
    return [cpu for turn in turns for cpu in turn if cpu is not None]


def _package(cpu: int) -> str:
    """The socket of a CPU, as the kernel numbers it; one for all where it does not say."""
    return _read(f"{_CPU}/cpu{cpu}/topology/physical_package_id").strip()


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
