"""Which host is next: every host once, no sshd with more than its share, one worker per gateway."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..transport.endpoint import Endpoint

Key = tuple[str, int]


class _Group(NamedTuple):
    """Hosts that wait for the same sshds; `gateway` is their first jump host, None where they are reached directly."""

    gateway: Key | None
    limited: tuple[Key, ...]


class Schedule:
    """The hosts of a run, handed out by number (their place in the inventory) to the slots of a run, one slot a worker.

    An sshd drops connections when too many come at once (MaxStartups), so at most `per_jump` hosts are in flight
    through one jump host, and to one address and port that more aliases share. Hosts with the same jump hosts form a
    group; a free slot goes to the group with the most hosts left per host in flight, so that groups move through the
    inventory side by side and end together, and within a group the inventory's order holds. All hosts behind one jump
    host go to one slot: a connection to a gateway is shared within a process. `only` names the hosts of a second round.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], per_jump: int, slots: int, only: Collection[int] | None = None
    ) -> None:
        numbers = range(len(endpoints)) if only is None else sorted(only)
        self.left = len(numbers)
        self._per_jump = per_jump
        self._waiting: dict[_Group, deque[int]] = {}
        self._started: dict[int, _Group] = {}
        self._busy: Counter[Key] = Counter()
        self._in_flight: Counter[_Group] = Counter()
        self._home: dict[Key, int] = {}
        self._guests = [0] * slots
        aliases = Counter(_key(endpoint) for endpoint in endpoints)
        gateways = {_key(jump) for endpoint in endpoints for jump in endpoint.jumps}
        for number in numbers:
            endpoint = endpoints[number]
            jumps = tuple(dict.fromkeys(_key(jump) for jump in endpoint.jumps))
            own = _key(endpoint)
            crowded = own not in jumps and (aliases[own] > per_jump or own in gateways)
            group = _Group(jumps[0] if jumps else None, (*jumps, own) if crowded else jumps)
            self._waiting.setdefault(group, deque()).append(number)

    def take(self, free: Sequence[int]) -> tuple[int, int] | None:
        """Return (host's number, slot) of the next one to start; `free` counts the free threads of each slot.

        None where no host may start now: nothing is free, or what is left waits for its jump host.
        """
        if not any(free):
            return None
        best: tuple[float, int, _Group] | None = None
        for group, waiting in self._waiting.items():
            if self._may_start(group, free):
                rank = (-len(waiting) / (self._in_flight[group] + 1), waiting[0], group)
                best = rank if best is None else min(best, rank, key=lambda item: item[:2])
        if best is None:
            return None
        group = best[2]
        return self._start(group), self._slot(group, free)

    def _may_start(self, group: _Group, free: Sequence[int]) -> bool:
        if any(self._busy[key] >= self._per_jump for key in group.limited):
            return False
        home = None if group.gateway is None else self._home.get(group.gateway)
        return home is None or free[home] > 0

    def _slot(self, group: _Group, free: Sequence[int]) -> int:
        if group.gateway is None:
            return max(range(len(free)), key=lambda slot: free[slot])
        if group.gateway not in self._home:
            open_ = [slot for slot in range(len(free)) if free[slot] > 0]
            home = min(open_, key=lambda slot: (self._guests[slot], -free[slot]))
            self._home[group.gateway] = home
            self._guests[home] += 1
        return self._home[group.gateway]

    def _start(self, group: _Group) -> int:
        number = self._waiting[group].popleft()
        if not self._waiting[group]:
            del self._waiting[group]
        self._started[number] = group
        self._busy.update(group.limited)
        self._in_flight[group] += 1
        self.left -= 1
        return number

    def finish(self, number: int) -> None:
        """Take back what a started host holds of its jump hosts."""
        group = self._started.pop(number)
        self._busy.subtract(group.limited)
        self._in_flight[group] -= 1

    def drop(self) -> None:
        """Forget the hosts that were not started."""
        self._waiting.clear()
        self.left = 0

    def give_back(self, number: int) -> None:
        """Put a host that could not be started back where it was."""
        group = self._started[number]
        self.finish(number)
        self._waiting.setdefault(group, deque()).appendleft(number)
        self.left += 1


def _key(endpoint: Endpoint) -> Key:
    return endpoint.hostname, endpoint.port
