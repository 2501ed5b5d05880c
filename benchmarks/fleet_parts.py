"""The parts of benchmarks/fleet.py that are not a comparison of clients: replay, the server's side, the profile."""

from __future__ import annotations

import cProfile
import json
import pstats
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fleet_clients

if TYPE_CHECKING:
    from fleet import Fleet

ROOT = Path(__file__).parents[1]
MOST_MB = 250
MOST_OF_SERVER = 1.5
_OTHER = "the other collector"
_BATCH = 8


def replay(fleet: Fleet, count: int) -> None:
    """Print what a whole audit of `count` hosts uses when one stream stands for all of them."""
    stream = fleet.folder / "stream"
    stream.write_bytes(_over_ssh(fleet, fleet.script.read_bytes()))
    hosts = {f"host-{number:05}": {"ansible_host": f"10.{number >> 8}.{number & 255}.1"} for number in range(count)}
    inventory = fleet.folder / "replayed.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    arguments = ["audit", "-i", str(inventory), "--format", "json", "--store", str(fleet.folder / "replayed.sqlite")]
    job = fleet.folder / "job.json"
    job.write_text(json.dumps({"stream": str(stream), "arguments": arguments, "out": str(fleet.folder / "answers")}))
    used, out, errors = fleet.run([sys.executable, str(ROOT / "benchmarks/fleet_clients.py"), "replay", str(job)])
    try:
        summary = json.loads(out.read_text())["summary"]
    except (ValueError, KeyError):
        print("the replay gave no report:", errors.read_text(errors="replace")[-600:])
        return
    peak = used["peak_mb"] or used["largest_rss_mb"]
    print(
        f"{count} hosts replayed: {used['wall_s']:.1f} s, {1000 * used['cpu_s'] / count:.2f} ms of CPU a host, peak "
        f"{peak:.0f} MB, wanted: at most {MOST_MB}{'' if peak <= MOST_MB else '   MISSED'}; summary {summary}"
    )


# --- the server's side ---


def server(fleet: Fleet, against: Path | None = None, times: int = 10) -> None:
    """Print the CPU of sshd and of all that it starts for one exec, collector against `sh -c :` and grep, in turns.

    With `against`, the collector's script of another version takes its turns as well.
    """
    from numatune.core.collecting.snapshot import parse_stream

    stream = _over_ssh(fleet, fleet.script.read_bytes()).decode("utf-8", "replace")
    files = [path for path in parse_stream(stream).files if path.startswith("/")]
    listed = fleet.folder / "files"
    listed.write_text("".join(f"{name}\n" for name in files))
    grep = f"xargs grep -raHs '' <{listed} >/dev/null; exit 0\n".encode()
    script = fleet.script.read_bytes()
    kinds: dict[str, Callable[[], float]] = {
        "collector": lambda: _server_cpu(fleet, script, "exec sh -s"),
        "sh -c :": lambda: _server_cpu(fleet, b"", "sh -c :"),
        "sh -c : and grep": lambda: _server_cpu(fleet, grep, "exec sh -s"),
        "collector, local": lambda: _local_cpu(script),
        "grep, local": lambda: _local_cpu(grep),
    }
    if against:
        other = against.read_bytes()
        kinds[_OTHER] = lambda: _server_cpu(fleet, other, "exec sh -s")
        kinds[f"{_OTHER}, local"] = lambda: _local_cpu(other)
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(times):
        for name, measure in kinds.items():
            # The kernel shows the server's CPU in steps of 10 ms.
            taken[name].append(sum(measure() for _ in range(_BATCH)) * 1000 / _BATCH)
    print(
        f"the server's CPU for one exec, {len(files)} files, {len(stream)} bytes, medians of {times} means of {_BATCH},"
        " in turns:"
    )
    for name, values in taken.items():
        print(f"  {name:20} {statistics.median(values):7.1f} ms ({min(values):.1f}–{max(values):.1f})")
    for name in [name for name in ("collector", _OTHER) if name in taken]:
        ratios = [
            mine / (bare + grepped)
            for mine, bare, grepped in zip(taken[name], taken["sh -c :"], taken["grep, local"], strict=True)
        ]
        middle = statistics.median(ratios)
        wanted = f", wanted: at most {MOST_OF_SERVER}{'' if middle <= MOST_OF_SERVER else '   MISSED'}"
        print(f"  {name} / (sh -c : + grep): {middle:.2f}{wanted if name == 'collector' else ''}")
        one_exec = [mine / both for mine, both in zip(taken[name], taken["sh -c : and grep"], strict=True)]
        print(f"  {name} / both in one exec: {statistics.median(one_exec):.2f}")


def _over_ssh(fleet: Fleet, script: bytes, command: str = "exec sh -s") -> bytes:
    return subprocess.run(
        [*fleet.server.ssh(f"-oKexAlgorithms={fleet_clients.KEX}"), fleet.hosts[0][1], command],
        input=script, capture_output=True, check=True,
    ).stdout  # fmt: skip


def _server_cpu(fleet: Fleet, script: bytes, command: str) -> float:
    before = fleet.server.cpu_s()
    _over_ssh(fleet, script, command)
    end = time.monotonic() + 5
    while fleet.server.sessions() and time.monotonic() < end:
        time.sleep(0.005)
    return fleet.server.cpu_s() - before


def _local_cpu(script: bytes) -> float:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["sh", "-s"], input=script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- where a host's CPU goes ---


def profile(fleet: Fleet, against: Path | None = None, most: int = 200) -> None:
    """Print the CPU of each step of one host, in one thread, and what the transport's goes to.

    With `against`, the script of another version takes its turns as well.
    """
    from numatune.core.model import Severity
    from numatune.core.profile import builtin
    from numatune.fleet.work import Work
    from numatune.transport.limits import Limits
    from numatune.transport.ssh import Gateways, collect

    job = fleet.job()
    targets = fleet_clients.targets(job)[:most]
    known = _known()
    script, limits, gateways = fleet.script.read_text(), Limits(), Gateways()
    work = Work("judge", builtin("inference-latency"), date.today(), Severity.WARNING)
    kept = Work("collect")
    scripts = {"": script}
    if against:
        scripts[f" ({_OTHER})"] = against.read_text()
    streams = [collect(target, script, limits, known, gateways) for target in targets[:3]]
    steps: dict[str, list[float]] = {}
    for target in targets:
        for which, text in scripts.items():
            before = time.thread_time()
            stream = collect(target, text, limits, known, gateways)
            middle = time.thread_time()
            work.make(target.alias, stream)
            after = time.thread_time()
            kept.make(target.alias, stream)
            taken = (middle - before, after - middle, time.thread_time() - after)
            for name, seconds in zip(("transport", "judge", "gzip (collect's work)"), taken, strict=True):
                steps.setdefault(name + which, []).append(1000 * seconds)
    print(f"CPU of one host in one thread, ms (medians of {len(targets)}; a stream of {len(streams[0])} characters):")
    for name, values in steps.items():
        print(f"  {name:44} {statistics.median(values):6.2f}   ({min(values):.2f}–{max(values):.2f})")
    profiler = cProfile.Profile(time.thread_time)
    profiler.enable()
    for target in targets:
        collect(target, script, limits, known, gateways)
    profiler.disable()
    _explain(pstats.Stats(profiler), len(targets))
    gateways.close()


def _known() -> Any:
    """Return an index of known_hosts files, each read once."""
    from numatune.transport.host_keys.known_hosts import KnownHosts

    made: dict[tuple[str, ...], KnownHosts] = {}

    def known(files: tuple[str, ...]) -> KnownHosts:
        if files not in made:
            made[files] = KnownHosts(files)
        return made[files]

    return known


def _explain(stats: pstats.Stats, hosts: int) -> None:
    rows: list[tuple[float, int, str, str]] = []
    groups: Counter[str] = Counter()
    # What pstats keeps: (file, line, name) → (primitive calls, calls, own time, cumulative time, callers).
    for (file, line, name), (_, calls, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]  # pstats' own table
        group = _group(file, name)
        groups[group] += own
        rows.append((own, calls, group, f"{Path(file).name}:{line} {name}" if line else name))
    total = sum(groups.values())
    print(f"the transport under cProfile, which makes calls dearer: {1000 * total / hosts:.2f} ms a host, of which")
    for group, own in groups.most_common(12):
        print(f"  {group:32} {1000 * own / hosts:6.2f} ms {100 * own / total:5.1f} %")
    print("the twenty dearest functions (own time, calls a host):")
    for own, calls, _, name in sorted(rows, reverse=True)[:20]:
        print(f"  {1000 * own / hosts:6.3f} ms {calls / hosts:8.1f}  {name[:90]}")


def _group(file: str, name: str) -> str:
    for part in ("paramiko", "cryptography", "nacl", "fabric", "invoke"):
        if f"/{part}/" in file or f"'{part}." in name:
            return part
    if "/numatune/" in file:
        return "numatune"
    if "_socket" in name or "select" in name or name.endswith(("of 'socket' objects>",)):
        return "system calls of sockets"
    if file == "~":
        return "built-in functions"
    return "standard library"
