"""/proc/interrupts without its counters: which action an IRQ number has."""

from __future__ import annotations

import re

from .numbers import natural

# Multi-queue block and network drivers ask the kernel to spread these; /proc refuses to move them (EIO).
_MANAGED = re.compile(
    r"nvme\d+q[1-9]\d*|virtio\d+-(?:req|request)\.\d+|megasas\d+-msix[1-9]\d*|mpt\dsas\d+-msix[1-9]\d*"
)


def actions(text: str) -> dict[int, str]:
    """Return IRQ number -> chip, hardware number and action, from lines such as "24: PCI-MSI 524288-edge eth0"."""
    found = {}
    for line in text.splitlines():
        number, sign, rest = line.strip().partition(":")
        parsed = natural(number) if sign else None
        if parsed is not None:
            found[parsed] = rest.strip()
    return found


def looks_managed(action: str) -> bool:
    """Return whether an action's last word is one that drivers hand to the kernel's own spreading."""
    return bool(action) and _MANAGED.fullmatch(action.replace(",", " ").split()[-1]) is not None
