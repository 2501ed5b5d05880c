"""A run that is late itself: what is measured, which hosts are asked again, and what is said of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fleet import crew_fakes as fakes
from fleet.late_proxy import Proxy
from fleet.sshd import Sshd, addresses
from fleet.test_pool_sshd import endpoint

from numatune.core.profile import builtin
from numatune.fleet import lateness, pool
from numatune.fleet.again import Again
from numatune.fleet.events import Done, Event, NotDone, Progress
from numatune.fleet.lateness import Lateness
from numatune.fleet.stop import Stop
from numatune.fleet.work import Work
from numatune.transport.capture import Capture
from numatune.transport.delay import run_delay, starved
from numatune.transport.endpoint import Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Deadline, Limits
from numatune.transport.ssh import Gateways, collect

ROOT = Path(__file__).parents[2]
JUDGE = Work("judge", builtin("inference-latency"), date(2026, 11, 24))
COLLECT = Work("collect")
SAID = {"host": 3, "status": "unreachable", "seconds": 12.0, "attempts": 1}
LATE = {**SAID, "failure": {"phase": "banner", "message": "no version line"}, "late_s": 9.5}
ON_TIME = {**SAID, "failure": {"phase": "banner", "message": "no version line"}}


# --- the decision


@pytest.mark.parametrize(
    ("late_s", "lasted_s", "again"),
    [(0.0, 10.0, False), (0.2, 0.3, False), (0.3, 1.0, True), (1.9, 10.0, False), (2.0, 10.0, True), (60, 60, True)],
)
def test_a_fifth_of_its_time_makes_a_hosts_failure_doubtful(late_s: float, lasted_s: float, again: bool) -> None:
    assert starved(late_s, lasted_s) is again


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.delays: dict[str, float] = {}
        monkeypatch.setattr(lateness.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(lateness, "run_delay", lambda task: self.delays.get(task, 0.0))


def test_a_main_thread_that_wakes_in_time_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late = Clock(monkeypatch), Lateness()
    late.beat(None)
    mark = late.mark()
    for _ in range(1000):
        late.beat(lateness.BEAT_S)
        clock.now += lateness.BEAT_S + 0.09  # threads take turns
    late.beat(None)
    clock.now += 3600  # it waits for no host
    assert late.since(mark) == 0.0


def test_what_is_late_adds_up_also_before_the_main_thread_has_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late = Clock(monkeypatch), Lateness()
    late.beat(0.25)
    clock.now += 3.25
    before = late.mark()
    late.beat(0.25)
    clock.now += 2.25
    assert late.since(before) == pytest.approx(2.0)
    late.beat(0.25)
    assert late.since(before) == pytest.approx(2.0)
    assert late.since(late.mark()) == 0.0


def test_what_is_late_counts_once_whenever_a_hosts_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Lateness):
        """A host's thread looks after each assignment."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if mark is not None:
                seen.append(self.since(mark))

    seen: list[float] = []
    mark: lateness.Mark | None = None
    clock, late = Clock(monkeypatch), Seen()
    late.beat(0.25)
    mark = late.mark()
    clock.now += 3.25
    late.beat(0.25)
    assert seen
    assert seen == pytest.approx([3.0] * len(seen))


def test_a_thread_that_got_no_cpu_and_a_program_that_got_none_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, late = Clock(monkeypatch), Lateness()
    clock.delays = {"thread-self": 5.0}
    mark = late.mark()
    clock.delays = {f"self/task/{mark.thread}": 8.0}
    assert late.since(mark) == 3.0
    assert late.since(mark, waited_s=4.0) == 4.0
    clock.delays = {}  # the thread has gone
    assert late.since(mark) == 0.0


HOG = """
import os, sys, time
from numatune.transport.delay import run_delay
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
child = os.fork()
until = time.monotonic() + 60
if child == 0:
    while os.getppid() != 1 and time.monotonic() < until: pass
    os._exit(0)
while run_delay() < 0.05 and time.monotonic() < until: pass
print(run_delay())
os.kill(child, 9)
"""


def test_the_kernel_says_how_long_a_thread_got_no_cpu() -> None:
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this kernel has no schedstat (CONFIG_SCHED_INFO)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", HOG], env=environment, capture_output=True, text=True, timeout=100)
    assert float(ran.stdout) >= 0.05, ran.stderr
    assert run_delay("nothing/like/that") == 0.0


def test_a_deadline_that_passed_says_so() -> None:
    capture = Capture(1 << 20, Deadline(time.monotonic(), 60.0))
    capture.waited_s = lambda: 2.5
    failure = capture.late()
    assert (failure.late, failure.waited_s) == (True, 2.5)


# --- the second tries, as data


def test_a_host_that_failed_on_time_is_told_at_once() -> None:
    again = Again(60.0)
    assert again.take(3, dict(ON_TIME)) == ON_TIME
    assert again.begin(0.0) == frozenset()


def test_a_late_host_waits_for_the_end_and_its_second_try_says_so() -> None:
    again = Again(60.0)
    assert again.take(3, dict(LATE)) is None
    assert again.seconds(1000.0) == 60.0
    assert again.begin(1000.0) == {3}
    assert again.begin(1001.0) == frozenset()
    told = again.take(3, {"host": 3, "status": "ok", "seconds": 0.5, "attempts": 2})
    assert told == {"host": 3, "status": "ok", "seconds": 12.5, "attempts": 3, "late_s": 9.5}
    assert again.untried() == []


def test_there_is_no_third_try() -> None:
    again = Again(60.0)
    again.take(3, dict(LATE))
    again.begin(0.0)
    told = again.take(3, dict(LATE))
    assert told is not None
    assert "second try, since this machine was late by 9.5 s in the first" in told["failure"]["message"]
    assert again.begin(1.0) == frozenset()
    other = again.take(4, dict(LATE))
    assert other is not None
    assert "late_s" not in other


def test_second_tries_have_one_hosts_time_together() -> None:
    again = Again(60.0)
    again.take(3, dict(LATE))
    again.take(4, dict(LATE))
    again.begin(1000.0)
    assert again.seconds(1010.0) == 50.0
    assert again.seconds(1046.0) == 0.0
    told = dict(again.untried())
    assert set(told) == {3, 4}
    assert "this machine was late by 9.5 s" in told[3]["failure"]["message"]
    assert told[3]["late_s"] == 9.5


# --- the pool


class Staller(fakes.Fake):
    """Ends a host by a deadline in its first try, as late as the alias says: "0001-stopped", "0002-silent"."""

    def _silent(self, alias: str) -> str:
        raise Failure("banner", "no version line came", late=True)

    def _stopped(self, alias: str) -> str:
        if self.tries[alias] == 1:
            fakes.sleep_through()
            raise Failure("banner", "no version line came", late=True)
        return fakes.STREAM

    def _lost(self, alias: str) -> str:
        fakes.sleep_through()
        raise Failure("banner", "no version line came", late=True)

    def _waits(self, alias: str) -> str:
        if self.tries[alias] == 1:
            return self._lost(alias)
        threading.Event().wait()
        raise AssertionError


def run(*behaviours: str, forks: int = 1, total_s: float = 20.0, stop: Stop | None = None) -> Iterator[Event]:
    return pool.run(
        fakes.targets(*behaviours), COLLECT, forks=forks, limits=Limits(total_s=total_s), transport=Staller, stop=stop
    )


def test_hosts_of_a_run_that_was_stopped_for_a_while_are_asked_again_at_its_end() -> None:
    events = list(run("stopped", "ok", "refused", "lost", "ok"))
    done = {event.alias.partition("-")[2]: event for event in events if isinstance(event, Done)}
    order = [event.alias for event in events if isinstance(event, Done)]
    assert order[-2:] == ["0000-stopped", "0003-lost"]
    assert len(order) == 5
    assert (done["stopped"].status, done["stopped"].attempts) == ("ok", 2)
    assert done["stopped"].late_s > 0.25
    assert done["lost"].failure is not None
    assert "second try" in done["lost"].failure["message"]
    assert [done[name].attempts for name in ("ok", "refused", "lost")] == [1, 1, 2]
    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.done, last.in_flight) == (5, 0)


def test_a_silent_host_of_a_run_that_was_on_time_is_asked_once() -> None:
    (done,) = [event for event in run("silent") if isinstance(event, Done)]
    assert (done.attempts, done.late_s) == (1, 0.0)


def test_a_stop_during_the_second_tries_keeps_what_the_first_ones_came_to() -> None:
    stop, told = Stop(), []
    for event in run("waits", "ok", "ok", stop=stop, total_s=600):
        told.append(event)
        if isinstance(event, Progress) and event.done == 2 and event.in_flight == 1:
            stop.set()
    done = {event.alias: event for event in told if isinstance(event, Done)}
    assert set(done) == {"0000-waits", "0001-ok", "0002-ok"}
    assert "this machine was late" in (done["0000-waits"].failure or {})["message"]
    assert not [event for event in told if isinstance(event, NotDone)]


def test_second_tries_end_with_the_time_that_they_have_together() -> None:
    done = [event for event in run(*["waits"] * 3, total_s=3.0) if isinstance(event, Done)]
    assert [event.status for event in done] == ["unreachable"] * 3
    assert sorted(event.attempts for event in done) == [1, 1, 2]  # the first took it all
    said = [(event.failure or {})["message"] for event in done if event.attempts == 1]
    assert all("this machine was late by" in message and "--retry-failed" in message for message in said)


# --- over real connections


@contextmanager
def asleep(proxy: Proxy, hosts: int, seconds: float) -> Iterator[Callable[[], None]]:
    """Stop every worker, with what it has started, once all hosts are connected; wake them when their time is over.

    The proxy opens at the first second try.
    """

    def sleep() -> None:
        proxy.wait_for(hosts)
        pids = [child.pid or 0 for child in multiprocessing.active_children()]
        for pid in pids:
            os.killpg(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)
        # Not before: a worker that wakes late may find the answer and need no second try.
        proxy.wait_for(hosts + 1)
        proxy.open()

    thread = threading.Thread(target=sleep)
    thread.start()
    yield thread.join
    thread.join()


def through(proxy: Proxy, sshd: Sshd, count: int) -> list[Target]:
    """Return targets behind the proxy, each at an address of its own."""
    names = addresses(count, network=87)
    known = sshd.known(names, path=sshd.folder / "known_behind_the_proxy", port=proxy.port)
    ends = [endpoint(sshd, f"h{number}", name) for number, name in enumerate(names)]
    words = {str(sshd.port): str(proxy.port), f"UserKnownHostsFile={sshd.known_hosts}": f"UserKnownHostsFile={known}"}
    options = tuple(words.get(word, word) for word in ends[0].ssh_args)
    return [Target(replace(end, port=proxy.port, known_hosts=(str(known),), ssh_args=options)) for end in ends]


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_hosts_that_a_late_controller_gave_up_are_reached_at_the_second_try(sshd: Sshd, transport: str) -> None:
    limits = Limits(banner_s=4.0, total_s=60.0)
    with Proxy(sshd.port, closed=True) as proxy:
        targets = through(proxy, sshd, 6)
        with asleep(proxy, 6, 4.5):
            events = list(pool.run(targets, JUDGE, forks=6, limits=limits, transport=transport))
    done = [event for event in events if isinstance(event, Done)]
    assert [event.failure for event in done] == [None] * 6
    assert all(event.late_s >= 4.0 for event in done)
    assert {event.attempts for event in done} == {2}
    assert proxy.connections == 12
    assert all(json.loads(event.payload or b"")["error"] is None for event in done)


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_hosts_that_are_silent_are_not_asked_twice(sshd: Sshd, transport: str) -> None:
    with Proxy(sshd.port, closed=True) as proxy:
        targets = through(proxy, sshd, 3)
        events = list(pool.run(targets, JUDGE, forks=3, limits=Limits(banner_s=2.0), transport=transport))
    done = [event for event in events if isinstance(event, Done)]
    assert [(event.failure or {}).get("phase") for event in done] == ["banner"] * 3
    assert {(event.attempts, event.late_s) for event in done} == {(1, 0.0)}
    assert proxy.connections == 3


@pytest.mark.parametrize(("delay_s", "connections"), [(0.0, 1), (30.0, 3)])
def test_a_jump_host_that_this_machine_was_late_for_is_tried_again(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, delay_s: float, connections: int
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("numatune.transport.ssh.gateways.run_delay", lambda: next(clock) * delay_s)
    limits = Limits(banner_s=0.5)
    with Proxy(sshd.port, closed=True) as proxy:
        (jump,) = (target.endpoint for target in through(proxy, sshd, 1))
        gateways = Gateways()
        for address in addresses(3, network=89):
            target = Target(endpoint(sshd, address, address, jump))
            with pytest.raises(Failure, match="jump host h0: no SSH version line") as raised:
                collect(target, "true", limits, KnownHosts, gateways)
            assert raised.value.late
        gateways.close()
    assert proxy.connections == connections
