"""Output of hosts that are not trusted: bounded, decoded whatever it holds, unpacked without bombs."""

from __future__ import annotations

import gzip
import pickle
import sys
import threading
import time
import tracemalloc
from contextlib import ExitStack

import pytest

from numatune.transport.capture import Capture
from numatune.transport.failure import PHASES, Failure, clean
from numatune.transport.limits import MIB, Deadline, Limits
from numatune.transport.output_memory import LARGE, PER_HOST, OutputMemory


def fed(data: bytes, limit: int = 1 << 20, piece: int = 7) -> Capture:
    capture = Capture(limit)
    for at in range(0, len(data), piece):
        capture.feed(data[at : at + piece])
    return capture


def test_text_with_bytes_that_are_no_utf8_stays_readable() -> None:
    assert fed(b"a\xff\xc3\xa9\x00b\xe2\x82").text() == "a\\xff\u00e9\x00b\\xe2\\x82"


def test_limit_is_exact_and_frees_what_was_kept() -> None:
    assert fed(b"x" * 100, limit=100).text() == "x" * 100
    capture = Capture(100)
    capture.feed(b"x" * 60)
    with pytest.raises(Failure) as caught:
        capture.feed(b"x" * 41)
    assert caught.value.phase == "output"
    assert not capture.data()


@pytest.mark.parametrize("piece", [1, 2, 5, 1000])
def test_gzip_is_unpacked_as_it_comes(piece: int) -> None:
    text = "numatune-snapshot 1\n" + "line \u00e9\n" * 500
    capture = fed(gzip.compress(text.encode()), piece=piece)
    assert capture.text() == text
    assert capture.whole


def test_gzip_that_is_cut_gives_what_came_and_says_so() -> None:
    capture = fed(gzip.compress(b"numatune " * 5000)[:-20])
    assert not capture.whole


def test_bomb_stops_at_the_limit_without_its_memory() -> None:
    bomb = gzip.compress(b"\0" * (200 << 20), 9)
    tracemalloc.start()
    with pytest.raises(Failure) as caught:
        fed(bomb, limit=1 << 20, piece=32768)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.phase == "output"
    assert peak < 8 << 20


def test_what_only_begins_like_gzip() -> None:
    assert fed(b"\x1f").data() == b"\x1f"
    assert fed(b"\x1fx").data() == b"\x1fx"
    with pytest.raises(Failure) as caught:
        fed(b"\x1f\x8b" + b"garbage" * 10)
    assert caught.value.phase == "output"


def test_a_crowd_of_large_outputs_is_bounded_and_the_largest_goes() -> None:
    memory = OutputMemory(10)
    with ExitStack() as stack:
        honest = [stack.enter_context(memory.place()) for _ in range(5)]
        captures = [Capture(8 * MIB, place=place) for place in honest]
        for capture in captures:
            capture.feed(b"h" * PER_HOST)
        hostile = [Capture(8 * MIB, place=stack.enter_context(memory.place())) for _ in range(5)]
        failed = set()
        for step in range(200 * len(hostile)):
            capture = hostile[step % len(hostile)]
            try:
                capture.feed(b"x" * (MIB // 16))
            except Failure:
                failed.add(capture)
            assert memory.used <= memory.most
        assert failed == set(hostile)
        assert not any(capture.data() for capture in hostile)
        for place, capture in zip(honest, captures, strict=True):
            assert len(capture.text()) == PER_HOST
            place.leave()


def test_a_host_that_had_to_go_learns_it_whatever_it_does_next() -> None:
    memory = OutputMemory(1)
    with memory.place() as first, memory.place() as second:
        large, small = Capture(8 * MIB, place=first), Capture(8 * MIB, place=second)
        large.feed(b"x" * MIB)
        small.feed(b"y" * (PER_HOST - MIB + 1))
        with pytest.raises(Failure, match=r"the host sent 1\.0 MiB"):
            large.text()
        with pytest.raises(Failure, match="fewer forks"):
            large.feed(b"x")
        assert len(small.text()) == PER_HOST - MIB + 1
    assert (memory.used, memory.waiting) == (0, set())


def test_large_outputs_are_worked_on_one_at_a_time_and_no_longer_waited_for_than_the_deadline() -> None:
    memory, begun = OutputMemory(2), threading.Event()
    with memory.place() as first, memory.place() as second, memory.place() as little:
        first.settle(LARGE)
        first.settle(LARGE)  # it has it already
        little.settle(LARGE - 1)
        with pytest.raises(Failure, match="waited too long") as caught:
            second.settle(LARGE, Deadline(time.monotonic(), 0.01))
        assert caught.value.phase == "timeout"
        thread = threading.Thread(target=lambda: (second.settle(LARGE), begun.set()))
        thread.start()
        first.leave()
        assert begun.wait(10)
        thread.join()


def test_text_that_would_take_many_times_its_bytes_is_made_ascii() -> None:
    smile = "\U0001f600".encode()
    for data in (smile + b"x" * 3 * MIB, smile + b"\xff" * MIB, b"\xc3\xa9" * 2 * MIB):
        text = fed(data, limit=8 * MIB, piece=MIB).text()
        assert text.isascii()
        assert len(text) == len(data)
    few = fed(smile + b"\xff" + b"x" * MIB, limit=8 * MIB, piece=MIB).text()
    assert few.startswith("\U0001f600\\xff")
    assert sys.getsizeof(few) < 5 * MIB


def test_a_deadline_that_passed_ends_it() -> None:
    with pytest.raises(Failure) as caught:
        Capture(100, Deadline(time.monotonic() - 2, 1)).feed(b"x")
    assert caught.value.phase == "timeout"


def test_phases_of_a_host_end_within_its_total() -> None:
    total = Limits(total_s=2).start(time.monotonic() - 1.5)
    assert total.within(10).end == pytest.approx(total.end)
    assert total.within(0.1).end < total.end
    assert Limits(total_s=1).start(time.monotonic() - 3).left() == 0


def test_failure_is_one_printable_line_and_survives_pickling() -> None:
    failure = Failure("exec", "a\x1b]0;owned\x07\n\u202eb\u2066" + "x" * 5000, retry=True)
    assert failure.message.isprintable()
    assert len(failure.message) <= 600
    copy = pickle.loads(pickle.dumps(failure))
    assert (copy.phase, copy.message, copy.retry) == (failure.phase, failure.message, True)
    assert failure.as_dict() == {"phase": "exec", "message": failure.message}


def test_a_failure_has_a_phase_of_the_list() -> None:
    assert all(Failure(phase, "").phase == phase for phase in PHASES)
    with pytest.raises(ValueError, match="not a phase"):
        Failure("bananas", "")


def test_clean_takes_bytes_and_cuts() -> None:
    assert clean(b"\xff\x1b[31mred\x1b[0m \r\n  end") == "\ufffd [31mred [0m end"
    assert clean("y" * 100, 10) == "y" * 9 + "\u2026"
