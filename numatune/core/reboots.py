"""Which settings wait for a reboot, so that a host is rebooted for what that brings, never twice for one change."""

from __future__ import annotations

from collections.abc import Iterable

from .catalogue import SETTINGS
from .host import Host
from .model import Finding, Status


def awaited(host: Host, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the settings that are right on disk and wait for a reboot.

    Core isolation by kernel arguments waits for what they wait for: where they say that another boot would not bring
    them (a boot came without), it must not ask for one.
    """
    by_name = {item.setting: item.status for item in findings}
    by_reboot = [item.name for item in SETTINGS if item.by_reboot]
    waiting = [name for name in by_reboot if by_name.get(name) is Status.PENDING_REBOOT]
    by_arguments = host.option("core_isolation", "mode") == "kernel"
    if by_arguments and by_name.get("kernel_arguments") is Status.WRONG and "core_isolation" in waiting:
        waiting.remove("core_isolation")
    return tuple(waiting)
