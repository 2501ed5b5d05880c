"""Interrupts as the kernel writes them: /proc/interrupts without its counters, and affinity masks."""

from __future__ import annotations

import re

from ..cpuset import CpuSet
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
    words = (action.replace(",", " ") if "," in action else action).split()
    return bool(words) and _MANAGED.fullmatch(words[-1]) is not None


def mask_like(shown: str, cpus: CpuSet) -> str:
    """Return a set in the kernel's mask form (comma groups of 32 bits), as wide as the one that a file shows."""
    digits = sum(map(len, shown.strip().split(",")))
    text = f"{cpus.bits:0{digits}x}"
    first = len(text) % 8
    groups = [text[start : start + 8] for start in range(first, len(text), 8)]
    return ",".join([text[:first], *groups] if first else groups)
