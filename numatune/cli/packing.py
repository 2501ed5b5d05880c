"""What a pack holds, made and checked: the recorder as one zip file that Python runs, and the wheels that it needs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..bench.packages.wheels import OLDEST_GLIBC, choose, distrust, parse_wheel_name

PROGRAM = "numatune-bench.pyz"
ARCHITECTURES = ("x86_64", "aarch64")

# Older Pythons must be able to compile it, to be told what they lack.
_START = """\
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("numatune-bench: needs Python 3.9 or later, and this is %d.%d\\n" % sys.version_info[:2])
    sys.exit(2)

from numatune.bench.__main__ import main

sys.exit(main())
"""
_PACKAGE = '"""The recorder of numatune, alone."""\n\n__version__ = "{version}"\nTRUSTED_WHEELS = {trusted}\n'
_SHEBANG = b"#!/usr/bin/env python3\n"


class Target(NamedTuple):
    """Whom a pack is for: its Python such as (3, 11), its architecture, the hashes of own wheels that it may run."""

    python: tuple[int, int]
    arch: str
    trusted: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"Python {self.python[0]}.{self.python[1]} on {self.arch}"

    def choose(self, names: Iterable[str], package: str, version: str) -> str | None:
        """The wheel of a package among file names; None where there is none that fits."""
        return choose(names, package, version, self.python, self.arch)


def recorder_files(bench: Path) -> dict[str, bytes]:
    """What travels of numatune/bench: its modules and graphs, by their names in the zip file."""
    found = {
        f"numatune/bench/{path.relative_to(bench).as_posix()}": path.read_bytes()
        for path in bench.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    # The graphs lie in a folder without Python; pkgutil finds them all the same.
    return {name: content for name, content in found.items() if name.endswith((".py", ".onnx", ".json"))}


def program(files: Mapping[str, bytes], version: str, trusted: Iterable[str] = ()) -> bytes:
    """The zip file: the same bytes for the same files, whoever makes it, so that Ansible copies it once.

    It runs a wheel whose hash is of `numatune.bench.packages.locks`, or `trusted`, and no other.

    It is not compressed, since libraries compress differently, and its entries carry no times.
    """
    package = _PACKAGE.format(version=version, trusted=tuple(sorted(set(trusted))))
    whole = {"__main__.py": _START.encode(), "numatune/__init__.py": package.encode(), **files}
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(whole):
            entry = zipfile.ZipInfo(name)  # 1980, the start of the format's time
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, whole[name])
    return _SHEBANG + sink.getvalue()


def platform_tags(arch: str) -> list[str]:
    """The platforms whose wheels run where glibc 2.28 is, the newest first."""
    named = [f"manylinux_2_{minor}_{arch}" for minor in range(OLDEST_GLIBC[1], 16, -1)]
    return [*named, f"manylinux2014_{arch}"]


def why_not(path: Path, package: str, version: str, target: Target) -> str:
    """What is wrong with the wheel at `path` for a target; empty where nothing is. Its whole content is read."""
    wheel = parse_wheel_name(path.name)
    if wheel is None:
        return "its name is not that of a wheel"
    if (wheel.package, wheel.version) != (package, version):
        return f"it is {wheel.package} {wheel.version}, not {package} {version}"
    if not wheel.fits(target.python, target.arch):
        return f"it is not for {target} with glibc {'.'.join(map(str, OLDEST_GLIBC))}"
    content = path.read_bytes()
    why = distrust(path.name, content, target.trusted)
    if why:
        return f"{why}; if you made it yourself and trust it, name that hash with --trust-wheel"
    return "" if zipfile.is_zipfile(io.BytesIO(content)) else "it is damaged or cut short: no zip file"
