"""Captured trees, archives and streams from somebody hostile: bounded time and memory, one line, nothing outside."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import socket
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from streams import HEAD
from synthetic import host

from numatune.core.audit import judge
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.errors import InputError, NumatuneError, SnapshotError
from numatune.core.model import State
from numatune.core.profile import builtin
from numatune.report.audits import text as text_report
from numatune.report.audits.hosts import Judged
from numatune.transport.captured.replay import from_file, from_root

GROWTH = 300 << 20
SECONDS = 4

# Reads each file in a process of its own whose address space may grow by GROWTH, and judges what it holds. Limits on
# counts are lowered, so that a file beyond them is soon written; seconds are of CPU: a busy machine does not move them.
CHILD = f"""
import json, os, resource, sys, time
from datetime import date
from pathlib import Path
from numatune.core.audit import judge
from numatune.core.errors import NumatuneError
from numatune.core.profile import builtin
from numatune.report.audits.hosts import Judged
from numatune.report.audits import text
from numatune.transport.captured import archive, replay
from numatune.transport.captured.replay import from_file, from_root
archive.MAX_MEMBERS, archive.MAX_NAME_BYTES, replay.MAX_NAMES = 10_000, 4 << 20, 2000
profile = builtin("inference-latency")
def one(path):
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + {GROWTH}, size + {GROWTH}))
    began = time.process_time()
    try:
        snapshot = (from_root if path.name.startswith("tree") else from_file)(path)
        shown = "".join(text.audit([Judged("h", judge(snapshot, profile, date(2027, 1, 1)))]))
        said, kind = ("raw" if "\\x1b" in shown else "read"), "ok"
    except NumatuneError as error:
        said, kind = str(error), type(error).__name__
    except BaseException as error:
        said, kind = repr(error)[:300], "crash"
    return [kind, said, time.process_time() - began]
found = {{}}
for name in sorted(os.listdir(sys.argv[1])):
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(into, json.dumps(one(Path(sys.argv[1]) / name)).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as source:
        found[name] = json.loads(source.read() or '["killed", "", 0]')
    os.waitpid(pid, 0)
print(json.dumps(found))
"""

Build = Callable[[Path], None]
CASES: dict[str, tuple[Build, str]] = {}
"""name → what writes the file, and the words wanted: of an error, or "read" where it is read as far as it goes."""


def case(name: str, wanted: str) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        CASES[name] = (build, wanted)
        return build

    return add


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as target:  # type: ignore[call-overload]  # the mode is one of its own
        for info, data in (*members, member("proc/cmdline", b"ro quiet\n")):
            target.addfile(info, io.BytesIO(data))


def raw_header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = kind
    return info.tobuf(tarfile.GNU_FORMAT)


ZEROS = bytes(1 << 20)


def zeros(count: int, path: Path, head: bytes = b"", opener: Any = gzip.open) -> None:
    """Write `count` MiB of zeros behind a head, packed."""
    with opener(path, "wb", 1) as target:
        target.write(head)
        for _ in range(count):
            target.write(ZEROS)


@case("zeros.gz", "holds no proc/")
def _(path: Path) -> None:
    zeros(40, path)


@case("zeros-behind-magic.gz", "larger than")
def _(path: Path) -> None:
    zeros(40, path, f"{MAGIC}\n".encode())


@case("bomb.tar.gz", "more than any host")
def _(path: Path) -> None:
    zeros(20, path, raw_header("proc/stat", 10 << 30, tarfile.REGTYPE))


@case("bomb.tar.bz2", "more than any host")
def _(path: Path) -> None:
    zeros(20, path, raw_header("proc/stat", 10 << 30, tarfile.REGTYPE), bz2.open)


@case("empty-members.gz", "more streams")
def _(path: Path) -> None:
    path.write_bytes(gzip.compress(b"") * 60_000)


@case("zeros-behind.numatune.gz", "read")
def _(path: Path) -> None:
    # The head and the padding may each be longer than what is read at a time.
    text = stream().encode()
    path.write_bytes(gzip.compress(text[:100]) + bytes(200_000) + gzip.compress(text[100:]) + bytes(30 << 20))


@case("large.tar.xz", "read")
def _(path: Path) -> None:
    with lzma.open(path, "wb", preset=0) as packed, tarfile.open(fileobj=packed, mode="w") as target:
        for info, data in (member("var/log/x", bytes(24 << 20)), member("proc/cmdline", b"ro\n")):
            target.addfile(info, io.BytesIO(data))


@case("dictionary.tar.xz", "damaged")
def _(path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
    data = bytearray(lzma.compress(b"x" * 2000, filters=filters))
    # The block header's property byte: 40 stands for a dictionary of 4 GiB; its CRC is made anew.
    at = data.index(b"\x21\x01") + 2
    data[at] = 40
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = zlib.crc32(bytes(data[12 : 12 + size - 4])).to_bytes(4, "little")
    path.write_bytes(data)


@case("nested.tar.gz", "neither a tar archive")
def _(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.compress(ZEROS)))


@case("header-of-8-gib.tar.gz", "a length that none has")
def _(path: Path) -> None:
    zeros(40, path, raw_header("x", 8 << 30, tarfile.XHDTYPE))


@case("long-name-of-400-mib.tar.gz", "a length that none has")
def _(path: Path) -> None:
    zeros(40, path, raw_header("x", 400 << 20, tarfile.GNUTYPE_LONGNAME))


@case("chain-of-headers.tar", "forged")
def _(path: Path) -> None:
    path.write_bytes((raw_header("x", 512, tarfile.GNUTYPE_LONGNAME) + b"n".ljust(512, b"\0")) * 5000)


@case("pax-that-lies.tar", "forged")
def _(path: Path) -> None:
    archive(path, member("proc/a", b"x", pax_headers={"size": "-1", "mtime": "x", "GNU.sparse.map": "1,x"}), mode="w")


@case("negative-size.tar", "more than any host")
def _(path: Path) -> None:
    info = bytearray(raw_header("proc/a", 0, tarfile.REGTYPE))
    info[124:136] = b"\xff" * 11 + b"\x00"
    info[148:156] = b" " * 8
    info[148:156] = b"%06o\0 " % sum(info)
    path.write_bytes(info + bytes(2048))


@case("sparse.tar", "read")
def _(path: Path) -> None:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "proc/stat"}
    data = b"1\n0\n1\n".ljust(512, b"\0") + b"x".ljust(512, b"\0")
    archive(path, member("s/proc", data, pax_headers={**headers, "GNU.sparse.realsize": str(1 << 29)}))


@case("too-many-members.tar.gz", "more than any host")
def _(path: Path) -> None:
    with gzip.open(path, "wb", 1) as target:
        block = b"".join(raw_header(f"proc/{number}", 0, tarfile.REGTYPE) for number in range(1000))
        for _ in range(11):
            target.write(block)


@case("long-names.tar.gz", "more names than any host")
def _(path: Path) -> None:
    with gzip.open(path, "wb", 1) as target:
        for number in range(1100):
            name = f"proc/{number}".ljust(4000, "n").encode() + b"\0"
            target.write(raw_header("x", len(name), tarfile.GNUTYPE_LONGNAME) + name.ljust(4096, b"\0"))
            target.write(raw_header("x", 0, tarfile.REGTYPE))


@case("hard-links.tar", "read")
def _(path: Path) -> None:
    def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
        return member(name, type=tarfile.LNKTYPE, linkname=target)

    archive(
        path,
        hard("proc/version", "proc/version"),
        hard("proc/cpuinfo", "/etc/passwd"),
        hard("proc/interrupts", "../../../etc/passwd"),
        *(hard(f"etc/sysctl.d/{n}.conf", f"etc/sysctl.d/{n + 1}.conf") for n in range(3000)),
    )


@case("long-links.tar", "links of more than")
def _(path: Path) -> None:
    def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
        return member(name, type=tarfile.SYMTYPE, linkname=target)

    archive(
        path,
        link("etc/sysctl.d/m", "./" * 2000),
        *(link(f"etc/sysctl.d/{number}.conf", "m/" * 39) for number in range(300)),
    )


@case("odd-members.tar", "read")
def _(path: Path) -> None:
    archive(
        path,
        member("/etc/hostname", b"x\n"),
        member("../../etc/sysctl.conf", b"x\n"),
        member("proc/stat", type=tarfile.FIFOTYPE),
        member("proc/version", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("etc", type=tarfile.SYMTYPE, linkname="/etc"),
        member("proc/cpuinfo", type=tarfile.SYMTYPE, linkname="../../../../etc/passwd"),
        member("proc/cmdline", b"one\n"),
        member("proc/cmdline", b"\x1b[31mtwo\n"),
        member("proc/cmdline/below", b"three\n"),
        member("sys/devices/system/cpu/cpu0\n\x1b[31m/topology/core_id", b"x\n"),
        member("etc/sysctl.d/\udcff\x1b[31m.conf", b"kernel.numa_balancing=1\n"),
        member("sys/" + "d/" * 3000 + "x", b"x"),
    )


@case("wide-lines.tar", "read")
def _(path: Path) -> None:
    # Invalid UTF-8 takes four characters a byte; lines of two take 50 bytes each.
    archive(
        path,
        member("proc/cpuinfo", b"ab\x1c" * 5_000_000),
        member("proc/interrupts", b"\xff" * (15 << 20)),
    )


@case("cut.tar.gz", "ends early")
def _(path: Path) -> None:
    archive(path, member("proc/stat", random.Random(1).randbytes(20_000)), mode="w:gz")
    path.write_bytes(path.read_bytes()[:-3000])


@case("cut.tar", "cut short")
def _(path: Path) -> None:
    archive(path, member("proc/stat", bytes(20_000)))
    path.write_bytes(path.read_bytes()[:9000])


@case("giant-line.txt", "a line longer than")
def _(path: Path) -> None:
    path.write_bytes(f"{MAGIC}\n@states\n".encode() + b"x" * (15 << 20) + b"\n@end\n")


@case("short-lines.txt", "more than 400000 lines")
def _(path: Path) -> None:
    path.write_bytes(f"{MAGIC}\n@states\n".encode() + b"\n" * (15 << 20) + b"@end\n")


@case("16-mib.txt", "belongs to no frame")
def _(path: Path) -> None:
    path.write_bytes(f"{MAGIC}\n@states\n".encode() + (b"\x1b[31m\xff" * 100 + b"\n") * 25_000 + b"@end\n")


@case("fifo.tar", "not a regular file")
def _(path: Path) -> None:
    os.mkfifo(path)


@case("tree-odd", "read")
def _(path: Path) -> None:
    (path / "proc").mkdir(parents=True)
    (path / "etc").mkdir()
    os.mkfifo(path / "proc/stat")
    os.mkfifo(path / "proc/cmdline")
    (path / "proc/cpuinfo").symlink_to("/dev/zero")
    (path / "proc/version").symlink_to("version")
    (path / "etc/sysctl.d").symlink_to("/etc/sysctl.d")
    (path / "etc/sysctl.conf").symlink_to("../" * 30 + "etc/passwd")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path / "proc/interrupts"))
    (path / "sys").symlink_to("/sys")


@case("tree-loop", "no such folder")
def _(path: Path) -> None:
    path.symlink_to(path.name)


@case("tree-large", "more than 32 MiB")
def _(path: Path) -> None:
    (path / "etc/sysctl.d").mkdir(parents=True)
    for number in range(9):
        with (path / f"etc/sysctl.d/{number}.conf").open("wb") as file:
            file.truncate(8 << 40 if number == 0 else 5 << 20)


@case("tree-links", "more than 300000 files")
def _(path: Path) -> None:
    # 600 links to one folder of 600 states.
    cpus = path / "sys/devices/system/cpu"
    states = cpus / "real/cpuidle"
    states.mkdir(parents=True)
    for number in range(600):
        (states / f"state{number}").symlink_to("state")
        (cpus / f"cpu{number}").symlink_to("real")
    (states / "state").mkdir()
    for name in ("name", "disable", "latency"):
        (states / "state" / name).write_text("x\n")


@case("tree-of-names", "names, which no host")
def _(path: Path) -> None:
    folder = path / "etc/sysctl.d"
    folder.mkdir(parents=True)
    (folder / "a.conf").touch()
    for number in range(2000):
        os.link(folder / "a.conf", folder / f"{number}")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, float]]:
    folder = tmp_path_factory.mktemp("hostile")
    for name, (build, _) in CASES.items():
        build(folder / name)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stderr == ""
    found: dict[str, tuple[str, str, float]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", CASES)
def test_hostile(outcomes: dict[str, tuple[str, str, float]], name: str) -> None:
    kind, said, seconds = outcomes[name]
    wanted = CASES[name][1]
    if wanted == "read":
        assert (kind, said) == ("ok", "read")
    else:
        assert kind in ("SnapshotError", "InputError"), said
        assert wanted in said
        assert said.isprintable()
    assert seconds < SECONDS


def test_nothing_outside_a_tree_is_read(tmp_path: Path) -> None:
    CASES["tree-odd"][0](tmp_path)
    snapshot = from_root(tmp_path)
    assert all("root:" not in body for body in snapshot.files.values())
    assert snapshot.read("/proc/cpuinfo").state is not State.PRESENT
    assert snapshot.read("/proc/cmdline").state is not State.PRESENT


def test_a_name_that_steers_a_terminal_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        from_file(tmp_path / "\x1b[31mx\n.tar")
    assert str(caught.value).isprintable()


# --- mutated streams ---


def stream() -> str:
    files = host(8, irqs=4)
    lines = [*HEAD.splitlines(), "@states", "d /proc", "d /sys", *(f"f /{path}" for path in files), "@texts"]
    lines += [f"/{path}:{line}" for path, text in files.items() for line in text.splitlines()]
    lines += ["@errors", "| grep: /etc/x: Permission denied", "@links", "/etc/a /b", "@command uname 0", "| x", "@end"]
    return "\n".join(lines) + "\n"


def mutated(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(1, len(lines) - 2)
        line = lines[at]
        cut = chance.randrange(len(line) + 1)
        pieces = ("\x1b[31m", "\x00", "\x9b", "\u202e", "-1", "99999999999999999999", ",", "-", ":", " ", "@texts")
        match chance.randrange(8):
            case 0:
                lines[at] = line[:cut] + chance.choice(pieces) + line[cut:]
            case 1:
                lines[at] = line[:cut]
            case 2:
                del lines[at]
            case 3:
                lines.insert(at, lines[chance.randrange(1, len(lines) - 2)])
            case 4:
                path, sign, _ = line.partition(":")
                values = ("", "\x1b]0;x\x07", "0-99999", "4294967296", "nan", "-", "0-3,2-1", "٣", "²", "1" * 5000)
                lines[at] = path + sign + chance.choice(values)
            case 5:
                path, sign, value = line.partition(":")
                lines[at] = path + sign + value * chance.randint(2, 50)
            case 6:
                lines[at] = chance.choice(("@failed ", "@denied ", "@extract ", "@command ", "@other ")) + line[:cut]
            case _:
                other = chance.randrange(1, len(lines) - 2)
                lines[at] = line.partition(":")[0] + ":" + lines[other].partition(":")[2]
    return "\n".join(lines)


def audit(text: str) -> str:
    """Return the report of a stream with its JSON checked, or why it was refused."""
    try:
        report = judge(parse_stream(text), builtin("inference-latency"), date(2027, 1, 1))
    except NumatuneError as error:
        return str(error)
    judged = Judged("h", report)
    json.dumps(judged.as_dict()).encode("ascii")
    return "".join(text_report.audit([judged]))


def test_mutated_streams() -> None:
    base = stream()
    assert "\n" in audit(base)
    chance = random.Random(6)
    read = 0
    end = time.monotonic() + 6
    for number in range(1500):
        seed = chance.randrange(1 << 30)
        text = mutated(base, random.Random(seed))
        try:
            shown = audit(text)
        except Exception as error:
            raise AssertionError(f"mutation {number}, seed {seed}: {error!r}") from error
        read += "\n" in shown
        assert all(sign.isprintable() or sign == "\n" for sign in shown), seed
        if time.monotonic() > end and number > 300:
            break
    assert read > 50


@pytest.mark.parametrize(
    "unit", ["@states\n", "f /a\n", "@failed /x\n", "@command a 0\n", "@links\na b\n", "@errors\n| grep: /a: b\n"]
)
def test_time_is_linear(unit: str) -> None:
    def seconds(count: int) -> float:
        text = f"{MAGIC}\n@states\n" + unit * count + "@end\n"
        best = 9.0
        for _ in range(2):
            began = time.process_time()
            with suppress(SnapshotError):
                parse_stream(text)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(80_000) < 16 * seconds(10_000) + 0.2
