"""Interrupts as the kernel writes them: /proc/interrupts without its counters, and affinity masks."""

from __future__ import annotations

import re

from ..cpuset import CpuSet
from ..numbers import natural
from ..text import lines

# Multi-queue block and network drivers ask the kernel to spread these; /proc refuses to move them (EIO).
# Read in the drivers: vectors before the first queue (nvme0q0, mpi3mr0-msix0, pm80xx0-0) are not spread, those of
# smartpqi all are; of qla2xxx, the pairs beside the base vectors.
_MANAGED = re.compile(
    r"nvme\d+q[1-9]\d*|virtio\d+-(?:req\.\d+|request(?:\.\d+)?)|megasas\d+-msix[1-9]\d*|mpt\dsas\d+-msix[1-9]\d*"
    r"|mpi3mr\d+-msix[1-9]\d*|smartpqi|qla2xxx\d+_qpair\d+|pm80xx\d+-[1-9]\d*"
)
# Each CPU has its own: Xen's, RISC-V's local ones, and ARM's private ones (GIC 16 to 31; GICv3's extended range).
_PER_CPU_ROW = re.compile(
    r"^ *(\d{1,9}): *(?:xen-percpu |RISC-V INTC |GIC(?:-\d+|v\d)? +(?:1[6-9]|2\d|3[01]|10[5-9]\d|110\d|111\d) )", re.M
)
_PER_CPU = re.compile(
    r"arch_timer|arm-pmu|kvm guest [pv]timer|riscv-timer|IPI|(?:resched|callfunc|callfuncsingle|irqwork)\d+"
)


def actions(text: str) -> dict[int, str]:
    """Return IRQ number -> chip, hardware number and action, from lines such as "24: PCI-MSI 524288-edge eth0"."""
    found = {}
    for line in lines(text):
        number, sign, rest = line.strip().partition(":")
        parsed = natural(number) if sign else None
        if parsed is not None:
            found[parsed] = rest.strip()
    return found


KEPT = "/run/numatune/kept-irqs"
"""The numbers of interrupts that refused to move in this boot, one a line; tune writes it."""


def per_cpu(text: str) -> set[int]:
    """Return the numbers of the interrupts in /proc/interrupts of which every CPU has its own, by their chip."""
    return {int(number) for number in _PER_CPU_ROW.findall(text)}


def looks_per_cpu(action: str) -> bool:
    """Return whether an action is one that every CPU handles for itself; it cannot be moved."""
    return _PER_CPU.fullmatch(action) is not None


def kept(text: str) -> set[int]:
    """Return the numbers in KEPT."""
    found = map(natural, text.split())
    return {number for number in found if number is not None}


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
