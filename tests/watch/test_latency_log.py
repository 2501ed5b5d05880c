"""The service's latency log: lines of both kinds, lines that are neither, and files that change under the reader."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from numatune.bench.errors import BenchError
from numatune.bench.watching import latency_log
from numatune.bench.watching.latency_line import parse_line
from numatune.bench.watching.latency_log import LatencyLog

S = 1_000_000_000
UNIX = 1_700_000_000 * S  # unix time when the tick's clock is at zero


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "latency.log"
    file.write_text("99\n98\n")
    return file


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("line", "latency", "end"),
    [
        ("5", 5_000_000, None),
        ("0.25", 250_000, None),
        (" 1e3\r", S, None),
        ('{"latency_ms": 5}', 5_000_000, None),
        ('{"latency_s": 0.5, "path": "/v1", "end": 12.5}', S // 2, 12.5),
        ('{"latency_us": 7.5, "end": null}', 7_500, None),
        ('{"latency_ns": 12345}', 12_345, None),
    ],
)
def test_lines(line: str, latency: int, end: float | None) -> None:
    assert parse_line(line.encode()) == (latency, end)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("GET /", "neither a number nor a JSON object"),
        ("-1", "not above zero"),
        ("0", "not above zero"),
        ("nan", "not above zero"),
        ("1e300", "no request can take that long"),
        ("[5]", "neither a number nor a JSON object"),
        ('{"latency_ms": 5', "not valid JSON"),
        ('{"ms": 5}', "none of them is there"),
        ('{"latency_ms": 5, "latency_s": 1}', "2 of them is there"),
        ('{"latency_ms": "5"}', "latency_ms is not a number"),
        ('{"latency_ms": true}', "latency_ms is not a number"),
        ('{"latency_ms": 1' + "0" * 400 + "}", "no request can take that long"),
        ('{"latency_ms": 5, "end": "now"}', '"end" is not a number'),
        ('{"latency_ms": 5, "end": Infinity}', '"end" is not a number'),
        ('{"a":' * 2000, "not valid JSON"),
        ("\ufffd\ufffd", "neither"),
    ],
)
def test_lines_that_are_no_request(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_line(line.encode())
    assert why in str(caught.value)


def test_it_starts_at_the_end_and_waits_for_whole_lines(path: Path) -> None:
    log = LatencyLog(str(path))
    log.read(S, UNIX)
    assert len(log.latencies) == 0
    add(path, "5\n6\n7")
    log.read(2 * S, UNIX)
    assert list(log.latencies) == [5_000_000, 6_000_000]
    add(path, "5\n\n" + json.dumps({"latency_ms": 1, "end": 1_700_000_002.5}) + "\n")
    log.read(3 * S, UNIX)
    log.close()
    assert log.requests(S) == [[S, 5_000_000], [S, 6_000_000], [S * 3 // 2, 1_000_000], [2 * S, 75_000_000]]
    assert (log.lines, log.timed, log.malformed) == (4, 1, 0)


def test_the_rest_of_a_line_that_was_begun_before_is_no_line(path: Path) -> None:
    add(path, "12")
    log = LatencyLog(str(path))
    add(path, "34")
    log.read(S, UNIX)
    add(path, "5\n6\n")
    log.read(S, UNIX)
    log.close()
    assert (list(log.latencies), log.malformed) == ([6_000_000], 0)


def test_malformed_lines_are_counted_and_the_first_is_named(path: Path) -> None:
    log = LatencyLog(str(path))
    add(path, '1\nGET /\x1b[31m 200\n2\n{"ms": 1}\n{"latency_ms": 3, "end": 1700000000000}\n4\n')
    log.read(S, UNIX)
    log.close()
    assert list(log.latencies) == [1_000_000, 2_000_000, 4_000_000]
    assert (log.lines, log.malformed) == (6, 3)
    assert log.first_malformed == {"line": 2, "text": "GET /?[31m 200", "why": "neither a number nor a JSON object"}


def test_a_time_that_is_not_in_seconds_is_malformed(path: Path) -> None:
    log = LatencyLog(str(path))
    add(path, '{"latency_ms": 3, "end": 1700000000000}\n{"latency_ms": 3, "end": 1e300}\n')
    log.read(S, UNIX)
    log.close()
    assert (log.malformed, len(log.latencies)) == (2, 0)
    assert log.first_malformed is not None
    assert "seconds since 1970" in log.first_malformed["why"]


def test_a_rotated_log_loses_no_line(path: Path) -> None:
    log = LatencyLog(str(path))
    add(path, "1\n")
    log.read(S, UNIX)
    add(path, "2\n")
    path.rename(path.with_suffix(".1"))
    log.read(S, UNIX)  # not made anew yet
    add(path.with_suffix(".1"), "3\n")
    path.write_text("4\n5\n")
    log.read(S, UNIX)
    add(path, "6\n")
    log.read(S, UNIX)
    log.close()
    assert [latency // 1_000_000 for latency in log.latencies] == [1, 2, 3, 4, 5, 6]
    assert log.changes == 1


def test_a_log_that_is_cut_is_read_from_its_start(path: Path) -> None:
    log = LatencyLog(str(path))
    add(path, "11111\n2222")
    log.read(S, UNIX)
    path.write_text("3\n")
    log.read(S, UNIX)
    log.close()
    assert list(log.latencies) == [11_111_000_000, 3_000_000]


@pytest.mark.parametrize("size", [70_000, 300_000])
def test_a_giant_line_is_one_malformed_line_and_is_not_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(latency_log, "READ_AT_ONCE", 100_000)
    log = LatencyLog(str(path))
    add(path, "1\n" + "9" * size)
    for _ in range(4):
        log.read(S, UNIX)
    assert len(log._rest) <= latency_log.LONGEST_LINE
    add(path, "9\n2\n")
    log.read(S, UNIX)
    log.read(S, UNIX)
    log.close()
    assert (list(log.latencies), log.malformed) == ([1_000_000, 2_000_000], 1)
    assert log.first_malformed is not None
    assert log.first_malformed["why"] == "longer than 65,536 bytes"
    assert len(log.first_malformed["text"]) <= 80


def test_too_many_requests_are_counted_and_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_log, "MOST_REQUESTS", 2)
    log = LatencyLog(str(path))
    add(path, "1\n2\n3\n")
    log.read(S, UNIX)
    log.close()
    assert (len(log.latencies), log.as_dict()["not_kept"]) == (2, 1)


def test_only_a_regular_file_is_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "not a regular file"), (".", "not a regular file"), ("absent", "No such file")):
        with pytest.raises(BenchError, match=words):
            LatencyLog(str(tmp_path / name))


def test_what_comes_into_the_old_file_at_the_last_moment_is_not_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real = LatencyLog(str(path)), os.stat

    def rotate_first(name: str) -> os.stat_result:
        monkeypatch.setattr(os, "stat", real)
        add(path, "1\n")
        path.rename(path.with_suffix(".1"))
        path.write_text("2\n")
        return real(name)

    monkeypatch.setattr(os, "stat", rotate_first)
    log.read(S, UNIX)
    log.close()
    assert list(log.latencies) == [1_000_000, 2_000_000]


def test_a_log_that_grew_much_is_read_to_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its lines would come in later samples, and be joined with counters of another time."""
    monkeypatch.setattr(latency_log, "READ_AT_ONCE", 10)
    log = LatencyLog(str(path))
    add(path, "".join(f"{number}\n" for number in range(100, 150)))
    log.read(S, UNIX)
    log.close()
    assert [latency // 1_000_000 for latency in log.latencies] == list(range(100, 150))
    assert set(log.ends) == {S}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("GET /foo 200 12ms\n" * 30, "'GET /foo 200 12ms' is no request: neither a number nor a JSON object"),
        ('{"ms": 12}\n', "none of them is there"),
        ('{"latency_ms": 3, "end": 1700000000000}\n', "seconds since 1970"),
        ("x" * 300_000 + "\n" + "y\n", "'y' is no request"),
    ],
)
def test_a_log_of_which_no_last_line_is_a_request_is_refused_at_the_start(text: str, why: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(BenchError) as caught:
        LatencyLog(str(path))
    assert why in str(caught.value)
    assert "--latency-unit" in str(caught.value)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "half a line", "# started\n12.5\n", "12.5\n" + "GET /\n" * 19, '{"latency_ms": 3, "end": 1.5}\n'],
)
def test_a_log_that_is_empty_so_far_or_holds_requests_among_others_is_followed(text: str, path: Path) -> None:
    path.write_text(text)
    log = LatencyLog(str(path))
    add(path, "\n7\n")
    log.read(S, UNIX)
    log.close()
    assert list(log.latencies) == [7_000_000]


def test_a_log_that_gets_only_other_lines_ends_the_watch(path: Path) -> None:
    path.write_text("")
    log = LatencyLog(str(path))
    add(path, "GET /\n" * 19)
    log.read(S, UNIX)
    log.check()
    add(path, "GET /\n")
    log.read(2 * S, UNIX)
    with pytest.raises(BenchError, match="'GET /' is no request"):
        log.check()
    add(path, "5\n")
    log.read(3 * S, UNIX)
    log.close()
    log.check()


@pytest.mark.parametrize(("unit", "latency"), [("s", 12_000_000), ("ms", 12_000), ("us", 12)])
def test_plain_numbers_may_have_another_unit(unit: str, latency: int, path: Path) -> None:
    path.write_text("")
    log = LatencyLog(str(path), unit)
    add(path, '0.012\n{"latency_ms": 5}\n')
    log.read(S, UNIX)
    log.close()
    assert list(log.latencies) == [latency, 5_000_000]
    assert log.as_dict()["unit"] == unit


@pytest.mark.parametrize(
    ("text", "unit", "said"),
    [
        ("0.012\n0.5\n0.02\n", None, "such as 0.02 may be milliseconds or seconds: name the unit with --latency-unit"),
        ("12500000\n", None, "may be milliseconds or microseconds or nanoseconds"),
        ("0.012\n", "ms", None),
        ("0.012\n", "s", None),
        ("12.5\n0.9\n8\n", None, None),
        ('{"latency_ms": 0.02}\n', None, None),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_numbers_that_may_be_of_another_unit_are_refused(
    text: str, unit: str | None, said: str | None, later: bool, tmp_path: Path
) -> None:
    """Silently taken as milliseconds, 0.012 seconds would be a thousandth of what they are."""
    path = tmp_path / "l.log"
    path.write_text("" if later else text)

    def follow() -> LatencyLog:
        log = LatencyLog(str(path), unit)
        add(path, text * 20)
        log.read(S, UNIX)
        log.check()
        return log

    if said is None:
        log = follow()
        assert log.assumed == (unit is None and "{" not in text)
        assert log.as_dict()["unit_assumed"] == log.assumed
        log.close()
        return
    with pytest.raises(BenchError) as caught:
        follow()
    assert said.replace("such as 0.02 ", "") in str(caught.value).replace("such as 0.02 ", "")
