"""Kernel samepage merging: a kernel thread scans memory for equal pages and makes one of them."""

from __future__ import annotations

from ...kit.starts import always
from ...kit.tmpfiles_d import TmpfilesD
from ...kit.value import Value, setting_of
from ...machine import agents

_PATH = "/sys/kernel/mm/ksm/run"

KSM = setting_of(
    Value(
        setting="ksm",
        path=_PATH,
        wanted="0",
        named="off",
        # 2 stops it too, and takes apart what was merged.
        accepts=lambda value: value in ("0", "2"),
        keeper=TmpfilesD(_PATH, "/etc/tmpfiles.d/zz-numatune-ksm.conf"),
        starts=always("0"),
        harm="ksmd takes a CPU to compare pages, and a request that writes to a merged page takes a fault and "
        "copies it",
        absent="this kernel merges no pages (built without KSM)",
        agents=agents.Agents(_PATH, (agents.Agent(agents.KSMTUNED), agents.Agent(agents.KSM))),
    ),
    title="Kernel samepage merging (KSM)",
    why="ksmd scans memory that programs offer (virtual machines, mostly) and makes equal pages one. It takes a "
    "CPU, and the next write to such a page takes a fault and a copy in the middle of a request. A host of many "
    "virtual machines may need it to hold them all, so numatune reports it, and tunes it where it is named.",
    remedy="Write 0 to /sys/kernel/mm/ksm/run now and at every boot, with ksmtuned off; 2 also takes apart what was "
    "merged, which needs the memory for it.",
    references=("https://docs.kernel.org/admin-guide/mm/ksm.html",),
)
