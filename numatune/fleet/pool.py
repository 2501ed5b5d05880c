"""Ask many hosts at once: start worker processes with threads, watch both, and yield each host's result as it comes.

Each worker process has its own threads, connections and judge. This process hands out hosts one by one as threads
become free, and receives results. It does not start threads. While the caller does not take the next event, workers
wait with their results, so that none pile up in memory.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..core.collecting.collector import script
from ..core.host_status import UNREACHABLE
from ..transport.endpoint import Target
from ..transport.failure import Failure
from ..transport.limits import Limits
from . import transports, worker_processes
from .again import AT_ONCE, Again
from .events import Event, NotDone
from .jumps import Schedule
from .stop import Stop
from .tally import Tally
from .work import Work
from .worker import Job, hung
from .worker_processes import Member

PER_JUMP = 8
_STOP_S = 1.0
_PROGRESS_S = 0.5


def run(
    targets: Sequence[Target],
    work: Work,
    *,
    forks: int,
    limits: Limits,
    transport: str | transports.Opener = "paramiko",
    per_jump: int = PER_JUMP,
    stop: Stop | None = None,
    seed: int | None = None,
) -> Iterator[Event]:
    """Yield one Done or NotDone per target as they come, and Progress about twice a second (first and last as well).

    `forks` hosts are in flight at once, at most `per_jump` of them through one jump host. A host has `limits.total_s`
    from its start, retries and the work included; one that outlasts it by a tenth is given up, whatever it does, and so
    the run ends within 1.1 × total_s × ceil(hosts / tightest limit) (for total_s of 7 s or more; below, fixed
    allowances of up to 0.5 s count). When a worker process dies, the hosts that it had fail in phase "exec" and the run
    goes on. Hosts that a deadline ended while their worker was late by itself are asked again at the end, few at once:
    that takes no more than 1.1 × total_s for all of them, and does not happen where nothing was late.

    Setting `stop` ends the run within about a second: what finishes by then is yielded, then NotDone for every other
    host. `transport` is a name (`transports.find`) or an opener. `seed` makes the pauses before retries repeatable.
    Raises ValueError for limits below 1 or an unknown transport, OSError when no process can be started. Closing the
    iterator ends the workers.
    """
    if forks < 1 or per_jump < 1:
        raise ValueError("forks and the limit per jump host are at least 1")
    opener = transports.find(transport, targets) if isinstance(transport, str) else transport
    slots = worker_processes.processes(len(targets), forks)
    threads = -(-forks // slots)
    born = int.from_bytes(os.urandom(4)) if seed is None else seed
    job = Job(targets, work, script(), limits, opener, threads, born)
    pool = _Pool(job, forks, per_jump, slots, stop or Stop())
    try:
        yield from pool.events()
    finally:
        pool.end()


class _Pool:
    def __init__(self, job: Job, forks: int, per_jump: int, slots: int, stop: Stop) -> None:
        self._job = job
        self._forks = forks
        self._schedule = self._scheduled(per_jump, slots)
        self._stop = stop
        self._slots: list[Member | None] = [None] * slots
        self._leaving: list[Member] = []
        self._tally = Tally(job.targets)
        self._per_jump = per_jump
        self._again = Again(job.limits.total_s)
        self._lost = 0.0
        self._reported = 0.0
        self._give_up: float | None = None
        self._clean = False

    def events(self) -> Iterator[Event]:
        yield from self._told([self._progress()])
        while self._schedule.left or self._in_flight() or self._begins_again():
            if self._stopped():
                break
            yield from self._told(self._round())
        yield from self._told([self._tally.done(number, b"", **first) for number, first in self._again.untried()])
        yield from self._told([NotDone(alias) for alias in self._tally.open()])
        self._clean = self._give_up is None
        yield self._progress()

    def _scheduled(self, per_jump: int, slots: int, only: Collection[int] | None = None) -> Schedule:
        return Schedule([target.endpoint for target in self._job.targets], per_jump, slots, only)

    def _begins_again(self) -> bool:
        """Begin the second tries, once, where there are any; return whether there is something to do."""
        hosts = self._again.begin(self._clock()) if not self._stop.is_set() else ()
        if hosts:
            self._schedule = self._scheduled(self._per_jump, len(self._slots), hosts)
            self._forks = min(self._forks, AT_ONCE)
        return bool(hosts)

    def end(self) -> None:
        """End every worker: let it close its connections after a whole run, kill it otherwise."""
        members = self._members()
        if self._clean:
            worker_processes.dismiss(members)
        else:
            for member in members:
                member.kill()

    def _told(self, events: list[Event]) -> Iterator[Event]:
        # The time that the caller takes for an event (to store it, or at a prompt) is not counted against any host.
        for event in events:
            before = time.monotonic()
            yield event
            self._lost += time.monotonic() - before

    def _clock(self) -> float:
        """Return the seconds in which this process was listening."""
        return time.monotonic() - self._lost

    def _stopped(self) -> bool:
        """Return whether a stopped run is to be left now; tells the workers the first time."""
        if self._give_up is None and self._stop.is_set():
            self._give_up = time.monotonic() + _STOP_S
            for member in self._members():
                member.channel.send(None)
        return self._give_up is not None and (time.monotonic() >= self._give_up or not self._in_flight())

    def _round(self) -> list[Event]:
        """Hand out what may start, wait for what comes, look after the workers; return what is to be told."""
        self._hand_out()
        told: list[Event] = []
        for member in self._listen():
            for message, payload in member.channel.receive():
                told.extend(self._take(member, message, payload))
        for member in self._members():
            told.extend(self._look_after(member))
        # Before the caller gets these events, so that no thread waits for the caller.
        self._hand_out()
        if self._clock() - self._reported >= _PROGRESS_S:
            told.append(self._progress())
        return told

    def _hand_out(self) -> None:
        while self._schedule.left and not self._stop.is_set():
            now = self._clock()
            seconds = self._again.seconds(now)
            if not seconds:
                self._schedule.drop()
                return
            most = self._forks - self._in_flight()
            busy = [len(member.in_flight) if member else 0 for member in self._slots]
            free = [max(0, min(most, self._job.threads - had)) for had in busy]
            taken = self._schedule.take(free)
            if taken is None:
                return
            number, slot = taken
            member = self._slots[slot]
            if member is None:
                try:
                    member = self._slots[slot] = worker_processes.start(slot, self._job, self._members())
                except OSError:
                    self._schedule.give_back(number)
                    if not self._in_flight():
                        raise
                    return  # a worker that ends may free what this one lacks
            member.give(number, now, seconds)

    def _listen(self) -> list[Member]:
        """Wait until there is something to do; return the workers that have sent something or closed."""
        poll = select.poll()
        members = {member.channel.socket.fileno(): member for member in self._members()}
        for descriptor in members:
            poll.register(descriptor, select.POLLIN)
        if self._give_up is None:
            poll.register(self._stop.fileno(), select.POLLIN)
        seconds = self._until()
        before = time.monotonic()
        ready = poll.poll(seconds * 1000)
        # Suspended (Ctrl-Z, a laptop's lid): the workers may have been as well.
        late = time.monotonic() - before - seconds
        if late > 1.0:
            self._lost += late
        return [members[descriptor] for descriptor, _ in ready if descriptor in members]

    def _until(self) -> float:
        """Return the seconds until there is something to do unasked."""
        dues = [self._reported + _PROGRESS_S, *(member.due() for member in self._members())]
        waits = [min(dues) - self._clock()]
        if self._give_up is not None:
            waits.append(self._give_up - time.monotonic())
        return max(0.001, min(waits))

    def _take(self, member: Member, message: dict[str, Any], payload: bytes) -> list[Event]:
        if message.get("worn"):
            # All threads of this worker hang: replace it, and end it after its last host.
            if self._slots[member.slot] is member:
                self._slots[member.slot] = None
                self._leaving.append(member)
            return []
        number = message.pop("host")
        if number not in member.in_flight:
            return []
        self._release(member, number)
        return [] if message.get("undone") else self._finish(number, payload, message)

    def _finish(self, number: int, payload: bytes, message: dict[str, Any]) -> list[Event]:
        told = self._again.take(number, message)
        return [self._tally.done(number, payload, **told)] if told else []

    def _look_after(self, member: Member) -> list[Event]:
        """End a worker that died, hangs as a whole, or was replaced and has no host left; return its hosts' events."""
        if member.channel.lost:
            return self._end_worker(member, f"its worker process {member.cause()}")
        if self._clock() > member.due():
            return self._end_worker(member, "its worker process hung and was ended")
        if member in self._leaving and not member.in_flight:
            return self._end_worker(member, "")
        return []

    def _end_worker(self, member: Member, cause: str) -> list[Event]:
        member.kill()
        if self._slots[member.slot] is member:
            self._slots[member.slot] = None
        else:
            self._leaving.remove(member)
        told: list[Event] = []
        for number, host in list(member.in_flight.items()):
            self._release(member, number)
            # Whoever stops a run may have stopped its workers too: their hosts are then not done.
            if not self._stop.is_set():
                seconds, total = round(self._clock() - host.since, 3), host.seconds
                late = seconds > total
                lost = Failure("exec", f"{cause}: try this host again (--retry-failed)")
                failure = hung(total, self._job.opener) if late else lost
                message = {"status": UNREACHABLE, "seconds": seconds, "attempts": 1, "failure": failure.as_dict()}
                told.extend(self._finish(number, b"", message))
        return told

    def _release(self, member: Member, number: int) -> None:
        del member.in_flight[number]
        self._schedule.finish(number)

    def _members(self) -> list[Member]:
        return [*(member for member in self._slots if member), *self._leaving]

    def _in_flight(self) -> int:
        return sum(len(member.in_flight) for member in self._members())

    def _progress(self) -> Event:
        self._reported = self._clock()
        return self._tally.progress(self._in_flight())
