"""How core isolation is made: by the slice, its partition and the unit's place in it, or by kernel arguments."""

from __future__ import annotations

import re
from typing import Optional

from ... import ours
from ...change import Change, Conflict
from ...cpuset import EMPTY
from ...host import Host
from ...kit import boot_service
from ...kit.words import cpu_words
from ...machine.facts import kernel_release
from ...model import Finding, Snapshot, State
from ...setting import Planned
from ...text import lines
from .isolated import CGROUP, SLICE, has_nohz, listed
from .partition import PLACE, SLICE_PATH, kind, place_path, places, slice_text

CONTROLLERS = f"{CGROUP}/cgroup.controllers"
_ALLOWED_CPUS_SINCE = 244


def arguments(host: Host) -> dict[str, str]:
    """Return the kernel arguments of mode kernel: key to value, none in the other modes.

    isolcpus and nohz_full name the same CPUs: kernels up to 5.17 drop the second of two that differ.
    """
    if host.option("core_isolation", "mode") != "kernel" or "core_isolation" not in host.profile.settings:
        return {}
    if not host.roles.split:
        return {}
    serving = str(host.roles.serving)
    found = {"isolcpus": f"managed_irq,domain,{serving}", "irqaffinity": str(host.roles.housekeeping)}
    if has_nohz(host.snapshot):
        found.update({"nohz_full": serving, "rcu_nocbs": serving})
    return found


def refusals(host: Host, setting: str) -> tuple[Conflict, ...]:
    """Return why the wanted mode must not be applied: it would ruin a service whose threads are not pinned."""
    mode = host.option("core_isolation", "mode") or "none"
    if mode == "kernel" and not host.option("core_isolation", "pinned"):
        message = (
            "core isolation by kernel arguments: the scheduler spreads no threads over isolated CPUs, so unpinned ones "
            "pile up on one of them; say pinned: true where every serving thread is pinned to a CPU of its own"
        )
        return (Conflict(setting, "", 0, "", message),)
    unit = host.option("core_isolation", "unit") or ""
    if mode == "partition" and not boot_service.UNIT_NAME.fullmatch(unit):
        message = (
            f"core isolation by partition: {unit!r} is no service: name the unit that serves "
            "(tune_core_isolation_unit), for everything outside its slice loses the serving CPUs"
        )
        return (Conflict(setting, "", 0, "", message),)
    return ()


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the slice, its partition at every boot and the serving unit's place in it; else that none of it is left.

    The partition is made by the next boot, never now: the unit still runs outside the slice and would be
    squeezed onto the housekeeping CPUs. The arguments of mode kernel are planned by the kernel arguments.
    """
    snapshot, made = host.snapshot, []
    drop_ins = dict.fromkeys(places(snapshot))
    if host.option("core_isolation", "mode") == "partition":
        refused = (
            *refusals(host, "core_isolation"),
            *_cannot_work(host),
            *_overlapping(host),
            *boot_service.refusals(snapshot, "core_isolation"),
        )
        if refused:
            return (), refused
        unit = host.option("core_isolation", "unit")
        made = [f"partition {SLICE} {kind(host)} {unit}"]
        drop_ins[place_path(unit)] = PLACE
    why = "the serving unit has its CPUs to itself from the next boot on" if made else "no partition is wanted"
    planned = _file(snapshot, SLICE_PATH, slice_text(host) if made else None, why)
    for path, text in drop_ins.items():
        planned += _file(snapshot, path, text, why)
    # Last: while the line stands, a run that was interrupted is seen.
    planned += boot_service.changes(snapshot, "core_isolation", made, why, at_next_boot=True)
    for change in planned:
        if change.kind == "file" and change.before and ours.HEADER.strip() not in change.before:
            message = f"{change.path} exists and is not numatune's: move it away, then run again"
            return (), (Conflict("core_isolation", change.path, 1, lines(change.before)[0], message),)
    return tuple(planned), ()


def _cannot_work(host: Host) -> tuple[Conflict, ...]:
    """Return why this kernel or systemd makes no such partition; what is not known refuses nothing."""
    snapshot = host.snapshot
    found = []
    controllers = snapshot.read(CONTROLLERS)
    known = controllers.present or (controllers.state is State.ABSENT and snapshot.directory(CGROUP).present)
    if known and "cpuset" not in controllers.text.split():
        what = "lists no cpuset" if controllers.present else "is not there (cgroup v1)"
        message = f"{CONTROLLERS} {what}: boot with the unified cgroup hierarchy and its cpuset controller"
        found.append((CONTROLLERS, controllers.text.strip(), message))
    version = re.match(r"systemd ([0-9]{1,4})\b", snapshot.command("systemd").text)
    if version and int(version[1]) < _ALLOWED_CPUS_SINCE:
        message = f"systemd {version[1]} knows no AllowedCPUs=, which came with {_ALLOWED_CPUS_SINCE}: update it"
        found.append(("", version[0], message))
    release = kernel_release(snapshot) or ""
    number = re.match(r"([0-9]{1,4})\.([0-9]{1,4})\b", release)
    # RHEL 9 has them in its 5.14.
    old = number and (int(number[1]), int(number[2])) < (6, 1) and ".el9" not in release
    if old and kind(host) == "isolated":
        message = f"kernel {release} makes no isolated partition (6.1 does): update it, or say pinned: false"
        found.append(("", release, message))
    prefix = "core isolation by partition: "
    tail = ", or choose another tune_core_isolation_mode; then run again"
    return tuple(
        Conflict("core_isolation", path, 1 if path else 0, text, f"{prefix}{message}{tail}")
        for path, text, message in found
    )


def _overlapping(host: Host) -> tuple[Conflict, ...]:
    """Return the conflict of another partition that holds serving CPUs: two that overlap are both invalid."""
    snapshot = host.snapshot
    for path, text in snapshot.files.items():
        name = path[len(CGROUP) + 1 :].rpartition("/")[0]
        if not path.startswith(f"{CGROUP}/") or not path.endswith("/cpuset.cpus.partition") or name == SLICE:
            continue
        cpus = listed(snapshot, path.removesuffix("partition") + "effective") or EMPTY
        if text.strip() in ("isolated", "root") and cpus & host.roles.serving:
            message = f"{path} already makes a partition of {cpu_words(cpus)}: take it away, then run again"
            return (Conflict("core_isolation", path, 1, text.strip(), message),)
    return ()


def _file(snapshot: Snapshot, path: str, content: Optional[str], why: str) -> list[Change]:
    reading = snapshot.read(path)
    before = reading.text if reading.present else None
    if before == content:
        return []
    mode = None if content is None else "0644"
    return [Change("core_isolation", "file", path, content, before, why, mode, needs_reboot=True)]
