"""Kernel arguments: what the profile and core isolation want of the entry that boots, first tried in one boot.

A new argument can keep a kernel from coming up. So it is first booted by a one-time entry, with the old entry still
the default: a host that panics or hangs comes back as it was. Only when the host runs with every argument are they
made permanent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Optional, Union

from ...change import Change, Conflict
from ...errors import InputError
from ...host import Host
from ...kit.words import evidence, sentence
from ...loaders import arguments, records
from ...loaders import find as loaders
from ...loaders import loader as common
from ...loaders.loader import Loader
from ...loaders.next_boot import next_boot
from ...model import Finding, Line, Severity, Snapshot, Status
from ...setting import Option, Planned, Setting
from ...sources import File
from ...status import Plane, combine
from ...undo.runs import interrupted
from . import isolation_plan
from .argument_states import Facts, State, mark_of, state_of
from .argument_words import Judged, reasons, refusals, remedy, stopped

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
    state = state_of(_facts(host.snapshot, wanted, loader))
    unfinished = "" if isinstance(loader, str) else _unfinished(host.snapshot, wanted, loader)
    # Another reboot would not help, so it must not be waited for.
    stuck = status is Status.PENDING_REBOOT and state in (State.NOT_TAKEN, State.IGNORED)
    if stuck or (unfinished and status is Status.OK):
        status = Status.WRONG
    found = Judged(host, wanted, loader, state, status, unfinished)
    said = reasons(found)
    later = boot.reason if after is Plane.UNREAD and not any(boot.reason in part for part in said) else ""
    return Finding(
        "kernel_arguments",
        status,
        Severity.WARNING,
        runtime=arguments.shown(running.text, wanted) if running.present else None,
        persisted=None,
        next_boot=None if boot.arguments is None else arguments.shown(boot.arguments, wanted),
        expected=arguments.join(wanted),
        reason=sentence(
            *said,
            running.why() if runtime is Plane.UNREAD else "",
            f"the next boot: {later}" if later else "",
        ),
        evidence=evidence(running, boot.where),
        remedy="" if status is Status.OK else remedy(found),
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
    stale = [word for word in records.owned(snapshot) if word not in arguments.join(wanted).split()]
    if stale:
        return f"numatune's {' '.join(stale)} is in the boot entries and no longer asked for"
    change = next(iter(loader.permanent(wanted)), None)
    return f"{change.path} is not as numatune leaves it" if change else ""


def _plane(line: Optional[str], wanted: Mapping[str, str]) -> Plane:
    if line is None:
        return Plane.UNREAD
    return Plane.RIGHT if arguments.held(line, wanted) else Plane.WRONG


def _facts(snapshot: Snapshot, wanted: Mapping[str, str], loader: Union[Loader, str]) -> Facts:
    running, default = snapshot.read("/proc/cmdline"), next_boot(snapshot, once=False).arguments
    found = Facts(
        running=arguments.held(running.text, wanted) if running.present else None,
        default=None if default is None else arguments.held(default, wanted),
        here=common.boot_id(snapshot),
        held_since=records.held_since(snapshot, wanted),
    )
    if isinstance(loader, str):
        return found
    prepared, standing = (records.trial_of(snapshot, path) for path in (loader.trial_path, loader.trial_entry))
    these = arguments.join(wanted)
    return replace(
        found,
        prepared=prepared is not None and prepared.arguments == these,
        trial=standing if standing and standing.arguments == these else None,
        armed=records.armed(snapshot, loader.environment),
        to_come=common.variable(snapshot, loader.environment, "next_entry") == loader.trial_id,
    )


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the step that leads out of the state; or what takes numatune's arguments out, where none is wanted."""
    snapshot, wanted = host.snapshot, _wanted(host)
    loader = loaders.find(snapshot)
    if isinstance(loader, str):
        return (), (_conflict(f"kernel arguments: {loader}"),)
    refused = refusals(host, wanted, loader)
    if refused:
        return (), refused
    disarm = records.disarm(snapshot, loader.environment, loader.trial_id)
    if not wanted:
        return (*disarm, *loader.permanent(wanted)), ()
    facts = _facts(snapshot, wanted, loader)
    state, retry = state_of(facts), bool(host.option("kernel_arguments", "retry"))
    if state is State.UNKNOWN:
        # What cannot be read afterwards cannot be proved.
        default = next_boot(snapshot, once=False)
        return (), (_conflict(f"kernel arguments: {default.reason}", default.where),)
    at_once = host.option("kernel_arguments", "trial") is False
    if facts.default and not facts.running and not (at_once and not retry):
        return (*disarm, *_awaited(snapshot, loader, wanted, facts, retry)), ()
    if facts.running or at_once:
        return (*disarm, *loader.permanent(wanted)), ()
    stop = stopped(snapshot, wanted, loader, state)
    if stop and not retry:
        again = "not tried again: look at its console, then set tune_kernel_arguments_retry: true"
        message = f"{stop}; {'run playbooks/tune.yml' if interrupted(snapshot) else again}"
        return (), (_conflict(message, next_boot(snapshot, once=False).where or Line(loader.trial_path, 0, "")),)
    return _trial(snapshot, loader, wanted, facts)


def _awaited(
    snapshot: Snapshot, loader: Loader, wanted: Mapping[str, str], facts: Facts, retry: bool
) -> tuple[Change, ...]:
    """Return that no trial is left of arguments that the next boot has.

    Where they are numatune's, it is known from here on since when the default entry holds them.
    """
    if not records.covers(snapshot, wanted):
        return loader.without_trial()
    first, second = records.notes(snapshot, wanted, "" if retry else facts.held_since)
    return (*first, *loader.without_trial(), *second)


def _trial(snapshot: Snapshot, loader: Loader, wanted: Mapping[str, str], facts: Facts) -> Planned:
    reason = loader.no_trial()
    if reason:
        message = f"no trial boot: {reason}; to write the arguments at once, set tune_kernel_arguments_trial: false"
        return (), (_conflict(message, Line(loader.environment, 0, "")),)
    other = common.variable(snapshot, loader.environment, "next_entry")
    if other not in (None, loader.trial_id):
        message = f"{loader.environment} boots {other} once, which somebody asked for: reboot first, or take it back"
        return (), (_conflict(message, Line(loader.environment, 0, f"next_entry={other}")),)
    # One that is armed keeps its name, so that its mark stays right.
    kept = facts.trial if facts.to_come and state_of(facts) is not State.IGNORED else None
    trial = kept or records.Trial(facts.here, arguments.join(wanted))
    mark = mark_of(facts, trial)
    entry = loader.trial(wanted, trial.boot_id)
    return (*entry, *records.arm(snapshot, loader.environment, loader.trial_id, mark)), ()


def _conflict(message: str, where: Optional[Line] = None) -> Conflict:
    return common.conflict(where or Line("", 0, ""), message)


KERNEL_ARGUMENTS = Setting(
    name="kernel_arguments",
    by_reboot=True,
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
        "trial": Option(bool, "boot new arguments once before they are made permanent", default="true"),
        "retry": Option(bool, "try arguments again whose trial boot did not hold", default="false"),
    },
    changes=changes,
)
