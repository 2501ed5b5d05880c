"""Which boot loader a host has, as far as kernel arguments can be written to it; any other is refused by its name."""

from __future__ import annotations

from typing import Union

from ..machine.distribution import SOURCES as DISTRIBUTION
from ..machine.distribution import family as family_of
from ..machine.facts import architecture
from ..model import Snapshot
from ..sources import Directory, File, Source
from . import bls, debian_grub
from .loader import HELD, OWNED, Loader
from .next_boot import OUTSIDE, grub_folders, ostree, unread
from .next_boot import SOURCES as BOOT

# What manages the entries of a GRUB or another loader itself, and would undo what is written there.
_MANAGERS = (
    ("/ostree/deploy", "ostree (use rpm-ostree kargs)"),
    ("/etc/kernel/proxmox-boot-uuids", "GRUB or systemd-boot under proxmox-boot-tool"),
)
_OTHERS = (
    ("/boot/firmware/cmdline.txt", "the Raspberry Pi's firmware"),
    ("/boot/extlinux/extlinux.conf", "extlinux"),
    ("/boot/efi/EFI/Linux", "unified kernel images"),
    ("/boot/loader/loader.conf", "systemd-boot"),
    ("/boot/efi/loader/loader.conf", "systemd-boot"),
    ("/efi/loader/loader.conf", "systemd-boot"),
)
_ENTRIES = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")

SOURCES: tuple[Source, ...] = (
    *BOOT,
    *DISTRIBUTION,
    File("/proc/mounts"),
    File("/etc/kernel/proxmox-boot-uuids"),
    File(debian_grub.MAIN),
    File(f"{debian_grub.FOLDER}/*.cfg"),
    Directory(debian_grub.FOLDER),
    File(debian_grub.TRIAL_SCRIPT),
    File(OWNED),
    File(HELD),
    File(bls.CMDLINE),
)


def find(snapshot: Snapshot) -> Union[Loader, str]:
    """Return the loader, or the reason why numatune writes no kernel arguments on this host."""
    family = family_of(snapshot)
    for path, name in _MANAGERS:
        if _there(snapshot, path):
            return _refused(name)
    for folder in grub_folders(snapshot):
        config = snapshot.read(f"{folder}/grub.cfg")
        if config.unread and snapshot.directory(folder).present:
            return config.why()
        if config.present:
            return _grub(snapshot, folder, config.text, family)
    for path, name in _OTHERS:
        if _there(snapshot, path):
            return _refused(name)
    for folder in _ENTRIES:
        if any(path.endswith(".conf") for path in snapshot.below(folder)):
            zipl = architecture(snapshot) == "s390x"
            return _refused("zipl" if zipl else f"not known, with entries under {folder}")
    if ostree(snapshot):
        return _refused(_MANAGERS[0][1])
    why = unread(snapshot)
    if why:
        return f"which boot loader this host has is not known: {why}"
    return OUTSIDE


def _grub(snapshot: Snapshot, folder: str, config: str, family: frozenset[str]) -> Union[Loader, str]:
    if "blscfg" in config and any(path.endswith(".conf") for path in snapshot.below(bls.FOLDER)):
        return _bls(snapshot, folder, family)
    second = next((path for path, _ in _OTHERS if path.endswith("loader.conf") and _there(snapshot, path)), "")
    if second:
        return f"both {folder}/grub.cfg and {second} are here: which loader starts is not known; remove the other's"
    if not family & {"debian", "ubuntu"}:
        return f"GRUB of {_name(family)} is not one that numatune writes kernel arguments to: set them by hand"
    if folder != "/boot/grub" or not snapshot.read(debian_grub.MAIN).present:
        return f"GRUB in {folder} without {debian_grub.MAIN}: install grub2-common, or set the arguments by hand"
    return debian_grub.DebianGrub(snapshot)


def _bls(snapshot: Snapshot, folder: str, family: frozenset[str]) -> Union[Loader, str]:
    machine = architecture(snapshot)
    if machine not in ("x86_64", "aarch64", None):
        return f"the boot loader is GRUB with BLS entries on {machine}, which was not tried: use grubby by hand"
    if not family & {"rhel", "fedora", "centos"}:
        return f"BLS entries of {_name(family)} are not ones that numatune writes to: set the arguments by hand"
    return bls.BlsGrub(snapshot, folder)


def _there(snapshot: Snapshot, path: str) -> bool:
    return snapshot.read(path).present or snapshot.directory(path).present


def _refused(name: str) -> str:
    return f"the boot loader is {name}, which numatune does not write kernel arguments to: set them by hand"


def _name(family: frozenset[str]) -> str:
    return " ".join(sorted(family)) or "an unnamed distribution"
