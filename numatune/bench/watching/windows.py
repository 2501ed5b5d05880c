"""The windows of a watch while it goes on: when each began, how long it was, what was counted in it, what it cost."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Collection, Sequence
from typing import Optional

from .readers import Reader

SHARE_LIMIT = 0.01
"""What sampling may take of one CPU. Above it, the interval becomes longer."""

READER_SHARE = 0.002
"""What one reader may take of one CPU; a dearer one (/proc/interrupts of a large host) reads in fewer windows."""

_JUDGED, _MARGIN = 5, 1.25
_NOT_READ = -1


class Windows:
    """Columns of numbers, one row a window; numbers only, since a watch of a day has 345,600 rows."""

    def __init__(self, readers: Sequence[Reader], cpus: Collection[int], interval: float) -> None:
        """`cpus` are those of the target; each reader is read twice, to see what it takes on this host."""
        self.starts, self.lengths, self.costs = array("q"), array("q"), array("q")
        self.readers = readers
        self._columns: dict[str, array[int]] = {}
        self._strides = [_stride(reader, cpus, interval) for reader in readers]
        self._waited = [0] * len(readers)
        self._around: list[set[int]] = [set() for _reader in readers]
        self._judged = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def start(self, cpus: Collection[int]) -> None:
        """The first window begins: what the readers counted until now is in none."""
        for reader in self.readers:
            reader.growth(cpus)

    def close_one(self, start: int, length: int, of_target: dict[str, int], cpus: Collection[int]) -> None:
        """A window is over; `of_target` is what the target did in it, `cpus` are those on which it ran."""
        for name, value in of_target.items():
            self._put(name, value)
        for index, reader in enumerate(self.readers):
            self._around[index].update(cpus)
            self._waited[index] += 1
            if self._waited[index] >= self._strides[index]:
                for name, value in reader.growth(self._around[index]).items():
                    self._put(name, value)
                self._waited[index] = 0
                self._around[index].clear()
        self.starts.append(start)
        self.lengths.append(length)

    def too_dear(self, cost: int, interval: float) -> Optional[float]:
        """Note what a sample took, CPU ns; the interval (seconds) that is needed where the last ones took too much."""
        self.costs.append(cost)
        self._judged += 1
        if self._judged < _JUDGED:
            return None
        self._judged = 0
        usual = sorted(self.costs[-_JUDGED:])[_JUDGED // 2] / 1e9
        return _MARGIN * usual / SHARE_LIMIT if usual > SHARE_LIMIT * interval else None

    def counters(self, without: Collection[str]) -> dict[str, list[Optional[int]]]:
        """Counter -> its growth in each window, None where it was not read in it."""
        found: dict[str, list[Optional[int]]] = {}
        for name, column in self._columns.items():
            if name not in without:
                column.extend([_NOT_READ] * (len(self) - len(column)))
                found[name] = [None if value == _NOT_READ else value for value in column]
        return found

    def strides(self) -> dict[str, int]:
        """Counter of a reader -> after how many windows it is read."""
        pairs = zip(self.readers, self._strides)
        return {name: stride for reader, stride in pairs for name in reader.names if name not in reader.unavailable}

    def _put(self, name: str, value: int) -> None:
        column = self._columns.setdefault(name, array("q"))
        column.extend([_NOT_READ] * (len(self) - len(column)))
        column.append(value)


def _stride(reader: Reader, cpus: Collection[int], interval: float) -> int:
    reader.growth(cpus)  # the first time is dearer than those that follow
    start = time.process_time_ns()
    reader.growth(cpus)
    return max(1, math.ceil((time.process_time_ns() - start) / (READER_SHARE * interval * 1e9)))
