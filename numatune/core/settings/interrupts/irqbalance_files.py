"""The files that tell irqbalance which CPUs to leave alone: which of them counts, what it says, how a ban goes in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Optional, Union

from ...change import Conflict
from ...cpuset import EMPTY, CpuSet, parse_list, parse_mask
from ...errors import InputError
from ...host import Host
from ...kit.said import Said, unread
from ...machine import distribution
from ...machine.topology import CPU
from ...model import Line, Snapshot
from ...parsers import interrupts, shell
from ...sources import Directory, File, ProgramWord, Source
from ...status import Plane
from ...text import lines

UNIT = "irqbalance.service"
_FILES = ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance", "/etc/conf.d/irqbalance")
_VENDOR = "/usr/lib/irqbalance/defaults.env"
_SYSCONFIG = "/etc/sysconfig"
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
LIST, MASK = "IRQBALANCE_BANNED_CPULIST", "IRQBALANCE_BANNED_CPUS"
_BANS = "IRQBALANCE_BANNED_CPU"
# What a reader made of bytes that are no UTF-8: written back, they would be other bytes.
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}")

SOURCES: tuple[Source, ...] = (
    *(File(path) for path in (*_FILES, _VENDOR)),
    Directory(_SYSCONFIG),
    *(File(f"{folder}/{UNIT}") for folder in _UNIT_FOLDERS),
    *(File(f"{folder}/{UNIT}.d/*.conf") for folder in _UNIT_FOLDERS),
    File(f"{CPU}/isolated"),
    File(f"{CPU}/nohz_full"),
    ProgramWord("irqbalance_knows_list", "irqbalance", LIST),
)


def variables(snapshot: Snapshot) -> tuple[str, str]:
    """Return the variable that a ban is to be written to, and the other one.

    irqbalance before 1.8 (Debian 11 has 1.7) knows only the mask. Where its program is not seen (a captured tree, a
    folder) it is taken for one that knows the list, as every release since 2021 does.
    """
    counted = snapshot.command("irqbalance_knows_list").text.strip()
    return (MASK, LIST) if counted == "0" else (LIST, MASK)


def configured(host: Host) -> Said:
    """Return what its files tell a daemon that starts; "unread" too where it is not clear which of them counts."""
    snapshot = host.snapshot
    path = file(snapshot)
    reading = snapshot.read(path)
    if reading.unread:
        both = path in _FILES[:2] and not snapshot.directory(_SYSCONFIG).present
        why = distribution.unread(snapshot, *_FILES[:2]) if both else ""
        return unread(why or reading.why())
    other = _overridden(snapshot, path)
    if other:
        what = f"take line {other.line} ({other.text}) out of {other.path}"
        remedy = f"{what} and say it in {path}, which counts then; then run playbooks/tune.yml"
        return Said(Plane.UNREAD, None, other, f"{_at(other)} may win over {path}", remedy=remedy)
    masks, lists = (shell.assignments(path, reading.text, name) for name in (MASK, LIST))
    if variables(snapshot)[0] == MASK:
        lists = []
    found = masks[-1] if masks and masks[-1].value else lists[-1] if lists else None
    where = found.where if found else None
    banned = banned_by(snapshot, masks[-1].value if masks else None, lists[-1].value if lists else None)
    if found and not found.clean:
        return Said(Plane.UNREAD, None, where, f'{_at(found.where)}: systemd knows no "export" and no comment there')
    if banned is None:
        return Said(Plane.UNREAD, None, where)
    return Said(Plane.RIGHT if host.roles.serving <= banned else Plane.WRONG, f"banned CPUs: {banned or 'none'}", where)


def banned_by(snapshot: Snapshot, mask: Optional[str], cpus: Optional[str]) -> Optional[CpuSet]:
    """Return the CPUs that the daemon bans by its two variables, None when it cannot be told.

    A mask that is not empty hides the list, which an old daemon does not know at all. With neither, the daemon bans
    isolated and nohz_full CPUs by itself;
    an empty list meant that too in some releases and "none" in others, so it is not known.
    """
    try:
        if mask:
            return parse_mask(mask)
        if variables(snapshot)[0] == MASK:
            return _banned_by_itself(snapshot) if mask is None else None
        if cpus:
            return parse_list(cpus)
        return _banned_by_itself(snapshot) if cpus is None else None
    except InputError:
        return None


def _banned_by_itself(snapshot: Snapshot) -> Optional[CpuSet]:
    """Return what the daemon bans when it is told nothing; raises InputError where that is no list."""
    banned = EMPTY
    for name in ("isolated", "nohz_full"):
        reading = snapshot.read(f"{CPU}/{name}")
        if reading.unread:
            return None
        banned = banned | parse_list(reading.text)
    return banned


def file(snapshot: Snapshot) -> str:
    """Return the environment file that counts: the one that the unit names, else by what is there."""
    for line in _unit_lines(snapshot):
        if line.text.startswith("EnvironmentFile=") and _named(line) in _FILES:
            return _named(line)
    # A tree may lack the folder.
    named = not snapshot.complete and distribution.debian(snapshot) is False
    fallback = _FILES[1] if snapshot.directory(_SYSCONFIG).present or named else _FILES[0]
    return next((path for path in _FILES if snapshot.read(path).present), fallback)


def _named(line: Line) -> str:
    return line.text.partition("=")[2].strip().lstrip("-").strip("\"'")


def _unit_lines(snapshot: Snapshot) -> Iterator[Line]:
    """Yield the lines of the unit file in force and of its drop-ins that have to do with the environment."""
    paths = [path for folder in _UNIT_FOLDERS if snapshot.read(path := f"{folder}/{UNIT}").present][:1]
    drop_ins: dict[str, str] = {}
    for folder in reversed(_UNIT_FOLDERS):
        drop_ins.update({path.rpartition("/")[2]: path for path in snapshot.below(f"{folder}/{UNIT}.d")})
    for path in [*paths, *(drop_ins[name] for name in sorted(drop_ins))]:
        for number, text in enumerate(lines(snapshot.read(path).text), 1):
            if re.match(r"\s*(?:(?:Unset|Pass)?Environment|EnvironmentFile)\s*=", text):
                key, _, value = text.partition("=")
                yield Line(path, number, f"{key.strip()}={value.strip()}")


def _overridden(snapshot: Snapshot, path: str) -> Optional[Line]:
    """Return the first line elsewhere that may set what the file is to set, or keep it from being read."""
    for line in _unit_lines(snapshot):
        if line.text.startswith("EnvironmentFile="):
            if _named(line) not in (path, _VENDOR):
                return line
        elif _BANS in line.text:
            return line
    vendor = snapshot.read(_VENDOR).text
    bans = (item for name in (MASK, LIST) for item in shell.assignments(_VENDOR, vendor, name) if item.value)
    return next((item.where for item in bans), None)


def _at(line: Line) -> str:
    return f"{line.path} line {line.line}"


def with_ban(host: Host, path: str, text: str) -> Union[str, Conflict]:
    """Return the environment file with the serving CPUs banned besides those that are, or why that cannot be."""
    other = _overridden(host.snapshot, path)
    if other:
        return _conflict(other, f"may win over {path}: take it out, keep the ban in {path}, then run again")
    masks, lists = (shell.assignments(path, text, name) for name in (MASK, LIST))
    banned, last = EMPTY, None
    for items, parse in ((masks, parse_mask), (lists, parse_list)):
        if not items or not items[-1].value:
            continue
        last = items[-1]
        try:
            banned = banned | parse(last.value)
        except InputError as error:
            return _conflict(last.where, f"is {error}: correct it, then run again")
    if last is None:
        # Setting either ends what the daemon bans when it is told nothing.
        banned = _isolated(host.snapshot)
    if host.roles.housekeeping <= banned | host.roles.serving:
        where = last.where if last else Line(f"{CPU}/isolated", 1, str(banned))
        why = f"bans every housekeeping CPU ({host.roles.housekeeping}), and irqbalance would have none left"
        return _conflict(where, f"{why}: ban fewer, or choose the method place, then run again")
    for number, line in enumerate(lines(text), 1):
        if _ESCAPED.search(line):
            where = Line(path, number, line.strip())
            return _conflict(where, "holds bytes that are no UTF-8: write it in UTF-8, then run again")
    name, other_name = variables(host.snapshot)
    return shell.with_variable(text, name, ban_value(name, banned | host.roles.serving), instead_of=other_name)


def ban_value(name: str, cpus: CpuSet) -> str:
    """Return CPUs as one of the two variables holds them."""
    return str(cpus) if name == LIST else interrupts.mask_like("0" * 8, cpus)


def _isolated(snapshot: Snapshot) -> CpuSet:
    try:
        return _banned_by_itself(snapshot) or EMPTY
    except InputError:
        return EMPTY


def _conflict(where: Line, what: str) -> Conflict:
    return Conflict("irqbalance", where.path, where.line, where.text, f"{_at(where)} ({where.text}) {what}")
