"""A judged host with its name, as every format of a report takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.model import HostReport, Plan


@dataclass(frozen=True)
class Judged:
    """One host of a report: its name, and either its judgement or the error (phase and one line)."""

    name: str
    report: HostReport | None = None
    error: dict[str, str] | None = None
    plan: Plan | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the host as the audit's JSON has it."""
        if self.report is None:
            return {"name": self.name, "status": "unreachable", "error": self.error, "facts": {}, "findings": []}
        return {"name": self.name, "error": self.error, **self.report.as_dict()}


@dataclass(frozen=True)
class Run:
    """What one audit was: when, by which version and profile, over which hosts."""

    version: str
    profile: str
    started: str
    finished: str
    hosts: tuple[Judged, ...]
    partial: bool = False

    def summary(self) -> dict[str, int]:
        """Count the hosts by status."""
        statuses = [host.report.status if host.report else "unreachable" for host in self.hosts]
        counted = {status: statuses.count(status) for status in ("ok", "findings", "incomplete", "unreachable")}
        return {"hosts": len(statuses), **counted}
