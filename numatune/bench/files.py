"""Files that are either whole or absent: written under a temporary name beside the target, synced, renamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from .errors import BenchError, reason
from .places import opened


@contextmanager
def replacing(path: str, remedy: str) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well; on any error, Ctrl-C included, nothing is left.

    A failure to write (a full disk, no permission) is one line that ends with `remedy`.
    """
    # In a container the process number is the same from start to start: what a killed one left must not be in the way.
    mark = f"{os.getpid()}-{os.urandom(4).hex()}"
    with _place(path) as (folder, name):  # a symbolic link stays one: what it points to is replaced
        temporary = f".{name[:200]}.{mark}.part"
        try:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                _sync_folder(folder)
            except OSError as error:
                raise BenchError(f"cannot write {path}: {reason(error)}; {remedy}") from error
        finally:
            # After the rename there is no such name; before it, the half-written file goes.
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)


def check_writable(path: str) -> None:
    """Refuse a result file that could not be written, before minutes of measuring go into it."""
    with _place(path) as (folder, _name):
        try:
            mode = os.stat(path).st_mode
        except OSError:
            mode = stat.S_IFREG
        if not stat.S_ISREG(mode):
            # Renaming over a device such as /dev/stdout would replace the device itself.
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise BenchError(f"cannot write {path}: it is {kind}; name a file")
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
            raise BenchError(f"cannot write {path}: no permission to create files in {os.path.dirname(path) or '.'}")


@contextmanager
def _place(path: str) -> Iterator[tuple[int, str]]:
    """The folder that `path` leads to, as a descriptor, and the name in it."""
    try:
        folder, name = opened(path)
    except FileNotFoundError as error:
        where = os.path.dirname(os.path.realpath(path))
        raise BenchError(f"cannot write {path}: the folder {where} does not exist; create it first") from error
    except IsADirectoryError as error:
        raise BenchError(f"cannot write {path}: it is a folder; name a file") from error
    except OSError as error:
        raise BenchError(f"cannot write {path}: {reason(error)}") from error
    try:
        yield folder, name
    finally:
        os.close(folder)


def _sync_folder(folder: int) -> None:
    try:
        handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    except OSError:
        return  # a folder that may be written and not read; the file itself is whole
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot sync a folder; the file itself is whole
    finally:
        os.close(handle)
