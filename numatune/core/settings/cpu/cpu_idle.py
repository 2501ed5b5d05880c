"""Idle states: the deeper a CPU sleeps, the later it wakes for a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Optional

from ... import ours
from ...change import Change, Conflict
from ...cpuset import CpuSet
from ...host import Host
from ...kit.said import Said, doubted, said, unread
from ...kit.tmpfiles_d import TMPFILES, unseen_at_boot, writes_at_boot, written_at_boot
from ...kit.words import NOT_NOW, evidence, group, sentence, summary
from ...machine import agents, tuned, units
from ...machine.topology import CPU
from ...model import Finding, Severity, Snapshot, State, Status
from ...numbers import natural
from ...parsers import cmdline
from ...setting import Option, Planned, Setting
from ...sources import Command, File
from ...status import Plane, combine, outcome
from ...text import lines
from .cpu_idle_states import (
    QOS,
    STATE_FILES,
    Held,
    Idle,
    all_states,
    capped,
    deepest_allowed,
    dma_latency,
    qos_path,
    request,
)

# Root alone may read it: four bytes, of which a shell drops what is zero. 2,000,000,000 (00 94 35 77: nobody asks) is
# told by the rest, which no request below 7 s has; od reads any other.
_LATENCY = r"""# The latency that a program asks of the whole host, in four bytes; 2000000000 is "none".
[ -r /dev/cpu_dma_latency ] || return
read -r answer </dev/cpu_dma_latency
case $answer in
  ?5w) answer=2000000000;;
  *) answer=$(od -A n -t d4 -N 4 /dev/cpu_dma_latency);;
esac"""
DROP_IN = "/etc/tmpfiles.d/zz-numatune-idle.conf"


def judge(host: Host) -> Finding:
    """Judge the deepest idle state that each serving CPU can enter, against the cap."""
    snapshot, serving = host.snapshot, host.roles.serving
    states = all_states(host)
    if not any(states.values()):
        return _without_states(host)
    cap = _cap(host, states)
    held = dma_latency(snapshot)
    values: dict[int, Optional[str]] = {}
    answers: dict[tuple[int, State, str], Optional[Idle]] = {}
    planes = set()
    for cpu, found in states.items():
        qos = snapshot.read(qos_path(cpu))
        # CPUs whose states and request read the same share one answer.
        key = (id(found), qos.state, qos.text)
        if key not in answers:
            answers[key] = deepest_allowed(found, qos, held, cap, snapshot.complete)
        deepest = answers[key]
        values[cpu] = deepest and f"{deepest.name} ({deepest.latency} us)"
        planes.add(Plane.UNREAD if deepest is None else Plane.RIGHT if deepest.latency <= cap else Plane.WRONG)
    runtime = next(plane for plane in (Plane.WRONG, Plane.UNREAD, Plane.RIGHT) if plane in planes)
    groups = group("cpus", values)
    boot = _next_boot(host, states, cap)
    persisted = _persisted(host, states, cap, boot)
    status = combine(runtime, outcome(persisted.plane, boot.plane))
    shown = next((cpu for cpu in serving if states[cpu]), 0)
    return Finding(
        "cpu_idle",
        status,
        Severity.WARNING,
        runtime=summary(groups),
        persisted=persisted.value,
        next_boot=boot.value,
        expected=f"at most {cap} us exit latency",
        values=groups if len(groups) > 1 else (),
        reason=sentence(
            f"an idle serving CPU may sleep deeper than {cap} us" if runtime is Plane.WRONG else "",
            f"{_holder(snapshot)} holds /dev/cpu_dma_latency at {held.limit} us: it ends with that process"
            if held.limit is not None and runtime is Plane.RIGHT
            else "",
            _unread(snapshot, states, values, held) if runtime is Plane.UNREAD else "",
            _later(status, persisted, boot),
        ),
        evidence=evidence(
            snapshot.read(f"{CPU}/cpuidle/current_driver"),
            *(
                snapshot.read(f"{CPU}/cpu{shown}/cpuidle/state{index}/{part}")
                for index in range(len(states.get(shown, [])))
                for part in STATE_FILES
            ),
            snapshot.read(qos_path(shown)),
            persisted.where,
            host.next_boot.where,
        ),
        remedy=_remedy(status, persisted, f"write {request(cap)} to {QOS} of CPUs {serving}"),
    )


def _remedy(status: Status, persisted: Said, write: str) -> str:
    if status is Status.OK or persisted.remedy or status is Status.UNKNOWN:
        return "" if status is Status.OK else persisted.remedy
    if status is Status.PENDING_REBOOT and persisted.plane is Plane.RIGHT:
        return f"run playbooks/tune.yml, which sets it now, or {write}; no reboot is needed"
    return f"run playbooks/tune.yml, or {write}, at every boot too (tmpfiles.d)"


def _unread(
    snapshot: Snapshot, states: Mapping[int, list[Idle]], values: Mapping[int, Optional[str]], held: Held
) -> str:
    """Return what is missing to tell how deep the first CPU that cannot be told may sleep."""
    cpu = next(cpu for cpu, value in values.items() if value is None)
    if not states[cpu]:
        return f"CPU {cpu} shows no usable idle states"
    request_of = snapshot.read(qos_path(cpu))
    if request_of.unread:
        return request_of.why()
    if held.unread:
        return f"whether a process keeps all CPUs awake is not known: {held.unread}"
    return f"which idle states of CPU {cpu} are disabled is not in the captured tree"


def _without_states(host: Host) -> Finding:
    snapshot = host.snapshot
    if cmdline.last(snapshot.read("/proc/cmdline").text, "idle") == "poll":
        boot = host.next_boot
        later = None if boot.arguments is None else cmdline.last(boot.arguments, "idle") == "poll"
        after = Plane.UNREAD if later is None else Plane.RIGHT if later else Plane.WRONG
        why = sentence(
            "idle=poll: CPUs spin and never sleep, at the price of power that turbo needs",
            f"the next boot: {boot.reason}" if later is None else "",
        )
        status = combine(Plane.RIGHT, after)
        return Finding(
            "cpu_idle",
            status,
            Severity.WARNING,
            runtime="idle=poll",
            reason=why,
            evidence=evidence(snapshot.read("/proc/cmdline"), boot.where),
            remedy="" if status in (Status.OK, Status.UNKNOWN) else "run playbooks/tune.yml",
        )
    driver = snapshot.read(f"{CPU}/cpuidle/current_driver")
    probe = snapshot.read(f"{CPU}/cpu{host.roles.serving.first() if host.roles.serving else 0}/cpuidle/state0/latency")
    none = driver.present and driver.text.strip() in ("none", "")
    if none or (probe.state.value == "absent" and host.roles.serving):
        why = "no cpuidle driver: an idle CPU only halts; in a virtual machine the host decides how deep"
        return Finding("cpu_idle", Status.NOT_APPLICABLE, Severity.WARNING, reason=why, evidence=evidence(driver))
    why = probe.why() if host.roles.serving else "the online CPUs are not known"
    return Finding("cpu_idle", Status.UNKNOWN, Severity.WARNING, reason=why, evidence=evidence(driver))


def _cap(host: Host, states: dict[int, list[Idle]]) -> int:
    wanted = host.option("cpu_idle", "max_exit_latency_us")
    if wanted is not None:
        return int(wanted)
    # The shallowest state that does not poll: polling burns power that turbo needs (kernel, cpuidle.rst).
    shallow = [min((s.latency for s in found if not s.polls), default=0) for found in states.values() if found]
    # A request for no latency at all ("n/a") is for the first state alone: a CPU that polls there would spin for ever.
    return max(*shallow, 1)


def _persisted(host: Host, states: Mapping[int, list[Idle]], cap: int, boot: Said) -> Said:
    snapshot = host.snapshot
    if _never_deeper(states, cap):
        # Whatever a file asks for, read or not.
        return Said(Plane.NONE)
    by_tuned = _by_tuned(snapshot, cap)
    starts = agents.unit(snapshot, agents.TUNED).enabled
    if starts and by_tuned.plane is not Plane.NONE:
        # It starts after tmpfiles.d is applied.
        return by_tuned
    targets = _targets(host.roles.serving)
    found = written_at_boot(host, targets, lambda value: capped(value, cap))
    spoils = starts is None and by_tuned.plane in (Plane.WRONG, Plane.UNREAD)
    unseen = agents.unseen(snapshot, agents.TUNED_ALONE) if spoils else ""
    return doubted(found, boot, unseen or unseen_at_boot(snapshot, targets, lambda value: capped(value, cap)))


def _by_tuned(snapshot: Snapshot, cap: int) -> Said:
    """Return what TuneD asks for when it starts."""
    does = tuned.sysfs(snapshot, QOS)
    asked = _asked_by_tuned(snapshot)
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
    return said(value, lambda text: capped(text, cap), where)


def _asked_by_tuned(snapshot: Snapshot) -> Optional[tuned.Option]:
    """Return the request that TuneD's profile makes for every CPU, None for no request."""
    option = tuned.cpu_option(snapshot, QOS.rpartition("/")[2])
    if option is None or option.value is None:
        return option
    # The first of several that TuneD can make out counts; an idle state's name or number is not looked up here.
    first = option.value.partition("|")[0].strip()
    if first in ("none", "None"):
        return None
    return option._replace(value=first if first == "n/a" or natural(first) is not None else None)


def _holder(snapshot: Snapshot) -> str:
    """Who holds the latency of all CPUs, as far as that is seen: TuneD, where it runs and its profile asks for one."""
    option = tuned.cpu_option(snapshot, "force_latency")
    if option is None or not agents.unit(snapshot, agents.TUNED).active:
        return "a process"
    return f"TuneD ({option.where.text.strip()}, {option.where.path} line {option.where.line})"


def _targets(serving: CpuSet) -> dict[int, tuple[str, ...]]:
    return {cpu: (qos_path(cpu),) for cpu in serving}


def _never_deeper(states: Mapping[int, list[Idle]], cap: int) -> bool:
    """Return whether no CPU has a state deeper than the cap, be it disabled now or not."""
    return all(found and max(state.latency for state in found) <= cap for found in states.values())


def _next_boot(host: Host, states: Mapping[int, list[Idle]], cap: int) -> Said:
    if _never_deeper(states, cap):
        return Said(Plane.RIGHT, "no deeper state")
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


def _later(status: Status, persisted: Said, boot: Said) -> str:
    plane = persisted.plane
    if status is Status.OK:
        return "capped now, and at the next boot"
    if plane is Plane.UNREAD:
        return "what is persisted is not known: " + persisted.why
    if plane is Plane.NONE and boot.plane is Plane.UNREAD:
        return sentence(persisted.why or "nothing persists a cap", f"the next boot: {boot.why}")
    if status is Status.PENDING_REBOOT:
        return NOT_NOW if plane is Plane.RIGHT else "right on disk, not yet in the running kernel"
    if plane is Plane.NONE and persisted.why:
        return persisted.why
    if status is Status.LOST_AT_REBOOT:
        return (
            "nothing on disk gives a CPU a cap of its own"
            if plane is Plane.NONE
            else "what is on disk asks for no such cap"
        )
    return ""


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the request of each serving CPU that may sleep too deep, and the tmpfiles.d file that makes them at boot.

    A file of that name that is not numatune's is a conflict, and so is a line that would win over it, and a TuneD
    that asks for more. A CPU without such a request is left to a person.
    """
    snapshot, serving, states = host.snapshot, host.roles.serving, all_states(host)
    if not finding.bad or not any(states.values()):
        return (), ()
    cap = _cap(host, states)
    refused = (*_over_tuned(snapshot, cap), *_spinning(host, states, cap))
    if refused:
        return (), refused
    value = request(cap)
    planned: list[Change] = []
    boot = _next_boot(host, states, cap)
    if outcome(_persisted(host, states, cap, boot).plane, boot.plane) is not Plane.RIGHT:
        applied = units.applier(snapshot, units.TMPFILES, host.next_boot.arguments)
        refused = units.refusals("cpu_idle", applied, DROP_IN)
        if refused:
            return (), refused
        asked = [cpu for cpu in serving if snapshot.read(qos_path(cpu)).state is not State.ABSENT]
        text = ours.HEADER + "".join(f"w {qos_path(cpu)} - - - - {value}\n" for cpu in asked)
        conflicts = tuple(_conflicts(snapshot, serving, cap, text))
        if conflicts:
            return (), conflicts
        current = snapshot.read(DROP_IN)
        if asked and current.text != text:
            before = current.text if current.present else None
            why = f"at most {cap} us to wake up, at every boot"
            planned.append(Change("cpu_idle", "file", DROP_IN, text, before, why, "0644"))
    planned += _running(snapshot, states, cap, value)
    return tuple(planned), ()


def _conflicts(snapshot: Snapshot, serving: CpuSet, cap: int, text: str) -> Iterator[Conflict]:
    current = snapshot.read(DROP_IN)
    if DROP_IN in snapshot.links or (current.text and not current.text.startswith(ours.HEADER)):
        first = next(iter(lines(current.text)), "")
        message = f"{DROP_IN} exists and is not numatune's: move it away, then run again"
        yield Conflict("cpu_idle", DROP_IN, 1, first, message)
        return
    # What the next boot would come to with the file in place: systemd-tmpfiles has its own order of lines.
    after = replace(snapshot, files={**snapshot.files, DROP_IN: text})
    won = {write.where: write for write in writes_at_boot(after, _targets(serving))[0].values()}
    for where, write in won.items():
        if not capped(write.value, cap):
            message = (
                f"{where.path} line {where.line} would win over {DROP_IN}: remove {where.text!r} there, then run again"
            )
            yield Conflict("cpu_idle", where.path, where.line, where.text, message)


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
    option = _asked_by_tuned(snapshot) if unit.active or unit.enabled else None
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


CPU_IDLE = Setting(
    name="cpu_idle",
    title="Idle states (C-states)",
    severity=Severity.WARNING,
    why="A CPU in a deep idle state takes tens to hundreds of microseconds to wake, and its caches may be gone. The "
    "effective depth is the deepest state that is neither disabled nor above the latency request of the CPU "
    "(`pm_qos_resume_latency_us`, 0 is no request) or of the host (`/dev/cpu_dma_latency`, while held open).",
    remedy="Cap the exit latency of serving CPUs at that of the shallowest state that does not poll; "
    "playbooks/tune.yml does it, now and at every boot.",
    references=(
        "https://docs.kernel.org/admin-guide/pm/cpuidle.html",
        "https://docs.kernel.org/admin-guide/cpu-isolation.html",
    ),
    sources=(
        File(f"{CPU}/cpuidle/current_driver"),
        *(File(f"{CPU}/cpu[0-9]*/cpuidle/state[0-9]*/{part}") for part in STATE_FILES),
        File(f"{CPU}/cpu[0-9]*/cpuidle/state[0-9]*/desc", captured_only=True),
        File(f"{CPU}/cpu[0-9]*/{QOS}"),
        Command("cpu_dma_latency", _LATENCY, needs="od", shown="/dev/cpu_dma_latency"),
        *TMPFILES,
        *agents.SOURCES,
    ),
    judge=judge,
    options={
        "max_exit_latency_us": Option(
            int, "the cap in microseconds", default="that of the shallowest state that does not poll"
        )
    },
    changes=changes,
)
