"""What the entry that boots next holds, read from the boot loader's own files, never from what generates them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional

from .model import Line, Reading, Snapshot
from .parsers import bls, grub
from .sources import Directory, File, Source

_GRUB = ("/boot/grub", "/boot/grub2")
_BLS = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_OTHER = {
    "/boot/firmware/cmdline.txt": "the Raspberry Pi's firmware",
    "/boot/extlinux/extlinux.conf": "extlinux",
    "/ostree/deploy": "ostree",
}

SOURCES: tuple[Source, ...] = (
    *(File(f"{folder}/{name}") for folder in _GRUB for name in ("grub.cfg", "grubenv")),
    *(File(f"{folder}/*.conf") for folder in _BLS),
    *(Directory(folder) for folder in (*_GRUB, *_BLS, "/boot")),
    File("/boot/loader/loader.conf"),
    File("/boot/efi/loader/loader.conf"),
    File("/efi/loader/loader.conf"),
    *(File(path) for path in list(_OTHER)[:2]),
    Directory("/ostree/deploy"),
)


@dataclass(frozen=True)
class NextBoot:
    """The next boot's kernel arguments, with the line that holds them; `reason` where they are not known."""

    arguments: Optional[str]
    where: Optional[Line] = None
    reason: str = ""


def next_boot(snapshot: Snapshot) -> NextBoot:
    """Find the entry that boots next and return its kernel arguments.

    GRUB 2 (its own menu or BLS entries) and systemd-boot's entries are understood; anything else is not known,
    and the reason says what was found.
    """
    for folder in _GRUB:
        config = snapshot.read(f"{folder}/grub.cfg")
        if config.present:
            return _from_grub(snapshot, folder, config)
        if config.unread and snapshot.directory(folder).present:
            return NextBoot(None, reason=config.why())
    found = _entries(snapshot)
    if found:
        return _from_loader(snapshot, found)
    for path, name in _OTHER.items():
        if snapshot.read(path).present or snapshot.directory(path).present:
            return NextBoot(None, reason=f"the boot loader ({name}) is not one that numatune reads")
    for folder in (*_GRUB, *_BLS):
        reading = snapshot.directory(folder)
        if reading.unread:
            return NextBoot(None, reason=reading.why())
    return NextBoot(None, reason="no boot loader's configuration on this host: its kernel is started from outside")


def _from_grub(snapshot: Snapshot, folder: str, config: Reading) -> NextBoot:
    saved = snapshot.read(f"{folder}/grubenv")
    env = grub.environment(saved.text) if saved.present else {}
    name = grub.default_name(config.text, env)
    if saved.unread and grub.default_name(config.text, {"saved_entry": "saved_entry"}) == "saved_entry":
        return NextBoot(None, reason=saved.why())
    if "blscfg" in config.text:
        found = _entries(snapshot)
        if found:
            return _from_bls(found, name, env)
        entries = snapshot.directory("/boot/loader/entries")
        if entries.unread:
            return NextBoot(None, reason=entries.why())
    entry = grub.pick(grub.entries(config.path, config.text), name)
    if entry is None or entry.linux is None:
        return NextBoot(None, reason=f"{config.path} has no entry {name!r} with a kernel line")
    return _expanded(grub.arguments(entry.linux), entry.linux, env)


def _from_bls(found: list[bls.Entry], name: str, env: dict[str, str]) -> NextBoot:
    chosen = None
    if name.isdigit():
        chosen = found[int(name)] if int(name) < len(found) else None
    else:
        chosen = next((entry for entry in found if name in (entry.ident, entry.title)), None)
    chosen = chosen or found[0]
    return _expanded(chosen.options.text, chosen.options, env)


def _expanded(text: str, where: Line, env: dict[str, str]) -> NextBoot:
    arguments, missing = grub.expand(text, env)
    # tuned_params is empty unless TuneD sets it; any other unknown name may hide arguments.
    missing = [name for name in missing if name not in ("tuned_params", "tuned_initrd")]
    if missing:
        return NextBoot(None, where, f"{where.path} line {where.line} uses ${missing[0]}, which grubenv does not hold")
    return NextBoot(arguments, where)


def _from_loader(snapshot: Snapshot, found: list[bls.Entry]) -> NextBoot:
    pattern = ""
    for path in ("/boot/loader/loader.conf", "/boot/efi/loader/loader.conf", "/efi/loader/loader.conf"):
        reading = snapshot.read(path)
        if reading.present:
            words = (line.split(None, 1) for line in reading.text.splitlines())
            pattern = next((pair[1].strip() for pair in words if len(pair) == 2 and pair[0] == "default"), "")
            break
    if pattern.startswith("@"):
        return NextBoot(None, reason=f"the default entry is {pattern}, which the firmware's variables hold")
    pattern = pattern.removesuffix(".conf")
    for entry in found:
        if not pattern or fnmatchcase(entry.ident, pattern):
            return NextBoot(entry.options.text, entry.options)
    return NextBoot(None, reason=f"no entry matches loader.conf's default {pattern!r}")


def _entries(snapshot: Snapshot) -> list[bls.Entry]:
    for folder in _BLS:
        readings = [snapshot.read(path) for path in snapshot.below(folder) if path.endswith(".conf")]
        found = [bls.parse(reading.path, reading.text) for reading in readings if reading.present]
        if found:
            return bls.newest_first(found)
    return []
