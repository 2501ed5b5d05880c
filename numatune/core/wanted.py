"""What is wanted of a host: the noun that a profile is read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .cpuset import CpuSet
from .model import Severity, Waiver


@dataclass(frozen=True)
class Profile:
    """What is wanted of a host; None for a CPU set means "from the topology".

    `also` names settings that are tuned beside those that are so by default (core.inventory reads it).
    """

    name: str
    settings: tuple[str, ...]
    severities: Mapping[str, Severity] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    serving: Optional[CpuSet] = None
    housekeeping: Optional[CpuSet] = None
    housekeeping_cores_per_node: int = 1
    waivers: tuple[Waiver, ...] = ()
    also: tuple[str, ...] = ()
