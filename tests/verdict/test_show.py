"""`numatune show`: the figures of recorded runs, each and together."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from verdict.made import save

from numatune.cli import main

SPIKES = range(50, 1000, 50)


def faults(value: int) -> dict[str, list[int]]:
    """Minor faults that come with the spikes and nowhere else."""
    return {"minor_faults": [value if index in SPIKES else 0 for index in range(1000)]}


def test_figures_of_each_and_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 40 ms of excess for 20,000 faults: 2 µs a fault, which is what one costs.
    noisy = save(tmp_path, "noisy.json", spikes=SPIKES, factor=1.4, counters=faults(20_000), seed=1)
    quiet = save(tmp_path, "quiet.json", median=110e6, seed=2)
    assert main(["show", "--format", "json", noisy, quiet]) == 0
    answer = json.loads(capsys.readouterr().out)
    first, second, both = *answer["runs"], answer["all"]
    assert answer["schema"] == "numatune/show/1"
    assert (first["file"], second["file"], both["file"]) == (noisy, quiet, None)
    assert first["spikes_per_1000"] == 19.0
    assert first["cause"]["cause"] in ("minor_faults", "numa_hinting_faults")
    assert first["cause"]["share"] > 0.8
    assert second["cause"] is None
    assert both["spikes_per_1000"] == 9.5
    assert both["p50_ms"] == pytest.approx(105, rel=0.01)
    assert both["max_over_p50"] == first["max_over_p50"]
    assert both["cause"]["share"] == pytest.approx(first["cause"]["share"])
    assert main(["show", noisy, quiet]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"19\.0 {noisy}: (other minor|NUMA hinting) faults \([0-9]+%\)", out)
    assert out.endswith(f" 0.0 {quiet}: no spike")


def test_one_run_is_shown_with_its_causes_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, "noisy.json", spikes=SPIKES, factor=1.4, counters=faults(20_000), seed=1)
    assert main(["show", path]) == 0
    out = capsys.readouterr().out
    assert re.match(r"[0-9]+ % of the time that spikes cost: .*\n  do: ", out.split("\n\n")[1])
    for said in ("strongest cause of the spikes", "median 100", "Spikes (slower than", "these explain:", "do: "):
        assert said in out


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("numatune/watch/1", "run.json is not: compare watches with watches"),
        ("numatune/audit/1", "is an audit: `numatune report --audit` takes it"),
        ("numatune/plan/1", "is a plan: `numatune plan --retry-failed`"),
        ("somebody/1\x1b[2J", "is no run: its schema is 'somebody/1"),
        ({"a": 1}, "is no run: its schema is"),
    ],
)
def test_a_file_of_another_kind_says_what_takes_it(
    schema: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = save(tmp_path, "run.json"), tmp_path / "other.json"
    other.write_text(json.dumps({"schema": schema}))
    assert main(["compare", "--before", run, "--after", str(other)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_watch_is_shown_as_it_was_when_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, log = str(tmp_path / "w.json"), tmp_path / "l.log"
    log.touch()
    main(["watch", "--pid", str(os.getpid()), "--duration", "0.5", "--latency-log", str(log), "-o", path])
    at_first = capsys.readouterr().out
    assert main(["show", path]) == 0
    assert capsys.readouterr().out == at_first
    assert main(["show", "--format", "json", path, path]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["schema"] for one in shown["watches"]] == ["numatune/watch-summary/1"] * 2
    assert main(["show", path, save(tmp_path, "run.json")]) == 2
    assert "by themselves" in capsys.readouterr().err
    damaged = json.loads(Path(path).read_text())
    del damaged["target"], damaged["ended"]
    Path(path).write_text(json.dumps(damaged))
    assert main(["show", path]) in (0, 2)


def test_an_invalid_run_is_shown_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, "run.json", events=[{"event": "steal", "detail": "the hypervisor took 9 % of the time"}])
    assert main(["show", path]) == 3
    assert f"{path} does not count for a verdict: the hypervisor took 9 %" in " ".join(capsys.readouterr().out.split())
    assert main(["show", "--format", "json", path]) == 3
    assert json.loads(capsys.readouterr().out)["all"]["invalid"] == ["the hypervisor took 9 % of the time"]


def test_a_file_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "x", "detail": "evil\x1b[2J\nspoofed: all is well"}
    one, other = (save(tmp_path, name, events=[event], kernel=f"6\x1b[2J{name}") for name in ("a.json", "b.json"))
    for command in (["show", one], ["compare", "--before", one, "--after", other]):
        assert main(command) == 3
        out = capsys.readouterr().out
        assert "evil" in out
        assert "\x1b" not in out
        assert not any(line.startswith("spoofed") for line in out.splitlines())


@pytest.mark.parametrize("command", ["show", "report"])
def test_without_what_finds_the_warm_up_nothing_is_said(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    out = tmp_path / "r.html"
    assert main([command, save(tmp_path, "a.json"), *(["-o", str(out)] if command == "report" else [])]) == 2
    assert "ruptures is not installed" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_no_result_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{")
    for path, said in ((str(tmp_path / "x.json"), "cut short"), ("/no/such.json", "cannot read /no/such.json")):
        assert main(["show", path]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert said in err
