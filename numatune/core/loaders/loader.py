"""What a loader offers, and what GRUB's two ways share: the environment block, and what cannot be written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Optional, Protocol

from ..change import Change, Conflict
from ..errors import InputError
from ..model import Line, Snapshot
from ..ours import HEADER
from ..parsers import cmdline, grub
from ..text import lines as lines_of
from .next_boot import tuned_params

SETTING = "kernel_arguments"
OWNED = "/etc/numatune/kernel-arguments"
"""The note of the arguments that are numatune's, written before any entry holds them."""
HELD = "/etc/numatune/kernel-arguments-held"
"""The note that the default entry holds them, written after it does."""
TRIAL_PANIC = {"panic": "10"}
"""A trial that panics reboots by itself after ten seconds, and the default entry comes back."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"

_UNWRITABLE = frozenset("btrfs zfs f2fs squashfs overlay tmpfs nfs nfs4 iso9660 erofs cramfs".split())
_MAPPED = ("/dev/mapper/", "/dev/dm-", "/dev/md")
_BOOT_ID = re.compile(r"[0-9A-Za-z-]+")


class Loader(Protocol):
    """One host's boot loader; every method is pure and returns what would have to change."""

    name: str
    environment: str
    """The path of GRUB's environment block."""
    trial_id: str
    """What `next_entry` names to boot the trial once."""
    trial_path: str
    """The file that makes the trial entry."""
    trial_entry: str
    """The file that holds the trial entry as GRUB boots it."""

    def permanent(self, wanted: Mapping[str, str]) -> tuple[Change, ...]:
        """Return the changes after which every entry but the recovery ones holds the arguments, and no trial stands."""

    def trial(self, wanted: Mapping[str, str], boot_id: str) -> tuple[Change, ...]:
        """Return the changes that add the one-time entry, the default left as it is."""

    def without_trial(self) -> tuple[Change, ...]:
        """Return the changes that take the one-time entry away."""

    def conflicts(self, wanted: Mapping[str, str]) -> tuple[Conflict, ...]:
        """Return why the arguments cannot be written so that they hold."""

    def no_trial(self) -> str:
        """Return why an entry cannot be booted once here, "" where it can."""

    def leftovers(self) -> bool:
        """Return whether something that numatune wrote for kernel arguments stands on disk."""


def boot_id(snapshot: Snapshot) -> str:
    """Return the id of the boot that the host runs in; a script of GRUB's will name it, so it is an id or nothing."""
    found = snapshot.read(BOOT_ID).text.strip()
    return found if _BOOT_ID.fullmatch(found) else ""


def variable(snapshot: Snapshot, path: str, name: str) -> Optional[str]:
    """Return a variable of GRUB's environment block."""
    return grub.environment(snapshot.read(path).text).get(name) or None


def too_full(snapshot: Snapshot, path: str, variables: Iterable[tuple[str, str]]) -> tuple[Conflict, ...]:
    """Return the conflict of an environment block that would not hold these variables."""
    text = snapshot.read(path).text
    try:
        for name, value in variables:
            text = grub.with_variable(text, name, value)
    except InputError as error:
        where = Line(path, 0, "")
        return (conflict(where, f"{path}: {error}; take out what is not needed by grub-editenv, then run again"),)
    return ()


def no_one_time_boot(snapshot: Snapshot, path: str, config: str) -> str:
    """Return why GRUB cannot boot an entry once here, "" where it can.

    GRUB takes `next_entry` back by writing into the block's own sectors, which it cannot do on these: the trial
    would then boot every time.
    """
    mounts = snapshot.read("/proc/mounts")
    device, kind = _mounted(mounts.text, path)
    if not kind:
        return f"what {path} lies on is not known ({mounts.why() if not mounts.present else 'no mount holds it'})"
    if kind in _UNWRITABLE or device.startswith(_MAPPED):
        return f"GRUB cannot write {path} on {device} ({kind})"
    if "next_entry" not in config or "load_env" not in config:
        return "grub.cfg does not look at next_entry"
    return ""


def _mounted(mounts: str, path: str) -> tuple[str, str]:
    best, found = "", ("", "")
    for line in lines_of(mounts):
        words = line.split()
        if len(words) < 3 or words[0] == "rootfs":
            continue
        point = words[1].rstrip("/")
        if (path + "/").startswith(point + "/") and len(point) >= len(best):
            best, found = point, (words[0], words[2])
    return found


def tuned(snapshot: Snapshot, folder: str, wanted: Iterable[str]) -> tuple[Conflict, ...]:
    """Return the conflict of an argument that TuneD adds to every entry."""
    added, path = tuned_params(snapshot, folder)
    for key in [key for key in wanted if cmdline.values(added, key)][:1]:
        message = f"TuneD adds {key} to every entry ({path}): take it out of its profile, then run again"
        return (conflict(Line(path, 0, f"tuned_params={added}"), message),)
    return ()


def foreign(snapshot: Snapshot, path: str) -> tuple[Conflict, ...]:
    """Return the conflict of a file that has numatune's name and is somebody else's."""
    text = snapshot.read(path).text
    if not text.strip() or HEADER.strip() in text:
        return ()
    where = Line(path, 1, lines_of(text)[0])
    return (conflict(where, f"{path} exists and is not numatune's: move it away, then run again"),)


def conflict(where: Line, message: str) -> Conflict:
    """Return a conflict of the kernel arguments at one line."""
    return Conflict(SETTING, where.path, where.line, where.text, message)


def file_change(
    snapshot: Snapshot, path: str, content: Optional[str], why: str, mode: Optional[str] = "0644"
) -> list[Change]:
    """Return the change of one file, none where it stands as wanted; without a mode it keeps its own."""
    reading = snapshot.read(path)
    before = reading.text if reading.present else None
    if before == content:
        return []
    return [Change(SETTING, "file", path, content, before, why, None if content is None else mode, True)]
