"""Files that are either whole or absent: written under a temporary name beside the target, synced, renamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from .errors import BenchError, reason


@contextmanager
def replacing(path: str, remedy: str) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well; on any error, Ctrl-C included, nothing is left.

    A failure to write (a full disk, no permission) is one line that ends with `remedy`.
    """
    target = os.path.realpath(path)  # a symbolic link stays one: what it points to is replaced
    # In a container the process number is the same from start to start: what a killed one left must not be in the way.
    mark = f"{os.getpid()}-{os.urandom(4).hex()}"
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{mark}.part")
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
            _sync_folder(os.path.dirname(target))
        except OSError as error:
            raise BenchError(f"cannot write {path}: {reason(error)}; {remedy}") from error
    finally:
        # After the rename there is no such name; before it, the half-written file goes.
        with suppress(OSError):
            os.unlink(temporary)


def check_writable(path: str) -> None:
    """Refuse a result file that could not be written, before minutes of measuring go into it."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise BenchError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    try:
        mode = os.stat(target).st_mode
    except OSError:
        mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        # Renaming over a device such as /dev/stdout would replace the device itself.
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise BenchError(f"cannot write {path}: it is {kind}; name a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BenchError(f"cannot write {path}: no permission to create files in {folder}")


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot sync a folder; the file itself is whole
    finally:
        os.close(handle)
