"""Services that set the same knobs: whether a unit runs and whether it starts at boot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .model import Reading, Snapshot
from .sources import Command, Directory, File, Source

UNITS = (
    "irqbalance.service",
    "tuned.service",
    "tuned-ppd.service",
    "power-profiles-daemon.service",
    "cpupower.service",
    "cpufrequtils.service",
    "ondemand.service",
)
_WANTS = "/etc/systemd/system/*.wants"
_LISTED = "/sos_commands/systemd/systemctl_list-unit-files"

SOURCES: tuple[Source, ...] = (
    Command(
        "units",
        "limit systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState " + " ".join(UNITS),
        needs="systemctl",
    ),
    Command(
        "daemons",
        "grep -sxE 'irqbalance|tuned|power-profiles-|tlp|thermald|numad' /proc/[0-9]*/comm || :",
    ),
    Directory("/run/systemd/system"),
    *(File(f"{_WANTS}/{unit}", links=True) for unit in UNITS),
    File(_LISTED, captured_only=True),
)


@dataclass(frozen=True)
class Unit:
    """A unit as far as it is known: None is "not known"."""

    installed: Optional[bool]
    active: Optional[bool]
    enabled: Optional[bool]
    source: str


def unit(snapshot: Snapshot, name: str) -> Unit:
    """Return what is known of a unit: from systemd itself, else from the links under /etc and the process list."""
    shown = snapshot.command("units")
    if shown.present:
        for block in shown.text.split("\n\n"):
            pairs = dict(line.partition("=")[::2] for line in block.splitlines())
            if pairs.get("Id") == name:
                installed = pairs.get("LoadState") not in ("not-found", None)
                return Unit(
                    installed,
                    pairs.get("ActiveState") == "active",
                    pairs.get("UnitFileState", "").startswith("enabled"),
                    "systemctl show",
                )
    enabled, where = _enabled(snapshot, name)
    running = _running(snapshot, name.removesuffix(".service"))
    known = running is not None and enabled is not None
    return Unit(True if running or enabled else False if known else None, running, enabled, where)


def _running(snapshot: Snapshot, program: str) -> Optional[bool]:
    listed = snapshot.command("daemons")
    if not listed.present:
        return None
    return any(line.rpartition(":")[2] == program[:15] for line in listed.text.splitlines())


def _enabled(snapshot: Snapshot, name: str) -> tuple[Optional[bool], str]:
    for folder, paths in snapshot.configuration.items():
        if folder.startswith("/etc/systemd/system/") and folder.endswith(".wants") and f"{folder}/{name}" in paths:
            return True, f"{folder}/{name}"
    listed: Reading = snapshot.read(_LISTED)
    for line in listed.text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return words[1].startswith("enabled"), _LISTED
    if listed.present:
        return False, _LISTED
    return (False if snapshot.complete else None), "/etc/systemd/system"
