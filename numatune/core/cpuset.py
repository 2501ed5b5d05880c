"""CPU lists and masks as the kernel writes them, and the algebra on them.

A set is held as one integer, bit N for CPU N, so that hosts with thousands of CPUs cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .errors import InputError
from .numbers import natural

# No kernel is built for more (CONFIG_NR_CPUS tops out at 8192); the cap keeps hostile text from allocating.
_LIMIT = 1 << 16
_HEX = re.compile(r"[0-9A-Fa-f]+")


class CpuSet:
    """An immutable set of CPU numbers (or of IRQ or node numbers, which the kernel writes the same way)."""

    __slots__ = ("bits",)

    bits: int

    def __init__(self, bits: int = 0) -> None:
        """Make a set from an integer mask, bit N for CPU N."""
        object.__setattr__(self, "bits", bits)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a CpuSet does not change")

    @classmethod
    def of(cls, cpus: Iterable[int]) -> CpuSet:
        """Make a set from CPU numbers."""
        bits = 0
        for cpu in cpus:
            bits |= 1 << cpu
        return cls(bits)

    def __iter__(self) -> Iterator[int]:
        # The text of the number, lowest digit first: searching it costs less than shifting a wide integer.
        digits = bin(self.bits)[:1:-1]
        cpu = digits.find("1")
        while cpu >= 0:
            yield cpu
            cpu = digits.find("1", cpu + 1)

    def __len__(self) -> int:
        return bin(self.bits).count("1")

    def __bool__(self) -> bool:
        return self.bits != 0

    def __contains__(self, cpu: int) -> bool:
        return cpu >= 0 and bool(self.bits >> cpu & 1)

    def __or__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits | other.bits)

    def __and__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & other.bits)

    def __sub__(self, other: CpuSet) -> CpuSet:
        return CpuSet(self.bits & ~other.bits)

    def __le__(self, other: CpuSet) -> bool:
        return not self.bits & ~other.bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CpuSet) and self.bits == other.bits

    def __hash__(self) -> int:
        return hash(self.bits)

    def __repr__(self) -> str:
        return f"CpuSet({str(self)!r})"

    def __str__(self) -> str:
        """Return the kernel's list form, such as "0-3,8"; the empty set is ""."""
        if self.bits and not self.bits & (self.bits - 1):
            return str(self.bits.bit_length() - 1)
        parts = []
        start = previous = -2
        for cpu in self:
            if cpu != previous + 1:
                if start >= 0:
                    parts.append(_span(start, previous))
                start = cpu
            previous = cpu
        if start >= 0:
            parts.append(_span(start, previous))
        return ",".join(parts)

    def first(self) -> int:
        """Return the lowest CPU; the set must not be empty."""
        return (self.bits & -self.bits).bit_length() - 1


def _span(start: int, end: int) -> str:
    return str(start) if start == end else f"{start}-{end}"


def parse_list(text: str) -> CpuSet:
    """Read a kernel list such as "0-3,8,16-30:2/4" into a set.

    "(null)" and NUL bytes, which `cpu/nohz_full` prints where nothing is set, are the empty set.
    Raises InputError for anything that is not a list.
    """
    bits = 0
    for part in text.strip(" \t\n\0").split(","):
        word = part.strip()
        if not word or word == "(null)":
            continue
        span, _, stride = word.partition(":")
        low, dash, high = span.partition("-")
        start = natural(low)
        end = natural(high) if dash else start
        used, group = _stride(stride)
        if start is None or end is None or not start <= end < _LIMIT or not used:
            raise InputError(f"not a CPU list: {text.strip()[:60]!r}")
        if group == 1:
            bits |= ((1 << (end - start + 1)) - 1) << start
        else:
            for cpu in range(start, end + 1):
                if (cpu - start) % group < used:
                    bits |= 1 << cpu
    return CpuSet(bits)


def _stride(text: str) -> tuple[int, int]:
    """Return how many CPUs of how many are meant, (0, 0) for what is no stride."""
    if not text:
        return 1, 1
    used, _, group = text.partition("/")
    pair = natural(used) or 0, natural(group) or 0
    return pair if 0 < pair[0] <= pair[1] else (0, 0)


def parse_mask(text: str) -> CpuSet:
    """Read a kernel mask such as "ff,00000000" (comma groups of 32 bits, the first one of any width)."""
    groups = text.strip(" \t\n\0").removeprefix("0x").split(",")
    bits = 0
    try:
        for group in groups:
            # int() takes signs and underscores too, and a negative mask would be a set without end.
            if not _HEX.fullmatch(group) or (len(group) > 8 and len(groups) > 1):
                raise ValueError(group)
            bits = bits << 32 | int(group, 16)
    except ValueError:
        raise InputError(f"not a CPU mask: {text.strip()[:60]!r}") from None
    if bits.bit_length() > _LIMIT:
        raise InputError(f"not a CPU mask: {text.strip()[:60]!r}")
    return CpuSet(bits)


EMPTY = CpuSet()
