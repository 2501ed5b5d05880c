"""The probe's buffer: private memory in small pages, touched first by one thread, and the nodes on which it lies."""

from __future__ import annotations

import mmap
from typing import Any, Optional

from ..errors import BenchError, reason
from ..host import read_text

MIB = 1 << 20
SMALLEST_MIB = 1
STRIDE_BYTES = 256
"""The walk reads one word of each fourth cache line: all pages, yet a walk stays short beside a round of faults."""

_WORD_BYTES = 8

Words = Any  # numpy's generic array types do not exist in the numpy that Python 3.9 runs


def check_size(mib: int) -> int:
    """`mib` where a buffer of that many MiB fits into the memory that is free."""
    if mib < SMALLEST_MIB:
        raise BenchError(f"--size {mib}: the buffer has {SMALLEST_MIB} MiB at least")
    available = available_mib(read_text("/proc/meminfo") or "")
    if available is not None and mib > available:
        raise BenchError(f"--size {mib}: only {available} MiB of memory are free here; walk over fewer")
    return mib


def available_mib(meminfo: str) -> Optional[int]:
    """MiB that can be had without swapping, from the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        name, _colon, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return None


class Buffer:
    """`size` MiB of private memory, and the words that a walk reads: int64, shape (lines,), each of them 1.

    The constructor touches every page, so the calling thread's CPU and policy decide on the node.
    """

    def __init__(self, mib: int) -> None:
        import numpy as np

        try:
            # Shared memory, the default, would lie in a file of the kernel's own, where other rules hold.
            self._space = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            why = reason(error) if isinstance(error, OSError) else "too large"
            raise BenchError(f"cannot get {mib} MiB of memory: {why}; name a smaller --size") from error
        # A mapping unlike its neighbours: the kernel would merge it with thread stacks, and pages_by_node lose it.
        self._space.madvise(mmap.MADV_DONTFORK)
        self.huge_pages = _without_huge_pages(self._space)
        words = np.frombuffer(self._space, dtype=np.int64)
        self.lines: Words = words[:: STRIDE_BYTES // _WORD_BYTES]
        self.lines[:] = 1
        self._start = int(words.__array_interface__["data"][0])
        self._end = self._start + mib * MIB

    def pages_by_node(self) -> Optional[dict[str, int]]:
        """Node -> pages of the buffer that lie there now; None where the kernel does not say."""
        return parse_numa_maps(read_text("/proc/self/numa_maps") or "", self._start, self._end)


def parse_numa_maps(text: str, start: int, end: int) -> Optional[dict[str, int]]:
    """Node -> pages of the mappings that begin in [start, end), from /proc/self/numa_maps; None where there is none.

    A line is the address, the policy, and words such as `anon=512` and `N0=512`.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        address, *words = line.split()
        if not start <= int(address, 16) < end:
            continue
        for word in words:
            name, equals, pages = word.partition("=")
            if equals and name[:1] == "N" and name[1:].isdecimal():
                found[name[1:]] = found.get(name[1:], 0) + int(pages)
    return found or None


def _without_huge_pages(space: mmap.mmap) -> str:
    """Ask for small pages: one fault on a huge page stands for 512, and would hide how much was unmapped."""
    try:
        space.madvise(mmap.MADV_NOHUGEPAGE)
    except (OSError, AttributeError):  # a kernel without transparent huge pages, or a Python built for one
        return "not supported"
    return "off (MADV_NOHUGEPAGE)"
