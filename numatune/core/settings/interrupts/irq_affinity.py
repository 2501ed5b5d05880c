"""Where interrupts are really delivered: the effective affinity of each IRQ, not the one asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from ...change import Conflict
from ...cpuset import EMPTY, CpuSet, parse_list
from ...derived import once
from ...errors import InputError
from ...host import Host
from ...kit import boot_service
from ...kit.words import evidence, group, sentence
from ...machine import agents
from ...machine.roles import Roles
from ...model import Finding, Line, Severity, Snapshot, Status, ValueGroup
from ...numbers import natural
from ...parsers import interrupts
from ...setting import Option, Planned, Setting
from ...sources import Directory, Extract, File
from ...status import Plane, combine
from . import irq_placement, irqbalance, irqbalance_files
from .irq_placement import DEFAULT as _DEFAULT
from .irq_placement import IRQ as _IRQ
from .irq_placement import nowhere_to_move

_NAMES = "/proc/interrupts"
# The table has a column for each CPU: megabytes on a large host. On x86 only Xen has interrupts there that the files
# of each interrupt do not tell enough about.
_NEEDED = (
    "case $machine in x86_64|i?86) false;; esac || [ ! -d /sys/kernel/irq ] || "
    "[ -e /sys/hypervisor/type ] || [ -e /proc/xen ]"
)


class _Irq(NamedTuple):
    number: int
    cpus: Optional[CpuSet]
    action: Optional[str]


class _Sorted(NamedTuple):
    """The interrupts that have an action; of those that a serving CPU may get, what can be done about them."""

    named: list[_Irq]
    movable: list[_Irq]
    settling: list[_Irq]
    """Asked to be elsewhere already: without interrupt remapping, x86 moves one when it next fires."""
    managed: list[_Irq]
    """The kernel spreads them itself, by their names."""
    refused: list[_Irq]
    """Somebody tried in this boot."""

    @property
    def stuck(self) -> list[_Irq]:
        """What cannot be moved, for either reason."""
        return [*self.managed, *self.refused]


def judge(host: Host) -> Finding:
    """Judge every IRQ that has an action, by the CPUs on which it is delivered."""
    snapshot, roles = host.snapshot, host.roles
    if not roles.split:
        return nowhere_to_move("irq_affinity", roles)
    found = _found(snapshot, roles)
    if found is None:
        reading = snapshot.directory(_IRQ)
        why = reading.why() if reading.unread else f"{_IRQ} shows no interrupt"
        status = Status.UNKNOWN if reading.unread or reading.present else Status.NOT_APPLICABLE
        return Finding("irq_affinity", status, Severity.WARNING, reason=why)
    named, movable, settling = found.named, found.movable, found.settling
    unread = [irq for irq in named if irq.cpus is None]
    runtime = Plane.WRONG if movable else Plane.UNREAD if unread or not named else Plane.RIGHT
    boot = irq_placement.at_boot(host)
    persisted, stuck = boot.persisted, boot_service.remedy(snapshot, "irq_affinity")
    status = combine(runtime, boot.after)
    return Finding(
        "irq_affinity",
        status,
        Severity.WARNING,
        runtime=_count(movable, named),
        persisted=persisted.value,
        next_boot=boot.kernel.value,
        expected=f"no interrupt {'that can be moved ' if found.stuck else ''}on CPUs {roles.serving}",
        values=_values(movable),
        reason=sentence(
            _offenders(movable),
            f"{len(settling)} more move away at their next interrupt, as asked" if settling else "",
            *_not_moved(host, found),
            f"the affinity of {len(unread)} interrupts could not be read" if unread else "",
            sentence("where interrupts go after a reboot is not known", persisted.why)
            if boot.after is Plane.UNREAD
            else "",
            persisted.why or "nothing on disk keeps them there after a reboot"
            if status is Status.LOST_AT_REBOOT
            else "",
        ),
        evidence=evidence(
            persisted.where,
            snapshot.read(_DEFAULT),
            *(snapshot.read(f"{_IRQ}/{irq.number}/effective_affinity_list") for irq in movable[:4]),
            *(snapshot.read(f"{_IRQ}/{irq.number}/smp_affinity_list") for irq in movable[:4]),
            host.next_boot.where,
        ),
        remedy=""
        if status is Status.OK
        else stuck
        if stuck or status is Status.UNKNOWN
        else "run playbooks/tune.yml, or: ban the serving CPUs in irqbalance, or place the interrupts on CPUs "
        f"{roles.housekeeping} at every boot",
    )


@once
def _found(snapshot: Snapshot, roles: Roles) -> Optional[_Sorted]:
    """Return what there is, None for no interrupt at all: judge and plan both ask, of a thousand files each."""
    irqs = _irqs(snapshot, roles.serving)
    return _sorted(snapshot, roles, irqs) if irqs else None


def _sorted(snapshot: Snapshot, roles: Roles, irqs: list[_Irq]) -> _Sorted:
    named = [irq for irq in irqs if irq.action != ""]
    movable: list[_Irq] = []
    settling: list[_Irq] = []
    managed: list[_Irq] = []
    refused: list[_Irq] = []
    parsed: dict[str, bool] = {}
    serving, files, kept = roles.serving.bits, snapshot.files, _kept(snapshot)
    for irq in named:
        if irq.cpus is None or not irq.cpus.bits & serving:
            continue
        if irq.number in kept:
            refused.append(irq)
            continue
        if interrupts.looks_managed(irq.action or ""):
            managed.append(irq)
            continue
        asked = files.get(f"{_IRQ}/{irq.number}/smp_affinity_list", "")
        settles = parsed.get(asked)
        if settles is None:
            cpus = _cpus(asked) or EMPTY
            settles = parsed[asked] = not cpus & roles.serving and bool(cpus & roles.housekeeping)
        (settling if settles else movable).append(irq)
    return _Sorted(named, movable, settling, managed, refused)


def _kept(snapshot: Snapshot) -> set[int]:
    """Return what refused to move in this boot; numbers of interrupts that are gone say nothing of anything."""
    return interrupts.kept(snapshot.read(interrupts.KEPT).text)


def _irqs(snapshot: Snapshot, serving: CpuSet) -> list[_Irq]:
    """Return every IRQ with its delivered CPUs (None unread) and its action ("" has none, None not known).

    Those of which each CPU has its own (timers, counters, Xen's) are left out: they belong where they are.
    """
    files, names = snapshot.files, snapshot.read(_NAMES)
    per_cpu = interrupts.per_cpu(names.text)
    listed: Optional[dict[int, str]] = None
    parsed: dict[str, Optional[CpuSet]] = {}
    found = []
    for number in sorted(_numbers(snapshot)):
        if number in per_cpu:
            continue
        base = f"{_IRQ}/{number}"
        effective = text = files.get(f"{base}/effective_affinity_list")
        # An IRQ that is not started has an empty effective list; older kernels have none at all.
        if not (text and text.strip()):
            text = files.get(f"{base}/smp_affinity_list")
        cpus = None
        if text is not None:
            if text not in parsed:
                parsed[text] = _cpus(text)
            cpus = parsed[text]
        # A captured tree without the effective list: the mask asked for leaves it open which of its CPUs it is.
        if effective is None and not snapshot.complete and cpus and cpus & serving and cpus - serving:
            cpus = None
        action = files.get(f"/sys/kernel/irq/{number}/actions")
        if action is not None:
            action = action.strip()
            if interrupts.looks_per_cpu(action):
                continue
        elif names.present:
            # The whole table is read only where the kernel does not show each action by itself.
            listed = interrupts.actions(names.text) if listed is None else listed
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
    return f"IRQ {_few(movable)}: a serving thread stalls while its CPU handles one" if movable else ""


def _few(irqs: list[_Irq]) -> str:
    names = [f"{irq.number} {(irq.action or '').split()[-1] if irq.action else ''}".strip() for irq in irqs[:3]]
    return ", ".join(names) + (f" and {len(irqs) - 3} more" if len(irqs) > 3 else "")


def _not_moved(host: Host, found: _Sorted) -> Iterator[str]:
    """Say what stays on the serving CPUs, and what would help."""
    if found.refused:
        yield f"the kernel refused to move {len(found.refused)} interrupts ({_few(found.refused)})"
    if found.managed:
        yield (f"{len(found.managed)} more look managed by the kernel ({_few(found.managed)}), which cannot be moved")
    if found.stuck and host.option("core_isolation", "mode") != "kernel":
        yield "core_isolation's mode kernel (isolcpus=managed_irq) keeps managed ones away"


def changes(host: Host, finding: Finding) -> Planned:
    """Plan where each interrupt goes now and at every boot, once it is counted that the housekeeping CPUs hold them.

    The kernel argument irqaffinity= stays as it is: the boot service comes after it.
    """
    snapshot, roles = host.snapshot, host.roles
    found = _found(snapshot, roles) if finding.bad and roles.split else None
    if found is None:
        return (), ()
    # What the kernel manages stays where it is, and takes a vector there.
    placed, kept, refusing = [], 0, _kept(snapshot)
    for irq in found.named:
        if irq.number not in refusing and not interrupts.looks_managed(irq.action or ""):
            placed.append(irq.number)
        elif irq.cpus and irq.cpus & roles.housekeeping:
            kept += 1
    refused = (
        *_fought_over(host),
        *boot_service.refusals(snapshot, "irq_affinity"),
        *irq_placement.refusals(host, placed, kept),
    )
    if refused:
        return (), refused
    moved = irq_placement.moves(host, [irq.number for irq in found.movable])
    return (*moved, *irq_placement.default(host), *irq_placement.placed_at_boot(host)), ()


def _fought_over(host: Host) -> tuple[Conflict, ...]:
    """Return the conflict with an irqbalance that would move everything back, and that nobody lets us tame."""
    if "irqbalance" in host.profile.settings:
        return ()
    enabled = agents.unit(host.snapshot, irqbalance_files.UNIT).enabled
    ban = irqbalance_files.configured(host)
    if irqbalance.running_ban(host) is not Plane.WRONG and not (enabled and ban.plane is Plane.WRONG):
        return ()
    where = ban.where or Line("", 0, "")
    message = (
        "irqbalance would move interrupts back to the serving CPUs, and the profile leaves it alone: "
        "take the setting irqbalance into the profile, or ban them by hand, then run again"
    )
    return (Conflict("irq_affinity", where.path, where.line, where.text, message),)


IRQ_AFFINITY = Setting(
    name="irq_affinity",
    # Managed and per-CPU interrupts stay where they are.
    may_be_refused=True,
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
        File(interrupts.KEPT),
        Extract(_NAMES, keep="^ *[0-9]", cut=":[ 0-9]*", when=_NEEDED),
        *irq_placement.SOURCES,
        *boot_service.SOURCES,
        *irqbalance.IRQBALANCE.sources,
    ),
    judge=judge,
    options={
        "method": Option(
            str,
            "ban: irqbalance, where it is used, keeps running and keeps off the serving CPUs; place: it is stopped. "
            "Either way every interrupt is placed, now and at each boot",
            ("ban", "place"),
            "ban",
        ),
        "max_queues_per_cpu": Option(
            int,
            "more network receive queues than this per housekeeping CPU are refused; the default is a judgement and "
            "not measured (Seastar's perftune gives one core in 16 to interrupts, and a driver makes about one queue "
            "per CPU)",
            default=str(irq_placement.QUEUES_PER_CPU),
        ),
    },
    changes=changes,
)
