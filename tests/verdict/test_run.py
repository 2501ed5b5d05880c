"""Figures of one run, what came with its spikes, and files that are no result."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from verdict.made import launch, result

from numatune.bench.watching.latency_log import MOST_REQUESTS
from numatune.bench.watching.watch import MOST_WINDOWS
from numatune.cli import main
from numatune.verdict import blocks, run, statistics
from numatune.verdict.errors import VerdictError
from numatune.verdict.run import load_run, parse_run
from numatune.verdict.spikes import list_spikes


def test_a_spike_is_ten_percent_above_the_median_at_least() -> None:
    quiet = launch(1000, [10], factor=1.09, noise=0.001)
    assert statistics.spike_indices(quiet) == []
    assert statistics.spike_indices(launch(1000, [10], factor=1.11, noise=0.001)) == [10]


def test_a_noisy_run_has_a_higher_threshold() -> None:
    noisy = launch(1000, noise=0.05)
    deviation = statistics.deviation(noisy.relative)
    assert statistics.summarise(noisy).threshold == pytest.approx(1 + 6 * deviation)
    assert statistics.summarise(noisy).threshold > 1.15


def test_summary() -> None:
    summary = statistics.summarise(launch(1000, range(0, 1000, 50), factor=2.0, noise=0.0))
    assert (summary.iterations, summary.spikes, summary.spikes_per_1000) == (1000, 20, 20.0)
    assert summary.p50_ms == pytest.approx(100.0)
    assert summary.max_over_p50 == pytest.approx(2.0)
    assert summary.excess_share == pytest.approx(20 * 100 / (980 * 100 + 20 * 200))


def faults(iterations: int, bursts: dict[int, int]) -> list[int]:
    return [bursts.get(index, index % 3) for index in range(iterations)]


def test_a_spike_is_listed_with_the_counters_that_rose() -> None:
    places = list(range(30, 990, 120))
    columns = {
        "minor_faults": faults(1000, dict.fromkeys(places, 20_000)),
        "voluntary_switches": faults(1000, {}),
        "involuntary_switches": faults(1000, {7: 40, 900: 50}),  # rises, but elsewhere
    }
    run = launch(1000, places, counters=columns)
    spikes = list_spikes(run, statistics.spike_indices(run))
    assert [spike.iteration for spike in spikes] == places
    assert [(rise.counter, rise.value, rise.usual) for rise in spikes[0].rises] == [("minor_faults", 20_000, 1)]


def test_a_counter_that_was_read_now_and_then() -> None:
    moves = [None if (index + 1) % 16 else 0 for index in range(1000)]
    moves[31] = 4
    run = launch(1000, [31], counters={"cpu_migrations": moves})
    assert [rise.counter for rise in list_spikes(run, [31])[0].rises] == ["cpu_migrations"]


def test_the_warm_up_is_in_no_figure_and_moves_no_index() -> None:
    run = launch(1000, [20, 500], factor=2.0, warm_up=(60, 1.3), counters={"minor_faults": list(range(1000))})
    summary = statistics.summarise(run)
    assert (summary.warm_up, summary.iterations, summary.spikes) == (59, 941, 2)
    assert summary.p50_ms == pytest.approx(100.0, rel=0.01)
    assert statistics.spike_indices(run) == [20, 500]
    steady = run.steady()
    assert steady.latency.size == steady.counters["minor_faults"].size == 941
    assert list(steady.counters["minor_faults"][:2]) == [20, 60]
    assert steady.steady() is steady


def test_a_settled_run_has_no_warm_up() -> None:
    run = replace(launch(1000, warm_up=(60, 1.3)), settled=True)
    assert statistics.summarise(run).warm_up == 0
    assert statistics.summarise(run).spikes == 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"schema": "numatune/bench/1", "latency_ns": [1,', "cut short"),
        ("[1, 2]", 'no "schema"'),
        ('{"schema": "numatune/audit/1"}', "is an audit: `numatune report --audit` takes it"),
        ('{"schema": "numatune/bench/1"}', "latency_ns must be a list"),
        (json.dumps({**result(10), "latency_ns": []}), "positive numbers"),
        (json.dumps({**result(10), "latency_ns": ["1"] * 10}), "list of numbers"),
        (json.dumps({**result(10), "latency_ns": [1, None, 3]}), "positive numbers"),
        (json.dumps({**result(10), "latency_ns": [0] * 10}), "positive numbers"),
        (json.dumps({**result(10), "counters": {"minor_faults": [1]}}), "has 1 entries, not 10"),
        (json.dumps({**result(10), "environment": None}), "environment"),
        (json.dumps({**result(10), "invalidating_events": ["x"]}), "must hold objects"),
        ("[" * 100_000, "is not JSON"),
        (json.dumps({**result(3), "latency_ns": [1e8, float("inf"), 1e8]}), "is damaged: latency_ns holds"),
        (json.dumps({**result(3), "latency_ns": [1e8, float("nan"), 1e8]}), "is damaged: latency_ns holds"),
        (json.dumps({**result(3), "latency_ns": [10**8, 10**400, 10**8]}), "is damaged: latency_ns holds"),
        (json.dumps({**result(3), "latency_ns": [10**8, 10**300, 10**8]}), "is damaged: latency_ns must"),
        (json.dumps({**result(3), "latency_ns": [1e-300, 1e8, 1e-300]}), "is damaged: latency_ns must"),
        (json.dumps({**result(1), "counters": {"minor_faults": [10**400]}}), "is damaged: counters.minor_faults"),
    ],
)
def test_a_file_that_is_no_result(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(VerdictError) as caught:
        load_run(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"@numatune"), "is packed, as a snapshot is: `numatune audit --snapshot FILE` judges one"),
        (b"SQLite format 3\0\x10\0\xff", "is a store of runs: `--store` and `--retry-failed` of"),
        (b"\n\n<!DOCTYPE html>\n<html>", "is a page for a browser: name the results that it was made of"),
        (b'{"schema": "numatune/plan/1"}', "is a plan: `numatune plan --retry-failed`"),
        (b'{"schema": "numatune/compare/1"}', "is what `compare --format json` printed: name the results that"),
        (b'{"schema": "numatune/bench-summary/1"}', "is what `bench --format json` printed: name the file that"),
        (b'{"schema": "numatune/setting/1"}', "is what `explain --format json` printed: no command takes it"),
    ],
)
def test_what_numatune_wrote_is_said_to_be_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(VerdictError) as caught:
        load_run(str(tmp_path / "file"))
    assert str(caught.value).startswith(f"{tmp_path / 'file'} {message}")


def test_every_schema_that_numatune_writes_is_known() -> None:
    root = Path(run.__file__).parents[1]
    written = {
        name for path in root.rglob("*.py") for name in re.findall(r'"(numatune/[a-z-]+/[0-9]+)"', path.read_text())
    }
    assert len(written) > 12
    # The name of a file of weights; and what is read here.
    others = written - {"numatune/resnet/1", run.BENCH_SCHEMA}
    assert [name for name in sorted(others) if "its schema is" in run.what_it_is(name)] == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VerdictError, match="No such file"):
        load_run(str(tmp_path / "none.json"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VerdictError, match="not text"):
        load_run(str(tmp_path / "binary"))


def test_a_result_of_the_recorder_is_read() -> None:
    run = parse_run(result(12, [3]), "x")
    assert run.latency.shape == (12,)
    assert run.relative[3] == pytest.approx(1.5, rel=0.02)


def test_blocks_cover_every_iteration_once() -> None:
    for size in (1, 9, 10, 19, 20, 1003):
        pieces = blocks.cut(size, 10)
        assert [i for piece in pieces for i in range(size)[piece]] == list(range(size))
        assert all(piece.stop - piece.start >= min(10, size) for piece in pieces)


def test_clustered_spikes_make_longer_blocks() -> None:
    alone, burst = np.zeros(1000, dtype=bool), np.zeros(1000, dtype=bool)
    alone[::97] = True
    burst[400:450] = True
    assert blocks.block_length([alone]) == blocks.SHORTEST_BLOCK
    assert blocks.block_length([alone, burst]) > 100
    assert blocks.block_length([np.zeros(1000, dtype=bool)]) == blocks.SHORTEST_BLOCK


def marks(size: int, *places: int) -> blocks.Marks:
    made = np.zeros(size, dtype=bool)
    made[list(places)] = True
    return made


def test_launches_that_differ_more_than_chance_weaken_what_is_shown() -> None:
    assert blocks.count_blocks([marks(100, 1, 2, 50), marks(40)], 10) == [(2, 10), (0, 4)]
    alike = [(10, 100), (10, 100), (10, 100)]
    assert blocks.dispersion(alike, alike) == 1.0
    assert blocks.dispersion([(0, 100)], [(30, 100)]) == 1.0  # one launch a side shows no difference
    # By hand: expected 10 each, variance 9; (100 + 100 + 0) / 9 over two degrees.
    assert blocks.dispersion([(0, 100), (20, 100), (10, 100)]) == pytest.approx(200 / 9 / 2)
    assert blocks.dispersed(0.01, 1.0) == pytest.approx(0.01)
    assert 0.05 < blocks.dispersed(0.01, 4.0) < 0.5
    assert 0.5 < blocks.dispersed(0.99, 4.0) < 0.99


def slow_p99(values: list[np.ndarray], side: list[int]) -> float:
    ordered = np.sort(np.concatenate([values[index] for index in side]))
    return float(ordered[max(0, int(np.ceil(0.99 * ordered.size)) - 1)])


@pytest.mark.parametrize(("sizes", "length"), [((300, 305), 10), ((1003, 330), 47), ((299, 2000), 300)])
def test_the_p99_by_counting_is_the_p99_by_sorting(sizes: tuple[int, int], length: int) -> None:
    generator = np.random.default_rng(sizes[0])
    sides = [[np.round(generator.lognormal(0, 0.3, size), 2) for size in (sizes[at], 50)] for at in range(2)]
    tail = blocks.Tail(sides[0], sides[1], length)
    values = [one[piece] for side in sides for one in side for piece in blocks.cut(one.size, length)]
    count, first = len(values), sum(len(blocks.cut(one.size, length)) for one in sides[0])
    indices = list(range(count))
    observed = slow_p99(values, indices[first:]) / slow_p99(values, indices[:first])
    assert tail.ratio == observed
    rounds = 300
    drawn = np.random.default_rng(7).permuted(np.tile(np.arange(count) < first, (rounds, 1)), axis=1)
    ratios = [
        slow_p99(values, list(np.flatnonzero(~sides))) / slow_p99(values, list(np.flatnonzero(sides)))
        for sides in drawn
    ]
    lower, higher = (1 + sum(r <= observed for r in ratios), 1 + sum(r >= observed for r in ratios))
    assert tail.permuted(rounds, seed=7) == (lower / (rounds + 1), higher / (rounds + 1))


def test_the_interval_of_the_p99_ratio_holds_the_truth_and_is_no_point() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(40):
        before, after = ([generator.lognormal(0, 0.1, 1000) * factor] for factor in (1.0, 1.3))
        low, high = blocks.Tail(before, after, 10).interval()
        assert 1.1 < low < high < 1.5
        held += low <= 1.3 <= high
    assert held >= 34


def test_the_interval_of_the_rates_widens_with_the_blocks() -> None:
    low, high = blocks.rate_interval((56, 70, 1000.0), (48, 80, 1000.0))
    assert (low, high) == pytest.approx((-333.9, -52.4), abs=0.2)  # Newcombe 1998, as below, in thousandths
    wider = blocks.rate_interval((28, 35, 1000.0), (24, 40, 1000.0))
    assert wider[0] < low < high < wider[1]
    low, high = blocks.rate_interval((0, 300, 100.0), (0, 300, 100.0))
    assert low < 0.0 < high  # nothing seen is not nothing


def test_bounds_known_from_the_literature() -> None:
    assert blocks.upper_bound(0, 299) == pytest.approx(0.00997, abs=2e-5)  # 1 - 0.05 ** (1 / 299)
    assert blocks.upper_bound(0, 2995) < 0.001
    assert blocks.upper_bound(5, 5) == 1.0
    low, high = blocks.difference_interval((56, 70), (48, 80), confidence=0.95)
    assert (-high, -low) == pytest.approx((0.0524, 0.3339), abs=2e-4)  # Newcombe 1998, table II, method 10
    assert blocks.fewer_p((6, 100), (0, 100)) == pytest.approx(0.01446, abs=2e-4)


@pytest.mark.parametrize(
    ("name", "limit", "content", "many"),
    [
        ("MOST_BYTES", 1 << 20, b'{"schema": "' + b"x" * (1 << 20) + b'"}', "1 MiB"),
        ("MOST_VALUES", 1000, b"[" + b"1," * 1000 + b"1]", "1,000 values"),
        ("MOST_LISTS", 1000, b"[" + b"[]" * 1000 + b"]", "1,000 lists"),
        ("MOST_LISTS", 1000, b'{"a":' * 1001 + b"1" + b"}" * 1001, "1,000 lists"),
    ],
)
def test_what_holds_more_than_a_recording_is_refused_before_it_is_decoded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    limit: int,
    content: bytes,
    many: str,
) -> None:
    monkeypatch.setattr(run, name, limit)
    monkeypatch.setattr(run, "json", SimpleNamespace(loads=lambda _: pytest.fail("decoded")))
    path = tmp_path / "result.json"
    path.write_bytes(content)
    page = str(tmp_path / "r.html")
    for words in (
        ["show", str(path)],
        ["report", str(path), "-o", page],
        ["compare", "--before", str(path), "--after", str(path)],
        ["report", "--audit", str(path), "-o", page, str(path)],
    ):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"holds more than {many}" in err
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("threads", [10**400, 0, run.MOST_THREADS + 1], ids=["endless", "none", "more"])
def test_more_threads_than_linux_has_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    columns = {name: [1] * 200 for name in ("minor_faults", "major_faults", "cpu_time_ns", "run_delay_ns")}
    data = result(200, [30], counters=columns)
    data["environment"]["threads"] = threads
    path = tmp_path / "result.json"
    path.write_text(json.dumps(data))
    for words in (["show"], ["report", "-o", str(tmp_path / "r.html")]):
        assert main([words[0], str(path), *words[1:]]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "environment.threads must be a number from 1 to 4,194,304" in err


def test_no_more_is_read_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_BYTES", 1 << 20)
    with pytest.raises(VerdictError, match="/dev/zero holds more than 1 MiB"):
        run.read_json("/dev/zero", "benchmark result")


def test_what_a_long_watch_records_stays_below_the_limits() -> None:
    assert run.MOST_LISTS > MOST_REQUESTS + 100_000
    # Some 20 counters a window, its start and its length; two numbers a request.
    assert 24 * MOST_WINDOWS + 2 * MOST_REQUESTS < run.MOST_VALUES
