"""numatune's own partition: the slice over the serving CPUs, what makes it at boot, and the unit's place in it."""

from __future__ import annotations

from ... import ours
from ...host import Host
from ...kit import boot_service
from ...kit.said import Said, unread
from ...kit.words import cpu_words
from ...model import Snapshot
from ...status import Plane
from ...text import lines
from .isolated import CGROUP, SLICE, listed

SLICE_PATH = f"/etc/systemd/system/{SLICE}"
UNIT_DROP_IN = "zz-numatune-slice.conf"


def words(snapshot: Snapshot) -> list[boot_service.Word]:
    """Return the lines that make a partition at every boot."""
    return [item for item in boot_service.words(snapshot, "core_isolation") if item.words[0] == "partition"]


def places(snapshot: Snapshot) -> dict[str, str]:
    """Return numatune's drop-ins that put a unit into the slice, path to text."""
    found = {}
    for folder in snapshot.configuration:
        if folder.startswith("/etc/systemd/system/") and folder.endswith(".service.d"):
            reading = snapshot.read(f"{folder}/{UNIT_DROP_IN}")
            if reading.present:
                found[reading.path] = reading.text
    return found


def place_path(unit: str) -> str:
    """Return the drop-in that puts a unit into the slice."""
    return f"/etc/systemd/system/{unit}.d/{UNIT_DROP_IN}"


def kind(host: Host) -> str:
    """Return the partition's type: without load balancing only where every serving thread is pinned."""
    return "isolated" if host.option("core_isolation", "pinned") else "root"


PLACE = f"{ours.HEADER}[Service]\nSlice={SLICE}\n"


def slice_text(host: Host) -> str:
    """Return the slice's unit file."""
    return (
        f"{ours.HEADER}[Unit]\nDescription=The CPUs that serve requests\nBefore={ours.UNIT}\n\n"
        f"[Slice]\nAllowedCPUs={host.roles.serving}\n\n[Install]\nWantedBy=slices.target\n"
    )


def at_boot(host: Host) -> Said:
    """Return what makes the partition over the serving CPUs at the next boot, or why nothing does."""
    snapshot = host.snapshot
    found = words(snapshot)
    reading = snapshot.read(SLICE_PATH)
    if not found and not reading.unread:
        return Said(Plane.NONE, why="nothing makes the partition again at the next boot")
    runs = boot_service.starts(snapshot)
    if runs.plane is Plane.NONE:
        why = runs.why or f"{ours.UNIT} is not enabled whole"
        return Said(Plane.NONE, why=f"nothing makes the partition at the next boot: {why}")
    if runs.plane is not Plane.RIGHT or reading.unread:
        return unread(runs.why or reading.why())
    where, unit = found[0].where, host.option("core_isolation", "unit") or ""
    why = ""
    if reading.text != slice_text(host) or [item.words[1:] for item in found] != [(SLICE, kind(host), unit)]:
        why = f"{where.path} and {SLICE_PATH} make another partition"
    elif places(snapshot) != {place_path(unit): PLACE}:
        why = f"{place_path(unit)} does not put the unit into {SLICE}, or another's does"
    return Said(Plane.WRONG if why else Plane.RIGHT, where.text, where, why)


def left(snapshot: Snapshot) -> str:
    """Return what stands on disk of mode partition: its line, its slice, or a unit's place in it; "" for nothing."""
    made = [item.where.path for item in words(snapshot)]
    files = [
        (SLICE_PATH, snapshot.read(SLICE_PATH).text),
        *places(snapshot).items(),
    ]
    return next(iter([*made, *(path for path, text in files if ours.HEADER.strip() in text)]), "")


def running(host: Host) -> Said:
    """Return whether numatune's slice is a partition of the wanted kind over the serving CPUs, with its unit in it."""
    snapshot, serving = host.snapshot, host.roles.serving
    folder = f"{CGROUP}/{SLICE}"
    shown = snapshot.read(f"{folder}/cpuset.cpus.partition")
    if shown.unread:
        return unread(shown.why())
    if not shown.present or shown.text.strip() != kind(host):
        return _wrong(f"{SLICE} is no {kind(host)} partition")
    cpus = listed(snapshot, f"{folder}/cpuset.cpus.effective")
    if cpus is None:
        return unread(f"the CPUs of {SLICE} were not read")
    if cpus != serving:
        return _wrong(f"{SLICE} has {cpu_words(cpus)}")
    unit = host.option("core_isolation", "unit") or ""
    inside = snapshot.read(f"{folder}/{unit}/cgroup.events")
    if inside.unread:
        return unread(inside.why())
    if "populated 1" not in lines(inside.text):
        # Outside, it has the housekeeping CPUs only.
        return _wrong(f"{unit or 'the unit that serves'} does not run in {SLICE}")
    return Said(Plane.RIGHT)


def _wrong(why: str) -> Said:
    return Said(Plane.WRONG, why=why)
