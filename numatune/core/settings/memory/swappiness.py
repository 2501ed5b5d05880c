"""Swappiness: how readily the kernel swaps a process's memory out to keep more of the page cache."""

from __future__ import annotations

from ...kit.starts import always, first, sysctl_argument
from ...kit.sysctl_d import SysctlD
from ...kit.value import Value, integer, setting_of

_KEY = "vm.swappiness"
_MOST = 10

SWAPPINESS = setting_of(
    Value(
        setting="swappiness",
        path="/proc/sys/vm/swappiness",
        key=_KEY,
        wanted=str(_MOST),
        accepts=lambda value: 0 <= int(value) <= _MOST,
        keeper=SysctlD(
            _KEY,
            "/etc/sysctl.d/99-zz-numatune-swappiness.conf",
            "Pages of a model that were swapped out are read from the disk in the middle of a request.",
        ),
        starts=first(sysctl_argument(_KEY, integer), always("60")),
        harm="where there is swap, the kernel gives up a serving process's memory to keep more of the page cache",
        absent="this kernel cannot swap (built without it)",
    ),
    title="Swappiness",
    why="Where there is swap, a high swappiness lets the kernel take memory from a process that was not touched for "
    "a while, to keep more of the page cache. The next request reads its weights from the disk. A low one prefers "
    "to drop the cache; a process that locks its memory (LimitMEMLOCK, mlockall) needs none of it. It is the whole "
    "host's, so numatune reports it, and tunes it where it is named.",
    remedy="vm.swappiness = 10 or less in /etc/sysctl.d and in the running kernel.",
    references=(
        "https://docs.kernel.org/admin-guide/sysctl/vm.html#swappiness",
        "https://github.com/redhat-performance/tuned/blob/master/profiles/latency-performance/tuned.conf",
    ),
)
