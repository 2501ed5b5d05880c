"""Whether the next boot runs what applies a file: a right file under /etc is worth no more than its service.

A file is persisted where the unit that applies it will start: neither masked nor replaced, nothing in a drop-in that
may keep it from running, something that wants it, and no failure in this boot. One rule holds for every setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Optional

from ..change import Conflict
from ..derived import once
from ..model import Line, Reading, Snapshot, State
from ..parsers import cmdline
from ..sources import Command, Directory, File, Source
from ..status import Plane
from ..text import lines, systemd_lines

ETC = "/etc/systemd/system"
FOLDERS = (ETC, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
"""In falling priority; /run/systemd/system and what stands there (`mask --runtime`) ends with this boot."""
SYSCTL, TMPFILES = "systemd-sysctl.service", "systemd-tmpfiles-setup.service"
APPLIERS = (SYSCTL, TMPFILES)
_REFUSED = (State.DENIED, State.ERROR)
# Drop-ins for every service, and for every one whose name begins so (systemd.unit(5)).
_FOR_MANY = ("service.d", "systemd-.service.d", "systemd-tmpfiles-.service.d")
# Static units, wanted by links that come with systemd.
_WANTS = "sysinit.target.wants"
# What applies the same files without systemd: sysvinit's script of procps, OpenRC's two.
_OTHERS = {
    SYSCTL: ("/etc/rcS.d/S[0-9][0-9]procps", "/etc/runlevels/boot/sysctl"),
    TMPFILES: ("/etc/runlevels/boot/opentmpfiles-setup", "/etc/runlevels/boot/systemd-tmpfiles-setup"),
}
_INIT = (
    r"""# Which services of other init systems apply settings at boot.
if [ -d /run/systemd/system ]; then
  absent=yes
  return
fi
for path in """
    + " ".join(path for paths in _OTHERS.values() for path in paths)
    + r"""; do
  [ ! -e "$path" ] || answer="$answer$path$newline"
done"""
)
_DECIDES = re.compile(r"((?:Condition|Assert)[A-Za-z]+|Exec(?:Start|Condition)|Root(?:Directory|Image))[ \t]*=(.*)")


def of_unit(unit: str) -> tuple[Source, ...]:
    """Return the sources that tell whether a unit runs at boot."""
    return (
        # Of what comes with the system, a live systemd says whether it is there.
        *(File(f"{folder}/{unit}", links=True, captured_only=folder != ETC) for folder in FOLDERS),
        *(File(f"{folder}/{unit}.d/*.conf", masks=True) for folder in FOLDERS),
    )


SOURCES: tuple[Source, ...] = (
    Directory(ETC),
    *(source for unit in APPLIERS for source in of_unit(unit)),
    *(File(f"{folder}/{_WANTS}/{unit}", links=True, captured_only=True) for folder in FOLDERS for unit in APPLIERS),
    *(File(f"{ETC}/{name}/*.conf", masks=True) for name in _FOR_MANY),
    *(File(path, links=True, captured_only=True) for paths in _OTHERS.values() for path in paths),
    Command("init", _INIT, shown=" ".join(path for paths in _OTHERS.values() for path in paths)),
)


class Applier(NamedTuple):
    """Whether a unit applies its files at the next boot: right, none (it does not) or unread; why not, what to do.

    `where` is what stands in the way, as far as that is something on disk.
    """

    plane: Plane
    why: str = ""
    remedy: str = ""
    where: Optional[Line] = None


@once
def shown(snapshot: Snapshot, unit: str) -> dict[str, str]:
    """Return what systemd says of a unit, nothing where it was not asked or does not know it."""
    for block in snapshot.command("units").text.split("\n\n"):
        pairs = dict(line.partition("=")[::2] for line in lines(block))
        if pairs.get("Id") == unit:
            return pairs
    return {}


@once
def applier(snapshot: Snapshot, unit: str, arguments: Optional[str] = None) -> Applier:
    """Return whether a unit runs at the next boot, whose kernel arguments are `arguments` where they are known."""
    says = shown(snapshot, unit)
    path, reading = _main(snapshot, unit)
    unmask = f"systemctl unmask {unit}"
    if path and _masked(snapshot, path, reading):
        return Applier(Plane.NONE, f"{unit} is masked ({path})", unmask, Line(path, 0, "masked"))
    if says.get("UnitFileState") == "masked":
        return Applier(Plane.NONE, f"{unit} is masked", unmask, Line("", 0, "masked"))
    if unit in cmdline.values(arguments or "", "systemd.mask"):
        why = f"the kernel argument systemd.mask={unit} masks it"
        return Applier(Plane.NONE, why, f"take systemd.mask={unit} out of the kernel arguments", Line("", 0, ""))
    if reading is not None and reading.unread:
        return Applier(Plane.UNREAD, f"whether {unit} runs at boot: {reading.why()}")
    if not path and says.get("LoadState") != "loaded":
        return _without(snapshot, unit)
    if path.startswith(f"{ETC}/") and unit in APPLIERS:
        why = f"{path} stands for the system's own {unit}, and numatune does not know what it does"
        return Applier(Plane.UNREAD, why, f"systemctl revert {unit}", Line(path, 0, ""))
    return _decided(snapshot, unit, says) or _started(snapshot, unit, says)


def refusals(setting: str, found: Applier, file: str) -> tuple[Conflict, ...]:
    """Return the conflict with what stands on disk and keeps a file from being applied, none where nothing does."""
    if found.plane is Plane.RIGHT or found.where is None:
        return ()
    message = f"{found.why}: nothing would apply {file} at boot; {found.remedy}; then run again"
    return (Conflict(setting, found.where.path, found.where.line, found.where.text, message),)


def _main(snapshot: Snapshot, unit: str) -> tuple[str, Optional[Reading]]:
    """Return the unit file that counts, "" where none is seen, and its reading or the one that says why not."""
    for folder in FOLDERS:
        path = f"{folder}/{unit}"
        reading = snapshot.read(path)
        if reading.present or path in snapshot.links:
            return path, reading if reading.present else None
        # A folder that was captured holds what it holds; the vendor's alone may be missing, and is everywhere alike.
        missing = folder == ETC and reading.unread and not snapshot.directory(folder).present
        if missing or reading.state in _REFUSED:
            return path, reading
    return "", None


def _masked(snapshot: Snapshot, path: str, reading: Optional[Reading]) -> bool:
    return snapshot.links.get(path) == "/dev/null" or (reading is not None and reading.present and not reading.text)


def _without(snapshot: Snapshot, unit: str) -> Applier:
    """Return the answer for a host on which the unit was not seen."""
    for pattern in _OTHERS.get(unit, ()):
        folder, _, name = pattern.rpartition("/")
        ending = name.rpartition("]")[2]
        there = [*snapshot.below(folder), *lines(snapshot.command("init").text)]
        if any(path.startswith(f"{folder}/") and path.endswith(ending) for path in there):
            return Applier(Plane.RIGHT)
    vendor = snapshot.directory(FOLDERS[2])
    if not snapshot.complete:
        return Applier(Plane.UNREAD, f"whether {unit} runs at boot: {vendor.path} is not in the captured tree")
    return Applier(Plane.UNREAD, f"nothing is seen that applies it at boot: no {unit}, no script of another init")


def _decided(snapshot: Snapshot, unit: str, says: dict[str, str]) -> Optional[Applier]:
    """Return the answer where a drop-in may keep the unit from running, or from doing its work."""
    closed = [snapshot.problems[folder] for folder in _drop_in_folders(unit) if folder in snapshot.problems]
    if closed:
        return Applier(Plane.UNREAD, f"whether {unit} runs at boot: {closed[0].why()}")
    for path in _drop_ins(snapshot, unit):
        reading = snapshot.read(path)
        if reading.unread and snapshot.links.get(path) != "/dev/null":
            return Applier(Plane.UNREAD, f"whether {unit} runs at boot: {reading.why()}")
        for number, line in systemd_lines(reading.text):
            match = _DECIDES.fullmatch(line.strip())
            # An empty value takes back what was said before.
            if match and match[2].strip():
                where = Line(path, number, line.strip())
                at = f"{path} line {number} ({where.text})"
                remedy = f"take that line out of {path}"
                if says.get("ConditionResult") == "no" and says.get("ActiveState") != "active":
                    return Applier(Plane.NONE, f"{at} kept {unit} from running in this boot", remedy, where)
                why = f"{at} decides whether {unit} does its work at boot, which numatune does not work out"
                return Applier(Plane.UNREAD, why, remedy, where)
    return None


def _drop_ins(snapshot: Snapshot, unit: str) -> Iterator[str]:
    found: dict[str, str] = {}
    for folder in _drop_in_folders(unit):
        found.update({path.rpartition("/")[2]: path for path in snapshot.below(folder)})
    for name in sorted(found):
        yield found[name]


def _drop_in_folders(unit: str) -> Iterator[str]:
    """Yield the folders of a unit's drop-ins, those last whose names hide the others'."""
    prefixes = [name for name in _FOR_MANY if name == "service.d" or unit.startswith(name.removesuffix(".service.d"))]
    for folder in reversed(FOLDERS):
        for name in (*prefixes, f"{unit}.d"):
            yield f"{folder}/{name}"


def _started(snapshot: Snapshot, unit: str, says: dict[str, str]) -> Applier:
    if says.get("ActiveState") == "failed":
        why = f"{unit} failed in this boot, so what it applies is not known"
        return Applier(Plane.UNREAD, why, f"see `journalctl -b -u {unit}`, then: systemctl restart {unit}")
    if unit not in APPLIERS or says.get("ActiveState") == "active" or not snapshot.complete:
        return Applier(Plane.RIGHT)
    links = (f"{folder}/{_WANTS}/{unit}" for folder in FOLDERS)
    if says.get("WantedBy") or any(path in snapshot.links or snapshot.read(path).present for path in links):
        return Applier(Plane.RIGHT)
    why = f"nothing starts {unit} at boot: no link in {_WANTS}"
    return Applier(Plane.NONE, why, f"systemctl add-wants sysinit.target {unit}", Line("", 0, ""))
