"""What an audit says of kernel arguments: the reason of each state and what to do, as tune.yml itself would say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Union

from ...change import Conflict
from ...host import Host
from ...loaders import arguments
from ...loaders.loader import Loader
from ...loaders.next_boot import next_boot
from ...model import Snapshot, Status
from ...undo.runs import interrupted
from . import isolation_plan
from .argument_states import State

_RETRY = "playbooks/tune.yml -e tune_kernel_arguments_retry=true"


class Judged(NamedTuple):
    """What a judgement came to, for its words."""

    host: Host
    wanted: Mapping[str, str]
    loader: Union[Loader, str]
    state: State
    status: Status
    unfinished: str


def reasons(found: Judged) -> list[str]:
    """Return the reason's parts."""
    host, wanted, loader, state, status, unfinished = found
    default = next_boot(host.snapshot, once=False).where
    at = f"{default.path} line {default.line}" if default else "the default entry"
    if status is Status.OK:
        return ["the running kernel has them, and the entry that boots next"]
    if status is Status.PENDING_REBOOT:
        if state in (State.ARMED, State.PASSED_OVER):
            over = "; the last boot passed it over" if state is State.PASSED_OVER else ""
            return [f"the next boot alone tries them; the default entry is still the old one{over}"]
        return ["the next boot has them"]
    if status is Status.LOST_AT_REBOOT:
        return [f"the running kernel has them, but the entry that boots next does not: {_lost(found, at)}"]
    running = host.snapshot.read("/proc/cmdline")
    missing = arguments.missing(running.text, wanted) if running.present else ""
    if state is State.NOT_TAKEN and missing:
        why = "another entry was chosen, or another loader starts the kernel"
        return [f"the host was rebooted and runs without {missing}, which {at} holds: {why}"]
    if isinstance(loader, str):
        return [loader]
    stop = stopped(host.snapshot, wanted, loader, state)
    if stop:
        return [stop]
    cut = "; the trial's entry stands and is not armed: a run was cut" if state is State.ARMING else ""
    return [f"the running kernel lacks {missing}{cut}" if missing else unfinished]


def _lost(found: Judged, at: str) -> str:
    if found.state is State.TRIAL_HOLDS:
        return "a trial boot, not permanent yet"
    if found.state is State.LOST:
        return f"they were permanent, and {at} lacks them now: somebody changed it, or chose another default"
    if found.state is State.PERMANENT:
        return "it is another one, asked for once"
    return f"{at} lacks them"


def stopped(snapshot: Snapshot, wanted: Mapping[str, str], loader: Loader, state: State) -> str:
    """Return why a trial is not repeated, "" where nothing stands against one."""
    default = next_boot(snapshot, once=False).where
    at = f"{default.path} line {default.line}" if default else "not known"
    missing = arguments.missing(snapshot.read("/proc/cmdline").text, wanted)
    entry = f"the trial boot of {loader.trial_id} in {loader.trial_path}"
    if state is State.TRIED:
        if interrupted(snapshot):
            # Its journal may tell that the trial had held: only the next run reads it whole.
            return f"the running kernel lacks {missing}; what the trial came to shows when the cut run is finished"
        return (
            f"the host was rebooted to try them once and runs without {missing} (its default entry is {at}): {entry} "
            "panicked, hung, or was followed by another"
        )
    if state is State.IGNORED:
        return (
            f"the host was rebooted twice to try them and runs without {missing} (its default entry is {at}): GRUB "
            f"never took {entry}, which {loader.environment} names; another loader may start the kernel"
        )
    return ""


def remedy(found: Judged) -> str:
    """Return what to do, in the words by which tune refuses where it does; "" where it must first be known."""
    host, wanted, loader, state, status, _ = found
    if status is Status.UNKNOWN:
        # The audit says how to know.
        return ""
    if isinstance(loader, str):
        return "set them in the boot loader's own way, then reboot"
    refused = refusals(host, wanted, loader)
    if refused:
        # Said here as tune.yml will say it.
        return "; ".join(item.message for item in refused)
    if state is State.TRIED and interrupted(host.snapshot):
        return "run playbooks/tune.yml, which finishes that run first"
    if state in (State.TRIED, State.IGNORED):
        return f"look at its console; {_RETRY} tries them once more"
    if state is State.NOT_TAKEN:
        return f"reboot into the default entry and look at the console; {_RETRY} -e reboot_ok=true does it once more"
    if status is Status.PENDING_REBOOT:
        return "reboot, then run playbooks/tune.yml; or run it with -e reboot_ok=true, which does both"
    if status is Status.LOST_AT_REBOOT and state is State.PERMANENT:
        return (
            f"nothing, if the next boot alone is to be another; else grub-editenv {loader.environment} unset next_entry"
        )
    if status is Status.LOST_AT_REBOOT:
        return "run playbooks/tune.yml, which makes them permanent"
    return "run playbooks/tune.yml"


def refusals(host: Host, wanted: Mapping[str, str], loader: Loader) -> tuple[Conflict, ...]:
    """Return what tune refuses, whatever the state: what would ruin the service, what keeps them from being written."""
    return (*isolation_plan.refusals(host, "kernel_arguments"), *loader.conflicts(wanted))
