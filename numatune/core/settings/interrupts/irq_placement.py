"""Where interrupts are placed: each device's on the housekeeping CPUs of its own node, now and at boot, if they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Optional

from ... import ours
from ...change import Change, Conflict
from ...cpuset import CpuSet, parse_list, parse_mask
from ...errors import InputError
from ...host import Host
from ...kit import boot_service
from ...kit.said import AtBoot, Said, unread
from ...kit.words import sentence
from ...machine import agents
from ...machine.facts import architecture
from ...machine.roles import Roles
from ...model import Finding, Severity, Snapshot, Status
from ...parsers import cmdline, interrupts
from ...sources import Directory, File, Source
from ...status import Plane
from . import irqbalance_files

IRQ = "/proc/irq"
DEFAULT = f"{IRQ}/default_smp_affinity"
OTHERS = "*"
VECTORS_PER_CPU = 200
"""Of the 256 of an x86 CPU, what exceptions and the kernel's own leave to devices, about."""
QUEUES_PER_CPU = 16
_NETWORK = "/sys/class/net"

SOURCES: tuple[Source, ...] = (
    File(f"{IRQ}/[0-9]*/node"),
    # By way of the device: bridges, bonds and the many interfaces of containers have queues, but no interrupts.
    Directory(f"{_NETWORK}/*/device/net/*/queues/rx-*"),
    File(f"{_NETWORK}/*/device/net/*/operstate"),
)


def lists(host: Host) -> dict[str, CpuSet]:
    """Return node -> the housekeeping CPUs for its devices; "*", the last one, is for devices of any other node."""
    keeping = host.roles.housekeeping
    nodes = sorted((host.topology.nodes or {}).items())
    found = {str(ident): node.cpus & keeping for ident, node in nodes if node.cpus & keeping}
    return {**found, OTHERS: keeping}


def node_of(snapshot: Snapshot, number: int, known: Mapping[str, CpuSet]) -> str:
    """Return the key of `lists` that holds for an interrupt."""
    node = snapshot.files.get(f"{IRQ}/{number}/node", "").strip()
    return node if node in known else OTHERS


def moves(host: Host, numbers: Iterable[int]) -> list[Change]:
    """Return what places these interrupts now; one whose affinity is not shown cannot be placed."""
    snapshot, known = host.snapshot, lists(host)
    made = []
    for number in numbers:
        path = f"{IRQ}/{number}/smp_affinity_list"
        before = snapshot.files.get(path)
        if before is not None:
            node = node_of(snapshot, number, known)
            where = "housekeeping CPUs" if node == OTHERS else f"housekeeping CPUs of its node ({node})"
            made.append(Change("irq_affinity", "runtime", path, f"{known[node]}\n", before, f"delivered to {where}"))
    return made


def default(host: Host) -> tuple[Change, ...]:
    """Return what keeps interrupts to come off the serving CPUs, none where that is so or cannot be read."""
    shown = host.snapshot.read(DEFAULT)
    mask = _default_mask(host)
    if mask is None or parse_mask(mask) == parse_mask(shown.text):
        return ()
    why = "interrupts to come start on housekeeping CPUs"
    return (Change("irq_affinity", "runtime", DEFAULT, f"{mask}\n", shown.text, why),)


def _default_mask(host: Host) -> Optional[str]:
    shown = host.snapshot.read(DEFAULT)
    if not shown.present:
        return None
    try:
        now = parse_mask(shown.text)
    except InputError:
        return None
    # A narrower one (irqaffinity=) is somebody's choice, and stays.
    keeping = host.roles.housekeeping
    return interrupts.mask_like(shown.text, now if now and now <= keeping else keeping)


def placed_at_boot(host: Host) -> tuple[Change, ...]:
    """Return what makes the boot service place every interrupt, none where it will."""
    mask = _default_mask(host)
    lines = [f"irqs {node} {cpus}" for node, cpus in lists(host).items()]
    lines += [f"default-irqs {mask}"] if mask else []
    why = "every interrupt on housekeeping CPUs at each boot, after irqbalance"
    return boot_service.changes(host.snapshot, "irq_affinity", lines, why)


def _by_the_service(host: Host) -> Said:
    """Return what the boot service's lines come to, NONE where they do not place every interrupt."""
    runs = boot_service.starts(host.snapshot)
    if runs.plane is not Plane.RIGHT:
        return unread(runs.why) if runs.plane is Plane.UNREAD else Said(Plane.NONE)
    last = None
    for words, where in boot_service.words(host.snapshot, "irq_affinity"):
        if words[0] != "irqs" or len(words) != 3:
            continue
        said, at = f"{ours.UNIT}, {where.text}", f"{where.path} line {where.line}"
        try:
            cpus = parse_list(words[2])
        except InputError:
            return Said(Plane.UNREAD, said, where, f"{at} holds no CPU list")
        if cpus & host.roles.serving:
            return Said(Plane.WRONG, said, where, f"{at} places them on serving CPUs")
        if words[1] == OTHERS:
            last = Said(Plane.RIGHT, said, where)
    return last or Said(Plane.NONE)


def at_boot(host: Host) -> AtBoot:
    """Return the outcome of the next boot.

    irqbalance moves interrupts for as long as it runs, so its ban decides where it starts; else the boot service
    does, else irqaffinity=, else the kernel's default (all).
    """
    enabled = agents.unit(host.snapshot, irqbalance_files.UNIT).enabled
    placed = _by_the_service(host)
    if placed.plane is Plane.WRONG:
        return AtBoot(placed)
    if enabled:
        ban = irqbalance_files.configured(host)
        if ban.value is None:
            return AtBoot(ban)
        lost = "irqbalance starts at boot without the ban and moves them back" if ban.plane is Plane.WRONG else ""
        said = sentence(placed.value or "", f"irqbalance, {ban.value}")
        return AtBoot(Said(ban.plane, said, placed.where or ban.where, lost))
    if enabled is None:
        return AtBoot(unread(""))
    return AtBoot(placed, _by_the_kernel(host) if placed.plane is Plane.NONE else Said(Plane.NONE))


def _by_the_kernel(host: Host) -> Said:
    arguments = host.next_boot.arguments
    if arguments is None:
        return unread("")
    kept = cmdline.cpus(arguments, "irqaffinity")
    if not kept:
        return Said(Plane.WRONG, "all CPUs (the kernel's default)")
    return Said(Plane.WRONG if kept & host.roles.serving else Plane.RIGHT, f"irqaffinity={kept}")


def refusals(host: Host, placed: Iterable[int], kept: int) -> tuple[Conflict, ...]:
    """Return why the housekeeping CPUs cannot hold the interrupts that are placed, and those `kept` there already."""
    found = (*_too_many_vectors(host, placed, kept), *_too_many_queues(host))
    return tuple(Conflict("irq_affinity", "", 0, "", message) for message in found)


def _too_many_vectors(host: Host, placed: Iterable[int], kept: int) -> Iterable[str]:
    machine = architecture(host.snapshot)
    if machine is not None and machine != "x86_64" and not machine.startswith("i"):
        return
    taken = "" if machine else "(this host's architecture is not known) "
    known = lists(host)
    counts = Counter(node_of(host.snapshot, number, known) for number in placed)
    # What one node's devices have fits its own CPUs, and all together fit all: the kernel takes the emptiest CPU.
    shares = [(f"of node {node}", count, known[node]) for node, count in sorted(counts.items()) if node != OTHERS]
    for of, count, cpus in [*shares, ("", sum(counts.values()) + kept, known[OTHERS])]:
        if count > VECTORS_PER_CPU * len(cpus):
            yield (
                f"{count} interrupts {of + ' ' if of else ''}would share {_few(cpus)}, {count / len(cpus):.0f} each, "
                f"and an x86 CPU {taken}has room for about {VECTORS_PER_CPU}: {_MORE}, then run again"
            )
            return


def _too_many_queues(host: Host) -> Iterable[str]:
    option = host.option("irq_affinity", "max_queues_per_cpu")
    most = QUEUES_PER_CPU if option is None else option
    cpus = host.roles.housekeeping
    queues = _network_queues(host.snapshot)
    count = sum(queues.values())
    if not count and not host.snapshot.complete:
        yield (
            f"how many network queues would share {_few(cpus)} is not known: {_NETWORK} is not in the captured tree; "
            "plan on the host itself, or on what `numatune collect` reads there"
        )
        return
    if count > most * len(cpus):
        names = ", ".join(f"{name} {number}" for name, number in sorted(queues.items()))
        yield (
            f"{count} network queues ({names}) would share {_few(cpus)}, {count / len(cpus):.1f} each, and "
            f"max_queues_per_cpu is {most}: {_MORE}, or fewer queues (ethtool -L), then run again"
        )


_MORE = "give more housekeeping CPUs (housekeeping_cores_per_node, or housekeeping)"


def _few(cpus: CpuSet) -> str:
    return f"{len(cpus)} housekeeping CPU{'' if len(cpus) == 1 else 's'} ({cpus})"


def _network_queues(snapshot: Snapshot) -> dict[str, int]:
    """Return interface -> its receive queues; an interface that is down has no interrupts."""
    # A device with two interfaces is seen from each.
    found = {}
    for path in snapshot.dirs:
        if path.startswith(f"{_NETWORK}/"):
            base, _, queue = path.rpartition("/queues/")
            if base and snapshot.files.get(f"{base}/operstate", "").strip() != "down":
                found[base.rpartition("/")[2], queue] = 1
    return dict(Counter(name for name, _ in found))


def nowhere_to_move(setting: str, roles: Roles) -> Finding:
    """Return the finding of a host without housekeeping CPUs, to which no interrupt can be moved."""
    if not roles.serving:
        return Finding(setting, Status.UNKNOWN, Severity.WARNING, reason=roles.note)
    why = f"{roles.note}; there is no CPU to move interrupts to"
    return Finding(setting, Status.NOT_APPLICABLE, Severity.WARNING, reason=why)
