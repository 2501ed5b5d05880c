"""What the settings of interrupts share."""

from __future__ import annotations

from ..model import Finding, Severity, Status
from ..roles import Roles


def nowhere_to_move(setting: str, roles: Roles) -> Finding:
    """Return the finding of a host without housekeeping CPUs, to which no interrupt can be moved."""
    if not roles.serving:
        return Finding(setting, Status.UNKNOWN, Severity.WARNING, reason=roles.note)
    why = f"{roles.note}; there is no CPU to move interrupts to"
    return Finding(setting, Status.NOT_APPLICABLE, Severity.WARNING, reason=why)
