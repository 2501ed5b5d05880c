"""Output of hosts that are not trusted: bounded, decoded whatever it holds, unpacked without bombs."""

from __future__ import annotations

import gzip
import pickle
import time
import tracemalloc

import pytest

from numatune.transport.capture import Capture
from numatune.transport.failure import PHASES, Failure, clean
from numatune.transport.limits import Deadline, Limits


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
