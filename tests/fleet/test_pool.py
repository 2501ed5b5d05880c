"""The pool: every host answered for exactly once and in time, whatever hosts, libraries and workers do."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import streams
from fleet import crew_fakes as fakes
from synthetic import host

from numatune.core.audit import judge
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.model import Severity
from numatune.core.plan import make_plan
from numatune.core.profile import builtin, from_mapping
from numatune.fleet import pool, retry, work, worker
from numatune.fleet.events import Done, Event, NotDone, Progress
from numatune.fleet.jumps import Schedule
from numatune.fleet.stop import Stop, on_signals
from numatune.fleet.transports import Replay
from numatune.fleet.work import Work
from numatune.transport.failure import Failure
from numatune.transport.limits import Deadline, Limits
from numatune.transport.output_memory import LARGE

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 11, 24)
COLLECT = Work("collect")
# What a machine that is busy with other tests may add to a time that is asserted.
BUSY_S = 3.0


def run(targets: Sequence[Any], total_s: float = 20.0, forks: int = 8, **more: Any) -> list[Event]:
    """Run the fake transport over targets and return the events."""
    more = {"transport": fakes.Fake, "seed": 1, **more}
    return list(pool.run(targets, COLLECT, forks=forks, limits=Limits(total_s=total_s), **more))


def finished(events: Sequence[Event], targets: Sequence[Any]) -> dict[str, Done]:
    """Return the Done of each alias, after checking that each target has exactly one."""
    done = [event for event in events if isinstance(event, Done)]
    assert sorted(event.alias for event in done) == sorted(target.endpoint.alias for target in targets)
    return {event.alias: event for event in done}


def phases(done: dict[str, Done]) -> dict[str, str]:
    return {alias: event.failure["phase"] if event.failure else event.status for alias, event in done.items()}


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


EXPECTED = {
    "ok": "ok",
    "refused": "tcp",
    "flaky": "ok",
    "garbage": "parse",
    "lines": "output",
    "exits": "exec",
    "interrupts": "exec",
    "memory": "exec",
    "bug": "exec",
    "hang": "timeout",
}


def test_two_thousand_hosts_of_every_kind_are_answered_for_once_and_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_S", 0.01)
    rng = random.Random(6)
    common = ["ok", "refused", "flaky", "garbage", "exits", "interrupts", "memory", "bug"]
    behaviours = rng.choices(common, [60, 8, 8, 8, 4, 4, 4, 4], k=1990) + ["hang"] * 6 + ["lines"] * 4
    rng.shuffle(behaviours)
    targets = fakes.targets(*behaviours)
    events = run(targets, total_s=4.0, forks=32)
    done = finished(events, targets)
    assert phases(done) == {alias: EXPECTED[alias.partition("-")[2]] for alias in done}
    for alias, event in done.items():
        assert (event.payload is None) == (event.failure is not None)
        assert event.attempts == (2 if alias.endswith("flaky") else 1)
        assert fakes.PASSWORD not in str(event)
        assert event.failure is None or event.failure["message"].isprintable()
    first, last = events[0], events[-1]
    assert isinstance(first, Progress)
    assert isinstance(last, Progress)
    assert (first.done, last.done, last.in_flight) == (0, 2000, 0)
    counted = Counter(event.failure["phase"] for event in done.values() if event.failure)
    assert last.phases == counted
    assert last.statuses == {"ok": 2000 - counted.total(), "unreachable": counted.total()}


def test_large_results_come_whole() -> None:
    targets = fakes.targets("ok", "large")
    large = finished(run(targets, total_s=60), targets)["0001-large"]
    assert len(large.payload or b"") > 4 << 20
    assert gzip.decompress(large.payload or b"").endswith(b"\n@end\n")


def test_results_come_while_others_are_still_in_flight() -> None:
    targets = fakes.targets(*["hang"] * 3, *["ok"] * 20)
    stop, seen = Stop(), []
    for event in pool.run(targets, COLLECT, forks=4, limits=Limits(), transport=fakes.Fake, stop=stop):
        if isinstance(event, Done):
            seen.append(event.alias)
            if len(seen) == 20:  # one slot served all of these while three hung
                stop.set()
    assert seen == [f"{number:04}-ok" for number in range(3, 23)]


def test_hung_threads_hold_their_slots_no_longer_than_a_tenth_over_the_deadline() -> None:
    targets = fakes.targets(*["hang"] * 24, "ok")
    begun = time.monotonic()
    done = finished(run(targets, total_s=0.4, forks=8), targets)
    took = time.monotonic() - begun
    assert Counter(phases(done).values()) == {"timeout": 24, "ok": 1}
    rounds = 4
    assert took < rounds * (0.4 + worker.grace(0.4)) * 1.1 + BUSY_S
    assert all(event.seconds < 0.4 + worker.grace(0.4) + BUSY_S for event in done.values())


def test_hosts_behind_a_gateway_are_held_to_the_deadline_too() -> None:
    targets = [fakes.target(f"{number:04}-hang", "gate") for number in range(6)]
    begun = time.monotonic()
    done = finished(run(targets, total_s=0.3, forks=20, per_jump=2), targets)
    assert set(phases(done).values()) == {"timeout"}
    assert 0.9 < time.monotonic() - begun < 3 * (0.3 + worker.grace(0.3)) * 1.1 + BUSY_S


def broken() -> Any:
    raise OSError(fakes.PASSWORD)


def test_a_transport_that_cannot_be_opened_is_every_hosts_failure() -> None:
    targets = fakes.targets("ok", "ok")
    done = finished(run(targets, transport=broken), targets)
    assert set(phases(done).values()) == {"exec"}
    assert "internal error: OSError" in str(done)
    assert fakes.PASSWORD not in str(done)


def test_a_host_that_no_transport_can_serve_says_why() -> None:
    wanted = replace(fakes.target("a"), refused="ansible_connection is winrm")
    done = finished(run([wanted]), [wanted])
    assert done["a"].failure == {"phase": "resolve", "message": "ansible_connection is winrm"}


def test_a_library_that_holds_the_interpreter_costs_its_worker_and_no_more() -> None:
    targets = fakes.targets("ok", "holds", *["ok"] * 6)
    begun = time.monotonic()
    done = finished(run(targets, total_s=0.5, forks=1), targets)
    assert time.monotonic() - begun < 0.5 + 0.5 + BUSY_S
    assert phases(done) == {alias: "timeout" if alias.endswith("holds") else "ok" for alias in done}


def test_a_worker_that_dies_fails_what_it_had_and_is_replaced() -> None:
    targets = fakes.targets(*["ok"] * 9, "killed", *["ok"] * 40, "killed", *["ok"] * 9)
    done = finished(run(targets, forks=4), targets)
    failed = {alias: event for alias, event in done.items() if event.failure}
    assert {alias for alias in done if alias.endswith("killed")} <= set(failed)
    assert len(failed) <= 2 * 4
    for event in failed.values():
        assert event.failure is not None
        assert event.failure["phase"] == "exec"
        assert "SIGKILL" in event.failure["message"]
        assert "--retry-failed" in event.failure["message"]


def test_workers_killed_at_random_lose_no_host() -> None:
    targets = fakes.targets(*["ok", "slow", "refused", "ok"] * 75)
    rng, events = random.Random(3), []
    for number, event in enumerate(pool.run(targets, COLLECT, forks=16, limits=Limits(), transport=fakes.Fake), 1):
        events.append(event)
        children = multiprocessing.active_children()
        if number % 60 == 0 and children:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(children).pid or 0, rng.choice([signal.SIGKILL, signal.SIGUSR1]))
    done = finished(events, targets)
    died = [event for event in done.values() if event.failure and event.failure["phase"] == "exec"]
    assert 1 <= len(died) <= 6 * 16


def test_a_stopped_worker_process_does_not_stop_the_run() -> None:
    targets = fakes.targets(*["slow"] * 8)
    events = []
    for event in pool.run(targets, COLLECT, forks=2, limits=Limits(total_s=0.6), transport=fakes.Fake):
        if isinstance(event, Done) and not any(isinstance(other, Done) for other in events):
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGSTOP)
        events.append(event)
    assert set(phases(finished(events, targets)).values()) <= {"ok", "timeout", "exec"}
    assert phases(finished(events, targets))["0007-slow"] == "ok"


def test_a_caller_who_takes_his_time_costs_no_host_its_deadline_and_piles_nothing_up() -> None:
    targets = fakes.targets(*["ok"] * 200)
    counting = fakes.Counting(["direct"])
    events = pool.run(targets, COLLECT, forks=8, limits=Limits(total_s=0.5), transport=counting)
    first = next(event for event in events if isinstance(event, Done))
    time.sleep(1.2)  # longer than any host may take
    assert counting.started.value <= 1 + 3 * 8
    assert set(phases(finished([first, *events], targets)).values()) == {"ok"}


def test_no_gateway_gets_more_than_its_share_and_each_is_used_by_one_worker() -> None:
    gateways = ["east", "west", "far"]
    targets = [
        fakes.target(f"{number:04}", *(["east"], ["west"], ["west", "far"], [])[number % 4]) for number in range(240)
    ]
    counting = fakes.Counting([*gateways, "direct"])
    done = finished(run(targets, forks=40, per_jump=5, transport=counting), targets)
    assert set(phases(done).values()) == {"ok"}
    assert max(list(counting.most)[:3]) <= 5
    assert -1 not in list(counting.pids)[:3]
    assert list(counting.now) == [0, 0, 0, 0]


def test_a_stop_keeps_what_is_finished_and_names_the_rest() -> None:
    targets = fakes.targets(*["ok"] * 5, *["hang"] * 8, *["ok"] * 100)
    stop, events = Stop(), []
    for event in pool.run(targets, COLLECT, forks=4, limits=Limits(total_s=600), transport=fakes.Fake, stop=stop):
        events.append(event)
        if isinstance(event, Done) and event.alias == "0004-ok":
            stop.set()
            begun = time.monotonic()
    assert time.monotonic() - begun < pool._STOP_S + BUSY_S
    done = [event.alias for event in events if isinstance(event, Done)]
    rest = [event.alias for event in events if isinstance(event, NotDone)]
    assert sorted(done) == [f"{number:04}-ok" for number in range(5)]
    assert rest == [target.endpoint.alias for target in targets[5:]]


def test_a_stop_does_not_wait_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "delay", lambda attempt, rng: 500.0)
    targets = fakes.targets("ok", "dropped")
    stop, events = Stop(), []
    for event in pool.run(targets, COLLECT, forks=2, limits=Limits(total_s=600), transport=fakes.Fake, stop=stop):
        events.append(event)
        if isinstance(event, Done):
            stop.set()
    assert [event.alias for event in events if isinstance(event, NotDone)] == ["0001-dropped"]


def test_leaving_the_iterator_ends_the_workers() -> None:
    events = pool.run(fakes.targets(*["hang"] * 4), COLLECT, forks=2, limits=Limits(), transport=fakes.Fake)
    next(events)
    next(events)  # half a second later: hosts are in flight
    assert multiprocessing.active_children()
    events.close()  # type: ignore[attr-defined]  # a generator
    assert multiprocessing.active_children() == []


PROGRAM = """
import sys
from fleet import crew_fakes as fakes
from numatune.fleet import pool
from numatune.fleet.events import Done, NotDone
from numatune.fleet.stop import Stop, on_signals
from numatune.fleet.work import Work
from numatune.transport.limits import Limits

stop = Stop()
with on_signals(stop):
    targets = fakes.targets("ok", "hang", "program", "ok")
    try:
        for event in pool.run(targets, Work("collect"), forks=2, limits=Limits(), transport=fakes.Fake, stop=stop):
            if isinstance(event, (Done, NotDone)):
                print(type(event).__name__, event.alias, flush=True)
    except KeyboardInterrupt:
        print("at once", flush=True)
"""


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """A run in a process group of its own that has one finished host, and two that hang."""

    def listen() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        start_new_session=True,
        preexec_fn=listen,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "Done 0000-ok\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_the_run_in_order(program: subprocess.Popen[str], number: int) -> None:
    begun = everything_below(program.pid)
    os.killpg(program.pid, number)
    said, _ = program.communicate(timeout=10)
    assert said == "NotDone 0001-hang\nNotDone 0002-program\nNotDone 0003-ok\n"
    assert program.returncode == 0
    wait_until_gone(begun)


def test_one_signal_that_is_delivered_twice_is_one(program: subprocess.Popen[str]) -> None:
    program.send_signal(signal.SIGINT)
    program.send_signal(signal.SIGTERM)  # two of one kind may be delivered as one
    said, _ = program.communicate(timeout=10)
    assert said.count("NotDone") == 3


def test_a_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numatune.fleet.stop._AGAIN_S", 0.0)
    stop = Stop()
    with on_signals(stop):
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_nothing_outlives_a_killed_parent(program: subprocess.Popen[str]) -> None:
    begun = everything_below(program.pid)
    program.kill()
    program.wait()
    wait_until_gone(begun)


def everything_below(pid: int) -> list[int]:
    """Wait for a worker and the program that one of its hosts has started, and return both."""
    until = time.monotonic() + 10
    while not (
        (workers := children(pid)) and (programs := [child for worker in workers for child in children(worker)])
    ):
        assert time.monotonic() < until, "no program was started"
        time.sleep(0.01)
    return [*workers, *programs]


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + 10
    while alive := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < until, f"still there: {alive}"
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_parent_with_threads_gets_fresh_workers() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        targets = fakes.targets("ok", "refused")
        assert phases(finished(run(targets), targets)) == {"0000-ok": "ok", "0001-refused": "tcp"}
    finally:
        ended.set()
        thread.join()


def test_nothing_to_do_is_done_at_once() -> None:
    assert [type(event) for event in run([])] == [Progress, Progress]


def test_what_cannot_be_is_refused() -> None:
    for more, message in (
        ({"forks": 0}, "at least 1"),
        ({"per_jump": 0}, "at least 1"),
        ({"transport": "x"}, "no transport"),
    ):
        with pytest.raises(ValueError, match=message):
            run(fakes.targets("ok"), **more)  # type: ignore[arg-type]  # made wrong on purpose


# --- the order


def order(schedule: Schedule, free: list[int]) -> Iterator[int]:
    """Start hosts on free threads; each ends when all threads are taken, oldest first."""
    running: list[tuple[int, int]] = []
    while True:
        taken = schedule.take(free)
        if taken is None and not running:
            return
        if taken is None:
            number, slot = running.pop(0)
            schedule.finish(number)
            free[slot] += 1
        else:
            running.append(taken)
            free[taken[1]] -= 1
            yield taken[0]


def test_direct_hosts_start_in_the_inventorys_order() -> None:
    endpoints = [fakes.endpoint(f"h{number}") for number in range(50)]
    assert list(order(Schedule(endpoints, 2, 3), [2, 2, 2])) == list(range(50))


def test_groups_move_through_the_inventory_side_by_side() -> None:
    # 300 hosts that are reached directly, then 60 behind one gateway and 40 behind another.
    via = [()] * 300 + [("east",)] * 60 + [("west",)] * 40
    endpoints = [fakes.endpoint(f"h{number}", *jumps) for number, jumps in enumerate(via)]
    started = list(order(Schedule(endpoints, 8, 2), [10, 10]))
    assert sorted(started) == list(range(400))
    for at in range(0, 400, 100):
        assert 9 <= sum(300 <= number < 360 for number in started[at : at + 100]) <= 21
    for first, last in ((0, 300), (300, 360), (360, 400)):
        group = [number for number in started if first <= number < last]
        assert group == sorted(group)
        assert started.index(group[-1]) >= 350


def test_an_address_that_many_aliases_share_is_limited_as_a_gateway_is() -> None:
    endpoints = [fakes.endpoint(f"h{number}", hostname="one") for number in range(9)]
    endpoints += [fakes.endpoint("one"), fakes.endpoint("far", "one"), fakes.endpoint("two")]
    schedule = Schedule(endpoints, 4, 1)
    started = []
    while taken := schedule.take([20 - len(started)]):
        started.append(taken[0])
    assert sorted(started) == [0, 1, 2, 3, 11]


# --- retries


def test_retries_are_for_what_may_be_retried_and_spread_over_the_whole_pause() -> None:
    tries, pauses = [], []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    def once(limits: Limits) -> str:
        tries.append(limits.total_s)
        raise Failure("banner", "dropped", retry=True)

    deadline = Deadline(time.monotonic(), 60)
    with pytest.raises(Failure, match="dropped"):
        retry.attempts(once, Limits(), deadline, random.Random(1), wait)
    assert len(tries) == retry.ATTEMPTS
    assert len(pauses) == retry.ATTEMPTS - 1
    again = random.Random(1)
    assert pauses == [retry.delay(1, again), retry.delay(2, again)]
    many = [retry.delay(1, again) for _ in range(1000)]
    assert min(many) < 0.01
    assert 0.99 < max(many) <= 1


def test_no_attempt_is_begun_that_the_deadline_would_cut() -> None:
    tries = []

    def once(limits: Limits) -> str:
        tries.append(limits.total_s)
        raise Failure("tcp", "reset", retry=True)

    with pytest.raises(Failure, match="reset"):
        retry.attempts(once, Limits(), Deadline(time.monotonic() - 59.9, 60), random.Random(1), lambda seconds: False)
    assert len(tries) == 1
    assert tries[0] <= 0.1


# --- the work


JITTERY = streams.stream(host(cpus=8, governor="powersave"))
PROFILE = builtin("inference-latency")


def test_the_judges_result_is_the_host_of_the_audits_json() -> None:
    made = Work("judge", PROFILE, TODAY, Severity.CRITICAL, ("irqbalance",)).make("alias/../x", JITTERY)
    report = judge(parse_stream(JITTERY), PROFILE, TODAY, Severity.CRITICAL, ("irqbalance",))
    assert json.loads(made.payload) == {"name": "alias/../x", "error": None, **report.as_dict()}
    assert made.status == report.status
    assert b"\n" not in made.payload


def test_a_plan_says_whether_there_is_something_to_do() -> None:
    made = Work("plan", PROFILE, TODAY, only=("cpu_governor",)).make("a", JITTERY)
    plan = make_plan(parse_stream(JITTERY), PROFILE, TODAY, ("cpu_governor",))
    assert plan.changes
    assert json.loads(made.payload) == {"name": "a", **json.loads(json.dumps(plan.as_dict()))}
    assert made.status == "changes"
    assert Work("plan", PROFILE, TODAY, only=()).make("a", JITTERY).status == "ok"


def test_a_short_stream_that_lists_many_files_weighs_as_much_as_they_take() -> None:
    names, folders = "w " + "x " * 500, "".join(f"t /{number}\n" for number in range(400))
    assert work.weight(f"{MAGIC}\n@states\n{names}\n{folders}@end\n") > 200 * 500 * 400
    assert work.weight(JITTERY) < LARGE
    assert work.weight("") == 0


def test_equal_streams_are_collected_as_equal_bytes() -> None:
    first, second = (COLLECT.make("a", JITTERY).payload for _ in range(2))
    assert first == second
    assert gzip.decompress(first).decode() == JITTERY


def test_a_host_without_a_tool_of_the_script_is_told_from_a_broken_stream() -> None:
    with pytest.raises(Failure, match="needs `grep`, which this host lacks") as raised:
        COLLECT.make("a", f"{MAGIC}\n@missing grep\n")
    assert raised.value.phase == "exec"
    with pytest.raises(Failure, match="cut short") as raised:
        COLLECT.make("a", JITTERY[:-20])
    assert raised.value.phase == "parse"


def test_a_profile_that_does_not_fit_a_host_is_that_hosts_failure() -> None:
    profile = from_mapping({"cpus": {"serving": "64-127"}})
    with pytest.raises(Failure, match="the profile does not fit this host") as raised:
        Work("judge", profile, TODAY).make("a", JITTERY)
    assert raised.value.phase == "profile"


def test_a_judge_that_breaks_on_a_hosts_bytes_says_so_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("\x1b[31mfrom the host")

    monkeypatch.setattr(work, "judge", broken)
    with pytest.raises(Failure, match="internal error: KeyError") as raised:
        Work("judge", PROFILE, TODAY).make("a", JITTERY)
    assert raised.value.phase == "parse"
    assert "from the host" not in raised.value.message


def test_a_work_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no work named"):
        Work("burn")
    with pytest.raises(ValueError, match="needs a profile"):
        Work("judge")


# --- replayed hosts


def test_a_folder_of_snapshots_is_a_fleet(tmp_path: Path) -> None:
    for alias in ("a", "b"):
        (tmp_path / f"{alias}.numatune.gz").write_bytes(gzip.compress(JITTERY.encode()))
    (tmp_path.parent / "c.numatune.gz").write_bytes(gzip.compress(JITTERY.encode()))
    (tmp_path / "d.numatune.gz").write_bytes(b"\x1f\x8bnot gzip")
    targets = [fakes.target(alias) for alias in ("a", "b", "../c", "d")]
    judged = Work("judge", PROFILE, TODAY)
    done = finished(list(pool.run(targets, judged, forks=2, limits=Limits(), transport=Replay(tmp_path))), targets)
    assert phases(done) == {"a": "findings", "b": "findings", "../c": "tcp", "d": "tcp"}
    assert json.loads(done["a"].payload or b"")["name"] == "a"
