"""Hosts as damage or malice would leave them: nothing escapes but the documented errors, and nothing takes for ever.

Seeded. The suite plays a few; NUMATUNE_MUTATIONS=full plays 4,000 in memory and 500 on disk, and prints what they came
to (`pytest -s tests/core/test_mutations.py`).
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from odd_text import ENDS, ODD
from synthetic import Tree, host

from numatune.core import ours
from numatune.core.audit import judge
from numatune.core.collecting.replay import collect
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.errors import InputError, SnapshotError
from numatune.core.model import Reading, Snapshot, State
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping
from numatune.transport.captured.replay import from_file, from_root

HOSTS = Path(__file__).parents[1] / "hosts"
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in HOSTS.glob("*.tar.gz"))
TODAY = date(2027, 1, 1)
FULL = os.environ.get("NUMATUNE_MUTATIONS") == "full"
IN_MEMORY, ON_DISK = (4000, 500) if FULL else (120, 16)
# Of the processor; a host takes milliseconds.
LIMIT_S = 20
SECRET = "what stands outside of the tree"

PROFILES = [
    {},
    {"settings": {"core_isolation": {"mode": "partition", "unit": "serve.service"}}},
    {"settings": {"core_isolation": {"mode": "kernel", "pinned": True}}},
    {"settings": {"numa_balancing": {"unit": "serve.service"}, "irq_affinity": {"method": "place"}}},
    {"settings": {"kernel_arguments": {"wanted": {"skew_tick": "1"}}, "cpu_idle": {"max_exit_latency_us": 1}}},
    {"cpus": {"serving": "2-3"}},
]
UNITS = "".join(
    f"Id={unit}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=7\nConditionResult=yes\n\n"
    for unit in ("irqbalance.service", "tuned.service", "systemd-sysctl.service", ours.UNIT)
)
COMMANDS = {
    "units": UNITS,
    "daemons": "/proc/7/comm:irqbalance\n",
    "irqbalance_environment": "IRQBALANCE_BANNED_CPULIST=1\n",
    "memory_policies": "Id=serve.service pid=7\nId=serve.service policy=default\n",
    "systemd": "systemd 252 (252.1)\n",
    "cpu_dma_latency": "2000000000\n",
    "kernel_config": "CONFIG_NUMA_BALANCING=y\n",
    "uname": "x86_64\n",
    "virt": "none\n",
    "uid": "0\n",
}
MORE = {
    "etc/tuned/active_profile": "site\n",
    "etc/tuned/site/tuned.conf": "[main]\ninclude=base\n[variables]\nx=0\n[sysctl]\nkernel.numa_balancing=${x}\n",
    "etc/tuned/base/tuned.conf": "[cpu]\ngovernor=performance\npm_qos_resume_latency_us=2\nforce_latency=1\n",
    "etc/default/irqbalance": "IRQBALANCE_BANNED_CPULIST=1,3\n",
    "etc/tmpfiles.d/a.conf": "w /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us - - - - 2\n",
    "etc/sysctl.conf": "kernel.numa_balancing = 1\n",
    "etc/numatune/apply.d/cpu_governor.conf": "cpus 0-7 cpufreq/scaling_governor performance\n",
    "etc/systemd/system/systemd-sysctl.service.d/a.conf": "[Unit]\nConditionPathExists=\n",
    "etc/os-release": "ID=debian\n",
    "boot/grub/grubenv": "# GRUB Environment Block\nsaved_entry=0\n" + "#" * 900,
    "boot/loader/entries/a.conf": "title a\nversion 6.1.0\noptions root=x ro\n",
    "sys/fs/cgroup/cpuset.cpus.isolated": "\n",
    "sys/fs/cgroup/a.slice/cpuset.cpus.partition": "root\n",
    "run/numatune/kept-irqs": "24\n",
    "proc/mounts": "/dev/sda1 / ext4 rw 0 0\n",
}


@cache
def bases() -> tuple[Snapshot, ...]:
    commands = {name: Reading(name, State.PRESENT, text) for name, text in COMMANDS.items()}
    made = []
    for nodes, threads in ((1, 1), (2, 2), (4, 1)):
        found = collect(Tree({**host(8, nodes, threads, governor="schedutil", irqs=8), **MORE}), complete=True)
        made.append(Snapshot(found.files, found.problems, found.links, found.dirs, commands, True))
    return (*made, *made, *made, *(from_file(HOSTS / f"{name}.tar.gz") for name in NAMES))


def odd(rng: random.Random, text: str, other: str) -> str:
    """Return a text that one mutation has made of another one."""
    at = rng.randrange(len(text) + 1)
    lines = text.split("\n")
    kind = rng.randrange(9)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return ""
    if kind == 2:
        return text[:at] + rng.choice(ODD) + text[at:]
    if kind == 3:
        return text.replace("\n", rng.choice(ENDS))
    if kind == 4:
        digit = rng.choice("0123456789")
        return text.replace(digit, rng.choice(("9" * 5000, "-", " ", "²", digit * 2)), rng.randrange(1, 4))
    if kind == 5:
        return other
    if kind == 6:
        return "\n".join(rng.choices(lines, k=min(2 * len(lines), 400)))
    if kind == 7:
        return "".join(
            chr(rng.choice((0, 9, 10, 13, 32, 34, 39, 61, 92, 0x2028, rng.randrange(1, 0xD800)))) for _ in text[:200]
        )
    return text[:at] + rng.choice((" ", "\t", '"', "'", "=", "{", "\\")) * rng.choice((1, 3000)) + text[at:]


def mutated(rng: random.Random, base: Snapshot) -> Snapshot:
    files, problems, links = dict(base.files), dict(base.problems), dict(base.links)
    commands, dirs = dict(base.commands), set(base.dirs)
    paths = sorted(files)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        # What is alike is thousands of files: each name's turn comes as often as another's.
        name = rng.choice(sorted({path.rpartition("/")[2] for path in paths}))
        path = rng.choice([path for path in paths if path.endswith("/" + name)])
        kind = rng.randrange(12)
        if kind == 0:
            files.pop(path, None)
        elif kind == 1:
            files.pop(path, None)
            problems[path] = Reading(path, rng.choice((State.DENIED, State.ERROR)), detail="x")
        elif kind == 2:
            links[path] = rng.choice(("/dev/null", "..", path, "x"))
            files.pop(path, None)
        elif kind == 3 and dirs:
            dirs.discard(rng.choice(sorted(dirs)))
        elif kind == 4 and commands:
            command = rng.choice(sorted(commands))
            text = odd(rng, commands[command].text, UNITS)
            commands[command] = Reading(command, rng.choice((State.PRESENT, State.PRESENT, State.ERROR)), text)
        else:
            files[path] = odd(rng, files.get(path, ""), files.get(rng.choice(paths), ""))
    return Snapshot(files, problems, links, frozenset(dirs), commands, base.complete)


def played(make: Callable[[], Snapshot], rng: random.Random, came: Counter[str]) -> None:
    """Judge and plan one host; count what it came to."""
    started = process_time()
    try:
        snapshot, profile = make(), from_mapping(rng.choice(PROFILES))
        report = judge(snapshot, profile, TODAY)
        plan = make_plan(snapshot, profile, TODAY)
        assert all(finding.reason or not finding.bad for finding in report.findings)
        assert SECRET not in str(report.as_dict()) + str(plan.as_dict())
        came[report.status] += 1
    except (InputError, SnapshotError) as error:
        came[type(error).__name__] += 1
        message = str(error)
    else:
        message = ""
    assert len(message) < 500
    assert SECRET not in message
    assert process_time() - started < LIMIT_S


def said(kind: str, came: Counter[str]) -> None:
    sys.stdout.write(f"\n{sum(came.values())} mutated hosts {kind}: {dict(came)}\n")


@pytest.mark.parametrize("part", range(4))
def test_none_escapes_in_memory(part: int) -> None:
    came: Counter[str] = Counter()
    for number in range(part, IN_MEMORY, 4):
        rng = random.Random(f"memory {number}")
        base = rng.choice(bases())
        try:
            played(lambda rng=rng, base=base: mutated(rng, base), rng, came)
        except Exception as error:
            raise AssertionError(f"memory {number}") from error
    said("in memory", came)
    assert sum(came.values()) == IN_MEMORY // 4


def test_none_escapes_as_a_stream() -> None:
    came: Counter[str] = Counter()
    lines = [
        MAGIC,
        "@states",
        "d /proc",
        "d /sys",
        "f /etc/a",
        "w online x",
        "t /sys/devices/system/cpu/cpu0",
        "@texts",
    ]
    lines += ["/etc/a:b", "@errors", "| grep: /etc/a: Permission denied", "@extract /proc/cpuinfo", "| flags : lm"]
    lines += [*(f"@command {name} 0" for name in COMMANDS), "| x", "@links", "/etc/a /dev/null", "@end", ""]
    for number in range(IN_MEMORY):
        rng = random.Random(f"stream {number}")
        text = odd(rng, "\n".join(lines), "\n".join(rng.choices(lines, k=20)))
        played(lambda text=text: parse_stream(text), rng, came)
    said("as streams", came)


def _damage(rng: random.Random, root: Path, outside: Path) -> Iterator[tuple[Path, Any]]:
    """Change some files of a tree; yield each one with what puts it back."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    names = sorted({path.name for path in paths})
    for _ in range(rng.choice((1, 2, 4, 8))):
        name = rng.choice(names)
        path = rng.choice([path for path in paths if path.name == name])
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        yield path, data
        kind = rng.randrange(8)
        if kind == 0:
            path.unlink()
        elif kind == 1:
            path.unlink()
            path.symlink_to(
                rng.choice((outside, Path("/" + "../" * 30) / outside.relative_to("/"), path, Path("/dev/zero")))
            )
        elif kind == 2:
            path.unlink()
            path.mkdir()
        elif kind == 3:
            path.unlink()
            os.mkfifo(path)
        elif kind == 4:
            path.write_bytes(rng.randbytes(rng.choice((1, 200, 70_000))))
        elif kind == 5:
            path.write_bytes(data * rng.choice((2, 50)) + b"x" * rng.choice((0, 2 << 20)))
        else:
            path.write_text(odd(rng, data.decode("utf-8", "replace"), "x"), "utf-8", "replace")


def _put_back(kept: list[tuple[Path, Any]]) -> None:
    for path, data in reversed(kept):
        if path.is_symlink() or path.exists():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(data)


def test_none_escapes_on_disk(tmp_path: Path) -> None:
    """Folders with files changed, gone, or made links, folders and FIFOs; archives with bytes changed or cut off."""
    outside = tmp_path / "outside"
    outside.write_text(f"0-3 {SECRET}\n")
    came: Counter[str] = Counter()
    # Small ones lie on disk soon.
    trees = NAMES if FULL else sorted(NAMES, key=lambda name: (HOSTS / f"{name}.tar.gz").stat().st_size)[:2]
    for place, name in enumerate(trees):
        root = tmp_path / name
        with tarfile.open(HOSTS / f"{name}.tar.gz") as archive:
            # Before 3.11.4 (Debian 12 has 3.11.2) there are no filters; these archives are the project's own.
            archive.extractall(
                root, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {})
            )
        packed = (HOSTS / f"{name}.tar.gz").read_bytes()
        for number in range(place, ON_DISK, len(trees)):
            rng = random.Random(f"disk {number}")
            kept: list[tuple[Path, Any]] = []
            try:
                if rng.random() < 0.3:
                    data = bytearray(packed)
                    for _ in range(rng.choice((1, 5))):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    path = tmp_path / "x.tar.gz"
                    path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
                    played(lambda path=path: from_file(path), rng, came)
                else:
                    kept.extend(_damage(rng, root, outside))
                    played(lambda root=root: from_root(root), rng, came)
            except Exception as error:
                raise AssertionError(f"disk {number}, {name}") from error
            finally:
                _put_back(kept)
        shutil.rmtree(root)
    said("on disk", came)
    assert sum(came.values()) == ON_DISK
