"""Where interrupts are really delivered: the effective affinity of each IRQ, not the one asked for."""

from __future__ import annotations

from typing import NamedTuple, Optional

from .. import agents
from ..cpuset import EMPTY, CpuSet, parse_list
from ..errors import InputError
from ..host import Host, Setting
from ..model import Finding, Severity, Snapshot, Status, ValueGroup
from ..parsers import cmdline, interrupts
from ..parsers.numbers import natural
from ..sources import Directory, Extract, File
from ..status import Plane, combine
from . import irqbalance
from .common import evidence, group, nowhere_to_move, sentence

_IRQ = "/proc/irq"
_NAMES = "/proc/interrupts"
_DEFAULT = f"{_IRQ}/default_smp_affinity"


class _Irq(NamedTuple):
    number: int
    cpus: Optional[CpuSet]
    action: Optional[str]


def judge(host: Host) -> Finding:
    """Judge every IRQ that has an action, by the CPUs on which it is delivered."""
    snapshot, roles = host.snapshot, host.roles
    if not roles.split:
        return nowhere_to_move("irq_affinity", roles)
    irqs = _irqs(snapshot, roles.serving)
    if not irqs:
        reading = snapshot.directory(_IRQ)
        why = reading.why() if reading.unread else f"{_IRQ} shows no interrupt"
        status = Status.UNKNOWN if reading.unread or reading.present else Status.NOT_APPLICABLE
        return Finding("irq_affinity", status, Severity.WARNING, reason=why)
    named = [irq for irq in irqs if irq.action != ""]
    astray = [irq for irq in named if irq.cpus and irq.cpus & roles.serving]
    movable = [irq for irq in astray if not interrupts.looks_managed(irq.action or "")]
    managed = len(astray) - len(movable)
    unread = [irq for irq in named if irq.cpus is None]
    runtime = Plane.WRONG if movable else Plane.UNREAD if unread or not named else Plane.RIGHT
    after, said, boot_value = _after(host)
    status = combine(runtime, after)
    return Finding(
        "irq_affinity",
        status,
        Severity.WARNING,
        runtime=_count(movable, named),
        persisted=said,
        next_boot=boot_value,
        expected=f"no interrupt on CPUs {roles.serving}",
        values=_values(movable),
        reason=sentence(
            _offenders(movable),
            f"{managed} more look managed by the kernel (multi-queue names), which cannot be moved" if managed else "",
            f"the affinity of {len(unread)} interrupts could not be read" if unread else "",
            "where interrupts go after a reboot is not known" if after is Plane.UNREAD else "",
            "nothing on disk keeps them there after a reboot" if status is Status.LOST_AT_REBOOT else "",
        ),
        evidence=evidence(
            snapshot.read(_DEFAULT),
            *(snapshot.read(f"{_IRQ}/{irq.number}/effective_affinity_list") for irq in movable[:4]),
            *(snapshot.read(f"{_IRQ}/{irq.number}/smp_affinity_list") for irq in movable[:4]),
            host.next_boot.where,
        ),
        remedy=""
        if status is Status.OK
        else f"ban the serving CPUs in irqbalance, or place the interrupts on CPUs {roles.housekeeping} at every boot",
    )


def _irqs(snapshot: Snapshot, serving: CpuSet) -> list[_Irq]:
    """Return every IRQ with its delivered CPUs (None unread) and its action ("" has none, None not known)."""
    listed = interrupts.actions(snapshot.read(_NAMES).text)
    known = snapshot.read(_NAMES).present
    parsed: dict[str, Optional[CpuSet]] = {}
    found = []
    for number in sorted(_numbers(snapshot)):
        base = f"{_IRQ}/{number}"
        effective = text = snapshot.files.get(f"{base}/effective_affinity_list")
        # An IRQ that is not started has an empty effective list; older kernels have none at all.
        if not (text and text.strip()):
            text = snapshot.files.get(f"{base}/smp_affinity_list")
        cpus = None
        if text is not None:
            if text not in parsed:
                parsed[text] = _cpus(text)
            cpus = parsed[text]
        # A captured tree without the effective list: the mask asked for leaves it open which of its CPUs it is.
        if effective is None and not snapshot.complete and cpus and cpus & serving and cpus - serving:
            cpus = None
        action = snapshot.files.get(f"/sys/kernel/irq/{number}/actions")
        if action is not None:
            action = action.strip()
        elif known:
            action = listed.get(number, "")
        found.append(_Irq(number, cpus, action))
    return found


def _numbers(snapshot: Snapshot) -> set[int]:
    found = set()
    for path in snapshot.dirs:
        if path.startswith("/proc/irq/"):
            word = path[10:]
            number = natural(word) if len(word) <= 6 else None
            if number is not None:
                found.add(number)
    return found


def _cpus(text: str) -> Optional[CpuSet]:
    try:
        return parse_list(text)
    except InputError:
        return None


def _values(movable: list[_Irq]) -> tuple[ValueGroup, ...]:
    # By the integer: CpuSet's own comparison is Python, and powers of two share hashes.
    texts: dict[int, str] = {}
    values: dict[int, Optional[str]] = {}
    for irq in movable:
        cpus = irq.cpus or EMPTY
        text = texts.get(cpus.bits)
        if text is None:
            text = texts[cpus.bits] = str(cpus)
        values[irq.number] = text
    return group("irqs", values)


def _count(movable: list[_Irq], named: list[_Irq]) -> Optional[str]:
    if not named:
        return None
    return f"{len(movable)} of {len(named)} interrupts may be delivered to serving CPUs"


def _offenders(movable: list[_Irq]) -> str:
    if not movable:
        return ""
    names = [f"{irq.number} {(irq.action or '').split()[-1] if irq.action else ''}".strip() for irq in movable[:3]]
    more = f" and {len(movable) - 3} more" if len(movable) > 3 else ""
    return f"IRQ {', '.join(names)}{more}: a serving thread stalls while its CPU handles one"


def _after(host: Host) -> tuple[Plane, Optional[str], Optional[str]]:
    """Return the outcome of the next boot: irqbalance's ban, else irqaffinity=, else the kernel's default (all)."""
    serving = host.roles.serving
    unit = agents.unit(host.snapshot, irqbalance.UNIT)
    if unit.enabled:
        finding = irqbalance.judge(host)
        if finding.persisted is None:
            return Plane.UNREAD, None, None
        plane = Plane.WRONG if finding.status in (Status.WRONG, Status.LOST_AT_REBOOT) else Plane.RIGHT
        return plane, f"irqbalance, {finding.persisted}", None
    boot = host.next_boot
    if boot.arguments is None or unit.enabled is None:
        return Plane.UNREAD, None, None
    kept = cmdline.cpus(boot.arguments, "irqaffinity")
    if not kept:
        return Plane.WRONG, None, "all CPUs (the kernel's default)"
    return (Plane.WRONG if kept & serving else Plane.RIGHT), None, f"irqaffinity={kept}"


IRQ_AFFINITY = Setting(
    name="irq_affinity",
    title="Interrupt affinity",
    severity=Severity.WARNING,
    why="A device interrupt on a serving CPU takes that CPU from its thread in the middle of a request. The affinity "
    "asked for (smp_affinity) and the one in force (effective_affinity) differ; the latter counts. Managed ones "
    "(multi-queue storage and some network queues) cannot be moved from user space.",
    remedy="Deliver device interrupts to housekeeping CPUs.",
    references=(
        "https://docs.kernel.org/core-api/irq/irq-affinity.html",
        "https://github.com/scylladb/seastar/issues/703",
    ),
    sources=(
        Directory(_IRQ),
        Directory(f"{_IRQ}/[0-9]*"),
        File(_DEFAULT),
        File(f"{_IRQ}/[0-9]*/effective_affinity_list"),
        File(f"{_IRQ}/[0-9]*/smp_affinity_list"),
        File("/sys/kernel/irq/[0-9]*/actions"),
        Extract(_NAMES, keep="^ *[0-9]", cut=":[ 0-9]*"),
        *irqbalance.IRQBALANCE.sources,
    ),
    judge=judge,
    options={},
)
