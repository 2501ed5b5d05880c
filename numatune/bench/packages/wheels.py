"""A wheel's file name and its content: which target it fits, and whether it is one that is known by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Optional

from .locks import WHEELS

OLDEST_GLIBC = (2, 28)
"""What the wheels of every lock are content with: RHEL 8, Debian 10 and later have it."""


@dataclass(frozen=True)
class WheelName:
    """What a wheel's file name says; `platforms` such as ("manylinux_2_27_x86_64", "manylinux_2_28_x86_64")."""

    package: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    def fits(self, python: tuple[int, int], arch: str) -> bool:
        """Whether CPython `python` on `arch` can use it, with glibc 2.28 or later."""
        own = f"cp{python[0]}{python[1]}"
        exact = own in self.pythons and bool({own, "abi3", "none"}.intersection(self.abis))
        older = "abi3" in self.abis and any(
            tag.startswith("cp3") and tag[3:].isdecimal() and int(tag[3:]) <= python[1] for tag in self.pythons
        )
        anything = "none" in self.abis and "py3" in self.pythons
        return (exact or older or anything) and any(_platform_fits(word, arch) for word in self.platforms)


def parse_wheel_name(name: str) -> Optional[WheelName]:
    """The parts of a wheel's file name; None for what is no wheel."""
    parts = name[: -len(".whl")].split("-") if name.endswith(".whl") else []
    if len(parts) not in (5, 6):  # the sixth is a build number
        return None
    pythons, abis, platforms = (tuple(part.split(".")) for part in parts[-3:])
    return WheelName(parts[0].replace("_", "-").lower(), parts[1], pythons, abis, platforms)


def choose(names: Iterable[str], package: str, version: str, python: tuple[int, int], arch: str) -> Optional[str]:
    """The wheel of a package for a target among file names, one of the table first; None where there is none."""
    for name in sorted(names, key=lambda name: (name not in WHEELS, name)):
        wheel = parse_wheel_name(name)
        if wheel and (wheel.package, wheel.version) == (package, version) and wheel.fits(python, arch):
            return name
    return None


def distrust(name: str, content: bytes, trusted: Collection[str]) -> str:
    """Why a wheel must not run, with its hash; empty for one of the table, or of the hashes that a person `trusted`.

    Name, version and METADATA prove nothing: whoever changes a wheel keeps them.
    """
    found = hashlib.sha256(content).hexdigest()
    known = WHEELS.get(name)
    if found in (known, *trusted):
        return ""
    if known is not None:
        return f"its SHA-256 is {found}, and the package index's wheel of that name has {known}"
    return f"its SHA-256 {found} is none that this numatune knows"


def _platform_fits(word: str, arch: str) -> bool:
    if word == "any":
        return True
    if not word.startswith("manylinux") or not word.endswith("_" + arch):
        return False
    version = word[len("manylinux") : -len("_" + arch)].strip("_").split("_")
    if len(version) == 1:
        return version[0] in ("1", "2010", "2014")  # glibc 2.5, 2.12 and 2.17
    return all(part.isdecimal() for part in version) and tuple(map(int, version)) <= OLDEST_GLIBC
