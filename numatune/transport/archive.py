"""A tar archive from somebody who may be hostile, as a tree: indexed in one pass, read in a second, within limits.

`tarfile` trusts lengths: it reads a header of 8 GiB whole, follows a chain of headers by recursion, keeps every member,
and goes back to the start of a packed archive for every file. What stands here keeps it from all of these.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from ..core.errors import SnapshotError
from ..core.replay import MAX_FILE

_MAX_MEMBERS = 200_000
_MAX_TOTAL = 1 << 30
_MAX_WANTED = 32 << 20
_MAX_NAME_BYTES = 64 << 20
_MAX_NAME = 4096
_MAX_DEPTH = 40
_MAX_LINKS = 8
_MAX_HEADER = 1 << 20
# The dictionary of `xz -9` takes 65 MiB; a header may ask for 4 GiB.
_XZ_MEMORY = 80 << 20
_PIECE = 64 << 10


def unpacked(raw: BinaryIO) -> BinaryIO:
    """Return what a file holds once its compression, told by its first bytes, is undone; nothing is read yet."""
    magic = raw.read(6)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # an io.BufferedIOBase, as far as it is used
    if magic[:3] == b"BZh":
        return bz2.BZ2File(raw)  # type: ignore[return-value]  # the same
    if magic == b"\xfd7zXZ\0":
        return io.BufferedReader(_Xz(raw), _PIECE)
    return raw


class _Xz(io.RawIOBase):
    """An xz file of any number of streams, read forward or from its start again; its dictionary is bounded."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._start()

    def _start(self) -> None:
        self._raw.seek(0)
        self._at = 0
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io gives a memoryview of bytes
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _next(self, most: int) -> bytes:
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._raw.read(_PIECE).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
                data = self._decoder.decompress(rest, most)
            else:
                packed = self._raw.read(_PIECE) if self._decoder.needs_input else b""
                if not packed and self._decoder.needs_input:
                    raise EOFError
                data = self._decoder.decompress(packed, most)
            if data:
                return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("from its start only")
        if offset < self._at:
            self._start()
        while self._at < offset:
            data = self._next(min(_PIECE, offset - self._at))
            if not data:
                break
            self._at += len(data)
        return self._at


class _Guard:
    """The file under a TarFile: a single read is bounded, and so is how far it is read at all."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.largest = _MAX_HEADER

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.largest:
            raise SnapshotError("a header of the archive claims a length that none has; it is not read further")
        return self._source.read(size)

    def seek(self, offset: int) -> int:
        if not 0 <= offset <= 2 * _MAX_TOTAL:
            raise SnapshotError("the archive holds more than any host has; it is not read further")
        return self._source.seek(offset)

    def tell(self) -> int:
        return self._source.tell()


class _Member(NamedTuple):
    """What is kept of a member: its kind ("file", "dir", "link", "hard", "other"), where its bytes are, its link."""

    kind: str
    at: int
    size: int
    link: str


class ArchiveTree:
    """The members of a tar archive as a `core.replay.Filesystem`.

    A leading "./" or one common top folder (an sosreport has its name there) is taken off; a common one of `tops` is
    not. Until `load`, `read` returns nothing and notes what is wanted. Raises SnapshotError for more members or bytes
    than any host has, tarfile.TarError and others for a cut or forged archive.
    """

    def __init__(self, source: BinaryIO, tops: Sequence[str]) -> None:
        self._guard = _Guard(source)
        self._tops = frozenset(tops)
        self._members: dict[str, _Member] = {}
        self._names: dict[str, set[str]] = {"": set()}
        self._wanted: set[str] = set()
        self._contents: dict[str, bytes] | None = None
        self._name_bytes = 0
        found = self._index()
        firsts = {name.partition("/")[0] for name in found if name}
        common = next(iter(firsts)) if len(firsts) == 1 and not firsts & self._tops else ""
        self._skip = common + "/" if common else ""
        for name in list(found):
            self._add(name.removeprefix(self._skip) if name != common else "", found.pop(name))

    def _index(self) -> dict[str, _Member]:
        found: dict[str, _Member] = {}
        total = count = 0
        # The guard has all that a TarFile calls when it only reads.
        with tarfile.open(fileobj=self._guard, mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                # It would keep every member, at a KiB each.
                archive.members.clear()
                count += 1
                total += max(0, info.size) + tarfile.BLOCKSIZE
                if info.size < 0 or count > _MAX_MEMBERS or total > _MAX_TOTAL:
                    raise SnapshotError("the archive holds more than any host has; it is not read further")
                name = self._normal(info.name)
                if name is not None:
                    self._count(name)
                    found[name] = self._member(info)
        return found

    def _member(self, info: tarfile.TarInfo) -> _Member:
        link = info.linkname if len(info.linkname) <= _MAX_NAME else ""
        self._count(link)
        if info.isdir():
            return _Member("dir", 0, 0, "")
        if info.issym():
            return _Member("link" if link else "other", 0, 0, link)
        if info.islnk():
            return _Member("hard", 0, 0, link)
        # A sparse file's bytes are not where they seem; no file of the kernel's or of /etc is one.
        plain = info.isreg() and not info.issparse()
        return _Member("file" if plain else "other", info.offset_data, info.size, "")

    def _count(self, name: str) -> None:
        self._name_bytes += len(name)
        if self._name_bytes > _MAX_NAME_BYTES or len(self._names) > _MAX_MEMBERS:
            raise SnapshotError("the archive holds more names than any host has; it is not read further")

    @staticmethod
    def _normal(name: str) -> str | None:
        if len(name) > _MAX_NAME or name.count("/") > _MAX_DEPTH:
            return None
        parts = [part for part in name.split("/") if part not in ("", ".")]
        return None if ".." in parts else "/".join(parts)

    def _add(self, path: str, member: _Member) -> None:
        self._members[path] = member
        if member.kind == "dir":
            self._names.setdefault(path, set())
        while path:
            parent, _, name = path.rpartition("/")
            names = self._names.get(parent)
            if names is not None and name in names:
                return
            if names is None:
                self._count(parent)
                names = self._names[parent] = set()
            names.add(name)
            path = parent

    def kind(self, path: str) -> str:
        """Return the kind of a path, links not followed; a hard link counts as a file."""
        member = self._members.get(path)
        if member is None or member.kind == "dir":
            return "dir" if path in self._names else "absent"
        return "file" if member.kind == "hard" else member.kind

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return self._members[path].link

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return list(self._names[path])

    def read(self, path: str) -> bytes:
        """Return a member's bytes, one more than the limit at most; none before `load`, which reads them."""
        found = self._target(path)
        if self._contents is None:
            self._wanted.add(found)
            return b""
        return self._contents[found]

    def _target(self, path: str) -> str:
        """Return the path of the file itself, hard links followed; raises OSError for one that leads nowhere."""
        member = self._members.get(path)
        for _ in range(_MAX_LINKS):
            if member is None or member.kind != "hard":
                break
            name = self._normal(member.link)
            path = "" if name is None else name.removeprefix(self._skip)
            member = self._members.get(path)
        if member is None or member.kind != "file":
            raise OSError("a hard link out of the archive")
        return path

    def load(self) -> None:
        """Read what has been asked for, in the archive's order; raises SnapshotError for more than any host has."""
        self._guard.largest = MAX_FILE + 1
        self._contents = {}
        left = _MAX_WANTED
        for path in sorted(self._wanted, key=lambda path: self._members[path].at):
            member = self._members[path]
            size = min(member.size, MAX_FILE + 1)
            left -= size
            if left < 0:
                raise SnapshotError("the archive holds more than any host has; it is not read further")
            self._guard.seek(member.at)
            data = self._guard.read(size)
            if len(data) < size:
                raise tarfile.ReadError("unexpected end of data")
            self._contents[path] = data
