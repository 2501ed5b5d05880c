"""What a loader offers, and what GRUB's two ways share: the environment block, the one-time entry, the note."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional, Protocol

from ..arguments import join
from ..boot import tuned_params
from ..boot_service import HEADER
from ..errors import InputError
from ..model import Change, Conflict, Line, Snapshot
from ..parsers import cmdline, grub

SETTING = "kernel_arguments"
OWNED = "/etc/numatune/kernel-arguments"
"""The note of the arguments that are numatune's."""
TRIAL_PANIC = {"panic": "10"}
"""A trial that panics reboots by itself after ten seconds, and the default entry comes back."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"

_UNWRITABLE = frozenset("btrfs zfs f2fs squashfs overlay tmpfs nfs nfs4 iso9660 erofs cramfs".split())
_MAPPED = ("/dev/mapper/", "/dev/dm-", "/dev/md")
_TRIAL = re.compile(r"^# numatune-trial boot=(\S*) arguments=(.*)$", re.M)


@dataclass(frozen=True)
class Trial:
    """A one-time entry that stands on disk: the boot that it was made in, and the arguments that it tries."""

    boot_id: str
    arguments: str


class Loader(Protocol):
    """One host's boot loader; every method is pure and returns what would have to change."""

    name: str
    environment: str
    """The path of GRUB's environment block."""
    trial_id: str
    """What `next_entry` names to boot the trial once."""
    trial_path: str
    """The file that makes the trial entry, which also says since which boot it stands."""

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


def owned(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the arguments that the note says numatune has put into the entries."""
    lines = snapshot.read(OWNED).text.splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def note(snapshot: Snapshot, wanted: Mapping[str, str]) -> list[Change]:
    """Return the change of that note; it keeps the boot in which these arguments were written."""
    if wanted and owned(snapshot) == tuple(join(wanted).split()):
        return []
    text = (
        f"{HEADER}# The kernel arguments that numatune keeps in the boot entries.\n"
        f"# written in boot={boot_id(snapshot)}\n{join(wanted)}\n"
    )
    return file_change(snapshot, OWNED, text if wanted else None, "which arguments are numatune's")


def noted(snapshot: Snapshot, wanted: Mapping[str, str], made: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes with the note's in its place, so that a run which is cut loses sight of no argument.

    It comes first, before any entry holds what it names; but last, after no entry holds any more what it forgets.
    """
    change = note(snapshot, wanted)
    forgets = set(owned(snapshot)) - set(join(wanted).split())
    return (*made, *change) if forgets or not wanted else (*change, *made)


def written_in(snapshot: Snapshot) -> str:
    """Return the id of the boot in which the note was written, "" without one."""
    found = re.search(r"^# written in boot=(\S+)$", snapshot.read(OWNED).text, re.M)
    return found[1] if found else ""


def boot_id(snapshot: Snapshot) -> str:
    """Return the id of the boot that the host runs in."""
    return snapshot.read(BOOT_ID).text.strip()


def trial_mark(boot_id: str, wanted: Mapping[str, str]) -> str:
    """Return the comment by which a trial entry is known again."""
    return f"{HEADER}# numatune-trial boot={boot_id} arguments={join(wanted)}\n"


def trial_of(snapshot: Snapshot, path: str) -> Optional[Trial]:
    """Return the trial that a file makes, None where there is none."""
    found = _TRIAL.search(snapshot.read(path).text)
    return Trial(found[1], found[2]) if found else None


def variable(snapshot: Snapshot, path: str, name: str) -> Optional[str]:
    """Return a variable of GRUB's environment block."""
    return grub.environment(snapshot.read(path).text).get(name) or None


def once(snapshot: Snapshot, path: str, ident: Optional[str]) -> tuple[Change, ...]:
    """Return the change that makes the next boot alone take an entry, or takes that back; none where it is so."""
    now = variable(snapshot, path, "next_entry")
    if now == ident:
        return ()
    why = "the next boot alone takes the new entry; the one after it takes the default" if ident else "no trial is left"
    return (Change(SETTING, "once", f"{path}:next_entry", ident, now, why, needs_reboot=ident is not None),)


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
    for line in mounts.splitlines():
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
    where = Line(path, 1, text.splitlines()[0])
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
