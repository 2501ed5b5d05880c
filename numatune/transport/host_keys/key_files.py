"""Files of host keys: read whole, or locked to add a line among other processes that do the same."""

from __future__ import annotations

import fcntl
import os
import stat
import time

_LOCK_S = 5.0


def content(path: str) -> tuple[bytes, os.stat_result | None]:
    """Return what a file holds, and its state (None for /dev/null); raises OSError where it is not a regular file."""
    if path == os.devnull:
        return b"", None
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(0, "it is not a regular file")
        return opened.read(), state


def locked(path: str) -> int:
    """Return the file, open for appending and locked; raises OSError, TimeoutError after some seconds."""
    end = time.monotonic() + _LOCK_S
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # `ssh-keygen -R` puts a new file in the place of the one that was locked.
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(file)
        if time.monotonic() > end:
            raise TimeoutError(0, "another process holds its lock")
        time.sleep(0.002)
