"""The figures: plotly accepts each of them, no spike is lost, and a cause looks the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report.made_report import HOSTILE, attribution, faulty, source, watch

from numatune.report.html import figures, timeline
from numatune.report.html.palette import LOOKS
from numatune.report.html.readable import embed
from numatune.report.html.source import of_watch
from numatune.report.html.thinning import kept, tail
from numatune.verdict.causes import CAUSES
from numatune.verdict.run import parse_run
from numatune.verdict.statistics import spike_indices
from numatune.verdict.watch_file import parse_watch

plotly = pytest.importorskip("plotly.graph_objects")


def checked(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure, once plotly's own validator has passed it."""
    plotly.Figure(figure)
    return figure


def drawn(made: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    one = source(made)
    return one, checked(timeline.timeline(one, timeline.drawn_counters(one)))


def test_the_timeline_holds_latency_spikes_and_counters_on_one_axis_of_time() -> None:
    one, figure = drawn(faulty())
    assert {trace.get("xaxis", "x") for trace in figure["data"]} == {"x"}
    assert figure["layout"]["hovermode"] == "x unified"
    assert figure["layout"]["hoversubplots"] == "axis"
    marked = {x for trace in figure["data"] if trace["name"].startswith("NUMA hinting") for x in trace["x"]}
    assert marked == {round(float(one.run.offsets[index]) / 1e9, 4) for index in one.blamed}
    assert len(marked) == 20
    line = figure["data"][0]
    said = {number: text for number, text in zip(line["customdata"], line["text"], strict=True) if text}
    assert said == dict.fromkeys(one.blamed, ", a spike: NUMA hinting faults")
    faults = next(trace for trace in figure["data"] if trace["name"] == "minor faults")
    assert faults["yaxis"] != "y"
    assert faults["x"] == figure["data"][0]["x"]  # so that hovering meets latency and counters at once


def test_a_spike_has_the_colour_of_its_cause_in_the_timeline_and_in_the_shares() -> None:
    one, figure = drawn(faulty())
    spikes = next(trace for trace in figure["data"] if trace["name"].startswith("NUMA hinting"))
    bar = checked(figures.share_intervals(one.attribution))["data"][0]
    assert spikes["marker"]["color"] == bar["marker"]["color"] == LOOKS["numa_hinting_faults"].colour


def test_every_cause_has_a_colour_and_a_shape_of_its_own() -> None:
    assert {cause.name for cause in CAUSES} <= set(LOOKS)
    assert len({look.colour for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.symbol for look in LOOKS.values()}) == len(LOOKS)


def test_of_a_long_run_every_spike_stays_and_the_figure_stays_small() -> None:
    made, short = faulty(60_000, every=97), source()
    run = parse_run(made, "long.json")
    seconds = run.offsets / 1e9
    series = replace(short.series, seconds=seconds, counter_seconds=seconds, latency=run.latency, counters=run.counters)
    spikes = spike_indices(run)
    one = replace(short, run=run, series=series, blamed=dict.fromkeys(spikes, "minor_faults"))
    figure = checked(timeline.timeline(one, timeline.drawn_counters(one)))
    line = figure["data"][0]
    assert len(spikes) > 600
    assert set(spikes) <= set(line["customdata"])
    assert max(line["y"]) == pytest.approx(max(made["latency_ns"]) / 1e6, abs=1e-3)
    assert len(embed(figure)) < 3_000_000
    assert len(line["x"]) < 10_000


def test_thinning_keeps_the_lowest_and_highest_of_each_stretch_and_what_it_is_told() -> None:
    values = np.sin(np.arange(10_000.0))
    values[[777, 7770]] = (9.0, -9.0)
    counter = np.full(10_000, np.nan)
    counter[5001] = 3.0
    places = kept(10_000, [4242], [values, counter], 50)
    assert {777, 7770, 4242, 5001, 0, 9_999} <= set(places.tolist())
    assert places.size < 400
    assert kept(90, [], [values[:90]], 50).tolist() == list(range(90))


def test_the_tail_shows_the_slowest_one_by_one() -> None:
    slow, share = tail(np.arange(1.0, 100_001.0), points=100)
    assert slow[-1] == 100_000
    assert share[-1] == pytest.approx(1e-5)
    assert (share[0], slow[0]) == (1.0, 1.0)
    assert slow[-100:].tolist() == list(np.arange(99_901.0, 100_001.0))


def test_a_counter_that_is_read_now_and_then_says_so_and_has_no_line_between() -> None:
    made = faulty()
    made["counters"]["cpu_migrations"][31] = 2
    _one, figure = drawn(made)
    trace = next(trace for trace in figure["data"] if trace["name"].startswith("migrations"))
    assert trace["mode"] == "markers"
    assert None in trace["y"]
    headings = [note["text"] for note in figure["layout"]["annotations"]]
    assert "migrations to another CPU (sum of every 16)" in headings


def test_without_offsets_the_axis_counts_iterations() -> None:
    made = faulty()
    del made["start_offset_ns"]
    _one, figure = drawn(made)
    assert figure["layout"]["xaxis"]["title"]["text"] == "inference number"


def test_one_iteration_makes_a_figure() -> None:
    made = faulty(1, every=50)
    made["start_offset_ns"] = [0]
    one, _figure = drawn(made)
    checked(figures.distribution([figures.Curve("run", one.latencies / 1e6, "#000000")], None, "inference"))


def test_the_distribution_has_a_line_for_each_side_down_to_its_slowest() -> None:
    curves = [
        figures.Curve("before", np.array([1.0, 1.0, 1.0, 5.0]), "#111111", "dash"),
        figures.Curve("after", np.array([1.0, 1.0]), "#222222"),
    ]
    figure = checked(figures.distribution(curves, None, "inference"))
    before = figure["data"][0]
    assert (before["x"][-1], before["y"][-1]) == (5.0, 0.25)
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_shares_and_what_is_unexplained_fill_the_bar() -> None:
    rows = [("a", attribution(("run_delay", 0.6), ("quota", 0.1))), ("b", attribution(("run_delay", 0.9)))]
    figure = checked(figures.shares(rows))
    for place in range(2):
        assert sum(trace["x"][place] for trace in figure["data"]) == pytest.approx(1.0)
    assert figure["data"][-1]["name"] == "unexplained"
    interval = checked(figures.share_intervals(rows[0][1]))["data"][-2]
    assert interval["error_x"]["array"] == [0.05]


def test_a_name_from_a_file_is_text_in_a_figure_and_in_its_data() -> None:
    figure = checked(figures.shares([(HOSTILE, attribution(("run_delay", 0.6)))]))
    name = figure["data"][0]["y"][0]
    assert "<" not in name
    assert "\x1b" not in name
    data = embed({"name": HOSTILE})
    assert not set("<>&\u2028") & set(data)
    assert data.isascii()


def test_a_watch_has_windows_on_the_axis_and_its_counters_in_all_of_them() -> None:
    one = of_watch(parse_watch(watch(), "w.json"))
    figure = checked(timeline.timeline(one, timeline.drawn_counters(one)))
    assert len(one.blamed) == 10
    assert set(one.blamed.values()) == {"minor_faults"}
    assert figure["layout"]["annotations"][0]["text"] == "slowest request of each window, ms"
    unlogged = of_watch(parse_watch(watch(logged=False), "w.json"))
    figure = checked(timeline.timeline(unlogged, timeline.drawn_counters(unlogged)))
    assert [trace["name"] for trace in figure["data"]] == ["minor faults"]
    assert len(figure["data"][0]["x"]) == 200
