"""Captured hosts: a folder, a tar archive, or a stream that `numatune collect` wrote.

An archive is never unpacked: its members stay in memory, within limits, and are looked up by name.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zlib
from pathlib import Path

from ..core.errors import InputError, SnapshotError
from ..core.model import Snapshot
from ..core.replay import MAX_FILE, collect
from ..core.snapshot import MAGIC, parse_stream

_MAX_MEMBERS = 1_000_000
_MAX_TOTAL = 1 << 30
_MAX_STREAM = 256 << 20
_TOPS = ("proc", "sys", "etc", "boot")


def from_root(root: Path) -> Snapshot:
    """Read a captured tree; raises InputError when the folder is missing or holds no proc, sys, etc or boot."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the root of a captured tree (it holds proc/ or sys/)")
    if not any((root / top).is_dir() for top in _TOPS):
        raise InputError(f"{root}: not a captured tree: it holds none of {', '.join(top + '/' for top in _TOPS)}")
    return collect(FolderTree(root), complete=False)


def from_file(path: Path) -> Snapshot:
    """Read a snapshot file: a collector's stream (plain or gzip) or a tar archive of a captured tree.

    Raises InputError when the file cannot be read, SnapshotError when it is cut, broken or holds no host.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file; give a tarball, or what `numatune collect` wrote")
        with path.open("rb") as raw:
            magic = raw.read(len(MAGIC))
        if not magic:
            raise SnapshotError(f"{path}: empty file, not a snapshot")
        head = magic
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(path) as unpacked:
                head = unpacked.read(len(MAGIC))
        if head == MAGIC.encode():
            return parse_stream(_stream(path, packed=magic[:2] == b"\x1f\x8b"))
        return _from_archive(path)
    except SnapshotError as error:
        raise error if str(path) in str(error) else SnapshotError(f"{path}: {error}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise SnapshotError(f"{path}: cut short or damaged (its compressed data ends early); copy it again") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _stream(path: Path, packed: bool) -> str:
    with gzip.open(path) if packed else path.open("rb") as source:
        data = source.read(_MAX_STREAM + 1)
    if len(data) > _MAX_STREAM:
        raise SnapshotError(f"{path}: larger than {_MAX_STREAM >> 20} MiB, which no host's snapshot is")
    return data.decode("utf-8", "backslashreplace")


def _from_archive(path: Path) -> Snapshot:
    try:
        with tarfile.open(path) as archive:
            tree = ArchiveTree(archive)
            if not any(tree.kind(top) == "dir" for top in _TOPS):
                raise SnapshotError(f"{path}: this archive holds no proc/, sys/, etc/ or boot/ at its top")
            return collect(tree, complete=False)
    except tarfile.ReadError as error:
        reason = "cut short or damaged" if "unexpected end" in str(error) else "neither a tar archive nor a snapshot"
        raise SnapshotError(f"{path}: {reason}; make it again with `numatune collect`") from None


class FolderTree:
    """A folder as a `core.replay.Filesystem`."""

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
        except OSError:
            return "absent"
        return _KINDS.get(stat.S_IFMT(mode), "other")

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return os.readlink(self._path(path))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(self._path(path))

    def read(self, path: str) -> bytes:
        """Return a file's bytes, one more than the limit at most."""
        with open(self._path(path), "rb") as source:
            return source.read(MAX_FILE + 1)


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


class ArchiveTree:
    """The members of a tar archive as a `core.replay.Filesystem`.

    A leading "./" or one common top folder (an sosreport has its name there) is taken off. Raises SnapshotError
    for more members or bytes than any host has, tarfile.ReadError for a cut archive.
    """

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        self._names: dict[str, set[str]] = {"": set()}
        members: list[tuple[list[str], tarfile.TarInfo]] = []
        total = 0
        for member in archive:
            total += member.size
            if len(members) >= _MAX_MEMBERS or total > _MAX_TOTAL:
                raise SnapshotError("the archive holds more than any host has; it is not read further")
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if ".." not in parts:
                members.append((parts, member))
        skip = self._common(members)
        for parts, member in members:
            self._add(parts[skip:], member)

    @staticmethod
    def _common(members: list[tuple[list[str], tarfile.TarInfo]]) -> int:
        tops = {parts[0] for parts, _ in members if parts}
        return 1 if len(tops) == 1 and not tops & set(_TOPS) else 0

    def _add(self, parts: list[str], member: tarfile.TarInfo) -> None:
        for depth, name in enumerate(parts):
            self._names.setdefault("/".join(parts[:depth]), set()).add(name)
        path = "/".join(parts)
        self._members[path] = member
        if member.isdir():
            self._names.setdefault(path, set())

    def kind(self, path: str) -> str:
        """Return the kind of a path, links not followed; a hard link counts as a file."""
        member = self._members.get(path)
        if member is None or member.isdir():
            return "dir" if path in self._names else "absent"
        if member.issym():
            return "link"
        return "file" if member.isreg() or member.islnk() else "other"

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return self._members[path].linkname

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return list(self._names[path])

    def read(self, path: str) -> bytes:
        """Return a member's bytes, one more than the limit at most."""
        try:
            source = self._archive.extractfile(self._members[path])
        except KeyError:
            raise OSError("a hard link out of the archive") from None
        return source.read(MAX_FILE + 1) if source else b""
