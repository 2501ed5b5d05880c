"""Captured hosts: a folder, a tar archive, or a stream that `numatune collect` wrote.

An archive is never unpacked: what is wanted of its members stays in memory, within limits. Any of the three may come
from somebody hostile: time and memory are bounded, nothing outside is reached, and no special file is opened.
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zlib
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ...core.collecting.replay import MAX_FILE, collect, oddity
from ...core.collecting.snapshot import MAGIC, parse_stream
from ...core.errors import InputError, SnapshotError
from ...core.model import Snapshot
from ..failure import clean
from .archive import ArchiveTree, unpacked

_MAX_STREAM = 16 << 20
# Looked up when it is needed: a test lowers it.
MAX_NAMES = 100_000
_PIECE = 64 << 10
_TOPS = ("proc", "sys", "etc", "boot")


def from_root(root: Path) -> Snapshot:
    """Read a captured tree; raises InputError when the folder is missing or holds no proc, sys, etc or boot.

    Raises SnapshotError for a tree that holds more than any host has.
    """
    shown = _shown(root)
    try:
        if not root.is_dir():
            if root.exists():
                raise InputError(f"{shown}: not a folder; judge a tarball or a snapshot with --snapshot")
            raise InputError(f"{shown}: no such folder; give the root of a captured tree (it holds proc/ or sys/)")
        if not any((root / top).is_dir() for top in _TOPS):
            tops = ", ".join(top + "/" for top in _TOPS)
            raise InputError(f"{shown}: not a captured tree: it holds none of {tops}")
        return collect(FolderTree(root), complete=False)
    except SnapshotError as error:
        raise SnapshotError(f"{shown}: {error}") from None
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or 'it cannot be read'}") from None


def from_file(path: Path) -> Snapshot:
    """Read a snapshot file: a collector's stream (gzip'ed or not) or a tar archive of a captured tree.

    Raises InputError when the file cannot be read, SnapshotError when it is cut, broken, larger than any host's or
    holds no host.
    """
    shown = _shown(path)
    try:
        if not path.is_file():
            if path.is_dir():
                raise InputError(f"{shown}: a folder; give its files, or judge a captured tree with --root")
            what = "not a regular file" if path.exists() else "no such file"
            raise InputError(f"{shown}: {what}; give a tarball, or what `numatune collect` wrote")
        with _opened(path) as raw:
            if not raw.read(1):
                raise SnapshotError("empty file, not a snapshot")
            head = unpacked(raw).read(len(MAGIC))
        if head == MAGIC.encode():
            return parse_stream(_stream(path))
        return _from_archive(path)
    except SnapshotError as error:
        raise error if str(error).startswith(f"{shown}: ") else SnapshotError(f"{shown}: {error}") from None
    except (EOFError, zlib.error, lzma.LZMAError):
        raise SnapshotError(f"{shown}: cut short or damaged (its compressed data ends early); copy it again") from None
    except OSError as error:
        raise InputError(f"{shown}: {clean(error.strerror or error)}") from None


def _shown(path: Path) -> str:
    """Return a path as it may be printed: its name may be somebody else's choice."""
    return clean(os.fspath(path), 300)


def _opened(path: Path) -> BinaryIO:
    # A FIFO that took the file's place since it was looked at must not be waited for.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _stream(path: Path) -> str:
    with _opened(path) as raw:
        data = unpacked(raw).read(_MAX_STREAM + 1)
    if len(data) > _MAX_STREAM:
        raise SnapshotError(f"larger than {_MAX_STREAM >> 20} MiB, which no host's snapshot is")
    odd = oddity(data)
    if odd:
        raise SnapshotError(f"{odd}, which no host's snapshot has")
    return data.decode("utf-8", "backslashreplace")


# What tarfile raises besides its own errors for numbers, names and chains of headers that make no sense.
_NONSENSE = (ValueError, OverflowError, RecursionError, IndexError, KeyError, MemoryError)


def _from_archive(path: Path) -> Snapshot:
    try:
        with _opened(path) as raw:
            tree = ArchiveTree(raw, _TOPS)
            if not any(tree.kind(top) == "dir" for top in _TOPS):
                raise SnapshotError("this archive holds no proc/, sys/, etc/ or boot/ at its top")
            # Once to learn which members are read, once with them: a packed archive is slow to go back in.
            collect(tree, complete=False)
            tree.load()
            return collect(tree, complete=False)
    except tarfile.TarError as error:
        reason = "cut short or damaged" if "unexpected end" in str(error) else "neither a tar archive nor a snapshot"
        raise SnapshotError(f"{reason}; make it again with `numatune collect`") from None
    except _NONSENSE:
        raise SnapshotError("a damaged or forged archive; make it again with `numatune collect`") from None


class FolderTree:
    """A folder as a `core.collecting.replay.Filesystem`."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def kind(self, path: str) -> str:
        """Return the kind of a path, links not followed."""
        try:
            mode = os.lstat(self._path(path)).st_mode
        except PermissionError:
            return "denied"
        except (OSError, ValueError):
            return "absent"
        return _KINDS.get(stat.S_IFMT(mode), "other")

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return os.readlink(self._path(path))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory; raises SnapshotError for more than any host has."""
        with os.scandir(self._path(path)) as entries:
            names = [entry.name for entry in islice(entries, MAX_NAMES + 1)]
        if len(names) > MAX_NAMES:
            raise SnapshotError(f"{clean(path)} holds more than {MAX_NAMES} names, which no host's does")
        return names

    def read(self, path: str) -> bytes:
        """Return a file's bytes, one more than the limit at most."""
        # Whatever has taken the file's place since: no FIFO is waited for, no link followed, no device read.
        descriptor = os.open(self._path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("not a regular file")
            # In pieces: /proc/sys of a live or mounted host refuses (ENOMEM) to be asked for 4 MiB at once.
            data = bytearray()
            while len(data) <= MAX_FILE and (piece := os.read(descriptor, min(_PIECE, MAX_FILE + 1 - len(data)))):
                data += piece
            return bytes(data)
        finally:
            os.close(descriptor)


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
