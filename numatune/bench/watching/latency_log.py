"""The service's own latency log, read while it grows: one request a line, from the end of the file on.

A line is a number, in milliseconds or another unit, or a JSON object with one of "latency_ms", "latency_s",
"latency_us", "latency_ns", and "end" if it says when the request ended (seconds since 1970); other keys are ignored. A
line without a time gets the time of the sample that found it. A line that is neither is counted, and the first one is
named.
"""

from __future__ import annotations

import os
import stat
import time
from array import array
from typing import Any, Optional

from ..errors import BenchError, reason
from .latency_line import DEFAULT_UNIT, is_plain, other_unit, parse_line

LONGEST_LINE, READ_AT_ONCE, MOST_READS = 65_536, 4 << 20, 64
"""Bytes, and how often so many are read in one sample: a log that grows faster (256 MB) is read with a delay, and
lines without a time then get a later one. A longer line is malformed."""

MOST_REQUESTS = 2_000_000
"""Kept in memory and in the result, 16 bytes and about 25 characters each, and some 200 bytes each while the result is
written, on a host that has other things to do; later ones are only counted."""

_LOOKED_AT, _TAIL = 20, 1 << 18
"""So many lines are tried before a log is called no latency log, at the start of its last bytes."""

_FAR_S = 3600.0
_NOT_SECONDS = '"end" is more than an hour from now; it must be seconds since 1970'


class LatencyLog:
    """Follows a regular file, also one that is renamed away and made anew, or cut to nothing.

    A pipe is refused: reading would take the lines away from whoever reads it now, or stop the service when we end. So
    is a log whose last lines are all no requests; an empty one may still get some. `unit` is that of plain numbers:
    None takes milliseconds, which `assumed` tells once there was one, and refuses numbers that look like another unit.
    """

    def __init__(self, path: str, unit: Optional[str] = None) -> None:
        self.path, self.unit, self.assumed = path, unit or DEFAULT_UNIT, False
        self._unit_given, self._plain = unit is not None, array("q")
        self.slowest = 0
        self.ends, self.latencies = array("q"), array("q")
        self.lines = self.timed = self.malformed = self.dropped = self.changes = 0
        self.first_malformed: Optional[dict[str, Any]] = None
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise BenchError(
                f"--latency-log {path}: {reason(error)}; name the file to which the service writes"
            ) from error
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            os.close(self._handle)
            raise BenchError(f"--latency-log {path}: not a regular file; pipes and folders cannot be followed")
        try:
            self._try_last_lines()
        except BenchError:
            os.close(self._handle)
            raise
        self.skip()

    def check(self) -> None:
        """Raise BenchError once many lines came and none of them is a request."""
        if self.malformed >= _LOOKED_AT and not self.latencies and self.first_malformed is not None:
            raise self._refused(self.first_malformed["text"], self.first_malformed["why"])
        if len(self._plain) == _LOOKED_AT:
            self._check_unit()

    def _check_unit(self) -> None:
        """Refuse plain numbers of which nobody said the unit, and which are no usual milliseconds."""
        if self._unit_given or not self._plain:
            return
        middle = sorted(self._plain)[len(self._plain) // 2]
        found = other_unit(middle)
        if found:
            raise BenchError(
                f"--latency-log {self.path}: plain numbers such as {middle / 1e6:g} may be milliseconds or {found}: "
                "name the unit with --latency-unit ms, s, us or ns"
            )

    def _note_plain(self, latency: int) -> None:
        self.assumed = not self._unit_given
        if len(self._plain) < _LOOKED_AT:
            self._plain.append(latency)

    def _try_last_lines(self) -> None:
        """Refuse at the start what would be read for as long as watching takes, to no end."""
        size = os.fstat(self._handle).st_size
        start = max(0, size - _TAIL)
        lines = os.pread(self._handle, _TAIL, start).split(b"\n")[1 if start else 0 : -1]
        found, wrong = 0, None
        for line in [line for line in lines if line.strip()][-_LOOKED_AT:]:
            try:
                latency = self._parse(line)[0]
                found += 1
                if is_plain(line):
                    self._note_plain(latency)
            except ValueError as error:
                wrong = (line, str(error))
        if wrong is not None and not found:
            raise self._refused(_shown(wrong[0]), wrong[1])
        self._check_unit()

    def _refused(self, text: str, why: str) -> BenchError:
        return BenchError(
            f"--latency-log {self.path}: {text!r} is no request: {why}; a line is a number (--latency-unit, default "
            'ms) or a JSON object such as {"latency_ms": 12.5}'
        )

    def _parse(self, line: bytes) -> tuple[int, Optional[float]]:
        if len(line) > LONGEST_LINE:
            raise ValueError(f"longer than {LONGEST_LINE:,} bytes")
        latency, end = parse_line(line, self.unit)
        # Compared in seconds: what is far away may be too large for a whole number of nanoseconds.
        if end is not None and end - time.time() > _FAR_S:
            raise ValueError(_NOT_SECONDS)
        return latency, end

    def skip(self) -> None:
        """Go on from the end of the file, whatever came since the last call."""
        self._place, self._rest = os.lseek(self._handle, 0, os.SEEK_END), b""
        # Where the last line is not yet complete, its rest is no line: the newline must come first.
        self._skipping = self._place > 0 and os.pread(self._handle, 1, self._place - 1) != b"\n"
        self._silent = self._skipping

    def read(self, tick_ns: int, unix_minus_tick_ns: int) -> None:
        """Take in what was written since the last call; `tick_ns` is now, and unix time minus the second is the tick.

        Times are kept on the clock of `tick_ns`.
        """
        self._take(tick_ns, unix_minus_tick_ns)
        try:
            now, ours = os.stat(self.path), os.fstat(self._handle)
        except FileNotFoundError:  # between renaming and making it anew
            return
        except OSError:
            return
        if (now.st_ino, now.st_dev) != (ours.st_ino, ours.st_dev):
            self._take(tick_ns, unix_minus_tick_ns)  # what came last into the old one
            self._reopen()
            self._take(tick_ns, unix_minus_tick_ns)
        elif ours.st_size < self._place:
            self._restart()
            self._take(tick_ns, unix_minus_tick_ns)

    def close(self) -> None:
        os.close(self._handle)

    def requests(self, origin_ns: int) -> list[list[int]]:
        """[end since `origin_ns`, latency] of each request, ns, in the order of their ends."""
        return sorted([end - origin_ns, latency] for end, latency in zip(self.ends, self.latencies))

    def as_dict(self) -> dict[str, Any]:
        """What the result says of the log."""
        return {
            "path": os.path.abspath(self.path),
            "unit": self.unit,
            "unit_assumed": self.assumed,
            "lines": self.lines,
            "timed": self.timed,
            "malformed": self.malformed,
            "first_malformed": self.first_malformed,
            "not_kept": self.dropped,
            "changes_of_file": self.changes,
        }

    def _reopen(self) -> None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # the next call tries again
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return
        os.close(self._handle)
        self._handle = handle
        self._restart()

    def _restart(self) -> None:
        self._place, self._rest, self._skipping, self._silent = 0, b"", False, False
        self.changes += 1

    def _take(self, tick_ns: int, unix_minus_tick_ns: int) -> None:
        """Read on to the end of the file."""
        for _ in range(MOST_READS):
            try:
                data = os.pread(self._handle, READ_AT_ONCE, self._place)
            except OSError:
                return
            if data:
                self._take_in(data, tick_ns, unix_minus_tick_ns)
            if len(data) < READ_AT_ONCE:
                return

    def _take_in(self, data: bytes, tick_ns: int, unix_minus_tick_ns: int) -> None:
        self._place += len(data)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            if self._skipping:
                if not self._silent:
                    self._complain(lines[0], f"longer than {LONGEST_LINE:,} bytes")
                del lines[0]
                self._skipping = self._silent = False
        else:
            rest = self._rest + rest
        for line in lines:
            self._line(line, tick_ns, unix_minus_tick_ns)
        if len(rest) > LONGEST_LINE or self._skipping:
            self._skipping, rest = True, rest[:80]
        self._rest = rest

    def _line(self, line: bytes, tick_ns: int, unix_minus_tick_ns: int) -> None:
        if not line.strip():
            return
        try:
            if len(line) > LONGEST_LINE:
                raise ValueError(f"longer than {LONGEST_LINE:,} bytes")
            latency, end = parse_line(line, self.unit)
            if end is not None:
                # Compared in seconds: what is far away may be too large for a whole number of nanoseconds.
                if abs(end - (unix_minus_tick_ns + tick_ns) / 1e9) > _FAR_S:
                    raise ValueError(_NOT_SECONDS)
                end_ns = round(end * 1e9) - unix_minus_tick_ns
                self.timed += 1
            else:
                end_ns = tick_ns
        except ValueError as error:
            self._complain(line, str(error))
            return
        if is_plain(line):
            self._note_plain(latency)
        self.lines += 1
        if len(self.ends) >= MOST_REQUESTS:
            self.dropped += 1
            return
        self.ends.append(end_ns)
        self.latencies.append(latency)
        self.slowest = max(self.slowest, latency)

    def _complain(self, line: bytes, why: str) -> None:
        self.lines += 1
        self.malformed += 1
        if self.first_malformed is None:
            self.first_malformed = {"line": self.lines, "text": _shown(line), "why": why}


def _shown(line: bytes) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in line[:80].decode("utf-8", "replace"))
