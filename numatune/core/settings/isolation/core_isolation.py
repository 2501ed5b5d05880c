"""Core isolation: isolcpus, nohz_full, rcu_nocbs, cpuset partitions and AllowedCPUs, held against what is wanted."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ...cpuset import EMPTY, CpuSet, parse_list
from ...errors import InputError
from ...host import Host
from ...kit import boot_service
from ...kit.words import cpu_words, evidence, sentence
from ...machine import agents
from ...machine.topology import CPU
from ...model import Finding, Line, Severity, Snapshot, Status
from ...ours import HEADER, UNIT
from ...parsers import cmdline
from ...setting import Option, Setting
from ...sources import Command, Directory, File
from ...status import Plane, combine
from ...text import lines
from . import isolation_plan

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


class _Isolation(NamedTuple):
    """Isolated CPUs by each means; None is "not read"."""

    domain: Optional[CpuSet]
    nohz: Optional[CpuSet]
    callbacks: Optional[CpuSet]

    def words(self) -> Optional[str]:
        """Return what is known to be isolated; None where none is, and isolcpus or nohz_full was not read."""
        named = (("isolated", self.domain), ("nohz_full", self.nohz), ("rcu_nocbs", self.callbacks))
        parts = [f"{name}={cpus}" for name, cpus in named if cpus]
        if not parts and (self.domain is None or self.nohz is None):
            return None
        return " ".join(parts) or "none"


def judge(host: Host) -> Finding:
    """Judge what is isolated now and at the next boot against the wanted mode (none, partition or kernel)."""
    mode = host.option("core_isolation", "mode") or "none"
    snapshot, serving = host.snapshot, host.roles.serving
    if mode != "none" and not host.roles.split:
        why = f"mode {mode} is wanted, but {host.roles.note}"
        return Finding("core_isolation", Status.NOT_APPLICABLE, Severity.INFO, reason=why)
    now = _running(snapshot)
    partition, partition_text = _partitions(snapshot)
    made, made_where, made_reason = _partition_at_boot(host)
    boot = host.next_boot
    later = None if boot.arguments is None else _arguments(boot.arguments)
    runtime: Plane
    if mode == "partition":
        # Another tool's partition counts while nothing makes numatune's.
        runtime, why = _own_partition(host)
        if made is not Plane.RIGHT and serving and partition == serving:
            runtime, why = Plane.RIGHT, ""
        partition_text = sentence(partition_text, why)
    else:
        runtime = _plane(mode, now, partition, serving, snapshot)
    groups = snapshot.directory(isolation_plan.CGROUP)
    whole = snapshot.complete or snapshot.read(f"{isolation_plan.CGROUP}/cpuset.cpus.isolated").present
    if runtime is Plane.RIGHT and mode == "none" and (groups.unread or not whole):
        runtime = Plane.UNREAD
    after = _after(mode, later, made, serving, snapshot)
    left = "" if mode == "partition" else _left(snapshot)
    if left:
        after = Plane.WRONG
    status = combine(runtime, after)
    return Finding(
        "core_isolation",
        status,
        Severity.INFO if mode == "none" else Severity.WARNING,
        runtime=now.words(),
        persisted=made_where.text if made_where else None,
        next_boot=None if later is None else later.words(),
        expected="no CPU isolated" if mode == "none" else f"CPUs {serving} isolated ({mode})",
        reason=sentence(
            *_complaints(mode, now, serving),
            f"a cpuset partition keeps {cpu_words(partition)} for itself" if mode == "none" and partition else "",
            f"the next boot isolates {later.words()}"
            if status is Status.LOST_AT_REBOOT and later and later.words()
            else "",
            "the next boot comes without it" if mode == "none" and status is Status.PENDING_REBOOT else "",
            partition_text,
            _allowed(snapshot),
            _unread(snapshot, mode, now) if runtime is Plane.UNREAD else "",
            ("the next boot: " + boot.reason) if later is None else _unresolved(later),
            made_reason if mode == "partition" else "",
            f"{left} is left of mode partition" if left else "",
        ),
        evidence=evidence(
            snapshot.read(f"{CPU}/isolated"),
            snapshot.read(f"{CPU}/nohz_full"),
            snapshot.read("/proc/cmdline"),
            boot.where,
            made_where,
        ),
        remedy=_remedy(host, mode, status, partition, left),
    )


def _after(mode: str, later: Optional[_Isolation], made: Plane, serving: CpuSet, snapshot: Snapshot) -> Plane:
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


def _partition_at_boot(host: Host) -> tuple[Plane, Optional[Line], str]:
    """Return whether the next boot makes the partition over the serving CPUs, the line that does, and why not."""
    snapshot = host.snapshot
    found = isolation_plan.words(snapshot)
    reading = snapshot.read(isolation_plan.SLICE_PATH)
    if not found and not reading.unread:
        return Plane.NONE, None, "nothing makes the partition again at the next boot"
    runs = boot_service.starts(snapshot)
    if runs.plane is Plane.NONE:
        why = runs.why or f"{UNIT} is not enabled whole"
        return Plane.NONE, None, f"nothing makes the partition at the next boot: {why}"
    if runs.plane is not Plane.RIGHT or reading.unread:
        return Plane.UNREAD, None, runs.why or reading.why()
    where, unit = found[0].where, host.option("core_isolation", "unit") or ""
    if reading.text != isolation_plan.slice_text(host) or [item.words[1:] for item in found] != [
        (isolation_plan.SLICE, isolation_plan.kind(host), unit)
    ]:
        return Plane.WRONG, where, f"{where.path} and {isolation_plan.SLICE_PATH} make another partition"
    if isolation_plan.places(snapshot) != {isolation_plan.place_path(unit): isolation_plan.PLACE}:
        return (
            Plane.WRONG,
            where,
            f"{isolation_plan.place_path(unit)} does not put the unit into {isolation_plan.SLICE}, or another's does",
        )
    return Plane.RIGHT, where, ""


def _left(snapshot: Snapshot) -> str:
    """Return what stands on disk of mode partition: its line, its slice, or a unit's place in it; "" for nothing."""
    lines = [item.where.path for item in isolation_plan.words(snapshot)]
    files = [
        (isolation_plan.SLICE_PATH, snapshot.read(isolation_plan.SLICE_PATH).text),
        *isolation_plan.places(snapshot).items(),
    ]
    return next(iter([*lines, *(path for path, text in files if HEADER.strip() in text)]), "")


def _own_partition(host: Host) -> tuple[Plane, str]:
    """Return whether numatune's slice is a partition of the wanted kind over the serving CPUs, with its unit in it."""
    snapshot, serving = host.snapshot, host.roles.serving
    folder = f"{isolation_plan.CGROUP}/{isolation_plan.SLICE}"
    kind = snapshot.read(f"{folder}/cpuset.cpus.partition")
    if kind.unread:
        return Plane.UNREAD, kind.why()
    if not kind.present or kind.text.strip() != isolation_plan.kind(host):
        return Plane.WRONG, f"{isolation_plan.SLICE} is no {isolation_plan.kind(host)} partition"
    cpus = isolation_plan.listed(snapshot, f"{folder}/cpuset.cpus.effective")
    if cpus is None:
        return Plane.UNREAD, f"the CPUs of {isolation_plan.SLICE} were not read"
    if cpus != serving:
        return Plane.WRONG, f"{isolation_plan.SLICE} has {cpu_words(cpus)}"
    unit = host.option("core_isolation", "unit") or ""
    inside = snapshot.read(f"{folder}/{unit}/cgroup.events")
    if inside.unread:
        return Plane.UNREAD, inside.why()
    if "populated 1" not in lines(inside.text):
        # Outside, it has the housekeeping CPUs only.
        return Plane.WRONG, f"{unit or 'the unit that serves'} does not run in {isolation_plan.SLICE}"
    return Plane.RIGHT, ""


def _running(snapshot: Snapshot) -> _Isolation:
    arguments = snapshot.read("/proc/cmdline")
    said = _arguments(arguments.text) if arguments.present else None
    domain, nohz = (
        isolation_plan.listed(snapshot, f"{CPU}/isolated"),
        isolation_plan.listed(snapshot, f"{CPU}/nohz_full"),
    )
    return _Isolation(
        domain if domain is not None else said and said.domain,
        nohz if nohz is not None else said and said.nohz,
        said and said.callbacks,
    )


def _arguments(text: str) -> _Isolation:
    """Return what a command line isolates.

    Of several lists the kernel keeps the first of isolcpus and of nohz_full (housekeeping_setup), and the last of
    rcu_nocbs (rcu_nocb_setup).
    """
    domain: Optional[CpuSet] = EMPTY
    nohz = _named(cmdline.values(text, "nohz_full")[:1])
    callbacks = _named(cmdline.values(text, "rcu_nocbs")[-1:])
    for value in cmdline.values(text, "isolcpus")[:1]:
        try:
            flags, cpus = cmdline.isolcpus(value)
        except InputError:
            domain = None
            continue
        domain = cpus if "domain" in flags else EMPTY
        if "nohz" in flags and nohz is not None:
            nohz = nohz | cpus
    return _Isolation(domain, nohz, callbacks)


def _named(values: list[str]) -> Optional[CpuSet]:
    """Return the CPUs of a list; None for one such as "all" or "1-N", which the kernel alone resolves."""
    try:
        return parse_list(values[0]) if values else EMPTY
    except InputError:
        return None


def _partitions(snapshot: Snapshot) -> tuple[CpuSet, str]:
    """Return the CPUs of valid isolated partitions, and what is wrong with the others."""
    isolated, notes = EMPTY, []
    if isolation_plan.CGROUP not in snapshot.dirs:
        return EMPTY, ""
    for path, text in snapshot.files.items():
        if not path.startswith(isolation_plan.CGROUP) or not path.endswith("/cpuset.cpus.partition"):
            continue
        kind = text.strip()
        name = path[len(isolation_plan.CGROUP) + 1 :].rpartition("/")[0]
        if "invalid" in kind:
            notes.append(f"cpuset partition {name}: {kind}")
        elif kind == "isolated" or (kind == "root" and name == isolation_plan.SLICE):
            isolated = isolated | (
                isolation_plan.listed(snapshot, path.removesuffix("partition") + "effective") or EMPTY
            )
    # Newer kernels sum them up at the root, remote partitions of any depth included.
    return isolated | (
        isolation_plan.listed(snapshot, f"{isolation_plan.CGROUP}/cpuset.cpus.isolated") or EMPTY
    ), sentence(*notes)


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


def _plane(mode: str, found: _Isolation, partition: CpuSet, serving: CpuSet, snapshot: Snapshot) -> Plane:
    if mode == "none":
        if found.domain or found.nohz or partition:
            return Plane.WRONG
        return Plane.UNREAD if found.domain is None or found.nohz is None else Plane.RIGHT
    if not isolation_plan.has_nohz(snapshot):
        # This kernel cannot stop the tick, and has no use for the argument.
        found = found._replace(nohz=serving, callbacks=serving)
    wanted = (found.domain, found.nohz, found.callbacks)
    if any(cpus is not None and cpus != serving for cpus in wanted[:2]):
        return Plane.WRONG
    if found.callbacks is not None and not serving <= found.callbacks | (found.nohz or EMPTY):
        return Plane.WRONG
    return Plane.UNREAD if None in wanted else Plane.RIGHT


def _complaints(mode: str, now: _Isolation, serving: CpuSet) -> list[str]:
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


def _unread(snapshot: Snapshot, mode: str, now: _Isolation) -> str:
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
        for reading in readings or [snapshot.directory(isolation_plan.CGROUP)]
    )


def _unresolved(later: _Isolation) -> str:
    return "the next boot: a list of CPUs in words that only the kernel resolves" if None in later else ""


def _remedy(host: Host, mode: str, status: Status, partition: CpuSet, left: str) -> str:
    stuck = boot_service.remedy(host.snapshot, "core_isolation") if mode == "partition" else ""
    if status in (Status.OK, Status.UNKNOWN) or stuck:
        return "" if status is Status.OK else stuck
    member = "write member to the partition's cpuset.cpus.partition" if partition else ""
    if mode == "none" and status is Status.PENDING_REBOOT:
        return "reboot" + (f", or {member}" if member else "")
    if mode == "none":
        named = " and ".join(_in_force(host))
        remove = f"remove {named} from the kernel arguments" if named else ""
        ours = f"run playbooks/tune.yml, which removes {left}" if left else ""
        return f"{sentence(remove, member, ours)}, or name the mode in the profile"
    return "isolate the serving CPUs as the profile's mode says, with every serving thread pinned"


def _in_force(host: Host) -> list[str]:
    """Return the kernel arguments that isolate CPUs, of the running kernel's and of the next boot's."""
    said = [host.snapshot.read("/proc/cmdline").text, host.next_boot.arguments or ""]
    found = {key for text in said for key in ("nohz_full", "rcu_nocbs") if cmdline.values(text, key)}
    for value in (value for text in said for value in cmdline.values(text, "isolcpus")[:1]):
        # With other flags alone (managed_irq) it isolates nothing that is judged here.
        alone = _arguments(f"isolcpus={value}")
        found |= {"isolcpus"} if alone.domain != EMPTY or alone.nohz else set()
    now = _running(host.snapshot)
    shown = [name for name, cpus in (("isolcpus", now.domain), ("nohz_full", now.nohz)) if cpus]
    return [name for name in ("isolcpus", "nohz_full", "rcu_nocbs") if name in found] or shown


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
        Directory(isolation_plan.CGROUP),
        File(f"{isolation_plan.CGROUP}/cpuset.cpus.isolated"),
        File(isolation_plan.CONTROLLERS),
        *(
            File(f"{isolation_plan.CGROUP}/{depth}cpuset.cpus.{name}")
            for depth in ("*/", "*/*/", "*/*/*/", "*/*/*/*/")
            for name in ("partition", "effective")
        ),
        File(f"{isolation_plan.CGROUP}/{isolation_plan.SLICE}/*/cgroup.events"),
        File(isolation_plan.SLICE_PATH),
        File(f"/etc/systemd/system/*.service.d/{isolation_plan.UNIT_DROP_IN}"),
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
