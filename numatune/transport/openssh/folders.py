"""The private files of ssh processes: one folder for a run, which goes with it, or with the next run if it was killed.

A run holds its folder by a lock on it, as each of its workers does. The kernel drops the lock with the last process
that holds it, however that ended, so what is not locked is nobody's any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..failure import Failure

PREFIX = "numatune-ssh-"
_TRIES = 10


class RunFolder:
    """A folder of mode 0700 that goes with this object, or when this process ends. Raises Failure("auth") for none."""

    def __init__(self) -> None:
        self.path, lock = _made()
        self._end = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Remove it."""
        self._end()


_own: RunFolder | None = None
_entered: Path | None = None
_lock = threading.Lock()


def enter(path: Path) -> None:
    """Let this process, a worker of the run that has the folder, make its files in it, and hold it too."""
    global _entered
    with suppress(OSError):
        fcntl.flock(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), fcntl.LOCK_SH)
        _entered = path


def private_folder() -> Path:
    """Make a folder of mode 0700 where programs may be run, within the run's; whoever asks for it removes it.

    The run's folder may go while it is used (logind removes XDG_RUNTIME_DIR with the user's last session): this process
    then makes another one, where there is a place for it.
    """
    within = _within(None)
    try:
        try:
            return Path(tempfile.mkdtemp(dir=within))
        except FileNotFoundError:
            within = _within(within)
            return Path(tempfile.mkdtemp(dir=within))
    except OSError as error:
        raise Failure("auth", f"no folder for ssh's files in {within}: {error.strerror}") from None


def _within(gone: Path | None) -> Path:
    """Return the folder to make folders in, one other than `gone`; the threads of all hosts get the same."""
    global _own, _entered
    with _lock:
        if gone is not None and gone == _entered:
            _entered = None
        if _entered is not None:
            return _entered
        if _own is None or _own.path == gone:
            _own = RunFolder()
        return _own.path


def sweep() -> None:
    """Remove the folders of this user's runs that were killed. Never raises, follows no link, waits for nobody."""
    for place in _places():
        try:
            with os.scandir(place) as entries:
                found = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
        except OSError:
            continue
        for name in found:
            with suppress(OSError):
                _remove_left(Path(place, name))


def _remove_left(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        about = os.fstat(folder)
        if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) != 0o700:
            return
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is(path, folder):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(folder)


def _made() -> tuple[Path, int]:
    """Make a folder and hold it: another run may sweep it away before it is held, and then it is made anew."""
    for place in _places():
        try:
            # /tmp is often mounted noexec, and ssh runs a program from there.
            if os.statvfs(place).f_flag & os.ST_NOEXEC:
                continue
            for _ in range(_TRIES):
                path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
                with suppress(FileNotFoundError):
                    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                    with suppress(OSError):  # a file system without locks: nobody can hold it, and nobody sweeps it
                        fcntl.flock(lock, fcntl.LOCK_SH)
                    if _is(path, lock):
                        return path, lock
                    os.close(lock)
        except OSError:
            continue
    raise Failure("auth", "no folder in which ssh's password helper could run: set TMPDIR to one not mounted noexec")


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _places() -> Iterator[str]:
    places = (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), os.path.expanduser("~/.cache"), "/var/tmp")
    yield from dict.fromkeys(place for place in places if place)


def _remove(path: Path, lock: int, owner: int) -> None:
    # A worker that was forked has a copy of this; the folder is not its.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
