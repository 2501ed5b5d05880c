"""Kernel arguments: what the profile and core isolation want of the entry that boots, first tried in one boot.

A new argument can keep a kernel from coming up. So it is first booted by a one-time entry, with the old entry still
the default: a host that panics or hangs comes back as it was. Only when the host runs with every argument are they
made permanent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional, Union

from .. import arguments
from ..boot import next_boot
from ..errors import InputError
from ..host import Host, Option, Planned, Setting
from ..loaders import find as loaders
from ..loaders import loader as common
from ..loaders.loader import Loader, Trial
from ..model import Change, Conflict, Finding, Line, Severity, Snapshot, Status
from ..sources import File
from ..status import Plane, combine
from . import isolation_plan
from .common import evidence, sentence

_WANTED = "settings.kernel_arguments.wanted"
_ISOLATING = ("isolcpus", "nohz_full")


def judge(host: Host) -> Finding:
    """Judge whether the running kernel has every wanted argument, and the entry that boots next holds them."""
    wanted = _wanted(host)
    loader = loaders.find(host.snapshot)
    if not wanted:
        return _nothing_wanted(loader)
    running, boot = host.snapshot.read("/proc/cmdline"), host.next_boot
    runtime = _plane(running.text if running.present else None, wanted)
    after = _plane(boot.arguments, wanted)
    status = combine(runtime, after)
    unfinished = "" if isinstance(loader, str) else _unfinished(host.snapshot, wanted, loader)
    if (unfinished and status is Status.OK) or (status is Status.PENDING_REBOOT and _came_back_without(host, wanted)):
        status = Status.WRONG
    return Finding(
        "kernel_arguments",
        status,
        Severity.WARNING,
        runtime=arguments.shown(running.text, wanted) if running.present else None,
        persisted=None,
        next_boot=None if boot.arguments is None else arguments.shown(boot.arguments, wanted),
        expected=arguments.join(wanted),
        reason=sentence(
            *_reasons(host, status, wanted, loader, unfinished),
            running.why() if runtime is Plane.UNREAD else "",
            f"the next boot: {boot.reason}" if after is Plane.UNREAD else "",
        ),
        evidence=evidence(running, boot.where),
        remedy="" if status is Status.OK else _remedy(host, status),
    )


def _nothing_wanted(loader: Union[Loader, str]) -> Finding:
    if not isinstance(loader, str) and loader.leftovers():
        why = "none is asked for any more, and numatune's own still stand in the boot loader's configuration"
        remedy = "run playbooks/tune.yml, which takes them out"
        return Finding("kernel_arguments", Status.WRONG, Severity.INFO, expected="none", reason=why, remedy=remedy)
    why = "no kernel argument is asked for"
    return Finding("kernel_arguments", Status.NOT_APPLICABLE, Severity.INFO, reason=why)


def _wanted(host: Host) -> dict[str, str]:
    asked = arguments.check(host.option("kernel_arguments", "wanted") or {}, _WANTED)
    isolation = isolation_plan.arguments(host)
    for key in asked:
        if key.replace("-", "_") in (*_ISOLATING, *isolation):
            raise InputError(f"{_WANTED}.{key}: set by settings.core_isolation, mode kernel; leave it out here")
    return {**isolation, **asked}


def _unfinished(snapshot: Snapshot, wanted: Mapping[str, str], loader: Loader) -> str:
    """Return what of numatune's own files is not as it should be, "" for nothing: where it wrote none, nobody's is.

    A run that was cut may leave it so, or a kernel whose entry was made without the arguments.
    """
    if not loader.leftovers():
        return ""
    stale = [word for word in common.owned(snapshot) if word not in arguments.join(wanted).split()]
    if stale:
        return f"numatune's {' '.join(stale)} is in the boot entries and no longer asked for"
    change = next(iter(loader.permanent(wanted)), None)
    return f"{change.path} is not as numatune leaves it" if change else ""


def _plane(line: Optional[str], wanted: Mapping[str, str]) -> Plane:
    if line is None:
        return Plane.UNREAD
    return Plane.RIGHT if arguments.held(line, wanted) else Plane.WRONG


def _reasons(
    host: Host, status: Status, wanted: Mapping[str, str], loader: Union[Loader, str], unfinished: str
) -> list[str]:
    if status is Status.OK:
        return ["the running kernel has them, and the entry that boots next"]
    if status is Status.PENDING_REBOOT:
        default = next_boot(host.snapshot, once=False).arguments
        if default is not None and not arguments.held(default, wanted):
            return ["the next boot alone tries them; the default entry is still the old one"]
        return ["the next boot has them"]
    if status is Status.LOST_AT_REBOOT:
        return ["the running kernel has them, but the entry that boots next does not: a trial boot, not permanent yet"]
    without = _came_back_without(host, wanted)
    if without:
        return [without]
    if isinstance(loader, str):
        return [loader]
    trial = _failed_trial(host, wanted, loader)
    if trial:
        return [trial[1]]
    running = host.snapshot.read("/proc/cmdline")
    missing = arguments.missing(running.text, wanted) if running.present else ""
    return [f"the running kernel lacks {missing}" if missing else unfinished]


def _failed_trial(host: Host, wanted: Mapping[str, str], loader: Loader) -> Optional[tuple[Line, str]]:
    """Return what a trial boot of these very arguments came to, with the default entry's line.

    None where none was tried, or it is still to come.
    """
    snapshot = host.snapshot
    trial: Optional[Trial] = common.trial_of(snapshot, loader.trial_path)
    here = common.boot_id(snapshot)
    if trial is None or trial.boot_id == here or trial.arguments != arguments.join(wanted):
        return None
    if common.variable(snapshot, loader.environment, "next_entry") == loader.trial_id:
        return None
    running = snapshot.read("/proc/cmdline").text
    if arguments.held(running, wanted):
        return None
    entry = next_boot(snapshot, once=False).where
    at = f" (its default entry is {entry.path} line {entry.line})" if entry else ""
    message = (
        f"the host was rebooted to try them once and runs without {arguments.missing(running, wanted)}{at}: the trial "
        f"boot of {loader.trial_id} in {loader.trial_path} panicked, hung, or was followed by another"
    )
    return entry or Line(loader.trial_path, 0, ""), message


def _came_back_without(host: Host, wanted: Mapping[str, str]) -> str:
    """Return that the host was rebooted since the default entry holds the arguments, and booted without them.

    Another reboot would not help: somebody chose another entry, or another loader starts the kernel.
    """
    snapshot = host.snapshot
    running, entry = snapshot.read("/proc/cmdline"), next_boot(snapshot, once=False)
    if common.written_in(snapshot) in ("", common.boot_id(snapshot)) or not running.present:
        return ""
    if not set(arguments.join(wanted).split()) <= set(common.owned(snapshot)) or arguments.held(running.text, wanted):
        return ""
    if entry.where is None or entry.arguments is None or not arguments.held(entry.arguments, wanted):
        return ""
    return (
        f"the host was rebooted and runs without {arguments.missing(running.text, wanted)}, which {entry.where.path} "
        f"line {entry.where.line} holds: another entry was chosen, or another loader starts the kernel"
    )


def _remedy(host: Host, status: Status) -> str:
    if status is Status.PENDING_REBOOT:
        return "reboot, then run playbooks/tune.yml; or run it with -e reboot_ok=true, which does both"
    if status is Status.LOST_AT_REBOOT:
        return "run playbooks/tune.yml, which makes them permanent"
    if isinstance(loaders.find(host.snapshot), str):
        return "set them in the boot loader's own way, then reboot"
    return "run playbooks/tune.yml"


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the trial boot, or what makes a trial that held permanent, or what takes numatune's arguments out."""
    snapshot, wanted = host.snapshot, _wanted(host)
    loader = loaders.find(snapshot)
    if isinstance(loader, str):
        return (), (_conflict(f"kernel arguments: {loader}"),)
    refused = (*isolation_plan.refusals(host, "kernel_arguments"), *loader.conflicts(wanted))
    if refused:
        return (), refused
    default = next_boot(snapshot, once=False)
    if wanted and default.arguments is None:
        # What cannot be read afterwards cannot be proved.
        return (), (_conflict(f"kernel arguments: {default.reason}", default.where),)
    running = snapshot.read("/proc/cmdline")
    held = running.present and arguments.held(running.text, wanted)
    if not wanted or held or host.option("kernel_arguments", "trial") is False:
        return (*_not_once(host, loader), *loader.permanent(wanted)), ()
    if arguments.held(default.arguments or "", wanted):
        # They were written without a trial, and the next boot shows whether they hold.
        return (*_not_once(host, loader), *loader.without_trial()), ()
    return _trial(host, loader, wanted)


def _not_once(host: Host, loader: Loader) -> tuple[Change, ...]:
    """Return the change that takes the one-time boot back, before the entry that it names goes."""
    armed = common.variable(host.snapshot, loader.environment, "next_entry") == loader.trial_id
    return common.once(host.snapshot, loader.environment, None) if armed else ()


def _trial(host: Host, loader: Loader, wanted: Mapping[str, str]) -> Planned:
    snapshot = host.snapshot
    reason = loader.no_trial()
    if reason:
        message = f"no trial boot: {reason}; to write the arguments at once, set kernel_arguments_trial: false"
        return (), (_conflict(message, Line(loader.environment, 0, "")),)
    other = common.variable(snapshot, loader.environment, "next_entry")
    if other not in (None, loader.trial_id):
        message = f"{loader.environment} boots {other} once, which somebody asked for: reboot first, or take it back"
        return (), (_conflict(message, Line(loader.environment, 0, f"next_entry={other}")),)
    failed = _failed_trial(host, wanted, loader)
    if failed and not host.option("kernel_arguments", "retry"):
        message = f"{failed[1]}; not tried again: look at its console, then set kernel_arguments_retry: true"
        return (), (_conflict(message, failed[0]),)
    here = common.boot_id(snapshot)
    return (*loader.trial(wanted, here), *common.once(snapshot, loader.environment, loader.trial_id)), ()


def _conflict(message: str, where: Optional[Line] = None) -> Conflict:
    return common.conflict(where or Line("", 0, ""), message)


KERNEL_ARGUMENTS = Setting(
    name="kernel_arguments",
    title="Kernel arguments",
    severity=Severity.WARNING,
    why="Some causes end by a kernel argument alone (core isolation by isolcpus and nohz_full, a default governor). An "
    "argument counts once the running kernel has it and the entry that boots next holds it; what generates the "
    "entries proves nothing.",
    remedy="The arguments that the profile wants in the running kernel and in every entry but the recovery ones.",
    references=(
        "https://docs.kernel.org/admin-guide/kernel-parameters.html",
        "https://uapi-group.org/specifications/specs/boot_loader_specification/",
    ),
    sources=(File("/proc/cmdline"), File(common.BOOT_ID), *loaders.SOURCES),
    judge=judge,
    options={
        "wanted": Option(dict, "kernel arguments: a mapping of name to value, without a value for a bare one"),
        "trial": Option(bool, "boot new arguments once before they are made permanent (default true)"),
        "retry": Option(bool, "try arguments again whose trial boot did not hold (default false)"),
    },
    changes=changes,
)
