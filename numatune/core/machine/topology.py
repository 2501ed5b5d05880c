"""CPUs, cores, thread siblings, packages and NUMA nodes, from whatever of sysfs there is.

Trees of real machines lack `cpu/online`, `topology/` of offline CPUs, `cpulist` or `cpumap`, or the whole `node`
directory; each fact is None where nothing determines it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Callable, Optional

from ..cpuset import EMPTY, CpuSet, parse_list, parse_mask
from ..derived import once
from ..errors import InputError
from ..model import Snapshot
from ..numbers import natural
from ..sources import Directory, Extract, File, Source
from ..text import lines

CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"

# What captured trees alone need in place of something else, each kernel since 2.6.26 shows in that other form as well.
SOURCES: tuple[Source, ...] = (
    *(File(f"{CPU}/{name}") for name in ("online", "offline")),
    Directory(CPU),
    Directory(NODE),
    Directory(f"{CPU}/cpu[0-9]*"),
    Directory(f"{NODE}/node[0-9]*"),
    File(f"{CPU}/cpu[0-9]*/online", captured_only=True),
    *(File(f"{CPU}/cpu[0-9]*/topology/{name}") for name in ("thread_siblings_list", "core_siblings_list")),
    *(
        File(f"{CPU}/cpu[0-9]*/topology/{name}", captured_only=True)
        for name in ("thread_siblings", "core_cpus_list", "core_cpus", "physical_package_id")
    ),
    Directory(f"{CPU}/cpu[0-9]*/node[0-9]*", captured_only=True),
    Directory(f"{NODE}/node[0-9]*/cpu[0-9]*", captured_only=True),
    File(f"{NODE}/node[0-9]*/cpulist"),
    File(f"{NODE}/node[0-9]*/cpumap", captured_only=True),
    Extract(f"{NODE}/node[0-9]*/meminfo", keep="MemTotal", until="MemTotal"),
    File(f"{NODE}/has_memory"),
)


@dataclass(frozen=True)
class Node:
    """A NUMA node: its online CPUs (empty for memory alone) and its memory in KiB, None where unknown."""

    cpus: CpuSet
    memory_kib: Optional[int]


@dataclass(frozen=True)
class Topology:
    """The machine's shape; None is "the tree does not say"."""

    online: Optional[CpuSet]
    cores: tuple[CpuSet, ...]
    """One set of thread siblings per physical core, online CPUs only, sorted by the first CPU."""
    packages: Optional[int]
    nodes: Optional[Mapping[int, Node]]
    coreless: CpuSet = EMPTY
    """Online CPUs of which nothing says what core they are in."""

    @property
    def threads_per_core(self) -> Optional[int]:
        """Return the most threads that a core has, as lscpu does for mixed cores."""
        return max(map(len, self.cores)) if self.cores else None

    def core_of(self, cpu: int) -> CpuSet:
        """Return the thread siblings of a CPU, itself included."""
        for core in self.cores:
            if cpu in core:
                return core
        return CpuSet(1 << cpu)


@once
def read(snapshot: Snapshot) -> Topology:
    """Read the topology from a snapshot."""
    listed = _numbered(snapshot, f"{CPU}/cpu")
    online = _online(snapshot, listed)
    cores = _cores(snapshot, online or EMPTY)
    coreless = (online or EMPTY) - CpuSet(_bits(cores))
    return Topology(online, cores, _packages(snapshot, online or EMPTY), _nodes(snapshot, online), coreless)


def _numbered(snapshot: Snapshot, prefix: str) -> CpuSet:
    bits, size = 0, len(prefix)
    for path in snapshot.dirs:
        if path.startswith(prefix) and len(path) <= size + 5:
            number = natural(path[size:])
            bits |= 0 if number is None else 1 << number
    return CpuSet(bits)


def _online(snapshot: Snapshot, listed: CpuSet) -> Optional[CpuSet]:
    online = _parsed(snapshot, f"{CPU}/online", parse_list)
    if online is not None and online:
        return online
    if not listed:
        # A tree without them may hold /proc/cpuinfo, which lists those that are online ("processor 0:" on s390).
        found = _PROCESSOR.findall(snapshot.read("/proc/cpuinfo").text)
        numbers = [number for number in map(natural, found) if number is not None and number < _MOST]
        # A host's own is carried up to its first processor alone.
        return CpuSet.of(numbers) if numbers and not snapshot.complete else None
    # No summary: each directory's own `online` decides; a CPU that cannot be unplugged (CPU 0) has none. A
    # CPU that the summary of offline ones names is off whatever its directory holds.
    offline = _parsed(snapshot, f"{CPU}/offline", parse_list) or EMPTY
    bits = 0
    for cpu in listed - offline:
        state = snapshot.read(f"{CPU}/cpu{cpu}/online")
        if not (state.present and state.text.strip() == "0"):
            bits |= 1 << cpu
    return CpuSet(bits)


def _cores(snapshot: Snapshot, online: CpuSet) -> tuple[CpuSet, ...]:
    """Return the cores that something tells of; one that names a CPU stands for that CPU's own missing file."""
    parsed: dict[tuple[str, str], Optional[CpuSet]] = {}
    cores: dict[int, CpuSet] = {}
    alone = 0
    for cpu in online:
        key = _shown_core(snapshot, cpu)
        if key is None:
            continue
        if key not in parsed:
            parsed[key] = _siblings(*key)
        core = parsed[key]
        if core is None:
            continue
        core = core & online
        if cpu in core:
            cores.setdefault(core.first(), core)
        else:
            # Siblings that do not name the CPU itself are a firmware's mistake; it is then its own core.
            alone |= 1 << cpu
    for cpu in CpuSet(alone & ~_bits(cores.values())):
        cores.setdefault(cpu, CpuSet(1 << cpu))
    return tuple(cores[first] for first in sorted(cores))


def _bits(sets: Iterable[CpuSet]) -> int:
    bits = 0
    for cpus in sets:
        bits |= cpus.bits
    return bits


def _shown_core(snapshot: Snapshot, cpu: int) -> Optional[tuple[str, str]]:
    base = f"{CPU}/cpu{cpu}/topology/"
    for name in ("thread_siblings_list", "thread_siblings", "core_cpus_list", "core_cpus"):
        text = snapshot.files.get(base + name)
        if text is not None:
            return name, text
    return None


def _packages(snapshot: Snapshot, online: CpuSet) -> Optional[int]:
    files = snapshot.files
    siblings, ids = set(), set()
    for cpu in online:
        base = f"{CPU}/cpu{cpu}/topology/"
        shared = files.get(base + "core_siblings_list")
        ident = files.get(base + "physical_package_id", "").strip()
        siblings.add(shared or ident)
        ids.add(ident)
    # The siblings of an old kernel may be those of half a package (cluster on die); ids may be missing, -1 for all or
    # repeat (s390, in each book).
    named = ids if not ids & {"", "-1"} and "IBM/S390" not in snapshot.read("/proc/cpuinfo").text else siblings
    return len(named - {"", "-1"}) or None


def _siblings(name: str, text: str) -> Optional[CpuSet]:
    try:
        return parse_list(text) if name.endswith("_list") else parse_mask(text)
    except InputError:
        return None


def _nodes(snapshot: Snapshot, online: Optional[CpuSet]) -> Optional[dict[int, Node]]:
    ids = _numbered(snapshot, f"{NODE}/node")
    links: Optional[dict[int, CpuSet]] = None
    if not ids:
        links = _node_links(snapshot)
        ids = CpuSet.of(links)
    if not ids:
        return None
    without_memory = _parsed(snapshot, f"{NODE}/has_memory", parse_list)
    nodes = {}
    for ident in ids:
        base = f"{NODE}/node{ident}"
        cpus = _parsed(snapshot, f"{base}/cpulist", parse_list)
        if cpus is None:
            cpus = _parsed(snapshot, f"{base}/cpumap", parse_mask)
        if cpus is None:
            # Every CPU is walked for its links, so only where nothing shorter says it.
            links = _node_links(snapshot) if links is None else links
            cpus = links.get(ident, EMPTY)
        memory = _memory(snapshot, f"{base}/meminfo")
        if memory is None and without_memory is not None and ident not in without_memory:
            memory = 0
        nodes[ident] = Node(cpus & online if online is not None else cpus, memory)
    return nodes


def _node_links(snapshot: Snapshot) -> dict[int, CpuSet]:
    """Return the CPUs of each node as the links between their directories show them, in either direction."""
    found: dict[int, CpuSet] = {}
    for path in snapshot.dirs:
        match = _LINK.fullmatch(path)
        if match:
            node, cpu = (match[2], match[1]) if match[1] else (match[3], match[4])
            found[int(node)] = found.get(int(node), EMPTY) | CpuSet(1 << int(cpu))
    return found


_PROCESSOR = re.compile(r"^processor(?:[ \t]*:[ \t]*|[ \t]+)([0-9]{1,5})\b", re.M)
_MOST = 1 << 13
_LINK = re.compile(rf"{CPU}/cpu([0-9]{{1,5}})/node([0-9]{{1,5}})|{NODE}/node([0-9]{{1,5}})/cpu([0-9]{{1,5}})")


def _memory(snapshot: Snapshot, path: str) -> Optional[int]:
    for line in lines(snapshot.read(path).text):
        words = line.split()
        if "MemTotal:" in words and words[-1] == "kB":
            return natural(words[-2])
    return None


def _parsed(snapshot: Snapshot, path: str, parse: Callable[[str], CpuSet]) -> Optional[CpuSet]:
    reading = snapshot.read(path)
    if not reading.present:
        return None
    try:
        return parse(reading.text)
    except InputError:
        return None
