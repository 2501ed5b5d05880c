"""What caps the exit latency of idle CPUs at the next boot: TuneD, tmpfiles.d, else what the kernel starts with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Optional

from ...cpuset import CpuSet
from ...host import Host
from ...kit.said import AtBoot, Said, doubted, said, unread
from ...kit.tmpfiles_d import unseen_at_boot, written_at_boot
from ...machine import agents, tuned
from ...machine.topology import CPU
from ...model import Snapshot
from ...numbers import natural
from ...parsers import cmdline
from ...status import Plane
from .cpu_idle_states import QOS, Idle, capped, qos_path


def at_boot(host: Host, states: Mapping[int, list[Idle]], cap: int) -> AtBoot:
    """Return what caps the serving CPUs at the next boot, and whether it is low enough."""
    if all(found and max(state.latency for state in found) <= cap for found in states.values()):
        # No state is deeper, be it disabled now or not, whatever a file asks for, read or not.
        return AtBoot(Said(Plane.NONE), Said(Plane.RIGHT, "no deeper state"))
    kernel = _kernel(host)
    return AtBoot(_persisted(host, cap, kernel), kernel)


def _persisted(host: Host, cap: int, kernel: Said) -> Said:
    snapshot, right = host.snapshot, partial(capped, cap=cap)
    by_tuned = _by_tuned(snapshot, cap)
    starts = agents.unit(snapshot, agents.TUNED).enabled
    if starts and by_tuned.plane is not Plane.NONE:
        # It starts after tmpfiles.d is applied.
        return by_tuned
    paths = targets(host.roles.serving)
    found = written_at_boot(host, paths, right)
    spoils = starts is None and by_tuned.plane in (Plane.WRONG, Plane.UNREAD)
    unseen = agents.unseen(snapshot, agents.TUNED_ALONE) if spoils else ""
    return doubted(found, kernel, unseen or unseen_at_boot(snapshot, paths, right))


def _by_tuned(snapshot: Snapshot, cap: int) -> Said:
    """Return what TuneD asks for when it starts."""
    does = tuned.sysfs(snapshot, QOS)
    asked = asked_by_tuned(snapshot)
    name = tuned.profile(snapshot) or "(none is named)"
    if not does.known:
        return unread(f"TuneD's profile {name} may ask for a latency, and was not read whole")
    if asked is None:
        return Said(Plane.NONE)
    value, where = asked
    if value is None:
        return Said(Plane.UNREAD, None, where, f"TuneD sets what {where.path} line {where.line} comes to")
    if not does.chosen:
        why = f"TuneD's profile {name} asks for it, but TuneD chooses a profile anew at each start (profile_mode auto)"
        return Said(Plane.UNREAD, None, where, why)
    return said(value, partial(capped, cap=cap), where)


def asked_by_tuned(snapshot: Snapshot) -> Optional[tuned.Option]:
    """Return the request that TuneD's profile makes for every CPU, None for no request."""
    option = tuned.cpu_option(snapshot, QOS.rpartition("/")[2])
    if option is None or option.value is None:
        return option
    # The first of several that TuneD can make out counts; an idle state's name or number is not looked up here.
    first = option.value.partition("|")[0].strip()
    if first in ("none", "None"):
        return None
    return option._replace(value=first if first == "n/a" or natural(first) is not None else None)


def targets(serving: CpuSet) -> dict[int, tuple[str, ...]]:
    """Return CPU -> the files that hold its request."""
    return {cpu: (qos_path(cpu),) for cpu in serving}


def _kernel(host: Host) -> Said:
    boot = host.next_boot
    if boot.arguments is None:
        return unread(boot.reason)
    if cmdline.last(boot.arguments, "idle") == "poll":
        return Said(Plane.RIGHT, "idle=poll", boot.where)
    driver = host.snapshot.read(f"{CPU}/cpuidle/current_driver").text.strip()
    # intel_idle.max_cstate=0 only hands over to acpi_idle, and processor.max_cstate=0 means 1 (kernel-parameters).
    for key, owner in (("intel_idle.max_cstate", "intel_idle"), ("processor.max_cstate", "acpi_idle")):
        value = cmdline.last(boot.arguments, key)
        if driver == owner and value == "1":
            return Said(Plane.RIGHT, f"{key}=1", boot.where)
    return Said(Plane.WRONG, "no cap")
