"""How settings speak: values grouped by number, joined reasons, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional

from ..cpuset import CpuSet
from ..model import Evidence, Line, Reading, ValueGroup


def group(kind: str, values: Mapping[int, Optional[str]]) -> tuple[ValueGroup, ...]:
    """Group numbers that share a value, in the order of each group's first number."""
    bits: dict[Optional[str], int] = {}
    for number, value in values.items():
        bits[value] = bits.get(value, 0) | 1 << number
    ordered = sorted(bits.items(), key=lambda item: item[1] & -item[1])
    return tuple(ValueGroup(kind, str(CpuSet(mask)), value) for value, mask in ordered)


def summary(groups: Iterable[ValueGroup]) -> Optional[str]:
    """Return one value when all share it, else each with its numbers; None when none was read."""
    found = list(groups)
    if all(item.value is None for item in found):
        return None
    if len(found) == 1:
        return found[0].value
    return "; ".join(f"{item.value or 'not read'} ({item.ids})" for item in found)


def evidence(*items: object) -> tuple[Evidence, ...]:
    """Make the evidence from readings that are present and from lines; what is None or absent is left out."""
    found = []
    for item in items:
        if isinstance(item, Reading) and item.present:
            found.append(Evidence(item.path, item.text.strip("\n\0")))
        elif isinstance(item, Line):
            found.append(Evidence(f"{item.path}:{item.line}", item.text))
    return tuple(found)


NOT_NOW = "right at every boot, but not now: changed by hand in this boot, or configured since it began"
"""Why a value waits for nothing but to be set: a reboot would do it too, and is not needed."""


def cpu_words(listed: object, verb: str = "") -> str:
    """Return "CPU 1 runs" or "CPUs 1,3 run" of a set or its kernel list, and a verb (plural) that takes an s."""
    one = str(listed).isdigit()
    return f"CPU{'' if one else 's'} {listed}{' ' * bool(verb)}{verb}{'s' if one and verb else ''}"


def sentence(*parts: str) -> str:
    """Join what there is to say with "; "."""
    return "; ".join(part for part in parts if part)


def tuned(setting: str, by_default: bool) -> str:
    """Say how numatune sets it: what is tuned where it is named is named by its tag."""
    return "run playbooks/tune.yml" + ("" if by_default else f" --tags {setting}")
