"""The framed stream of the collector, read into a Snapshot; absent, unreadable, failed and empty stay apart."""

from __future__ import annotations

import re
from functools import lru_cache

from .. import withheld
from ..errors import SnapshotError
from ..model import NO_FILE, UNASKED, Reading, Snapshot, State
from ..sources import Command, ProgramWord
from .asked import Gaps, gaps
from .collector import sources

MAGIC = "numatune-snapshot 1"
_READING = ("@texts", "@ended", "@errors")
"""What tells of one batch of files: grep reads those that were listed since the last batch."""
_FRAMES = (*_READING, "@asked", "@states", "@links", "@extract", "@failed", "@denied", "@command", "@missing", "@end")
# Far more than any host has: a stream cannot make its reader list what it does not hold.
_MAX_LISTED = 250_000
_MAX_PATHS = 16 << 20
_MAX_NAMES = 4096
_MAX_ASKED = 1 << 16
_GREP_ERROR = re.compile(r"\| grep: (/[^:]+): (.*)")
# What programs also say, and yet read all.
_HARMLESS = re.compile(r"\| (grep: warning: |ERROR: ld\.so: )")
_SOME_FAILED = "2"
"""Grep's status where it could not read a file, which it names; it has read the others."""


def parse_stream(text: str, secrets: bool = False) -> Snapshot:
    """Read what the collector's script printed; secrets are left out of it, unless they are asked for (see `withheld`).

    Raises SnapshotError when the stream does not begin as one, does not end with its trailer (it was cut), or
    holds a line that belongs to no frame.
    """
    lines = text.split("\n")
    if lines[0].rstrip("\r") != MAGIC:
        raise SnapshotError("not a numatune snapshot: its first line is not " + repr(MAGIC))
    while lines and not lines[-1]:
        lines.pop()
    if lines[-1].startswith("@missing "):
        tool = re.sub("[^a-z]", "?", lines[-1][9:29])
        raise SnapshotError(f"the collector needs `{tool}`, which this host lacks: install it there")
    if lines[-1] != "@end":
        raise SnapshotError("the snapshot is cut short: its last line is not '@end'; collect it again")
    reader = _Reader()
    readable = reader.readable
    texts = False
    for number, line in enumerate(lines[1:-1], 2):
        if line[:1] == "@":
            reader.frame(line, number)
            texts = reader.mode == "@texts"
        elif texts:
            # Nearly every line is one of these: a call for each would cost more than all else here.
            path, _, content = line.partition(":")
            try:
                readable[path].append(content)
            except KeyError:
                # Whatever was printing may have died within a line.
                if lines[number].startswith("@ended "):
                    continue
                raise SnapshotError(f"line {number} of the snapshot names no listed file") from None
        else:
            reader.line(line, number)
    return reader.snapshot(secrets)


class _Reader:
    def __init__(self) -> None:
        self.readable: dict[str, list[str]] = {}
        self.dirs: set[str] = set()
        self.links: dict[str, str] = {}
        self.problems: dict[str, Reading] = {}
        self.commands: dict[str, tuple[str, list[str]]] = {}
        self.mode = ""
        self.sink: list[str] = []
        self.names: list[str] = []
        self.listed = 0
        self.asked: tuple[str, ...] = ()
        self.batch: list[str] = []
        self._begin_batch()

    def _begin_batch(self) -> None:
        self.batch.clear()
        self.ended = ""
        self.named = False
        self.died = False

    def _end_batch(self) -> None:
        """Take for failed what may not have been read: the files without a line, and the last one that has any."""
        if self.died or (self.ended and (self.ended != _SOME_FAILED or not self.named)):
            last = [path for path in self.batch if self.readable.get(path)][-1:]
            failed = [path for path in self.batch if self.readable.get(path) == []]
            for path in failed + last:
                found = Reading(path, State.ERROR, detail="grep ended before it had read all files")
                self.problems.setdefault(path, found)
        self._begin_batch()

    def frame(self, line: str, number: int) -> None:
        word, _, rest = line.partition(" ")
        if word not in _FRAMES or word == "@end":
            raise SnapshotError(f"line {number} of the snapshot is no frame: {line[:60]!r}")
        if self.mode in _READING and word not in _READING:
            self._end_batch()
        self.mode = word
        if word == "@asked":
            if len(rest) > _MAX_ASKED:
                raise SnapshotError(f"line {number} of the snapshot looks for more than any script does")
            self.asked = tuple(rest.split())
        elif word == "@ended":
            self.ended = rest
        elif word == "@extract":
            self.sink = self.readable[rest] = []
        elif word == "@failed":
            self.problems[rest] = Reading(rest, State.ERROR)
        elif word == "@denied":
            self.problems[rest] = Reading(rest, State.DENIED)
        elif word == "@command":
            name, _, code = rest.partition(" ")
            self.sink = []
            self.commands[name] = (code, self.sink)

    def line(self, line: str, number: int) -> None:
        mode = self.mode
        if mode in ("@extract", "@command") and line.startswith("| "):
            self.sink.append(line[2:])
        elif mode == "@states" and (line == "" or line[1:3] == " /"):
            self._state(line, number)
        elif mode == "@states" and line[:2] == "w ":
            if len(line) > _MAX_NAMES:
                raise SnapshotError(f"line {number} of the snapshot names more files than any directory has")
            self.names = line[2:].split()
        elif mode == "@links" and " " in line:
            path, _, target = line.partition(" ")
            self.links[path] = target
        elif mode == "@errors" and line.startswith("| "):
            match = _GREP_ERROR.match(line)
            self.named = self.named or match is not None
            if match and match[2] == "No such file or directory":
                self.readable.pop(match[1], None)
            elif match:
                denied = match[2] in ("Permission denied", "Operation not permitted")
                state = State.DENIED if denied else State.ERROR
                self.problems[match[1]] = Reading(match[1], state, detail=match[2])
            elif not _HARMLESS.match(line):
                self.died = True
        else:
            raise SnapshotError(f"line {number} of the snapshot belongs to no frame: {line[:60]!r}")

    def _listed(self, folder: str, number: int) -> None:
        """Take the names that were said last as files of a directory; what is not there is told by grep's errors."""
        self.listed += len(self.names) * (len(folder) + 1)
        if self.listed > _MAX_PATHS or len(self.readable) > _MAX_LISTED:
            raise SnapshotError(f"line {number} of the snapshot lists more files than any host has")
        for name in self.names:
            path = f"{folder}/{name}"
            self.readable[path] = []
            self.batch.append(path)

    def _state(self, line: str, number: int) -> None:
        kind, path = line[:1], line[2:]
        if kind == "f":
            self.readable[path] = []
            self.batch.append(path)
        elif kind == "t":
            self._listed(path, number)
        elif kind == "d":
            self.dirs.add(path)
        elif kind == "n":
            self.problems[path] = Reading(path, State.DENIED)
        elif kind == "o":
            self.problems[path] = Reading(path, State.ERROR, detail=NO_FILE)
        elif kind == "e":
            self.problems[path] = Reading(path, State.ERROR, detail="it holds a file name that cannot be carried")

    def snapshot(self, secrets: bool) -> Snapshot:
        self._end_batch()
        missing = _missing(self.asked, _questions().intersection(self.commands))
        for folder in missing.folders:
            self.problems.setdefault(folder, Reading(folder, State.NOT_CAPTURED, detail=UNASKED))
        files = {
            path: "\n".join(lines) + "\n" if lines else ""
            for path, lines in self.readable.items()
            if path not in self.problems and not (missing.picked and re.fullmatch(missing.picked, path))
        }
        if not secrets:
            files.update({path: withheld.text(text) for path, text in files.items() if withheld.covers(path)})
        commands = {}
        for name, (code, lines) in self.commands.items():
            while lines and not lines[-1]:
                lines.pop()
            body = "\n".join(lines) + "\n" if lines else ""
            if code == "0":
                commands[name] = Reading(name, State.PRESENT, body)
            elif code == "absent":
                commands[name] = Reading(name, State.ABSENT)
            else:
                commands[name] = Reading(name, State.ERROR, body, f"exit status {code}")
        # A script that does not say what it looked for leaves open what else there is.
        return Snapshot(
            files,
            self.problems,
            self.links,
            frozenset(self.dirs),
            commands,
            complete=bool(self.asked),
            unasked=missing.paths,
            unanswered=missing.commands,
        )


@lru_cache(maxsize=1)
def _questions() -> frozenset[str]:
    return frozenset(source.name for source in sources() if isinstance(source, (Command, ProgramWord)))


# A fleet's hosts say the same. What is kept is small, whatever a host says.
@lru_cache(maxsize=8)
def _missing(asked: tuple[str, ...], answered: frozenset[str]) -> Gaps:
    return gaps(asked, answered, sources())
