"""The results of a run so far: which hosts are finished, and how many of each status."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from ..transport.endpoint import Target
from .events import Done, Progress


class Tally:
    """Counts finished hosts, and gives each finished host its event."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._began = time.monotonic()
        self._finished = bytearray(len(targets))
        self._statuses: Counter[str] = Counter()
        self._phases: Counter[str] = Counter()

    def done(
        self,
        number: int,
        payload: bytes,
        status: str,
        seconds: float,
        attempts: int,
        failure: dict[str, str] | None = None,
        late_s: float = 0.0,
    ) -> Done:
        """Count one host, by its place in the inventory, and return its event."""
        self._finished[number] = 1
        self._statuses[status] += 1
        if failure:
            self._phases[failure["phase"]] += 1
        alias = self._targets[number].endpoint.alias
        return Done(alias, status, failure, None if failure else payload, seconds, attempts, late_s)

    def open(self) -> Iterator[str]:
        """Yield the aliases of the hosts that are not finished, in the inventory's order."""
        for number, finished in enumerate(self._finished):
            if not finished:
                yield self._targets[number].endpoint.alias

    def progress(self, in_flight: int) -> Progress:
        """Return the counts so far."""
        seconds = time.monotonic() - self._began
        return Progress(len(self._targets), dict(self._statuses), dict(self._phases), in_flight, seconds)
