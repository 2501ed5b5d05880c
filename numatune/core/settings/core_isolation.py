"""Core isolation: isolcpus, nohz_full, rcu_nocbs, cpuset partitions and AllowedCPUs, held against what is wanted."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..cpuset import EMPTY, CpuSet, parse_list
from ..errors import InputError
from ..host import Host, Option, Setting
from ..model import Finding, Reading, Severity, Snapshot, Status
from ..parsers import cmdline
from ..sources import Command, Directory, File
from ..status import Plane, combine
from ..topology import CPU
from .common import evidence, sentence

_CGROUP = "/sys/fs/cgroup"
_SLICES = "system.slice user.slice machine.slice init.scope"
MODES = ("none", "partition", "kernel")


class _Isolation(NamedTuple):
    """Isolated CPUs by each means; None is "not read"."""

    domain: Optional[CpuSet]
    nohz: Optional[CpuSet]
    callbacks: Optional[CpuSet]

    def words(self) -> Optional[str]:
        parts = [
            f"{name}={'not read' if cpus is None else cpus}"
            for name, cpus in (("isolated", self.domain), ("nohz_full", self.nohz), ("rcu_nocbs", self.callbacks))
            if cpus is None or cpus
        ]
        if self.domain is None and self.nohz is None and self.callbacks is None:
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
    boot = host.next_boot
    later = None if boot.arguments is None else _arguments(boot.arguments)
    runtime = _plane(mode, now, partition, serving)
    groups = snapshot.directory(_CGROUP)
    whole = snapshot.complete or snapshot.read(f"{_CGROUP}/cpuset.cpus.isolated").present
    if runtime is Plane.RIGHT and mode == "none" and (groups.unread or not whole):
        runtime = Plane.UNREAD
    if mode == "partition":
        # A partition made at runtime is gone after a reboot; what makes it again is not judged yet.
        after = Plane.UNREAD
    else:
        after = Plane.UNREAD if later is None else _plane(mode, later, EMPTY, serving)
    status = combine(runtime, after)
    return Finding(
        "core_isolation",
        status,
        Severity.INFO if mode == "none" else Severity.WARNING,
        runtime=now.words(),
        next_boot=None if later is None else later.words(),
        expected="no CPU isolated" if mode == "none" else f"CPUs {serving} isolated ({mode})",
        reason=sentence(
            *_complaints(mode, now, serving),
            partition_text,
            _allowed(snapshot),
            _unread(snapshot, now) if runtime is Plane.UNREAD else "",
            ("the next boot: " + boot.reason) if later is None else _unresolved(later),
            "what makes the partition again at boot is not known" if mode == "partition" else "",
        ),
        evidence=evidence(
            snapshot.read(f"{CPU}/isolated"),
            snapshot.read(f"{CPU}/nohz_full"),
            snapshot.read("/proc/cmdline"),
            boot.where,
        ),
        remedy="" if status is Status.OK else _remedy(mode),
    )


def _running(snapshot: Snapshot) -> _Isolation:
    arguments = snapshot.read("/proc/cmdline")
    said = _arguments(arguments.text) if arguments.present else None
    domain, nohz = _list(snapshot, f"{CPU}/isolated"), _list(snapshot, f"{CPU}/nohz_full")
    return _Isolation(
        domain if domain is not None else said and said.domain,
        nohz if nohz is not None else said and said.nohz,
        said and said.callbacks,
    )


def _arguments(text: str) -> _Isolation:
    """Return what a command line isolates; of several isolcpus lists the kernel keeps the first."""
    domain: Optional[CpuSet] = EMPTY
    nohz, callbacks = _named(text, "nohz_full"), _named(text, "rcu_nocbs")
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


def _named(text: str, key: str) -> Optional[CpuSet]:
    """Return the CPUs that a key names; None for a list such as "all" or "1-N", which the kernel alone resolves."""
    found = EMPTY
    for value in cmdline.values(text, key):
        try:
            found = found | parse_list(value)
        except InputError:
            return None
    return found


def _partitions(snapshot: Snapshot) -> tuple[CpuSet, str]:
    """Return the CPUs of valid isolated partitions, and what is wrong with the others."""
    isolated, notes = EMPTY, []
    if _CGROUP not in snapshot.dirs:
        return EMPTY, ""
    for path, text in snapshot.files.items():
        if not path.startswith(_CGROUP) or not path.endswith("/cpuset.cpus.partition"):
            continue
        kind = text.strip()
        name = path[len(_CGROUP) + 1 :].rpartition("/")[0]
        if "invalid" in kind:
            notes.append(f"cpuset partition {name}: {kind}")
        elif kind == "isolated":
            isolated = isolated | (_list(snapshot, path.removesuffix("partition") + "effective") or EMPTY)
    # Newer kernels sum them up at the root, remote partitions of any depth included.
    return isolated | (_list(snapshot, f"{_CGROUP}/cpuset.cpus.isolated") or EMPTY), sentence(*notes)


def _allowed(snapshot: Snapshot) -> str:
    shown = snapshot.command("slices")
    parts = []
    for block in shown.text.split("\n\n"):
        pairs = dict(line.partition("=")[::2] for line in block.splitlines())
        if pairs.get("AllowedCPUs"):
            parts.append(f"{pairs.get('Id')} is kept on CPUs {pairs['AllowedCPUs'].replace(' ', ',')}")
    return sentence(*parts)


def _plane(mode: str, found: _Isolation, partition: CpuSet, serving: CpuSet) -> Plane:
    if mode == "none":
        if found.domain or found.nohz or partition:
            return Plane.WRONG
        return Plane.UNREAD if found.domain is None or found.nohz is None else Plane.RIGHT
    if mode == "partition":
        return Plane.RIGHT if serving and serving == partition else Plane.WRONG
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
            f"the scheduler does not balance CPUs {now.domain}: unpinned threads pile up on one of them; "
            "say mode: kernel in the profile if every thread is pinned"
        )
    if mode == "none" and now.nohz:
        found.append(f"CPUs {now.nohz} run without a tick, which makes each kernel entry dearer")
    if now.domain and now.nohz and now.domain != now.nohz:
        found.append("isolcpus and nohz_full name different CPUs")
    if mode == "kernel" and now.domain is not None and now.domain != serving:
        found.append(f"isolated are {now.domain or 'none'}, serving are {serving}")
    return found


def _unread(snapshot: Snapshot, now: _Isolation) -> str:
    names = [name for name, cpus in (("isolated", now.domain), ("nohz_full", now.nohz)) if cpus is None]
    readings = [snapshot.read(f"{CPU}/{name}") for name in names] or [snapshot.directory(_CGROUP)]
    return "; ".join(reading.why() for reading in readings)


def _unresolved(later: _Isolation) -> str:
    return "the next boot: a list of CPUs in words that only the kernel resolves" if None in later else ""


def _remedy(mode: str) -> str:
    if mode == "none":
        return "remove isolcpus and nohz_full from the kernel arguments, or name the mode in the profile"
    return "isolate the serving CPUs as the profile's mode says, with every serving thread pinned"


def _list(snapshot: Snapshot, path: str) -> Optional[CpuSet]:
    """Return a list, the empty one where the kernel lacks the file (nothing can be isolated), None unread."""
    reading: Reading = snapshot.read(path)
    if reading.unread:
        return None
    try:
        return parse_list(reading.text)
    except InputError:
        return None


CORE_ISOLATION = Setting(
    name="core_isolation",
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
        Directory(_CGROUP),
        File(f"{_CGROUP}/cpuset.cpus.isolated"),
        *(
            File(f"{_CGROUP}/{depth}cpuset.cpus.{name}")
            for depth in ("*/", "*/*/", "*/*/*/", "*/*/*/*/")
            for name in ("partition", "effective")
        ),
        Command("slices", f"limit systemctl show -p Id -p AllowedCPUs {_SLICES}", needs="systemctl"),
    ),
    judge=judge,
    options={"mode": Option(str, "none (default), partition (cgroup v2 cpuset) or kernel (arguments)", MODES)},
)
