"""Packages that came along with the recorder: wheels beside it, unpacked once, for a target without pip or network.

A wheel is a zip file, so that the standard library is enough. Nothing is taken on trust: before each use, each wheel is
read whole and held against its hash, and what was unpacked against the wheel, byte for byte, in a folder that nobody
else can write. That takes less than a second of the minutes that a run needs.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Collection, Iterator, Sequence

from ..errors import BenchError, reason
from .locks import OLDEST_PYTHON, lock_for
from .wheels import choose, distrust

_CHUNK = 1 << 20
_MOST = 512 << 20
"""Bytes of a wheel; the largest has a twentieth."""
_REMEDY = "free some space, or set XDG_CACHE_HOME to a folder with room"


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
        name = choose(names, package, version, python, arch)
        if name is None:
            raise BenchError(
                f"{folder} has no wheel of {package} {version} for Python {python[0]}.{python[1]} on {arch} "
                f"(there is {', '.join(names)}): make the pack for this target with `numatune pack`"
            )
        found.append(os.path.join(folder, name))
    return found


def wanted(python: tuple[int, int]) -> dict[str, str]:
    """Package -> version of the lock; BenchError for a Python that is too old."""
    lock = lock_for(python)
    if not lock:
        oldest = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
        raise BenchError(f"Python {python[0]}.{python[1]} is too old for the recorder: it needs {oldest} or later")
    return lock


def unpacked(wheels: Sequence[str], site: str, trusted: Collection[str] = ()) -> str:
    """A folder below `site` that holds what the wheels hold and nothing else, to be put on sys.path.

    It is made where it is not there or is not so. BenchError for a wheel whose hash is neither known nor `trusted`, and
    for a folder that somebody else can write.
    """
    contents = [_trusted(path, trusted) for path in wheels]
    folder = os.path.join(site, _key_of(contents))
    try:
        os.makedirs(site, mode=0o755, exist_ok=True)
        _refuse_of_others(os.path.realpath(site))
        with zipfile.ZipFile(contents[0]):  # no half of a folder for a file that is no wheel
            pass
        if not _is_whole(folder, contents):
            _unpack(contents, folder)
    except zipfile.BadZipFile as error:
        raise BenchError(f"a wheel beside the recorder is damaged ({error}): copy the pack again") from error
    except OSError as error:
        raise BenchError(f"cannot unpack the wheels into {folder}: {reason(error)}; {_REMEDY}") from error
    return folder


def _trusted(path: str, trusted: Collection[str]) -> io.BytesIO:
    """A wheel's content, read once: what was hashed is what is unpacked."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {reason(error)}; copy the pack again") from error
    why = distrust(os.path.basename(path), content, trusted) if len(content) <= _MOST else "it is larger than any wheel"
    if why:
        raise BenchError(
            f"{path}: {why}: not run; make the pack anew with `numatune pack` (with --trust-wheel for one of your own)"
        )
    return io.BytesIO(content)


def _refuse_of_others(folder: str) -> None:
    """Raise BenchError where somebody else could change what lies in a folder, or put another in its place."""
    here = folder
    while True:
        info = os.stat(here)
        # Many systems give each user a group of their own, of the same number, and folders that it may write: nobody
        # else is in it. Of root's group only root may be expected.
        own = info.st_gid == 0 or info.st_gid == os.getegid() == os.geteuid() == info.st_uid
        writes = stat.S_IWOTH if own else stat.S_IWOTH | stat.S_IWGRP
        if (info.st_mode & writes and not info.st_mode & stat.S_ISVTX) or info.st_uid not in (0, os.geteuid()):
            raise BenchError(f"{here} can be written by others: name a folder of your own with --site")
        if here == os.path.dirname(here):
            return
        here = os.path.dirname(here)


def _key_of(contents: Sequence[io.BytesIO]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.getbuffer())
    return digest.hexdigest()[:16]


def _is_whole(folder: str, contents: Sequence[io.BytesIO]) -> bool:
    """Whether a folder of this user's holds each file of the wheels as it is there, and no other.

    Bytecode that lies beside a module would be run in its place, so that none may be there either.
    """
    try:
        info = os.lstat(folder)
    except OSError:
        return False
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        return False
    wanted = set()
    for content in contents:
        with zipfile.ZipFile(content) as wheel:
            for entry in wheel.infolist():
                if entry.is_dir():
                    continue
                wanted.add(os.path.join(folder, entry.filename))
                if not _same(os.path.join(folder, entry.filename), wheel, entry):
                    return False
    return wanted.issuperset(_files(folder))


def _files(folder: str) -> Iterator[str]:
    for parent, names, files in os.walk(folder):
        # A link to a folder is none that was unpacked.
        links = (name for name in names if os.path.islink(os.path.join(parent, name)))
        for name in (*files, *links):
            yield os.path.join(parent, name)


def _same(path: str, wheel: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file, wheel.open(entry) as source:
        if os.fstat(descriptor).st_size != entry.file_size:
            return False
        while True:
            chunk = source.read(_CHUNK)
            if chunk != file.read(len(chunk) or 1):
                return False
            if not chunk:
                return True


def _unpack(contents: Sequence[io.BytesIO], folder: str) -> None:
    """Unpack under a name of this process and rename; a second recorder that was faster is taken as it is."""
    temporary = f"{folder}.{os.getpid()}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        os.mkdir(temporary, 0o700)
        for content in contents:
            with zipfile.ZipFile(content) as wheel:
                wheel.extractall(temporary)
        if os.path.lexists(folder) and not _is_whole(folder, contents):
            shutil.rmtree(folder)  # cut short by a power cut, or changed: the folder is the recorder's own
        try:
            os.rename(temporary, folder)
        except OSError:
            if not _is_whole(folder, contents):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
