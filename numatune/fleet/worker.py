"""A worker process: it runs a thread for each host in flight, and reports the hosts whose thread outlasts its time."""

from __future__ import annotations

import gc
import os
import queue
import random
import select
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..core.host_status import failed
from ..transport.delay import starved
from ..transport.endpoint import Target
from ..transport.failure import Failure
from ..transport.limits import Deadline, Limits
from ..transport.output_memory import OutputMemory, Place
from .channel import LostError, WorkerEnd
from .lateness import BEAT_S, Lateness, Mark
from .retry import StoppedError, attempts
from .stop import SIGNALS
from .transports import Opener, Transport, or_openssh
from .work import Work, internal, weight


@dataclass(frozen=True, repr=False)
class Job:
    """What every worker of a run is given at its start; inherited by fork, or pickled over a pipe."""

    targets: Sequence[Target]
    work: Work
    script: str
    limits: Limits
    opener: Opener
    threads: int
    seed: int


def grace(total_s: float) -> float:
    """Return the seconds after its deadline for which a host's thread is waited for; transports observe it too."""
    return max(0.05, 0.03 * total_s)


def main(own: socket.socket, others: Sequence[socket.socket], job: Job) -> None:
    """Serve until the parent closes its end or dies; `others` are the parent's sockets, which a fork copies."""
    _enter(others)
    transport = _opened(job.opener)
    served = _Worker(WorkerEnd(own), job, transport)
    with suppress(LostError):
        served.serve()
    if served.busy():
        # The parent died or does not wait any more: end the programs that threads have started (ssh) with this process.
        os.killpg(0, signal.SIGKILL)
    # Every host has its result: no host needs this error, and the parent ends a worker whose gateway hangs.
    with suppress(Exception):
        transport.close()


def _opened(opener: Opener) -> Transport:
    try:
        return opener()
    except Exception as error:
        return _Broken(Failure("exec", internal(error, "report it")))


class _Broken:
    """Stands for a transport that cannot be opened: every host of the worker says why."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        raise self._failure

    def close(self) -> None:
        pass


def _enter(others: Sequence[socket.socket]) -> None:
    # Ctrl-C goes to every process of the terminal's foreground group, but it is for the parent to decide what ends
    # when: a group of its own also lets the parent end a worker together with the programs that it started.
    os.setpgid(0, 0)
    for number in SIGNALS:
        # Not SIG_IGN, which a program started from here (ssh) would inherit.
        signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for other in others:
        other.close()
    # A host's failure says what ended a library's own thread; only the parent writes to the terminal.
    threading.excepthook = lambda args: None
    # A host is thousands of strings and few cycles: the default looks through the youngest objects 20 times a host,
    # and now and then through all of the parent's, which stay.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class _Host:
    """One host in flight."""

    def __init__(self, number: int, target: Target, deadline: Deadline) -> None:
        self.number = number
        self.target = target
        self.deadline = deadline
        self.overdue = deadline.end + grace(deadline.seconds)  # after that its thread is not waited for
        self.mark: Mark | None = None
        self.attempts = 0
        self.settled = False

    def begun(self, attempt: int) -> None:
        self.attempts = attempt


class _Worker:
    def __init__(self, channel: WorkerEnd, job: Job, transport: Transport) -> None:
        self._channel = channel
        self._job = job
        self._transport = transport
        self._stop = threading.Event()
        self._memory = OutputMemory(job.threads)
        self._late = Lateness()
        self._lock = threading.Lock()
        self._hosts: set[_Host] = set()
        self._idle = 0  # threads that have served a host and wait for another, or will soon
        self._next: queue.SimpleQueue[_Host] = queue.SimpleQueue()
        self._stuck = 0
        self._worn = False

    def serve(self) -> None:
        """Take hosts and watch them; raises LostError at the end."""
        poll = select.poll()
        poll.register(self._channel.socket, select.POLLIN)
        while True:
            seconds = self._until_watch()
            self._late.beat(seconds)
            if poll.poll(None if seconds is None else 1000 * seconds + 1):
                for host in self._channel.receive():
                    if host is None:
                        self._stop.set()
                    else:
                        self._start(*host)
            self._watch()

    def busy(self) -> bool:
        """Return whether a thread runs that serves a host, or one that hangs."""
        with self._lock:
            return bool(self._hosts) or self._stuck > 0

    def _start(self, number: int, seconds: float) -> None:
        host = _Host(number, self._job.targets[number], Deadline(time.monotonic(), seconds))
        # From here on being late counts: the host's thread may run before this one sleeps again.
        self._late.beat(BEAT_S)
        with self._lock:
            self._hosts.add(host)
            waits = self._idle > 0
            self._idle -= waits
        if waits:
            self._next.put(host)
            return
        try:
            threading.Thread(target=self._serve_hosts, args=(host,), daemon=True).start()
        except RuntimeError:
            failure = Failure("exec", "no more threads can be started on this machine: use fewer forks")
            self._settle(host, _failed(failure))

    def _serve_hosts(self, host: _Host) -> None:
        with suppress(LostError):  # the main thread ends the process
            while True:
                self._serve_host(host)
                with self._lock:
                    self._idle += 1
                host = self._next.get()

    def _serve_host(self, host: _Host) -> None:
        payload = b""
        host.mark = self._late.mark()
        try:
            made = attempts(
                lambda limits: self._once(host, limits),
                replace(self._job.limits, total_s=host.deadline.seconds),
                host.deadline,
                random.Random(f"{self._job.seed} {host.target.endpoint.alias}"),
                self._stop.wait,
                host.begun,
            )
            message, payload = {"status": made.status}, made.payload
        except StoppedError:
            message = {"undone": True}
        except Failure as failure:
            message = self._failed(host, failure)
        except BaseException as error:
            # Whatever one target makes a library raise is the failure of that host and does not end the run.
            message = _failed(Failure("exec", internal(error, f"report it{or_openssh(self._job.opener)}")))
        self._settle(host, message, payload)

    def _once(self, host: _Host, limits: Limits) -> Any:
        if host.target.refused is not None:
            raise Failure(host.target.refused_phase, host.target.refused)
        with self._memory.place() as place:
            stream = self._transport.collect(host.target, self._job.script, limits, place)
            place.settle(weight(stream), host.deadline)
            stream = host.target.secrets.hide_in_data(stream)
            return self._job.work.make(host.target.endpoint.alias, stream)

    def _settle(self, host: _Host, message: dict[str, Any], payload: bytes = b"") -> None:
        with self._lock:
            if host.settled:
                self._stuck -= 1  # _watch has reported the host; its thread ended after all
                return
            host.settled = True
            self._hosts.discard(host)
        seconds = round(time.monotonic() - host.deadline.started, 3)
        self._channel.send({"host": host.number, "seconds": seconds, "attempts": host.attempts, **message}, payload)

    def _until_watch(self) -> float | None:
        """Return the seconds until a host is overdue, or the next beat is; None while there is no host."""
        with self._lock:
            ends = [host.overdue for host in self._hosts]
        return min(BEAT_S, max(0.0, min(ends) - time.monotonic())) if ends else None

    def _watch(self) -> None:
        now = time.monotonic()
        with self._lock:
            overdue = [host for host in self._hosts if host.overdue <= now]
            for host in overdue:
                host.settled = True
                self._hosts.discard(host)
            self._stuck += len(overdue)
            worn = not self._worn and self._stuck >= self._job.threads
            self._worn |= worn
        for host in overdue:
            seconds = round(time.monotonic() - host.deadline.started, 3)
            about = {"host": host.number, "seconds": seconds, "attempts": host.attempts}
            self._channel.send({**about, **self._failed(host, hung(host.deadline.seconds, self._job.opener))})
        if worn:
            # Python cannot end a thread; the parent ends the process.
            self._channel.send({"worn": True})

    def _failed(self, host: _Host, failure: Failure) -> dict[str, Any]:
        """Return the message of a host that failed, with how late this worker was where that may be the cause."""
        message = _failed(failure)
        if failure.late and host.mark is not None:
            late_s = self._late.since(host.mark, failure.waited_s)
            if starved(late_s, time.monotonic() - host.deadline.started):
                message["late_s"] = round(late_s, 1)
        return message


def hung(total_s: float, opener: Opener) -> Failure:
    """Return the failure of a host whose thread did not end in time."""
    what = "stuck in code that no timeout can interrupt"
    return Failure("timeout", f"gave up after {total_s:g} s: {what}{or_openssh(opener)}", late=True)


def _failed(failure: Failure) -> dict[str, Any]:
    return {"status": failed(failure.phase), "failure": failure.as_dict()}
