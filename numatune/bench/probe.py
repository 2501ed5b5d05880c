"""Record a memory walk: seconds instead of minutes, and numpy alone, to see whether NUMA balancing acts on this host.

A buffer is touched first on one node and read by threads on all nodes, over and over. Where the kernel's NUMA balancing
is on, it unmaps the buffer piece by piece to see who reads it; each piece comes back by a page fault, and some of
it moves to another node. The walk that runs into this is the spike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional

from . import validity
from .cpus import node_of_cpus, spread_cpus
from .errors import BenchError
from .measure import Limits, Progress, Say, Step, frame, ignore, look_around, run_pinned
from .packages.optional import import_numpy
from .placing import memory, policy
from .placing.walk import walking

NAME = "memory-walk"
DEFAULT_SECONDS, DEFAULT_MIB = 20.0, 256
"""NUMA balancing looks at a process once a second at most, and at 256 MiB of it each time (scan_period_min_ms and
scan_size_mb of the kernel); in an emulated guest, where unmapping is dear, every 8 to 12 seconds, so fewer miss it."""

LONGEST_SECONDS = 3600.0
_PER_SECOND, _AT_MOST = 1000, 60_000
"""Room for this many iterations a second, and in all: with fewer than 16 MiB to walk a run may end before its time."""


@dataclass(frozen=True)
class Request:
    """What to run. `threads` None is one per core of the whole host, `cpus` None every CPU allowed; `size` in MiB."""

    seconds: float = DEFAULT_SECONDS
    size: int = DEFAULT_MIB
    threads: Optional[int] = None
    cpus: Optional[Sequence[int]] = None
    memory: str = "default"
    command: tuple[str, ...] = ()
    program_version: str = ""
    anyway: bool = False


def record(request: Request, say: Say = ignore, progress: Progress = ignore) -> dict[str, Any]:
    """Walk and give the result, ready for `numatune.bench.result.write_result`; `say` and `progress` as for `bench`."""
    if not 0.0 < request.seconds <= LONGEST_SECONDS:
        raise BenchError(f"--seconds {request.seconds:g}: more than 0 and at most {LONGEST_SECONDS:g}")
    memory.check_size(request.size)
    cpus = spread_cpus(request.threads, request.cpus)
    node = node_of_cpus().get(cpus[0], 0)
    numpy = import_numpy()
    opening = look_around(cpus, say, request.anyway)
    seen: dict[str, Any] = {"first_touch_node": node}

    @contextmanager
    def walk() -> Iterator[Step]:
        buffer = memory.Buffer(request.size)
        seen["huge_pages"] = buffer.huge_pages
        seen["pages_at_start"] = buffer.pages_by_node()
        with walking(buffer.lines, cpus) as walk:
            seen["policies"] = walk.policies
            seen["meeting_ns"] = walk.meeting_ns()
            yield walk.step
            seen["pages_at_end"] = buffer.pages_by_node()

    room = min(math.ceil(_PER_SECOND * request.seconds), _AT_MOST)
    with policy.applied(policy.wanted(request.memory, node)):
        found = policy.in_force()
        if found.hides_balancing:
            say(f"memory policy {found.name}: NUMA balancing skips memory under it, so this run hides what it does")
        taken = run_pinned(cpus, walk, Limits(room, request.seconds), progress, tier="C")
    policies = seen.pop("policies")
    if any(name not in (None, found.name) for name in policies):
        text = f"the threads ran under different memory policies: {', '.join(sorted(map(str, set(policies))))}"
        taken.events.append(validity.event("memory_policy", text))
    surroundings = {
        "model": {
            "name": NAME,
            "size": request.size,
            "stride_bytes": memory.STRIDE_BYTES,
            "graph_sha256": None,
            "weights_sha256": None,
        },
        "batch": 1,
        "precision": "int64",
        "memory_policy": found.name,
        "memory": {"asked": request.memory, "read_back": policies[0], "hides": found.hides_balancing, **seen},
        "engine": {"name": "numpy", "version": str(numpy.__version__)},
    }
    return frame(opening, taken, cpus, request.command, request.program_version, False, surroundings)
