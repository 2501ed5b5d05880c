"""Where a counter comes from: files that stay open, read into room made beforehand, and parsed when the run is over.

A source that is dear on this host is read after every n-th iteration only, its stride, by what its reading took
during the warm-up. A file that goes away in the middle of a run (a CPU that went offline, a thread that ended) leaves
its counters empty from there on; it does not end the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Optional

from .. import counted
from ..errors import reason
from ..parsers import NO_ACCOUNTS, WITHOUT_ACCOUNTS, parse_schedstat, sched_number

LONGEST_STRIDE = 64
"""No cost makes the readings rarer than this: with 1,000 iterations there are 15 left."""

MOST_BYTES = 16 << 20
"""What the readings of one source of tier D may take; a source with more to keep is read more rarely, above
LONGEST_STRIDE too. The whole recorder is to stay below 900 MB."""

Deltas = list[Optional[int]]
Totals = dict[str, int]
Read = Callable[[int], None]


def why_not(path: str, error: OSError) -> str:
    """The words for a file that cannot be read: "needs root" where that is all there is to it."""
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return f"{path}: needs root"
    return f"{path}: {reason(error)}"


def middle(costs: Sequence[int]) -> int:
    """The median of some costs, the lower one of two: the first reading of all is colder than any in the loop."""
    return sorted(costs)[(len(costs) - 1) // 2] if costs else 0


def differences(values: Sequence[Any]) -> Deltas:
    """Each value less the one before it; None where either is missing, or where the count fell.

    The kernel's counts of interrupts begin again at zero after 2**32, and a guest's stolen time may fall when it moves.
    """
    pairs = zip(values, values[1:])
    return [
        None if earlier is None or later is None or later < earlier else later - earlier for earlier, later in pairs
    ]


def spread(found: Deltas, stride: int, iterations: int) -> Deltas:
    """Put each difference at the iteration after which it was read; it covers the `stride` iterations up to it."""
    if stride == 1:
        return found
    placed: Deltas = [None] * iterations
    for index, difference in enumerate(found):
        placed[(index + 1) * stride - 1] = difference
    return placed


class Source:
    """Counters that are read together. `names` are those that can be read here, `unavailable` says why for others.

    Open it (the constructor does), give it `room`, call its `reader`'s function with 0, 1, 2 …, then take `deltas`.
    """

    limit_ns: Optional[int] = None
    """A reading that takes longer than this makes the source strided; None reads it each time, whatever it takes."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.unavailable: dict[str, str] = {}

    def stride(self, cost_ns: int) -> int:
        """After every how manieth iteration to read it, where one reading takes `cost_ns`."""
        if self.limit_ns is None or cost_ns <= self.limit_ns:
            return 1
        return min(-(-cost_ns // self.limit_ns), LONGEST_STRIDE)

    def bytes_each(self) -> int:
        """What one reading takes of the room."""
        raise NotImplementedError

    def room(self, readings: int) -> None:
        """Make room for so many readings, and drop those taken before."""
        raise NotImplementedError

    def reader(self) -> Read:
        """The function that takes reading number `index`."""
        raise NotImplementedError

    def totals(self, count: int) -> list[dict[str, int]]:
        """What each of the first `count` readings says: name -> count since boot; a name is missing where it failed."""
        raise NotImplementedError

    def deltas(self, count: int) -> dict[str, Deltas]:
        """Name -> the differences between neighbours among the first `count` readings."""
        rows = self.totals(count)
        return {name: differences([row.get(name) for row in rows]) for name in self.names}

    def now(self) -> Totals:
        """One reading, at once; for what is asked before and after a run only."""
        if not self.names:
            return {}
        self.room(1)
        self.reader()(0)
        return self.totals(1)[0]

    def close(self) -> None:
        """Close what is open; the readings stay."""


class SmallFiles(Source):
    """Files of a few numbers each, whose counts are summed over the files.

    `parse` gives name -> count for the bytes of one file; each file has a slot of `slot` bytes in a reading.
    """

    slot = 24

    def __init__(self) -> None:
        super().__init__()
        self._files: list[int] = []
        self._parsers: list[Callable[[bytes], Totals]] = []
        self._kept = bytearray()

    def open(self, path: str, parse: Callable[[bytes], Totals]) -> None:
        """Add a file; OSError where it cannot be opened, or be read once."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.pread(descriptor, self.slot, 0)
        except OSError:
            os.close(descriptor)
            raise
        self._files.append(descriptor)
        self._parsers.append(parse)

    def give_up(self, names: Sequence[str], why: str) -> None:
        """Close the files: `names` cannot be read here."""
        self.close()
        self._parsers, self.names = [], ()
        self.unavailable.update(dict.fromkeys(names, why))

    def bytes_each(self) -> int:
        return self.slot * len(self._parsers)  # which stay when the files are closed

    def room(self, readings: int) -> None:
        # bytearray(n) writes its zeros here and now: no page of it is touched first inside the measured loop.
        self._kept = bytearray(self.bytes_each() * readings)

    def reader(self) -> Read:
        preadv, files, slot = os.preadv, tuple(self._files), self.slot
        view, width = memoryview(self._kept), self.bytes_each()

        def read(index: int) -> None:
            place = index * width
            try:
                for descriptor in files:
                    preadv(descriptor, (view[place : place + slot],), 0)
                    place += slot
            except OSError:
                pass  # its slot and those after it stay empty

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        rows = []
        for reading in range(count):
            row: dict[str, int] = {}
            for number, parse in enumerate(self._parsers):
                place = reading * self.bytes_each() + number * self.slot
                text = bytes(self._kept[place : place + self.slot]).rstrip(b"\0")
                if not text:
                    row = {}
                    break
                for name, value in parse(text).items():
                    row[name] = row.get(name, 0) + value
            rows.append(row)
        return rows

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []


class Schedstat(SmallFiles):
    """On-CPU time and run delay of the threads `tids`, from their schedstat."""

    slot = 64  # three decimal numbers of at most 20 digits, two spaces and a newline
    limit_ns = 50_000  # the whole of what tier B may cost at the median: one system call a thread, 52 in the story
    COUNTERS = counted.of(counted.SCHEDSTAT)

    def __init__(self, tids: Sequence[int], proc: str = "/proc/self") -> None:
        super().__init__()
        self.names = self.COUNTERS
        path = ""
        try:
            for tid in tids:
                path = f"{proc}/task/{tid}/schedstat"
                self.open(path, _schedstat)
        except OSError as error:
            self.give_up(self.COUNTERS, why_not(path, error))
        if self._files and all(self._text(descriptor) == WITHOUT_ACCOUNTS for descriptor in self._files):
            self.give_up(self.COUNTERS, NO_ACCOUNTS)  # the main thread has run
        self.threads = len(self._files)
        self._texts: list[bytes] = []

    def room(self, readings: int) -> None:
        # As with the usage of the process, a reading replaces an object of its own size, and no page is touched first.
        # For so few bytes `pread` costs less than `preadv` into a buffer: 7 us of 30, right after an inference.
        samples = [bytearray(self._text(descriptor)) for descriptor in self._files]
        self._texts = [bytes(sample) for _ in range(readings) for sample in samples]

    def _text(self, descriptor: int) -> bytes:
        try:
            return os.pread(descriptor, self.slot, 0)
        except OSError:
            return b""

    def reader(self) -> Read:
        pread, files, slot, texts = os.pread, tuple(self._files), self.slot, self._texts

        def read(index: int) -> None:
            place = index * len(files)
            try:
                for descriptor in files:
                    texts[place] = pread(descriptor, slot, 0)
                    place += 1
            except OSError:
                texts[place] = b""

        return read

    def totals(self, count: int) -> list[dict[str, int]]:
        rows = []
        for place in range(0, count * self.threads, self.threads):
            texts = self._texts[place : place + self.threads]
            each = [_schedstat(text) for text in texts] if all(texts) else []
            rows.append({name: sum(one[name] for one in each) for name in self.names} if each else {})
        return rows


class SchedMigrations(SmallFiles):
    """How often the threads `tids` moved to another CPU, from /proc/self/task/TID/sched, where perf is not allowed.

    The kernel words some 2 kB for each reading, so it is read rarely: the limit is that of the perf event.
    """

    slot = 4096
    limit_ns = 10_000

    def __init__(self, tids: Sequence[int], without: str) -> None:
        """`without` is why perf is not used, which is the reason given where this does not work either."""
        super().__init__()
        self.names = counted.of(counted.MIGRATIONS)
        try:
            for tid in tids:
                self.open(f"/proc/self/task/{tid}/sched", _sched)
            works = bool(self.now())
        except OSError:
            works = False
        if not works:
            self.give_up(self.names, without)


def _schedstat(text: bytes) -> Totals:
    return dict(zip(Schedstat.COUNTERS, parse_schedstat(text)))


def _sched(text: bytes) -> Totals:
    numbers = {name: sched_number(text, key) for name, key in counted.fields(counted.MIGRATIONS).items()}
    return {name: number for name, number in numbers.items() if number is not None}
