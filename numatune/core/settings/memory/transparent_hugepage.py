"""Transparent huge pages: for which memory the kernel makes them by itself, and what it does to get one."""

from __future__ import annotations

from ...host import Host
from ...kit.said import Right, Said, said, unread
from ...kit.starts import Start, always, argument, build_option, first
from ...kit.tmpfiles_d import TmpfilesD
from ...kit.value import Value, bracketed, setting_of
from ...status import Plane

_FOLDER = "/sys/kernel/mm/transparent_hugepage"
_NAMES = ("always", "madvise", "never")
_ABSENT = "this kernel has no transparent huge pages (built without them)"
_REFERENCES = ("https://docs.kernel.org/admin-guide/mm/transhuge.html",)
_SMALL = 512 << 10
_FREED = 32 << 10
"""KiB: a kernel counts its memory before it frees what it needed to start, which it counts later."""


def _on_a_small_machine(host: Host, right: Right) -> Said:
    """Return what a kernel with less than 512 MiB starts with, whatever its argument: never (hugepage_init())."""
    memory = [node.memory_kib for node in (host.topology.nodes or {}).values()]
    known = sum(size for size in memory if size is not None)
    if not memory or None in memory or known >= _SMALL + _FREED:
        return Said(Plane.NONE)
    if known >= _SMALL:
        return unread("a kernel with less than 512 MiB starts without them, and this host has hardly more")
    return said("never", right)


_SMALL_MACHINE = Start(_on_a_small_machine)

TRANSPARENT_HUGEPAGE = setting_of(
    Value(
        setting="transparent_hugepage",
        path=f"{_FOLDER}/enabled",
        wanted="madvise",
        read=bracketed,
        accepts=lambda value: value in ("madvise", "never"),
        keeper=TmpfilesD(
            f"{_FOLDER}/enabled",
            "/etc/tmpfiles.d/zz-numatune-transparent-hugepage.conf",
            (("vm", "transparent_hugepages"), ("vm", "transparent_hugepage")),
            unless="transparent_hugepage",
        ),
        starts=first(
            _SMALL_MACHINE,
            argument("transparent_hugepage", {name: name for name in _NAMES}.get),
            build_option({f"CONFIG_TRANSPARENT_HUGEPAGE_{name.upper()}": name for name in _NAMES}, where=_FOLDER),
        ),
        harm="khugepaged and page faults make huge pages of memory that nobody asked it for, and compact memory for "
        "them",
        absent=_ABSENT,
    ),
    choices=_NAMES,
    title="Transparent huge pages",
    why="With `always`, the kernel makes huge pages of any memory: a fault clears 2 MiB at once, and khugepaged "
    "moves pages in the background. With `madvise` only programs get them that ask, as allocators and inference "
    "engines do for their weights. Evidence cuts both ways: Vespa's p99 fell from 950 to 150 ms with `always`, "
    "Redis and TiDB ask for `never`. So numatune reports `always`, takes `madvise` and `never`, and tunes it where "
    "it is named; a profile that wants another says so (`settings: {transparent_hugepage: {expected: always}}`).",
    remedy="Write madvise to /sys/kernel/mm/transparent_hugepage/enabled now and at every boot (tmpfiles.d), or "
    "give the kernel argument transparent_hugepage=madvise.",
    references=(*_REFERENCES, "https://github.com/vespa-engine/documentation/pull/2059"),
)

TRANSPARENT_HUGEPAGE_DEFRAG = setting_of(
    Value(
        setting="transparent_hugepage_defrag",
        path=f"{_FOLDER}/defrag",
        wanted="madvise",
        read=bracketed,
        accepts=lambda value: value in ("madvise", "defer+madvise", "defer", "never"),
        keeper=TmpfilesD(
            f"{_FOLDER}/defrag",
            "/etc/tmpfiles.d/zz-numatune-transparent-hugepage-defrag.conf",
            (("vm", "transparent_hugepage.defrag"),),
        ),
        starts=first(_SMALL_MACHINE, always("madvise", since=(4, 6))),
        harm="a page fault of any program waits while memory is reclaimed and compacted for a huge page",
        absent=_ABSENT,
    ),
    choices=("always", "defer", "defer+madvise", "madvise", "never"),
    title="Transparent huge pages: reclaim and compaction",
    why="With `always`, a page fault that finds no free huge page reclaims and compacts memory first, for "
    "milliseconds, in the middle of a request. With `madvise` only memory waits for which a program asked, with "
    "`defer` kernel threads do it in the background. The kernel's default is `madvise` since 4.6. It is the whole "
    "host's, so numatune reports `always`, and tunes it where it is named.",
    remedy="Write madvise to /sys/kernel/mm/transparent_hugepage/defrag now and at every boot (tmpfiles.d).",
    references=_REFERENCES,
)
