"""Idle states: the deeper a CPU sleeps, the later it wakes for a request."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple, Optional

from ..host import Host, Option, Setting
from ..model import Finding, Line, Reading, Severity, Snapshot, State, Status
from ..parsers import cmdline
from ..parsers.numbers import natural
from ..sources import Command, File
from ..status import Plane, combine, outcome
from ..topology import CPU
from .common import evidence, group, sentence, summary, written_at_boot

_STATE = ("name", "latency", "disable")
_QOS = "power/pm_qos_resume_latency_us"


class _Idle(NamedTuple):
    """One idle state: exit latency in µs."""

    name: str
    latency: int
    disabled: Optional[bool]
    """None where its `disable` file is not there."""

    @property
    def polls(self) -> bool:
        return self.latency == 0 or self.name == "POLL"


def judge(host: Host) -> Finding:
    """Judge the deepest idle state that each serving CPU can enter, against the cap."""
    snapshot, serving = host.snapshot, host.roles.serving
    alike: dict[tuple[Optional[str], ...], list[_Idle]] = {}
    states = {cpu: _states(snapshot, cpu, alike) for cpu in serving}
    if not any(states.values()):
        return _without_states(host)
    cap = _cap(host, states)
    holder = _dma_latency(snapshot)
    values: dict[int, Optional[str]] = {}
    answers: dict[tuple[int, State, str], Optional[_Idle]] = {}
    planes = set()
    for cpu, found in states.items():
        qos = snapshot.read(f"{CPU}/cpu{cpu}/{_QOS}")
        # CPUs whose states and request read the same share one answer.
        key = (id(found), qos.state, qos.text)
        if key not in answers:
            answers[key] = _deepest(found, qos, holder, cap, snapshot.complete)
        deepest = answers[key]
        values[cpu] = deepest and f"{deepest.name} ({deepest.latency} us)"
        planes.add(Plane.UNREAD if deepest is None else Plane.RIGHT if deepest.latency <= cap else Plane.WRONG)
    runtime = next(plane for plane in (Plane.WRONG, Plane.UNREAD, Plane.RIGHT) if plane in planes)
    groups = group("cpus", values)
    capped = all(state.latency <= cap for found in states.values() for state in found)
    persisted, said, where, unknown = _persisted(host, cap)
    boot, boot_value, boot_reason = (Plane.RIGHT, "no deeper state", "") if capped else _next_boot(host, cap)
    status = combine(runtime, outcome(persisted, boot))
    shown = next((cpu for cpu in serving if states[cpu]), 0)
    return Finding(
        "cpu_idle",
        status,
        Severity.WARNING,
        runtime=summary(groups),
        persisted=said,
        next_boot=boot_value,
        expected=f"at most {cap} us exit latency",
        values=groups if len(groups) > 1 else (),
        reason=sentence(
            f"an idle serving CPU may sleep deeper than {cap} us" if runtime is Plane.WRONG else "",
            f"a process holds /dev/cpu_dma_latency at {holder} us: it ends with that process"
            if holder is not None and runtime is Plane.RIGHT
            else "",
            "some CPUs show no usable idle states" if runtime is Plane.UNREAD else "",
            _later(status, persisted, boot, unknown, boot_reason),
        ),
        evidence=evidence(
            snapshot.read(f"{CPU}/cpuidle/current_driver"),
            *(
                snapshot.read(f"{CPU}/cpu{shown}/cpuidle/state{index}/{part}")
                for index in range(len(states.get(shown, [])))
                for part in _STATE
            ),
            snapshot.read(f"{CPU}/cpu{shown}/{_QOS}"),
            where,
            host.next_boot.where,
        ),
        remedy="" if status is Status.OK else f"write {cap} to {_QOS} of CPUs {serving} at every boot (tmpfiles.d)",
    )


def _states(snapshot: Snapshot, cpu: int, alike: dict[tuple[Optional[str], ...], list[_Idle]]) -> list[_Idle]:
    """Return a CPU's idle states, shallowest first, none when one of them could not be read whole.

    `alike` keeps those of CPUs whose files read the same.
    """
    texts: list[Optional[str]] = []
    for index in count():
        base = f"{CPU}/cpu{cpu}/cpuidle/state{index}/"
        latency = snapshot.files.get(base + "latency")
        if latency is None:
            after = f"{CPU}/cpu{cpu}/cpuidle/state{index + 1}/latency"
            if base + "name" in snapshot.files or after in snapshot.files:
                return []
            break
        texts += [latency, snapshot.files.get(base + "name"), snapshot.files.get(base + "disable")]
    key = tuple(texts)
    found = alike.get(key)
    if found is None:
        found = alike[key] = _parsed(texts)
    return found


def _parsed(texts: list[Optional[str]]) -> list[_Idle]:
    """Parse latency, name and disable in turn; none when a state cannot be told, for it may be the deepest."""
    found: list[_Idle] = []
    for latency, name, disable in zip(texts[::3], texts[1::3], texts[2::3]):
        exit_latency = None if latency is None else natural(latency)
        if exit_latency is None or name is None:
            return []
        off = None if disable is None else disable.strip() not in ("0", "")
        found.append(_Idle(name.strip(), exit_latency, off))
    return found


def _without_states(host: Host) -> Finding:
    snapshot = host.snapshot
    driver = snapshot.read(f"{CPU}/cpuidle/current_driver")
    probe = snapshot.read(f"{CPU}/cpu{host.roles.serving.first() if host.roles.serving else 0}/cpuidle/state0/latency")
    none = driver.present and driver.text.strip() in ("none", "")
    if none or (probe.state.value == "absent" and host.roles.serving):
        why = "no cpuidle driver: an idle CPU only halts; in a virtual machine the host decides how deep"
        return Finding("cpu_idle", Status.NOT_APPLICABLE, Severity.WARNING, reason=why, evidence=evidence(driver))
    why = probe.why() if host.roles.serving else "the online CPUs are not known"
    return Finding("cpu_idle", Status.UNKNOWN, Severity.WARNING, reason=why, evidence=evidence(driver))


def _cap(host: Host, states: dict[int, list[_Idle]]) -> int:
    wanted = host.option("cpu_idle", "max_exit_latency_us")
    if wanted is not None:
        return int(wanted)
    # The shallowest state that does not poll: polling burns power that turbo needs (kernel, cpuidle.rst).
    shallow = [min((s.latency for s in found if not s.polls), default=0) for found in states.values() if found]
    return max(shallow)


def _deepest(states: list[_Idle], reading: Reading, holder: Optional[int], cap: int, complete: bool) -> Optional[_Idle]:
    """Return the deepest state that a CPU may enter now, None where that is not known."""
    if not states:
        return None
    limit = _limit(reading)
    if holder is not None:
        limit = holder if limit is None else min(limit, holder)
    allowed = [state for state in states if not state.disabled and (limit is None or state.latency <= limit)]
    # The first state stays even when it is above the limit: a CPU has to idle somehow.
    deepest = max(allowed or states[:1], key=lambda state: state.latency)
    # What could not be read can only make it shallower, so it matters where it is too deep.
    gap = reading.unread or (deepest.disabled is None and not complete)
    return None if deepest.latency > cap and gap else deepest


def _limit(reading: Reading) -> Optional[int]:
    word = reading.text.strip()
    if word == "n/a":  # no idle state may have any latency
        return 0
    # "0" is "no constraint" (kernel, sysfs-devices-power).
    return natural(word) or None


def _dma_latency(snapshot: Snapshot) -> Optional[int]:
    """Return the host-wide request in µs, None where nobody holds one (2,000 s is the kernel's "none")."""
    word = snapshot.command("cpu_dma_latency").text.strip()
    value = natural(word)
    return value if value is not None and value < 1_000_000 else None


def _persisted(host: Host, cap: int) -> tuple[Plane, Optional[str], Optional[Line], str]:
    def capped(value: str) -> bool:
        limit = _limit(Reading("", State.PRESENT, value))
        return limit is not None and limit <= cap

    targets = {cpu: (f"{CPU}/cpu{cpu}/{_QOS}",) for cpu in host.roles.serving}
    return written_at_boot(host.snapshot, targets, capped)


def _next_boot(host: Host, cap: int) -> tuple[Plane, Optional[str], str]:
    boot = host.next_boot
    if boot.arguments is None:
        return Plane.UNREAD, None, boot.reason
    if cmdline.last(boot.arguments, "idle") == "poll":
        return Plane.RIGHT, "idle=poll", ""
    driver = host.snapshot.read(f"{CPU}/cpuidle/current_driver").text.strip()
    # intel_idle.max_cstate=0 only hands over to acpi_idle, and processor.max_cstate=0 means 1 (kernel-parameters).
    for key, owner in (("intel_idle.max_cstate", "intel_idle"), ("processor.max_cstate", "acpi_idle")):
        value = cmdline.last(boot.arguments, key)
        if driver == owner and value == "1":
            return Plane.RIGHT, f"{key}=1", ""
    return Plane.WRONG, "no cap", ""


def _later(status: Status, persisted: Plane, boot: Plane, unknown: str, boot_reason: str) -> str:
    if status is Status.OK:
        return "capped now, and at the next boot"
    if persisted is Plane.UNREAD:
        return "what is persisted is not known: " + unknown
    if persisted is Plane.NONE and boot is Plane.UNREAD:
        return "nothing persists a cap; the next boot: " + boot_reason
    if status is Status.LOST_AT_REBOOT:
        return "nothing on disk keeps the cap"
    return "right on disk, not yet in the running kernel" if status is Status.PENDING_REBOOT else ""


CPU_IDLE = Setting(
    name="cpu_idle",
    title="Idle states (C-states)",
    severity=Severity.WARNING,
    why="A CPU in a deep idle state takes tens to hundreds of microseconds to wake, and its caches may be gone. The "
    "effective depth is the deepest state that is neither disabled nor above the latency request of the CPU "
    "(`pm_qos_resume_latency_us`, 0 is no request) or of the host (`/dev/cpu_dma_latency`, while held open).",
    remedy="Cap the exit latency of serving CPUs at that of the shallowest state that does not poll.",
    references=(
        "https://docs.kernel.org/admin-guide/pm/cpuidle.html",
        "https://docs.kernel.org/admin-guide/cpu-isolation.html",
    ),
    sources=(
        File(f"{CPU}/cpuidle/current_driver"),
        *(File(f"{CPU}/cpu[0-9]*/cpuidle/state[0-9]*/{part}") for part in _STATE),
        File(f"{CPU}/cpu[0-9]*/{_QOS}"),
        Command("cpu_dma_latency", "od -A n -t d4 -N 4 /dev/cpu_dma_latency", needs="od"),
    ),
    judge=judge,
    options={"max_exit_latency_us": Option(int, "the cap in microseconds (default: shallowest non-polling state)")},
)
