"""The settings in the order in which they are judged and shown.

The order is that of the hunt: what moved memory and threads in the founding story first, then what changes a CPU's
speed, then what wakes it late, then what interrupts it, then what shares it; then the arguments that a reboot brings.
Last what is tuned only where it is named, and what is never changed.
"""

from __future__ import annotations

from difflib import get_close_matches

from .errors import InputError
from .setting import Setting
from .settings.cpu.cpu_governor import CPU_GOVERNOR
from .settings.cpu.cpu_idle import CPU_IDLE
from .settings.cpu.mitigations import MITIGATIONS
from .settings.interrupts.irq_affinity import IRQ_AFFINITY
from .settings.interrupts.irqbalance import IRQBALANCE
from .settings.isolation.core_isolation import CORE_ISOLATION
from .settings.isolation.kernel_arguments import KERNEL_ARGUMENTS
from .settings.isolation.timer_migration import TIMER_MIGRATION
from .settings.memory.ksm import KSM
from .settings.memory.numa_balancing import NUMA_BALANCING
from .settings.memory.swappiness import SWAPPINESS
from .settings.memory.transparent_hugepage import TRANSPARENT_HUGEPAGE, TRANSPARENT_HUGEPAGE_DEFRAG

SETTINGS: tuple[Setting, ...] = (
    NUMA_BALANCING,
    CPU_GOVERNOR,
    CPU_IDLE,
    IRQBALANCE,
    IRQ_AFFINITY,
    CORE_ISOLATION,
    KERNEL_ARGUMENTS,
    TRANSPARENT_HUGEPAGE,
    TRANSPARENT_HUGEPAGE_DEFRAG,
    KSM,
    SWAPPINESS,
    TIMER_MIGRATION,
    MITIGATIONS,
)


def names() -> tuple[str, ...]:
    """Return the names of all settings, in order."""
    return tuple(setting.name for setting in SETTINGS)


def setting(name: str) -> Setting:
    """Return one setting; raises InputError for a name that is none."""
    for item in SETTINGS:
        if item.name == name:
            return item
    near = get_close_matches(name, names(), 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(f"no setting named {name!r}{meant}; there is {', '.join(names())}")
