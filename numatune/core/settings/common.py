"""What several settings share: values grouped by number, the kernel's build configuration, joined reasons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Optional

from ..cpuset import CpuSet
from ..host import Host
from ..model import Evidence, Finding, Line, Reading, Severity, Snapshot, Status, ValueGroup
from ..parsers import sysctl, tmpfiles
from ..roles import Roles
from ..sources import KERNEL_CONFIG, Directory, File, Source
from ..status import Plane
from ..units import SOURCES as UNITS
from ..units import TMPFILES as APPLIER
from ..units import applier

TMPFILES: tuple[Source, ...] = (
    # A plan must not write through a link under /etc; elsewhere one only matters as what masks a name.
    *(File(f"{folder}/*.conf", links=folder == "/etc/tmpfiles.d", masks=True) for folder in tmpfiles.DIRECTORIES),
    *(Directory(folder) for folder in tmpfiles.DIRECTORIES),
    *UNITS,
)
"""What systemd-tmpfiles applies at every boot."""


def group(kind: str, values: Mapping[int, Optional[str]]) -> tuple[ValueGroup, ...]:
    """Group numbers that share a value, in the order of each group's first number."""
    bits: dict[Optional[str], int] = {}
    for number, value in values.items():
        bits[value] = bits.get(value, 0) | 1 << number
    ordered = sorted(bits.items(), key=lambda item: item[1] & -item[1])
    return tuple(ValueGroup(kind, str(CpuSet(mask)), value) for value, mask in ordered)


def summary(groups: Iterable[ValueGroup]) -> Optional[str]:
    """Return one value when all share it, else each with its numbers; None when none was read."""
    found = list(groups)
    if all(item.value is None for item in found):
        return None
    if len(found) == 1:
        return found[0].value
    return "; ".join(f"{item.value or 'not read'} ({item.ids})" for item in found)


def writes_at_boot(
    snapshot: Snapshot, targets: Mapping[int, tuple[str, ...]]
) -> tuple[dict[int, tmpfiles.Write], list[Reading]]:
    """Return the tmpfiles.d line that each number's paths end with, and the files that could not be read.

    Measured with systemd 252: of lines that name one path (or one pattern) the first counts and the others are
    ignored as duplicates; of different names for one file the last stays.
    """
    paths = [path for folder in tmpfiles.DIRECTORIES for path in snapshot.below(folder)]
    unread = [reading for reading in map(snapshot.directory, tmpfiles.DIRECTORIES) if reading.unread]
    numbers: dict[str, list[int]] = {}
    for number, names in targets.items():
        for name in names:
            numbers.setdefault(name, []).append(number)
    last: dict[int, tmpfiles.Write] = {}
    seen: set[str] = set()
    for path in sysctl.files_in_order(paths, tmpfiles.DIRECTORIES):
        reading = snapshot.read(path)
        if reading.unread and snapshot.links.get(path) != "/dev/null":
            unread.append(reading)
        for write in tmpfiles.writes(path, reading.text):
            pattern = re.sub("/+", "/", write.pattern)
            if pattern in seen:
                continue
            seen.add(pattern)
            # Only patterns are tried on every path: a file of ours has a line for each of many CPUs.
            if any(sign in pattern for sign in "*?["):
                reached = [number for number, names in targets.items() if any(map(write.covers, names))]
            else:
                reached = numbers.get(pattern, [])
            last.update(dict.fromkeys(reached, write))
    return last, unread


class Written(NamedTuple):
    """What tmpfiles.d comes to: the plane, the value, its line; why nothing is applied or known, and what to do."""

    plane: Plane
    value: Optional[str] = None
    where: Optional[Line] = None
    why: str = ""
    remedy: str = ""


def written_at_boot(host: Host, targets: Mapping[int, tuple[str, ...]], right: Callable[[str], bool]) -> Written:
    """Return what tmpfiles.d comes to for each number's paths.

    A write that reaches only some of the numbers persists nothing unless it is wrong, and none persists anything where
    the service that applies them does not run.
    """
    last, unread = writes_at_boot(host.snapshot, targets)
    applied = applier(host.snapshot, APPLIER, host.next_boot.arguments)
    if last and applied.plane is Plane.NONE:
        path = next(iter(last.values())).where.path
        return Written(Plane.NONE, None, None, f"{applied.why}, so nothing applies {path}", applied.remedy)
    for write in last.values():
        if not right(write.value):
            return Written(Plane.WRONG, write.value, write.where)
    if unread:
        return Written(Plane.UNREAD, why=unread[0].why())
    if last and len(last) == len(targets) and applied.plane is not Plane.RIGHT:
        return Written(Plane.UNREAD, why=applied.why, remedy=applied.remedy)
    if last and len(last) == len(targets):
        write = next(iter(last.values()))
        return Written(Plane.RIGHT, write.value, write.where)
    return Written(Plane.NONE)


def wrong_at_boot(
    snapshot: Snapshot, targets: Mapping[int, tuple[str, ...]], right: Callable[[str], bool]
) -> list[tmpfiles.Write]:
    """Return the tmpfiles.d lines that leave a number with a wrong value, each once."""
    last, _ = writes_at_boot(snapshot, targets)
    return list({write.where: write for write in last.values() if not right(write.value)}.values())


def next_release(host: Host) -> Optional[str]:
    """Return the release of the kernel that boots next (else of the running one)."""
    where = host.next_boot.where
    image = re.search(r"vmlinuz-(\S+)", where.text) if where else None
    return image[1] if image else host.kernel


def kernel_config(host: Host) -> Reading:
    """Return the build options of the kernel that boots next (else of the running one): those that are declared.

    A setting declares each option that it looks for there, by `sources.BuildOption`.
    """
    release = next_release(host)
    if release:
        reading = host.snapshot.read(f"/boot/config-{release}")
        if reading.present:
            return reading
    running = host.snapshot.command(KERNEL_CONFIG)
    if running.present and release == host.kernel:
        return running._replace(path="/proc/config.gz")
    return host.snapshot.read(f"/boot/config-{release or '(release not known)'}")


def built(config: Reading, option: str) -> bool:
    """Return whether a kernel build option is "y"."""
    return f"{option}=y" in config.text.split()


def evidence(*items: object) -> tuple[Evidence, ...]:
    """Make the evidence from readings that are present and from lines; what is None or absent is left out."""
    found = []
    for item in items:
        if isinstance(item, Reading) and item.present:
            found.append(Evidence(item.path, item.text.strip("\n\0")))
        elif isinstance(item, Line):
            found.append(Evidence(f"{item.path}:{item.line}", item.text))
    return tuple(found)


NOT_NOW = "right at every boot, but not now: changed by hand in this boot, or configured since it began"
"""Why a value waits for nothing but to be set: a reboot would do it too, and is not needed."""


def sentence(*parts: str) -> str:
    """Join what there is to say with "; "."""
    return "; ".join(part for part in parts if part)


def nowhere_to_move(setting: str, roles: Roles) -> Finding:
    """Return the finding of a host without housekeeping CPUs, to which no interrupt can be moved."""
    if not roles.serving:
        return Finding(setting, Status.UNKNOWN, Severity.WARNING, reason=roles.note)
    why = f"{roles.note}; there is no CPU to move interrupts to"
    return Finding(setting, Status.NOT_APPLICABLE, Severity.WARNING, reason=why)
