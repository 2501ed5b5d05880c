"""The command itself, in a process of its own: a real run, and how it ends when something is wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bench.conftest import Start

from numatune.bench.packages import optional

SMALL = ("bench", "--model", "resnet50", "--size", "64")
ENDED = (0, 3)  # 3 where this machine was busy: the run is recorded and marked


def finish(process: Any) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_pins_every_thread_and_keeps_all_samples(start: Start, tmp_path: Path, threads: int) -> None:
    free = sorted(os.sched_getaffinity(0))
    if len(free) < threads:
        pytest.skip("one CPU here")
    target = tmp_path / "run.json"
    words = (*SMALL, "--threads", str(threads), "--iterations", "20", "-o", str(target))
    code, out, err = finish(start(*words))
    assert code in ENDED, err
    result = json.loads(target.read_text())
    assert result["schema"] == "numatune/bench/1"
    environment = result["environment"]
    placed = environment["pinning"]["verified"]
    working = [thread for thread in placed if thread["role"] in ("caller", "worker")]
    assert len(working) == threads
    assert all(thread["allowed"].isdecimal() for thread in working)
    assert len({thread["allowed"] for thread in working}) == threads
    assert [thread["role"] for thread in placed].count("helper") == 1
    assert [thread for thread in placed if thread["role"] == "other"] == []  # no uploader, no BLAS pool
    assert environment["pinning"]["ok"] is True
    assert environment["memory_policy"] == "none"
    assert environment["command"][:2] == ["numatune", "bench"]
    assert len(result["latency_ns"]) == result["iterations"] == 20
    assert min(result["latency_ns"]) > 0
    assert all(len(values) == 20 for values in result["counters"].values())
    assert {"minor_faults", "major_faults", "voluntary_switches", "involuntary_switches"} <= {*result["counters"]}
    assert code == (3 if result["invalidating_events"] else 0)
    assert "p50" in out
    assert "Provisional" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


def test_json_and_quick(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    words = (*SMALL, "--quick", "--iterations", "5", "--cpus", str(min(os.sched_getaffinity(0))), "--format", "json")
    code, out, err = finish(start(*words, "-o", str(target)))
    assert code in ENDED, err
    summary = json.loads(out)
    assert summary["summary"]["iterations"] == 5
    assert summary["provisional"] is True
    assert json.loads(target.read_text())["provisional"] is True


def test_ctrl_c_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    process = start(*SMALL, "--iterations", "100000", "-o", str(tmp_path / "run.json"))
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 3
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("numatune: interrupted")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_weights(start: Start, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: writing fails in the middle, as it would there."""
    cache = tmp_path / "cache"
    words = (*SMALL, "--iterations", "2", "-o", str(tmp_path / "run.json"))
    code, _out, err = finish(start(*words, file_bytes=1 << 20, folder=cache))
    assert code == 2
    assert "Traceback" not in err
    assert "cannot write" in err.splitlines()[-1]
    assert "XDG_CACHE_HOME" in err.splitlines()[-1]
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "run.json").exists()


@pytest.mark.usefixtures("own_cache")
def test_a_full_disk_under_the_result(start: Start, tmp_path: Path) -> None:
    from numatune.bench.model.cache import ensure_model

    ensure_model("resnet50", lambda line: None)
    (tmp_path / "run.json").write_text("an older result")
    words = (*SMALL, "--iterations", "50", "-o", str(tmp_path / "run.json"))
    code, _out, err = finish(start(*words, file_bytes=1024))
    assert code == 2
    assert "free some space or name another file with -o" in err.splitlines()[-1]
    assert (tmp_path / "run.json").read_text() == "an older result"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--threads", "4097"), "--threads 4097: there"),
        (("--threads", "0"), "at least one thread"),
        (("--threads", "many"), "many"),
        (("--size", "8"), "--size 8"),
        (("--iterations", "0"), "--iterations 0"),
        (("--iterations", "9999999999"), "1,000,000 at most"),
        (("--inject", ""), "there is no such injection"),
        (("--cpus", "x"), "'x' is not a list of CPUs"),
        (("--cpus", "4000"), "CPU 4000 cannot be used here"),
        (("--model", "vgg"), "vgg"),
        (("--precision", "int4"), "int4"),
        (("--batch", "65"), "--batch 65: 1 to 64 images"),
        (("--scope", "rack"), "rack"),
        (("--instances", "per-node", "--scope", "host"), "--scope host does not go with it"),
        (("--memory", "far"), "far"),
        (("--counters", "A"), "'A'"),
        (("--inject", "rain"), "--inject rain"),
        (("--inject", "numa-balancing"), "--yes-change-this-host"),
    ],
)
def test_bad_usage_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    from numatune.cli import main

    assert main(["bench", *words, "-o", str(tmp_path / "r.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnxruntime", "numpy"])
def test_a_missing_package_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import importlib.util

    from numatune.cli import main

    monkeypatch.setitem(sys.modules, name, None)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda word: None if word == name else real(word))
    assert main(["bench", "-o", str(tmp_path / "r.json")]) == 2
    _out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith(f"numatune: {name} is not installed")
    assert err.splitlines()[-1].endswith(f"the benchmark needs it; run `{optional.how_to_install()}`")


def test_what_installs_the_packages_works_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip itself, which says what it would install: of the checkout here, and of a wheel the packages by name."""
    root = Path(__file__).parents[2]
    wanted = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"]
    assert sorted(optional.PACKAGES) == sorted(wanted)
    monkeypatch.setattr(sys, "executable", str(root / ".venv/bin/python"))
    for folder, typed in (
        (root, ".venv/bin/python -m pip install '.[bench]'"),
        (tmp_path, f"{root}/.venv/bin/python -m pip install '{root}[bench]'"),
    ):
        monkeypatch.chdir(folder)
        assert optional.how_to_install() == typed
    monkeypatch.setattr(optional, "_HERE", str(tmp_path / "site-packages" / "numatune"))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert shlex.split(optional.how_to_install())[4:] == wanted
