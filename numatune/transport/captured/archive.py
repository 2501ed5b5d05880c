"""A tar archive from somebody who may be hostile, as a tree: indexed in one pass, read in a second, within limits.

`tarfile` trusts lengths: it reads a header of 8 GiB whole, follows a chain of headers by recursion and keeps every
member. gzip, bz2 and lzma bound neither the number of streams in a file nor the memory that an xz header asks for.
"""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ...core.collecting.replay import MAX_FILE
from ...core.errors import SnapshotError

# Looked up when they are needed: a test lowers the first two, so that no large file must be written.
MAX_MEMBERS = 200_000
MAX_NAME_BYTES = 64 << 20
_MAX_TOTAL = 1 << 30
_MAX_WANTED = 32 << 20
_MAX_NAME = 4096
_MAX_DEPTH = 40
_MAX_LINKS = 8
_MAX_HEADER = 1 << 20
# The dictionary of `xz -9` takes 65 MiB; a header may ask for 4 GiB.
_XZ_MEMORY = 80 << 20
# Programs that pack in parallel make one of 64 KiB.
_MAX_STREAMS = 50_000
_PIECE = 64 << 10

# By a file's first bytes; zlib's decompressor differs from the others in what it gives back of its input.
_DECODERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY),
}


def unpacked(raw: BinaryIO) -> BinaryIO:
    """Return a file from its start, its compression undone; what was packed can be read forward only."""
    raw.seek(0)
    magic = raw.read(6)
    raw.seek(0)
    new = next((new for word, new in _DECODERS.items() if magic.startswith(word)), None)
    return raw if new is None else io.BufferedReader(_Packed(raw, new), _PIECE)


def _pieces(raw: BinaryIO, new: Callable[[], Any]) -> Iterator[bytes]:
    """Yield what a packed file holds, a piece at a time; EOFError where it ends early."""
    packed, streams = raw.read(_PIECE), 0
    while packed:
        streams += 1
        if streams > _MAX_STREAMS:
            raise SnapshotError("packed as more streams than any archive is; it is not read further")
        decoder = new()
        while not decoder.eof:
            if not packed and getattr(decoder, "needs_input", True):
                packed = raw.read(_PIECE)
            data = decoder.decompress(packed, _PIECE)
            if data:
                yield data
            elif not packed and not decoder.eof:
                raise EOFError
            packed = getattr(decoder, "unconsumed_tail", b"")
        # Padding may follow a stream.
        packed = decoder.unused_data.lstrip(b"\0")
        while not packed and (more := raw.read(_PIECE)):
            packed = more.lstrip(b"\0")


class _Packed(io.RawIOBase):
    """The pieces of a packed file, for a BufferedReader."""

    def __init__(self, raw: BinaryIO, new: Callable[[], Any]) -> None:
        self._pieces = _pieces(raw, new)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io gives a memoryview of bytes
        piece = self._rest or next(self._pieces, b"")
        size = min(len(piece), len(buffer))
        buffer[:size], self._rest = piece[:size], piece[size:]
        return size


class _Guard:
    """The file under a TarFile, read forward: a single read is bounded, and so is how far it is read at all."""

    def __init__(self, source: BinaryIO, largest: int) -> None:
        self._source, self._largest = source, largest
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._largest:
            raise SnapshotError("a header of the archive claims a length that none has; it is not read further")
        data = self._source.read(size)
        self._at += len(data)
        return data

    def seek(self, offset: int) -> int:
        if not self._at <= offset <= 2 * _MAX_TOTAL:
            raise SnapshotError("the archive holds more than any host has; it is not read further")
        if self._source.seekable():
            self._at = self._source.seek(offset)
        while self._at < offset and (passed := self._source.read(min(_PIECE, offset - self._at))):
            self._at += len(passed)
        return self._at

    def tell(self) -> int:
        return self._at


class _Member(NamedTuple):
    """What is stored of a member: its kind ("file", "dir", "link", "hard", "other"), where its bytes are, its link."""

    kind: str
    at: int
    size: int
    link: str


class ArchiveTree:
    """The members of a tar archive, packed or not, as a `core.collecting.replay.Filesystem`.

    A leading "./" or one common top folder (an sosreport has its name there) is taken off; a common one of `tops` is
    not. Until `load`, `read` returns nothing and notes what is wanted. Raises SnapshotError for more members or bytes
    than any host has, tarfile.TarError and others for a cut or forged archive.
    """

    def __init__(self, raw: BinaryIO, tops: Sequence[str]) -> None:
        self._raw = raw
        self._members: dict[str, _Member] = {}
        self._names: dict[str, set[str]] = {"": set()}
        self._wanted: set[str] = set()
        self._contents: dict[str, bytes] | None = None
        self._name_bytes = 0
        found = self._index()
        firsts = {name.partition("/")[0] for name in found if name}
        common = next(iter(firsts)) if len(firsts) == 1 and not firsts & {*tops} else ""
        self._skip = common + "/" if common else ""
        for name in list(found):
            self._add(name.removeprefix(self._skip) if name != common else "", found.pop(name))

    def _index(self) -> dict[str, _Member]:
        found: dict[str, _Member] = {}
        total = count = 0
        guard = _Guard(unpacked(self._raw), _MAX_HEADER)
        # The guard has all that a TarFile calls when it only reads.
        with tarfile.open(fileobj=guard, mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                # TarFile would store every member, at a KiB each.
                archive.members.clear()
                count += 1
                total += max(0, info.size) + tarfile.BLOCKSIZE
                if info.size < 0 or count > MAX_MEMBERS or total > _MAX_TOTAL:
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
        whole = info.isreg() and not info.issparse()
        return _Member("file" if whole else "other", info.offset_data, info.size, "")

    def _count(self, name: str) -> None:
        self._name_bytes += len(name)
        if self._name_bytes > MAX_NAME_BYTES or len(self._names) > MAX_MEMBERS:
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
        guard = _Guard(unpacked(self._raw), MAX_FILE + 1)
        self._contents = {}
        left = _MAX_WANTED
        for path in sorted(self._wanted, key=lambda path: self._members[path].at):
            member = self._members[path]
            size = min(member.size, MAX_FILE + 1)
            left -= size
            if left < 0:
                raise SnapshotError("the archive holds more than any host has; it is not read further")
            guard.seek(member.at)
            data = guard.read(size)
            if len(data) < size:
                raise tarfile.ReadError("unexpected end of data")
            self._contents[path] = data
