"""What the commands that measure print: as wide as the terminal, the verdict first, nothing said twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from verdict.made import result, save
from verdict.test_watch_comparison import watch

from numatune.cli import main, output
from numatune.cli.recording import print_report
from numatune.report.layout import folded
from numatune.report.runs.run_report import Wording, make_report
from numatune.verdict.causes import CAUSES

SPIKES = range(50, 1000, 50)
FAULTS = {
    "minor_faults": [20_000 if index in SPIKES else 0 for index in range(1000)],
    "major_faults": [0] * 1000,
    "involuntary_switches": [40 if index in SPIKES else 1 for index in range(1000)],
    "cpu_migrations": [3 if index in SPIKES else 0 for index in range(1000)],
    "voluntary_switches": [30 if index in SPIKES else 1 for index in range(1000)],
}


@pytest.mark.parametrize("width", [48, 80])
def test_no_line_is_wider_than_the_terminal(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "width", lambda: width)
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "a.json", spikes=SPIKES, factor=1.4, counters=FAULTS, seed=1)
    save(tmp_path, "b.json", seed=2)
    watch(tmp_path, "w.json", seed=1)
    watch(tmp_path, "v.json", seed=2)
    for words in (
        ["show", "a.json"],
        ["show", "w.json"],
        ["compare", "--before", "a.json", "--after", "b.json"],
        ["compare", "--before", "w.json", "--after", "v.json"],
    ):
        assert main(words) in (0, 1, 3)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 5
        assert [line for line in lines if len(line) > width] == []


def test_a_line_goes_on_under_its_own_text() -> None:
    row = "         78      84.0      3.07  minor faults 502 (0), involuntary switches 47 (16)"
    assert folded(row, 70).splitlines()[1] == " " * 33 + "switches 47 (16)"
    assert folded("Ruled out: a cause, and another cause", 20).splitlines() == [
        "Ruled out: a cause,",
        "  and another cause",
    ]
    assert folded(row, 100) == row


def test_what_a_run_comes_to_stands_first_and_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    run = result(spikes=SPIKES, factor=1.4, counters=FAULTS, seed=1)
    why = "this host does not have it"
    run |= {
        "run": {},
        "start_offset_ns": [round(index * 100e6) for index in range(1000)],
        "counter_strides": {},
        "counters_unavailable": {"throttle_events": why, "frequency_changes": why, "softirq_ns": why, "irq_ns": why},
    }
    run["environment"]["pinning"] = {"cpus": "0-1", "ok": True}
    print_report(make_report(run, "a.json"), "text", Wording("a walk", "walk", first=["NUMA balancing acted."]))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "NUMA balancing acted."
    assert lines[1].endswith("% of the time that spikes cost: other minor faults")
    assert lines[2].startswith("  do: ")
    assert len(lines) < 40 + len(CAUSES)
    assert len([line for line in lines if line.startswith("      ") and " 1.40 " in line]) == 5  # of 19 spikes
    assert "  … and 14 smaller ones" in lines
    # The causes name two of them; what no cause rests on is one line.
    assert out.count("this host does not have it") == 2
    assert f"  changes of the CPU frequency, throttling for heat or power: {why}" in lines
    assert f"Not counted: time in soft interrupts, time in interrupts ({why})." in lines
