"""Packages that came along with the recorder: wheels beside it, unpacked once, for a target without pip or network.

A wheel is a zip file, so that the standard library is enough. What is unpacked is keyed by the wheels' content, is
there whole or not at all, and is looked over before each use: a power cut leaves files that are empty.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .errors import BenchError, reason
from .locks import OLDEST_PYTHON, lock_for

OLDEST_GLIBC = (2, 28)
"""What the wheels of every lock are content with: RHEL 8, Debian 10 and later have it."""

_CHUNK = 1 << 20
_REMEDY = "free some space, or set XDG_CACHE_HOME to a folder with room"


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


def find_wheels(folder: str, python: tuple[int, int], arch: str) -> list[str]:
    """The wheels in `folder` that the lock names for a Python and an architecture; none where no wheel lies there.

    BenchError where some lie there and a package's is missing: half of the packages would be mixed with the target's.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
    except OSError as error:
        raise BenchError(f"cannot read {folder}: {reason(error)}; name the folder of the wheels") from error
    if not names:
        return []
    found = []
    for package, version in sorted(wanted(python).items()):
        fitting = [name for name in names if _is(name, package, version, python, arch)]
        if not fitting:
            raise BenchError(
                f"{folder} has no wheel of {package} {version} for Python {python[0]}.{python[1]} on {arch} "
                f"(there is {', '.join(names)}): make the pack for this target with `numatune pack`"
            )
        found.append(os.path.join(folder, fitting[0]))
    return found


def wanted(python: tuple[int, int]) -> dict[str, str]:
    """Package -> version of the lock; BenchError for a Python that is too old."""
    lock = lock_for(python)
    if not lock:
        oldest = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
        raise BenchError(f"Python {python[0]}.{python[1]} is too old for the recorder: it needs {oldest} or later")
    return lock


def unpacked(wheels: Sequence[str], site: str) -> str:
    """A folder below `site` that holds what the wheels hold, to be put on sys.path; made where it is not there."""
    folder = os.path.join(site, _key_of(wheels))
    try:
        if _is_whole(folder, wheels):
            return folder
        _unpack(wheels, folder)
    except zipfile.BadZipFile as error:
        raise BenchError(f"a wheel beside the recorder is damaged ({error}): copy the pack again") from error
    except OSError as error:
        raise BenchError(f"cannot unpack the wheels into {folder}: {reason(error)}; {_REMEDY}") from error
    return folder


def _is(name: str, package: str, version: str, python: tuple[int, int], arch: str) -> bool:
    wheel = parse_wheel_name(name)
    same = wheel is not None and (wheel.package, wheel.version) == (package, version)
    return same and wheel is not None and wheel.fits(python, arch)


def _platform_fits(word: str, arch: str) -> bool:
    if word == "any":
        return True
    if not word.startswith("manylinux") or not word.endswith("_" + arch):
        return False
    version = word[len("manylinux") : -len("_" + arch)].strip("_").split("_")
    if len(version) == 1:
        return version[0] in ("1", "2010", "2014")  # glibc 2.5, 2.12 and 2.17
    return all(part.isdecimal() for part in version) and tuple(map(int, version)) <= OLDEST_GLIBC


def _key_of(wheels: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(wheels):
        try:
            with open(path, "rb") as file:
                while True:
                    chunk = file.read(_CHUNK)
                    if not chunk:
                        break
                    digest.update(chunk)
        except OSError as error:
            raise BenchError(f"cannot read {path}: {reason(error)}; copy the pack again") from error
    return digest.hexdigest()[:16]


def _is_whole(folder: str, wheels: Sequence[str]) -> bool:
    """Whether each file of the wheels is there in its full size."""
    if not os.path.isdir(folder):
        return False
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            for entry in wheel.infolist():
                try:
                    size = os.stat(os.path.join(folder, entry.filename)).st_size
                except OSError:
                    return False
                if not entry.is_dir() and size != entry.file_size:
                    return False
    return True


def _unpack(wheels: Sequence[str], folder: str) -> None:
    """Unpack under a name of this process and rename; a second recorder that was faster is taken as it is."""
    temporary = f"{folder}.{os.getpid()}.part"
    os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        os.mkdir(temporary, 0o755)
        for path in wheels:
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(temporary)
        if os.path.isdir(folder) and not _is_whole(folder, wheels):
            shutil.rmtree(folder)  # cut short by a power cut: the folder is the recorder's own
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _is_whole(folder, wheels):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
