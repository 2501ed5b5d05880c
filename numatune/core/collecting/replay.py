"""The collector's list evaluated on a tree (a folder or an archive), confined to it as a chroot would be.

The tree is reached through four functions, so that this module does no I/O. A link is resolved inside the tree,
an absolute one from the tree's own root: `etc/mtab -> /proc/self/mounts` never reads the auditor's host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import Optional, Protocol

from .. import withheld
from ..errors import SnapshotError
from ..model import NO_FILE, Reading, Snapshot, State
from ..sources import BuildOption, Command, Directory, Extract, File, ProgramWord
from ..text import lines
from .collector import build_options, sources

_MAX_LINKS = 40
MAX_FILE = 16 << 20
"""Bytes of one file that are looked at; more is a read error. The largest real one is /proc/interrupts."""
_MAX_TOTAL = 32 << 20
_MAX_PATHS = 300_000
# Names gone through on the way to what links lead to: 40 links of 2000 names each can stand in every path.
_MAX_STEPS = 5_000_000
_MAX_LINES = 400_000
_MAX_LINE = 1 << 20
# What any parser splits at (`parsers.text`): it makes an object of 50 bytes of each line.
_LINE_ENDS = (b"\n", b"\r", b"\0")


class Filesystem(Protocol):
    """A tree's raw operations on normalised relative paths ("etc/sysctl.d"); none of them follows a link."""

    def kind(self, path: str) -> str:
        """Return "file", "dir", "link", "other", "absent" or "denied"."""

    def readlink(self, path: str) -> str:
        """Return where a link points."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory; raises OSError."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises OSError."""


def collect(fs: Filesystem, complete: bool, secrets: bool = False) -> Snapshot:
    """Read the collector's list from a tree; secrets are left out of it, unless they are asked for (see `withheld`).

    `complete` is true for a root that stands for a whole host (an image, a fake root under Ansible): what is not
    there does not exist. It is false for a captured tree, whose gaps say nothing.
    """
    walk = _Walk(fs)
    files: dict[str, str] = {}
    problems: dict[str, Reading] = {}
    links: dict[str, str] = {}
    dirs: set[str] = {top for top in ("/proc", "/sys") if walk.kind(top[1:]) == "dir"}
    count = 0
    options = [source for source in sources() if isinstance(source, BuildOption)]
    for source in (*sources(), build_options(options)):
        if isinstance(source, (BuildOption, Command, ProgramWord)):
            continue
        for path in walk.expand(source.path[1:]):
            name = "/" + path
            count += 1
            if count > _MAX_PATHS:
                raise SnapshotError(f"more than {_MAX_PATHS} files that are looked at, which no host has")
            if not name.isprintable():
                # The script on a live host says the same of such names.
                parent = name.rpartition("/")[0]
                problems[parent] = Reading(parent, State.ERROR, detail="it holds a file name that cannot be carried")
                continue
            kind = walk.kind(path)
            linked = isinstance(source, File) and (source.links or (source.masks and kind != "file"))
            if linked and walk.is_link(path):
                links[name] = walk.target(path)
            if kind == "dir":
                dirs.add(name)
            elif kind == "denied" or (kind == "other" and not walk.is_link(path)):
                denied = kind == "denied"
                problems[name] = Reading(
                    name, State.DENIED if denied else State.ERROR, detail="" if denied else NO_FILE
                )
            elif kind == "file" and not isinstance(source, Directory):
                reading = walk.text(path)
                if not reading.present:
                    problems[name] = reading
                else:
                    text = extract(source, reading.text) if isinstance(source, Extract) else reading.text
                    files[name] = withheld.text(text) if withheld.covers(name) and not secrets else text
    for path in walk.closed:
        problems["/" + path] = Reading("/" + path, State.DENIED)
    return Snapshot(files, problems, links, frozenset(dirs), {}, complete)


def oddity(data: bytes) -> str:
    """Return what no text of a host has (too many lines, or too long a line, which cost memory), "" for nothing."""
    if sum(data.count(end) for end in _LINE_ENDS) > _MAX_LINES:
        return f"more than {_MAX_LINES} lines"
    if len(data) > _MAX_LINE and max(map(len, data.split(b"\n"))) > _MAX_LINE:
        return f"a line longer than {_MAX_LINE >> 20} MiB"
    return ""


def extract(source: Extract, text: str) -> str:
    """Return the lines of a text that the source keeps; the script's grep or sed does the same on a live host."""
    kept, ended = [], False
    for line in lines(text):
        if source.first_paragraph and not line.strip():
            ended = True
        if ended:
            if not source.captured_too:
                break
            if re.search(source.captured_too, line):
                kept.append(line + "\n")
            continue
        if source.cut:
            line = re.sub(source.cut, ": ", line, count=1)
        if not source.keep or re.search(source.keep, line):
            kept.append(line + "\n")
    return "".join(kept)


class _Walk:
    """Resolution of links and patterns inside the tree, remembered per path."""

    def __init__(self, fs: Filesystem) -> None:
        self._fs = fs
        self._real: dict[str, Optional[str]] = {"": ""}
        self._raw_kinds: dict[str, str] = {}
        self._names: dict[str, list[str]] = {}
        self._hops = 0
        self._steps = 0
        self._total = 0
        self.closed: set[str] = set()

    def expand(self, pattern: str) -> Iterator[str]:
        """Yield the existing paths (unresolved, as a shell would print them) that match."""
        found = [""]
        for part in pattern.split("/"):
            # Links can make many names of few: what they come to is counted while it is made.
            found = list(islice(self._matching(found, part), _MAX_PATHS + 1))
            if len(found) > _MAX_PATHS:
                raise SnapshotError(f"more than {_MAX_PATHS} files that are looked at, which no host has")
        yield from found

    def _matching(self, bases: list[str], part: str) -> Iterator[str]:
        wild = any(sign in part for sign in "*[")
        for base in bases:
            if wild:
                for name in self._list(base):
                    # As in the shell, a pattern matches no hidden file; systemd skips those too.
                    if name[:1] != "." and fnmatchcase(name, part):
                        yield _join(base, name)
            else:
                path = _join(base, part)
                if self.kind(path) != "absent" or self.is_link(path):
                    yield path

    def kind(self, path: str) -> str:
        """Return the kind of what a path leads to, links followed."""
        real = self._resolve(path)
        return "absent" if real is None else self._raw_kind(real)

    def is_link(self, path: str) -> bool:
        """Return whether the last component is itself a link."""
        parent = self._resolve(path.rpartition("/")[0])
        return parent is not None and self._raw_kind(_join(parent, path.rpartition("/")[2])) == "link"

    def target(self, path: str) -> str:
        """Return the text of a link."""
        parent = self._resolve(path.rpartition("/")[0]) or ""
        return self._fs.readlink(_join(parent, path.rpartition("/")[2]))

    def text(self, path: str) -> Reading:
        """Read what a path leads to; bytes that are no UTF-8 are kept as escapes."""
        name = "/" + path
        try:
            data = self._fs.read(self._resolve(path) or "")
        except PermissionError:
            return Reading(name, State.DENIED)
        except OSError as error:
            return Reading(name, State.ERROR, detail=error.strerror or "read error")
        self._total += len(data)
        if self._total > _MAX_TOTAL:
            raise SnapshotError(f"more than {_MAX_TOTAL >> 20} MiB of files that are looked at, which no host has")
        if len(data) > MAX_FILE:
            return Reading(name, State.ERROR, detail=f"larger than {MAX_FILE >> 20} MiB")
        odd = oddity(data)
        if odd:
            return Reading(name, State.ERROR, detail=odd)
        return Reading(name, State.PRESENT, data.decode("utf-8", "backslashreplace"))

    def _raw_kind(self, real: str) -> str:
        kind = self._raw_kinds.get(real)
        if kind is None:
            kind = self._raw_kinds[real] = self._fs.kind(real) if real else "dir"
        return kind

    def _list(self, path: str) -> list[str]:
        real = self._resolve(path)
        if real is None or self._raw_kind(real) != "dir":
            return []
        names = self._names.get(real)
        if names is None:
            try:
                names = sorted(self._fs.listdir(real))
            except OSError:
                self.closed.add(path)
                names = []
            self._names[real] = names
        return names

    def _resolve(self, path: str) -> Optional[str]:
        """Return the path without links, None where it leads nowhere (dangling, or a loop)."""
        if path in self._real:
            return self._real[path]
        parent, _, name = path.rpartition("/")
        base = self._resolve(parent)
        self._hops = 0
        real = self._real[path] = None if base is None else self._step(base, name)
        return real

    def _step(self, base: str, name: str) -> Optional[str]:
        """Go from a resolved directory to one name in it."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise SnapshotError(f"links of more than {_MAX_STEPS} names, which no host has")
        if name in ("", "."):
            return base
        if name == "..":
            return base.rpartition("/")[0]
        path = _join(base, name)
        kind = self._raw_kind(path)
        if kind != "link":
            return None if kind == "absent" else path
        self._hops += 1
        if self._hops > _MAX_LINKS:
            return None
        target = self._fs.readlink(path)
        here: Optional[str] = "" if target.startswith("/") else base
        for part in target.split("/"):
            if here is None:
                return None
            here = self._step(here, part)
        return here


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name
