"""A judged host with its name, as every format of a report takes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...core.change import Plan
from ...core.host_status import counted, failed
from ...core.model import HostReport


@dataclass(frozen=True)
class Judged:
    """One host of a report: its name, and either its judgement or the error (phase and one line).

    `profile` names the profile that it was judged by, where that is not the run's.
    """

    name: str
    report: HostReport | None = None
    error: dict[str, str] | None = None
    plan: Plan | None = None
    profile: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the host as the audit's JSON has it."""
        if self.report is None:
            return {"name": self.name, "status": self.status, "error": self.error, "facts": {}, "findings": []}
        return {"name": self.name, "error": self.error, **self.report.as_dict()}

    def plan_as_dict(self) -> dict[str, Any]:
        """Return the host as the plan's JSON has it; "error" is there only where there is no plan."""
        return {"name": self.name, **(self.plan.as_dict() if self.plan else {"error": self.error})}

    @property
    def status(self) -> str:
        """One word: ok, findings (of a plan: changes or conflicts), incomplete, unreachable, not_judged."""
        if self.report is not None:
            return self.report.status
        if self.plan is not None:
            return "findings" if self.plan.changes or self.plan.conflicts else "ok"
        return failed((self.error or {}).get("phase", ""))


@dataclass(frozen=True)
class Run:
    """What one audit or plan was: when, by which version and profile, over which hosts.

    `texts` gives the hosts' JSON, each an object on one line or an indented one, and may be asked for more than once;
    `summary` counts them by status. `more` are further fields of the JSON, which a fleet's run has.
    """

    version: str
    profile: str
    started: str
    finished: str
    summary: dict[str, int]
    texts: Callable[[], Iterator[str]]
    partial: bool = False
    more: dict[str, Any] = field(default_factory=dict)


def of_hosts(version: str, profile: str, started: str, finished: str, hosts: tuple[Judged, ...], plan: bool) -> Run:
    """Return the run over a few hosts that are all at hand."""
    summary = counted(host.status for host in hosts)

    def texts() -> Iterator[str]:
        for host in hosts:
            value = host.plan_as_dict() if plan else host.as_dict()
            yield json.dumps(value, indent=1).replace("\n", "\n  ")

    return Run(version, profile, started, finished, summary, texts)
