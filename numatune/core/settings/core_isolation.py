"""Core isolation: isolcpus, nohz_full, rcu_nocbs, cpuset partitions and AllowedCPUs, held against what is wanted."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from .. import boot_service
from ..cpuset import EMPTY, CpuSet, parse_list
from ..errors import InputError
from ..facts import kernel_release
from ..host import Host, Option, Planned, Setting
from ..model import Change, Conflict, Finding, Line, Reading, Severity, Snapshot, State, Status
from ..parsers import cmdline
from ..sources import Command, Directory, File
from ..status import Plane, combine
from ..topology import CPU
from .common import evidence, sentence

_CGROUP = "/sys/fs/cgroup"
_SLICES = "system.slice user.slice machine.slice init.scope"
MODES = ("none", "partition", "kernel")
SLICE = "numatune.slice"
_SLICE_PATH = f"/etc/systemd/system/{SLICE}"
_UNIT_DROP_IN = "zz-numatune-slice.conf"
_CONTROLLERS = f"{_CGROUP}/cgroup.controllers"
_ALLOWED_CPUS_SINCE = 244
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:\\-]*\.service")


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
    groups = snapshot.directory(_CGROUP)
    whole = snapshot.complete or snapshot.read(f"{_CGROUP}/cpuset.cpus.isolated").present
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
            partition_text,
            _allowed(snapshot),
            _unread(snapshot, now) if runtime is Plane.UNREAD else "",
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
        remedy="" if status is Status.OK else _remedy(mode),
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
    found = _words(snapshot)
    reading = snapshot.read(_SLICE_PATH)
    if not found and not reading.unread:
        return Plane.NONE, None, "nothing makes the partition again at the next boot"
    plane, why = boot_service.starts(snapshot)
    if plane is Plane.NONE:
        return plane, None, f"nothing makes the partition at the next boot: {boot_service.UNIT} is not enabled whole"
    if plane is not Plane.RIGHT or reading.unread:
        return Plane.UNREAD, None, why or reading.why()
    where, unit = found[0].where, host.option("core_isolation", "unit") or ""
    if reading.text != _slice(host) or [item.words[1:] for item in found] != [(SLICE, _kind(host), unit)]:
        return Plane.WRONG, where, f"{where.path} and {_SLICE_PATH} make another partition"
    if _places(snapshot) != {_place_path(unit): _PLACE}:
        return Plane.WRONG, where, f"{_place_path(unit)} does not put the unit into {SLICE}, or another's does"
    return Plane.RIGHT, where, ""


def _words(snapshot: Snapshot) -> list[boot_service.Word]:
    return [item for item in boot_service.words(snapshot, "core_isolation") if item.words[0] == "partition"]


def _places(snapshot: Snapshot) -> dict[str, str]:
    """Return numatune's drop-ins that put a unit into the slice, path to text."""
    found = {}
    for folder in snapshot.configuration:
        if folder.startswith("/etc/systemd/system/") and folder.endswith(".service.d"):
            reading = snapshot.read(f"{folder}/{_UNIT_DROP_IN}")
            if reading.present:
                found[reading.path] = reading.text
    return found


def _place_path(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.d/{_UNIT_DROP_IN}"


def _left(snapshot: Snapshot) -> str:
    """Return what stands on disk of mode partition: its line, its slice, or a unit's place in it; "" for nothing."""
    lines = [item.where.path for item in _words(snapshot)]
    files = [(_SLICE_PATH, snapshot.read(_SLICE_PATH).text), *_places(snapshot).items()]
    return next(iter([*lines, *(path for path, text in files if boot_service.HEADER.strip() in text)]), "")


def _own_partition(host: Host) -> tuple[Plane, str]:
    """Return whether numatune's slice is a partition of the wanted kind over the serving CPUs, with its unit in it."""
    snapshot, serving = host.snapshot, host.roles.serving
    folder = f"{_CGROUP}/{SLICE}"
    kind = snapshot.read(f"{folder}/cpuset.cpus.partition")
    if kind.unread:
        return Plane.UNREAD, kind.why()
    if not kind.present or kind.text.strip() != _kind(host):
        return Plane.WRONG, f"{SLICE} is no {_kind(host)} partition"
    cpus = _list(snapshot, f"{folder}/cpuset.cpus.effective")
    if cpus is None:
        return Plane.UNREAD, f"the CPUs of {SLICE} were not read"
    if cpus != serving:
        return Plane.WRONG, f"{SLICE} has the CPUs {cpus}"
    unit = host.option("core_isolation", "unit") or ""
    inside = snapshot.read(f"{folder}/{unit}/cgroup.events")
    if inside.unread:
        return Plane.UNREAD, inside.why()
    if "populated 1" not in inside.text.splitlines():
        # Outside, it has the housekeeping CPUs only.
        return Plane.WRONG, f"{unit or 'the unit that serves'} does not run in {SLICE}"
    return Plane.RIGHT, ""


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
    if _CGROUP not in snapshot.dirs:
        return EMPTY, ""
    for path, text in snapshot.files.items():
        if not path.startswith(_CGROUP) or not path.endswith("/cpuset.cpus.partition"):
            continue
        kind = text.strip()
        name = path[len(_CGROUP) + 1 :].rpartition("/")[0]
        if "invalid" in kind:
            notes.append(f"cpuset partition {name}: {kind}")
        elif kind == "isolated" or (kind == "root" and name == SLICE):
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


def _plane(mode: str, found: _Isolation, partition: CpuSet, serving: CpuSet, snapshot: Snapshot) -> Plane:
    if mode == "none":
        if found.domain or found.nohz or partition:
            return Plane.WRONG
        return Plane.UNREAD if found.domain is None or found.nohz is None else Plane.RIGHT
    if not _has_nohz(snapshot):
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


def _has_nohz(snapshot: Snapshot) -> bool:
    reading = snapshot.read(f"{CPU}/nohz_full")
    return reading.present or reading.unread


def _kind(host: Host) -> str:
    """Return the partition's type: without load balancing only where every serving thread is pinned."""
    return "isolated" if host.option("core_isolation", "pinned") else "root"


_PLACE = f"{boot_service.HEADER}[Service]\nSlice={SLICE}\n"


def _slice(host: Host) -> str:
    return (
        f"{boot_service.HEADER}[Unit]\nDescription=The CPUs that serve requests\nBefore={boot_service.UNIT}\n\n"
        f"[Slice]\nAllowedCPUs={host.roles.serving}\n\n[Install]\nWantedBy=slices.target\n"
    )


def arguments(host: Host) -> dict[str, str]:
    """Return the kernel arguments of mode kernel: key to value, none in the other modes.

    isolcpus and nohz_full name the same CPUs: kernels up to 5.17 drop the second of two that differ.
    """
    if host.option("core_isolation", "mode") != "kernel" or "core_isolation" not in host.profile.settings:
        return {}
    if not host.roles.split:
        return {}
    serving = str(host.roles.serving)
    found = {"isolcpus": f"managed_irq,domain,{serving}", "irqaffinity": str(host.roles.housekeeping)}
    if _has_nohz(host.snapshot):
        found.update({"nohz_full": serving, "rcu_nocbs": serving})
    return found


def refusals(host: Host, setting: str) -> tuple[Conflict, ...]:
    """Return why the wanted mode must not be applied: it would ruin a service whose threads are not pinned."""
    mode = host.option("core_isolation", "mode") or "none"
    if mode == "kernel" and not host.option("core_isolation", "pinned"):
        message = (
            "core isolation by kernel arguments: the scheduler spreads no threads over isolated CPUs, so unpinned ones "
            "pile up on one of them; say pinned: true where every serving thread is pinned to a CPU of its own"
        )
        return (Conflict(setting, "", 0, "", message),)
    unit = host.option("core_isolation", "unit") or ""
    if mode == "partition" and not _UNIT.fullmatch(unit):
        message = (
            f"core isolation by partition: {unit!r} is no service: name the unit that serves (core_isolation_unit), "
            "for everything outside its slice loses the serving CPUs"
        )
        return (Conflict(setting, "", 0, "", message),)
    return ()


def changes(host: Host, finding: Finding) -> Planned:
    """Plan the slice, its partition at every boot and the serving unit's place in it; else that none of it is left.

    The partition is made by the next boot, never now: the unit still runs outside the slice and would be
    squeezed onto the housekeeping CPUs. The arguments of mode kernel are planned by the kernel arguments.
    """
    snapshot, lines = host.snapshot, []
    places = dict.fromkeys(_places(snapshot))
    if host.option("core_isolation", "mode") == "partition":
        refused = (*refusals(host, "core_isolation"), *_cannot_work(host), *_overlapping(host))
        if refused:
            return (), refused
        unit = host.option("core_isolation", "unit")
        lines = [f"partition {SLICE} {_kind(host)} {unit}"]
        places[_place_path(unit)] = _PLACE
    why = "the serving unit has its CPUs to itself from the next boot on" if lines else "no partition is wanted"
    planned = _file(snapshot, _SLICE_PATH, _slice(host) if lines else None, why)
    for path, text in places.items():
        planned += _file(snapshot, path, text, why)
    # Last: while the line stands, a run that was interrupted is seen.
    planned += boot_service.changes(snapshot, "core_isolation", lines, why, at_next_boot=True)
    for change in planned:
        if change.kind == "file" and change.before and boot_service.HEADER.strip() not in change.before:
            message = f"{change.path} exists and is not numatune's: move it away, then run again"
            return (), (Conflict("core_isolation", change.path, 1, change.before.splitlines()[0], message),)
    return tuple(planned), ()


def _cannot_work(host: Host) -> tuple[Conflict, ...]:
    """Return why this kernel or systemd makes no such partition; what is not known refuses nothing."""
    snapshot = host.snapshot
    found = []
    controllers = snapshot.read(_CONTROLLERS)
    known = controllers.present or (controllers.state is State.ABSENT and snapshot.directory(_CGROUP).present)
    if known and "cpuset" not in controllers.text.split():
        what = "lists no cpuset" if controllers.present else "is not there (cgroup v1)"
        message = f"{_CONTROLLERS} {what}: boot with the unified cgroup hierarchy and its cpuset controller"
        found.append((_CONTROLLERS, controllers.text.strip(), message))
    version = re.match(r"systemd (\d+)", snapshot.command("systemd").text)
    if version and int(version[1]) < _ALLOWED_CPUS_SINCE:
        message = f"systemd {version[1]} knows no AllowedCPUs=, which came with {_ALLOWED_CPUS_SINCE}: update it"
        found.append(("", version[0], message))
    release = kernel_release(snapshot) or ""
    number = re.match(r"(\d+)\.(\d+)", release)
    # RHEL 9 has them in its 5.14.
    old = number and (int(number[1]), int(number[2])) < (6, 1) and ".el9" not in release
    if old and _kind(host) == "isolated":
        message = f"kernel {release} makes no isolated partition (6.1 does): update it, or say pinned: false"
        found.append(("", release, message))
    prefix = "core isolation by partition: "
    tail = ", or choose another core_isolation_mode; then run again"
    return tuple(
        Conflict("core_isolation", path, 1 if path else 0, text, f"{prefix}{message}{tail}")
        for path, text, message in found
    )


def _overlapping(host: Host) -> tuple[Conflict, ...]:
    """Return the conflict of another partition that holds serving CPUs: two that overlap are both invalid."""
    snapshot = host.snapshot
    for path, text in snapshot.files.items():
        name = path[len(_CGROUP) + 1 :].rpartition("/")[0]
        if not path.startswith(f"{_CGROUP}/") or not path.endswith("/cpuset.cpus.partition") or name == SLICE:
            continue
        cpus = _list(snapshot, path.removesuffix("partition") + "effective") or EMPTY
        if text.strip() in ("isolated", "root") and cpus & host.roles.serving:
            message = f"{path} already makes a partition of CPUs {cpus}: take it away, then run again"
            return (Conflict("core_isolation", path, 1, text.strip(), message),)
    return ()


def _file(snapshot: Snapshot, path: str, content: Optional[str], why: str) -> list[Change]:
    reading = snapshot.read(path)
    before = reading.text if reading.present else None
    if before == content:
        return []
    mode = None if content is None else "0644"
    return [Change("core_isolation", "file", path, content, before, why, mode, needs_reboot=True)]


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
        File(_CONTROLLERS),
        *(
            File(f"{_CGROUP}/{depth}cpuset.cpus.{name}")
            for depth in ("*/", "*/*/", "*/*/*/", "*/*/*/*/")
            for name in ("partition", "effective")
        ),
        File(f"{_CGROUP}/{SLICE}/*/cgroup.events"),
        File(_SLICE_PATH),
        File(f"/etc/systemd/system/*.service.d/{_UNIT_DROP_IN}"),
        *boot_service.SOURCES,
        Command("slices", f"limit systemctl show -p Id -p AllowedCPUs {_SLICES}", needs="systemctl"),
        Command("systemd", "limit systemctl --version", needs="systemctl"),
    ),
    judge=judge,
    options={
        "mode": Option(str, "none (default), partition (cgroup v2 cpuset) or kernel (arguments)", MODES),
        "pinned": Option(bool, "every serving thread is pinned to a CPU of its own (default false)"),
        "unit": Option(str, "the systemd service that serves, which mode partition moves into a slice of its own"),
    },
    changes=changes,
)
