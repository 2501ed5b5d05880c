"""What the entry that boots next holds, read from the boot loader's own files, never from what generates them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple, Optional

from ..derived import once
from ..machine import distribution
from ..machine.facts import architecture
from ..model import Line, Reading, Snapshot
from ..numbers import natural
from ..parsers import bls, cmdline, grub
from ..parsers.grub_variables import Variables, variables
from ..sources import Directory, File, Source
from ..text import lines

# On a host with both, the second is what somebody made under the name that other distributions use.
_GRUB = ("/boot/grub2", "/boot/grub")
_BLS = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_LOADER = ("/boot/loader/loader.conf", "/boot/efi/loader/loader.conf", "/efi/loader/loader.conf")
_OTHER = {
    "/boot/firmware/cmdline.txt": "the Raspberry Pi's firmware",
    "/boot/extlinux/extlinux.conf": "extlinux",
    "/ostree/deploy": "ostree",
}

OUTSIDE = "no boot loader's configuration on this host: its kernel is started from outside"
_TUNED = "tuned_params"
# Ubuntu's menu sets it to vt.handoff=7 or nothing, by a function that each entry calls.
_HANDOFF = "vt_handoff"

SOURCES: tuple[Source, ...] = (
    *(File(f"{folder}/{name}") for folder in _GRUB for name in ("grub.cfg", "grubenv")),
    File("/boot/efi/EFI/*/grub.cfg"),
    File("/boot/efi/EFI/*/grubenv"),
    Directory("/boot/efi/EFI/Linux"),
    *(File(f"{folder}/*.conf") for folder in _BLS),
    *(Directory(folder) for folder in (*_GRUB, *_BLS, "/boot")),
    *(File(path) for path in _LOADER),
    *(File(path) for path in list(_OTHER)[:2]),
    Directory("/ostree/deploy"),
)


@dataclass(frozen=True)
class NextBoot:
    """The next boot's kernel arguments, with the line that holds them; `reason` where they are not known."""

    arguments: Optional[str]
    where: Optional[Line] = None
    reason: str = ""


@once
def next_boot(snapshot: Snapshot, once: bool = True) -> NextBoot:
    """Find the entry that boots next and return its kernel arguments.

    Without `once`, the default entry, whatever the next boot alone may take. GRUB 2 (its own menu or BLS entries)
    and systemd-boot's entries are understood; anything else is not known, and the reason says what was found.
    """
    loader = next((path for path in _LOADER if snapshot.read(path).present), "")
    for folder in grub_folders(snapshot):
        config = snapshot.read(f"{folder}/grub.cfg")
        if config.present:
            if loader and "blscfg" not in config.text:
                return NextBoot(
                    None, reason=f"both {config.path} and {loader} are here: which loader starts is not known"
                )
            return _from_grub(snapshot, folder, config, once)
        if config.unread and snapshot.directory(folder).present:
            return NextBoot(None, reason=config.why())
    found = _entries(snapshot)
    if found and not loader:
        where = found[0].options.path.rpartition("/")[0]
        return NextBoot(None, reason=f"boot entries under {where}, but the loader's own configuration was not found")
    if found:
        return _from_loader(snapshot, found)
    for path, name in _OTHER.items():
        if snapshot.read(path).present or snapshot.directory(path).present:
            return NextBoot(None, reason=f"the boot loader ({name}) is not one that numatune reads")
    if ostree(snapshot):
        return NextBoot(None, reason="the boot loader (ostree) is not one that numatune reads")
    why = unread(snapshot)
    if why:
        return NextBoot(None, reason=why)
    return NextBoot(None, reason=OUTSIDE)


def unread(snapshot: Snapshot) -> str:
    """Return which folder that may hold a boot loader's configuration was not read, and why; "" where none was not.

    It is called by the name that this host's distribution gives it; zipl's, where no GRUB is.
    """
    zipl = architecture(snapshot) == "s390x"
    why = "" if zipl else distribution.unread(snapshot, _GRUB[1], _GRUB[0])
    return why or next((found.why() for found in map(snapshot.directory, (*_BLS, *_GRUB)) if found.unread), "")


def ostree(snapshot: Snapshot) -> bool:
    """Return whether the running kernel was started by ostree, whose files a captured tree may lack."""
    return cmdline.last(snapshot.read("/proc/cmdline").text, "ostree") is not None


def entry_of_grub(snapshot: Snapshot, path: str) -> Optional[grub.Entry]:
    """Return the default entry of a grub.cfg, whatever the next boot alone may take; None without a clear one."""
    text = snapshot.read(path).text
    env = grub.environment(snapshot.read(path.rpartition("/")[0] + "/grubenv").text)
    entry = grub.pick(grub.entries(path, text), grub.default_name(text, env, once=False))
    return entry if entry and entry.linux and not entry.unclear and entry.end else None


def tuned_params(snapshot: Snapshot, folder: str) -> tuple[str, str]:
    """Return the arguments that TuneD adds to GRUB's entries, and the file that holds them.

    Its plugin sets them in grub.cfg, which counts, or in the environment block where entries are BLS ones.
    """
    config, saved = snapshot.read(f"{folder}/grub.cfg"), snapshot.read(f"{folder}/grubenv")
    env = grub.environment(saved.text)
    plain = variables(config.text, env).plain
    if _TUNED in plain:
        return plain[_TUNED], config.path
    return env.get(_TUNED, ""), saved.path


def grub_folders(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the folders that may hold GRUB's menu, in the order in which they are looked at."""
    return (*_GRUB, *efi_folders(snapshot))


def efi_folders(snapshot: Snapshot) -> list[str]:
    """Return the folders of the EFI partition that hold a whole GRUB menu, not a stub that leads to /boot."""
    found = []
    for folder in snapshot.configuration:
        if folder.startswith("/boot/efi/EFI/"):
            text = snapshot.read(f"{folder}/grub.cfg").text
            if "menuentry " in text or "blscfg" in text:
                found.append(folder)
    return sorted(found)


def _from_grub(snapshot: Snapshot, folder: str, config: Reading, once: bool) -> NextBoot:
    saved = snapshot.read(f"{folder}/grubenv")
    env = grub.environment(saved.text) if saved.present else {}
    made = _Made(config, saved, env, variables(config.text, None if saved.unread else env))
    name = grub.default_name(config.text, env, once)
    if saved.unread and grub.default_name(config.text, {"saved_entry": "saved_entry"}) == "saved_entry":
        return NextBoot(None, reason=saved.why())
    if "blscfg" in config.text:
        found = _entries(snapshot)
        if found:
            return _from_bls(found, name, made)
        entries = snapshot.directory("/boot/loader/entries")
        if entries.unread:
            return NextBoot(None, reason=entries.why())
    menu = grub.entries(config.path, config.text)
    entry = grub.pick(menu, name)
    if entry is None or entry.linux is None:
        return NextBoot(None, reason=f"{config.path} has no entry {name!r} with a kernel line")
    if entry.unclear:
        return NextBoot(None, entry.linux, f"{config.path}: the entry {entry.title!r} has more than one kernel line")
    nested = not any(item is entry for item in menu)
    return _expanded(grub.arguments(entry.linux), entry.linux, made, nested)


def _from_bls(found: list[bls.Entry], name: str, made: _Made) -> NextBoot:
    chosen = None
    index = natural(name)
    if index is not None:
        chosen = found[index] if index < len(found) else None
    else:
        chosen = next((entry for entry in found if name in (entry.ident, entry.title)), None)
    chosen = chosen or found[0]
    return _expanded(chosen.options.text, chosen.options, made)


class _Made(NamedTuple):
    """What GRUB's variables are made of; nothing for another loader."""

    config: Reading
    saved: Reading
    env: dict[str, str]
    set: Variables


def _expanded(text: str, where: Line, made: Optional[_Made], nested: bool = False) -> NextBoot:
    """Return an entry's arguments with variables replaced; grub.cfg's own settings count over its environment block."""
    values = {**made.env, **made.set.plain} if made else {}
    arguments, missing = grub.expand(text, values)
    for name in grub.expand(text, {})[1]:
        reason = _unclear(name, name in missing, made, nested) if name != _HANDOFF else ""
        if reason:
            return NextBoot(None, where, f"{where.path} line {where.line} uses ${name}, {reason}")
    return NextBoot(arguments, where)


def _unclear(name: str, missing: bool, made: Optional[_Made], nested: bool) -> str:
    """Return why the value of a variable is not known, "" where it is."""
    if made and name in made.set.unclear:
        return f"which {made.config.path} line {made.set.unclear[name]} sets in a way that numatune does not follow"
    if made and made.saved.unread and name not in made.set.plain:
        return f"which may be set in what was not read: {made.saved.why()}"
    if missing:
        # Empty unless TuneD sets them; any other unknown name may hide arguments.
        return "" if name in (_TUNED, "tuned_initrd") else "which grubenv does not hold"
    if made and nested and made.set.plain.get(name, made.env.get(name)) and name not in made.set.exported:
        return "which grub.cfg does not export into the submenu that the entry stands in"
    return ""


def _from_loader(snapshot: Snapshot, found: list[bls.Entry]) -> NextBoot:
    pattern = ""
    if snapshot.directory("/boot/efi/EFI/Linux").present:
        return NextBoot(None, reason="/boot/efi/EFI/Linux may hold unified kernel images, which come first")
    for path in _LOADER:
        reading = snapshot.read(path)
        if reading.present:
            words = (line.split(None, 1) for line in lines(reading.text))
            pattern = next((pair[1].strip() for pair in words if len(pair) == 2 and pair[0] == "default"), "")
            break
    if pattern.startswith("@"):
        return NextBoot(None, reason=f"the default entry is {pattern}, which the firmware's variables hold")
    pattern = pattern.removesuffix(".conf")
    for entry in found:
        # "+0-3" is systemd-boot's count of tries left and failed: none left is not booted while others are.
        if not re.search(r"\+0(-\d+)?$", entry.ident) and (not pattern or fnmatchcase(entry.ident, pattern)):
            return _expanded(entry.options.text, entry.options, None)
    return NextBoot(None, reason=f"no entry matches loader.conf's default {pattern!r}")


def _entries(snapshot: Snapshot) -> list[bls.Entry]:
    for folder in _BLS:
        readings = [snapshot.read(path) for path in snapshot.below(folder) if path.endswith(".conf")]
        found = [bls.parse(reading.path, reading.text) for reading in readings if reading.present]
        if found:
            return bls.newest_first(found)
    return []
