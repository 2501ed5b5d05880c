"""Core isolation: isolcpus, nohz_full, rcu_nocbs, cpuset partitions and AllowedCPUs, held against what is wanted."""

from __future__ import annotations

from typing import Optional

from ...cpuset import EMPTY, CpuSet
from ...host import Host
from ...kit import boot_service
from ...kit.said import Said
from ...kit.words import cpu_words, evidence, sentence
from ...machine import agents
from ...machine.topology import CPU
from ...model import Finding, Severity, Snapshot, Status
from ...parsers import cmdline
from ...setting import Option, Setting
from ...sources import Command, Directory, File
from ...status import Plane, combine
from ...text import lines
from . import isolation_plan, partition
from .isolated import CGROUP, SLICE, Isolation, by_arguments, has_nohz, in_force, partitions, running

MODES = ("none", "partition", "kernel")
# systemd's own library has the version in its name, from 230 or so; two of them (an update half done) tell nothing.
_VERSION = r"""# The version of systemd: from the name of its library, where there is one of them.
for library in /usr/lib/systemd/libsystemd-shared-[0-9]*.so \
  /usr/lib/*-linux-*/systemd/libsystemd-shared-[0-9]*.so \
  /usr/lib64/systemd/libsystemd-shared-[0-9]*.so; do
  if [ -e "$library" ]; then
    version=${library##*/libsystemd-shared-}
    answer="$answer systemd ${version%%[!0-9]*}"
  fi
done
answer=${answer# }
case $answer in
  ""|*" systemd "*) answer=$(systemctl --version);;
esac"""


def judge(host: Host) -> Finding:
    """Judge what is isolated now and at the next boot against the wanted mode (none, partition or kernel)."""
    mode = host.option("core_isolation", "mode") or "none"
    snapshot, serving = host.snapshot, host.roles.serving
    if mode != "none" and not host.roles.split:
        why = f"mode {mode} is wanted, but {host.roles.note}"
        return Finding("core_isolation", Status.NOT_APPLICABLE, Severity.INFO, reason=why)
    now = running(snapshot)
    taken, notes = partitions(snapshot)
    made = partition.at_boot(host)
    boot = host.next_boot
    later = None if boot.arguments is None else by_arguments(boot.arguments)
    if mode == "partition":
        # Another tool's partition counts while nothing makes numatune's.
        own = partition.running(host)
        if made.plane is not Plane.RIGHT and serving and taken == serving:
            own = Said(Plane.RIGHT)
        runtime, notes = own.plane, sentence(notes, own.why)
    else:
        runtime = _plane(mode, now, taken, serving, snapshot)
    groups = snapshot.directory(CGROUP)
    whole = snapshot.complete or snapshot.read(f"{CGROUP}/cpuset.cpus.isolated").present
    if runtime is Plane.RIGHT and mode == "none" and (groups.unread or not whole):
        runtime = Plane.UNREAD
    after = _after(mode, later, made.plane, serving, snapshot)
    left = "" if mode == "partition" else partition.left(snapshot)
    if left:
        after = Plane.WRONG
    status = combine(runtime, after)
    return Finding(
        "core_isolation",
        status,
        Severity.INFO if mode == "none" else Severity.WARNING,
        runtime=now.words(),
        persisted=made.value,
        next_boot=None if later is None else later.words(),
        expected="no CPU isolated" if mode == "none" else f"CPUs {serving} isolated ({mode})",
        reason=sentence(
            *_complaints(mode, now, serving),
            f"a cpuset partition keeps {cpu_words(taken)} for itself" if mode == "none" and taken else "",
            f"the next boot isolates {later.words()}"
            if status is Status.LOST_AT_REBOOT and later and later.words()
            else "",
            "the next boot comes without it" if mode == "none" and status is Status.PENDING_REBOOT else "",
            notes,
            _allowed(snapshot),
            _unread(snapshot, mode, now) if runtime is Plane.UNREAD else "",
            ("the next boot: " + boot.reason) if later is None else _unresolved(later),
            made.why if mode == "partition" else "",
            f"{left} is left of mode partition" if left else "",
        ),
        evidence=evidence(
            snapshot.read(f"{CPU}/isolated"),
            snapshot.read(f"{CPU}/nohz_full"),
            snapshot.read("/proc/cmdline"),
            boot.where,
            made.where,
        ),
        remedy=_remedy(host, mode, status, taken, left),
    )


def _after(mode: str, later: Optional[Isolation], made: Plane, serving: CpuSet, snapshot: Snapshot) -> Plane:
    if mode != "partition":
        return Plane.UNREAD if later is None else _plane(mode, later, EMPTY, serving, snapshot)
    # A partition made at runtime is gone after a reboot, unless the boot service makes it again.
    if made is not Plane.RIGHT:
        return Plane.WRONG if made is Plane.NONE else made
    if later is None:
        return Plane.UNREAD
    # CPUs that the kernel isolates itself make no valid partition.
    if later.domain or later.nohz:
        return Plane.WRONG
    return Plane.UNREAD if later.domain is None or later.nohz is None else Plane.RIGHT


def _allowed(snapshot: Snapshot) -> str:
    # Snapshots of older releases hold the slices' answers apart.
    shown = snapshot.command("slices").text or snapshot.command("units").text
    parts = []
    for block in shown.split("\n\n"):
        pairs = dict(line.partition("=")[::2] for line in lines(block))
        if pairs.get("AllowedCPUs") and pairs.get("Id") in agents.SLICES:
            parts.append(f"{pairs.get('Id')} is kept on {cpu_words(pairs['AllowedCPUs'].replace(' ', ','))}")
    said = cmdline.last(snapshot.read("/proc/cmdline").text, "systemd.cpu_affinity")
    if said:
        parts.append(f"systemd.cpu_affinity={said[:80]} keeps what systemd starts on those CPUs")
    return sentence(*parts)


def _plane(mode: str, found: Isolation, taken: CpuSet, serving: CpuSet, snapshot: Snapshot) -> Plane:
    if mode == "none":
        if found.domain or found.nohz or taken:
            return Plane.WRONG
        return Plane.UNREAD if found.domain is None or found.nohz is None else Plane.RIGHT
    if not has_nohz(snapshot):
        # This kernel cannot stop the tick, and has no use for the argument.
        found = found._replace(nohz=serving, callbacks=serving)
    wanted = (found.domain, found.nohz, found.callbacks)
    if any(cpus is not None and cpus != serving for cpus in wanted[:2]):
        return Plane.WRONG
    if found.callbacks is not None and not serving <= found.callbacks | (found.nohz or EMPTY):
        return Plane.WRONG
    return Plane.UNREAD if None in wanted else Plane.RIGHT


def _complaints(mode: str, now: Isolation, serving: CpuSet) -> list[str]:
    found = []
    if mode == "none" and now.domain:
        found.append(
            f"the scheduler does not balance {cpu_words(now.domain)}: unpinned threads pile up there; "
            "say mode: kernel in the profile if every thread is pinned"
        )
    if mode == "none" and now.nohz:
        found.append(f"{cpu_words(now.nohz, 'run')} without a tick, which makes each kernel entry dearer")
    if now.domain and now.nohz and now.domain != now.nohz:
        found.append("isolcpus and nohz_full name different CPUs")
    if mode == "kernel" and now.domain is not None and now.domain != serving:
        found.append(f"isolated are {now.domain or 'none'}, serving are {serving}")
    return found


def _unread(snapshot: Snapshot, mode: str, now: Isolation) -> str:
    names = [name for name, cpus in (("isolated", now.domain), ("nohz_full", now.nohz)) if cpus is None]
    readings = [snapshot.read(f"{CPU}/{name}") for name in names]
    if mode == "kernel" and now.callbacks is None:
        line = snapshot.read("/proc/cmdline")
        if line.present:
            return "rcu_nocbs is a list of CPUs in words that only the kernel resolves"
        readings.append(line)
    # The folder may be there and what is in it may not.
    return "; ".join(
        f"what {reading.path} holds is not in the captured tree" if reading.present else reading.why()
        for reading in readings or [snapshot.directory(CGROUP)]
    )


def _unresolved(later: Isolation) -> str:
    return "the next boot: a list of CPUs in words that only the kernel resolves" if None in later else ""


def _remedy(host: Host, mode: str, status: Status, taken: CpuSet, left: str) -> str:
    stuck = boot_service.remedy(host.snapshot, "core_isolation") if mode == "partition" else ""
    if status in (Status.OK, Status.UNKNOWN) or stuck:
        return "" if status is Status.OK else stuck
    member = "write member to the partition's cpuset.cpus.partition" if taken else ""
    if mode == "none" and status is Status.PENDING_REBOOT:
        return "reboot" + (f", or {member}" if member else "")
    if mode == "none":
        named = " and ".join(in_force(host))
        remove = f"remove {named} from the kernel arguments" if named else ""
        ours = f"run playbooks/tune.yml, which removes {left}" if left else ""
        return f"{sentence(remove, member, ours)}, or name the mode in the profile"
    return "isolate the serving CPUs as the profile's mode says, with every serving thread pinned"


CORE_ISOLATION = Setting(
    name="core_isolation",
    by_reboot=True,
    part_of="kernel_arguments",
    title="Core isolation",
    severity=Severity.INFO,
    why="Isolated CPUs are spared other tasks and the tick, but the scheduler no longer spreads threads over them: the "
    "unpinned threads of a multi-threaded inference pile up on one CPU. For such services none is usually right; "
    "where it is wanted, isolcpus and nohz_full must name the same CPUs and every thread must be pinned.",
    remedy="None by default; by profile, a cpuset partition or kernel arguments over exactly the serving CPUs.",
    references=(
        "https://docs.kernel.org/admin-guide/cpu-isolation.html",
        "https://docs.kernel.org/admin-guide/kernel-parameters.html",
    ),
    sources=(
        File(f"{CPU}/isolated"),
        File(f"{CPU}/nohz_full"),
        Directory(CGROUP),
        File(f"{CGROUP}/cpuset.cpus.isolated"),
        File(isolation_plan.CONTROLLERS),
        *(
            File(f"{CGROUP}/{depth}cpuset.cpus.{name}")
            for depth in ("*/", "*/*/", "*/*/*/", "*/*/*/*/")
            for name in ("partition", "effective")
        ),
        File(f"{CGROUP}/{SLICE}/*/cgroup.events"),
        File(partition.SLICE_PATH),
        File(f"/etc/systemd/system/*.service.d/{partition.UNIT_DROP_IN}"),
        *boot_service.SOURCES,
        *agents.SOURCES,
        Command("systemd", _VERSION, needs="systemctl", shown="systemctl --version"),
    ),
    judge=judge,
    options={
        "mode": Option(str, "what isolates: a cgroup v2 cpuset partition, or kernel arguments", MODES, "none"),
        "pinned": Option(bool, "every serving thread is pinned to a CPU of its own", default="false"),
        "unit": Option(str, "the systemd service that serves, which mode partition moves into a slice of its own"),
    },
    changes=isolation_plan.changes,
)
