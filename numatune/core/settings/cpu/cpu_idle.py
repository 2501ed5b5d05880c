"""Idle states: the deeper a CPU sleeps, the later it wakes for a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ...host import Host
from ...kit.said import AtBoot, Said
from ...kit.tmpfiles_d import TMPFILES
from ...kit.words import NOT_NOW, evidence, group, sentence, summary
from ...machine import agents, tuned
from ...machine.topology import CPU
from ...model import Finding, Severity, Snapshot, State, Status
from ...parsers import cmdline
from ...setting import Option, Setting
from ...sources import Command, File
from ...status import Plane, combine
from .cpu_idle_boot import at_boot
from .cpu_idle_plan import changes
from .cpu_idle_states import (
    QOS,
    STATE_FILES,
    Held,
    Idle,
    all_states,
    deepest_allowed,
    dma_latency,
    qos_path,
    request,
    wanted_cap,
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


def judge(host: Host) -> Finding:
    """Judge the deepest idle state that each serving CPU can enter, against the cap."""
    snapshot, serving = host.snapshot, host.roles.serving
    states = all_states(host)
    if not any(states.values()):
        return _without_states(host)
    cap = wanted_cap(host, states)
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
    boot = at_boot(host, states, cap)
    persisted, status = boot.persisted, combine(runtime, boot.after)
    shown = next((cpu for cpu in serving if states[cpu]), 0)
    return Finding(
        "cpu_idle",
        status,
        Severity.WARNING,
        runtime=summary(groups),
        persisted=persisted.value,
        next_boot=boot.kernel.value,
        expected=f"at most {cap} us exit latency",
        values=groups if len(groups) > 1 else (),
        reason=sentence(
            f"an idle serving CPU may sleep deeper than {cap} us" if runtime is Plane.WRONG else "",
            f"{_holder(snapshot)} holds /dev/cpu_dma_latency at {held.limit} us: it ends with that process"
            if held.limit is not None and runtime is Plane.RIGHT
            else "",
            _unread(snapshot, states, values, held) if runtime is Plane.UNREAD else "",
            _later(status, boot),
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


def _holder(snapshot: Snapshot) -> str:
    """Who holds the latency of all CPUs, as far as that is seen: TuneD, where it runs and its profile asks for one."""
    option = tuned.cpu_option(snapshot, "force_latency")
    if option is None or not agents.unit(snapshot, agents.TUNED).active:
        return "a process"
    return f"TuneD ({option.where.text.strip()}, {option.where.path} line {option.where.line})"


def _later(status: Status, boot: AtBoot) -> str:
    persisted, plane = boot.persisted, boot.persisted.plane
    if status is Status.OK:
        return "capped now, and at the next boot"
    if plane is Plane.UNREAD:
        return "what is persisted is not known: " + persisted.why
    if plane is Plane.NONE and boot.kernel.plane is Plane.UNREAD:
        return sentence(persisted.why or "nothing persists a cap", f"the next boot: {boot.kernel.why}")
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
