"""How idle states are capped: each serving CPU's own latency request, now and in a tmpfiles.d file at every boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from ... import ours
from ...change import Change, Conflict
from ...host import Host
from ...kit.drop_ins import foreign, outdone, placed
from ...kit.tmpfiles_d import wrong_at_boot
from ...machine import agents, units
from ...model import Finding, Snapshot, State
from ...setting import Planned
from ...status import Plane
from .cpu_idle_boot import asked_by_tuned, at_boot, targets
from .cpu_idle_states import Held, Idle, all_states, capped, deepest_allowed, qos_path, request, wanted_cap

DROP_IN = "/etc/tmpfiles.d/zz-numatune-idle.conf"


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the request of each serving CPU that may sleep too deep, and the tmpfiles.d file that makes them at boot.

    A file of that name that is not numatune's is a conflict, and so is a line that would win over it, and a TuneD
    that asks for more. A CPU without such a request is left to a person.
    """
    snapshot, serving, states = host.snapshot, host.roles.serving, all_states(host)
    if not finding.bad or not any(states.values()):
        return (), ()
    cap = wanted_cap(host, states)
    refused = (*_over_tuned(snapshot, cap), *_spinning(host, states, cap))
    if refused:
        return (), refused
    value = request(cap)
    planned: tuple[Change, ...] = ()
    if at_boot(host, states, cap).after is not Plane.RIGHT:
        asked = [cpu for cpu in serving if snapshot.read(qos_path(cpu)).state is not State.ABSENT]
        text = ours.HEADER + "".join(f"w {qos_path(cpu)} - - - - {value}\n" for cpu in asked)
        refused = _refusals(host, cap, text)
        if refused:
            return (), refused
        if asked:
            planned = placed(snapshot, "cpu_idle", DROP_IN, text, f"at most {cap} us to wake up, at every boot")
    return (*planned, *_running(snapshot, states, cap, value)), ()


def _refusals(host: Host, cap: int, text: str) -> tuple[Conflict, ...]:
    """Return the conflict with what would keep the file from being applied, is not ours there, or would win over it."""
    snapshot = host.snapshot
    applied = units.applier(snapshot, units.TMPFILES, host.next_boot.arguments)
    refused = units.refusals("cpu_idle", applied, DROP_IN) or foreign(snapshot, "cpu_idle", DROP_IN)
    if refused:
        return refused
    # What the next boot would come to with the file in place: systemd-tmpfiles has its own order of lines.
    after = replace(snapshot, files={**snapshot.files, DROP_IN: text})
    wrong = wrong_at_boot(after, targets(host.roles.serving), partial(capped, cap=cap))
    return tuple(outdone("cpu_idle", DROP_IN, write.where) for write in wrong)


def _spinning(host: Host, states: Mapping[int, list[Idle]], cap: int) -> Iterator[Conflict]:
    """Yield the conflict of a cap that leaves a CPU nothing but a state in which it polls."""
    if host.option("cpu_idle", "max_exit_latency_us") == 0:
        # Somebody asked for just that.
        return
    for cpu, found in states.items():
        sleeping = [state.latency for state in found if not state.polls]
        if sleeping and min(sleeping) > cap:
            message = (
                f"a cap of {cap} us leaves CPU {cpu} no idle state but polling: it would spin for ever; set "
                f"max_exit_latency_us to {min(sleeping)} or more (0 asks for polling), then run again"
            )
            yield Conflict("cpu_idle", qos_path(cpu), 0, "", message)
            return


def _over_tuned(snapshot: Snapshot, cap: int) -> Iterator[Conflict]:
    unit = agents.unit(snapshot, agents.TUNED)
    option = asked_by_tuned(snapshot) if unit.active or unit.enabled else None
    if option and (option.value is None or not capped(option.value, cap)):
        where = option.where
        message = (
            f"{agents.TUNED} asks for {where.text!r} ({where.path} line {where.line}) for the same CPUs: make that "
            f"{request(cap)} or take it out, or `systemctl disable --now {agents.TUNED}`; then run again"
        )
        yield Conflict("cpu_idle", where.path, where.line, where.text, message)


def _running(snapshot: Snapshot, states: Mapping[int, list[Idle]], cap: int, value: str) -> Iterator[Change]:
    for cpu, found in states.items():
        qos = snapshot.read(qos_path(cpu))
        if not qos.present or capped(qos.text, cap):
            continue
        # Whoever holds /dev/cpu_dma_latency may let go before the next boot: the CPU's own request counts here.
        deepest = deepest_allowed(found, qos, Held(), cap, snapshot.complete)
        if deepest is not None and deepest.latency > cap:
            why = f"at most {cap} us to wake up now"
            yield Change("cpu_idle", "runtime", qos_path(cpu), value + "\n", qos.text, why)
