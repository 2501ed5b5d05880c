"""bench.yml over ssh: two hosts that measure, one whose Python cannot, one that is away; figures for those that did."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from measuring import repack, small

from numatune.bench.packages.locks import lock_for

if TYPE_CHECKING:
    from conftest import Controller

ROWS = re.compile(r"^ +(one|two|broken|away) +(\w[\w ]*?)  +(.*)$", flags=re.M)


@pytest.fixture(scope="module")
def measured(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Look at one with --check, then measure all of them at once."""
    folder, cache = controller.folder, tmp_path_factory.mktemp("cache")
    common = small(folder, cache) | {"benchmark_launches": 2}
    for name, variables in {
        "one": {},
        # On one machine: what one host writes must not be the other's.
        "two": {
            "numatune_benchmark": {**common["numatune_benchmark"], "quick": True, "anyway": False},
            "benchmark_cache_home": str(tmp_path_factory.mktemp("cache-of-two")),
        },
        "broken": {"benchmark_packages": "carry", "benchmark_wheels": str(folder / "no-wheels")},
        "away": {"ansible_port": 1},
    }.items():
        controller.root(name, **{**common, **variables})
    (folder / "no-wheels").mkdir()
    checked = controller.play("playbooks/bench.yml", "--check", "--limit", "one")
    after_check = sorted(path.name for path in folder.iterdir()), list(cache.iterdir())
    run = controller.play("playbooks/bench.yml")
    table = run.out.rpartition("TASK [Show the figures of every host]")[2]
    rows = {name: (state, rest) for name, state, rest in ROWS.findall(table.partition("TASK [")[0])}
    head = next(line for line in table.splitlines() if line.split()[:1] == ["host"])
    return SimpleNamespace(folder=folder, cache=cache, check=(checked, after_check), run=run, rows=rows, head=head)


def test_each_host_is_measured_and_its_samples_come_back(measured: SimpleNamespace) -> None:
    for host in ("one", "two"):
        place = measured.folder / "results" / host
        names = {path.name for path in place.iterdir()}
        assert names == {"run-1.json", "run-2.json", "audit.json", "report.html"}, measured.run.out
        for number in (1, 2):
            result = json.loads((place / f"run-{number}.json").read_text())
            assert len(result["latency_ns"]) == 20
            assert result["environment"]["pinning"]["ok"] is True
            assert result["provisional"] is (host == "two")
        assert json.loads((place / "audit.json").read_text())["name"] == host
        assert "<html" in (place / "report.html").read_text()[:400]


def test_the_table_has_every_host(measured: SimpleNamespace) -> None:
    rows = measured.rows
    assert set(rows) == {"one", "two", "broken", "away"}, measured.run.out
    # The columns stand under each other, and no line is folded.
    assert re.fullmatch(r" +host +p50 ms +p99 ms +max/p50 +per 1,000  strongest cause of the spikes", measured.head)
    for host in ("one", "two"):
        state, figures = rows[host]
        assert state == ("valid" if host == "one" else "provisional")
        assert re.match(r"[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +\S", figures)
    assert rows["broken"][0] == "failed"
    assert "no-wheels has no wheel of numpy" in " ".join(measured.run.out.split())
    assert rows["away"][0] == "unreachable"


def test_only_those_that_could_not_be_measured_fail(measured: SimpleNamespace) -> None:
    assert measured.run.code != 0
    assert {host: measured.run.recap(host)["failed"] for host in measured.rows} == {
        "one": 0,
        "two": 0,
        "broken": 1,
        "away": 1,
    }
    assert "has no wheel of numpy" in measured.run.failure("broken")


def test_check_mode_measures_and_writes_nothing(measured: SimpleNamespace) -> None:
    checked, (names, cached) = measured.check
    assert checked.code == 0, checked.out
    assert "would start numatune-bench bench --model resnet50" in " ".join(checked.out.split())
    assert checked.recap("one")["changed"] == 0
    assert "results" not in names
    assert "packs" not in names
    assert cached == []


def test_the_role_alone_copies_nothing_again_and_removes_what_was_brought(
    controller: Controller, measured: SimpleNamespace
) -> None:
    playbook = controller.folder / "role.yml"
    playbook.write_text(
        "- hosts: one\n  gather_facts: false\n  roles:\n    - role: numatune.latency.benchmark\n"
        "      vars:\n        benchmark_launches: 1\n        benchmark_label: alone\n        benchmark_keep: false\n"
        "        benchmark_options: {model: resnet50, size: 32, iterations: 5, threads: '1'}\n"
        '        benchmark_results_dir: "{{ numatune_results_dir }}"\n'
    )
    run = controller.play(str(playbook), "--limit", "one")
    assert run.code == 0, run.out + run.err
    assert run.changed("one") == ["numatune.latency.benchmark : Remove what was brought"] * 3
    assert Path(measured.folder / "results/one/alone-1.json").is_file()
    assert [path.name for path in (measured.cache / "numatune").iterdir()] == []


def test_what_cannot_be_an_option_is_refused(controller: Controller, measured: SimpleNamespace) -> None:
    del measured
    run = controller.play("playbooks/bench.yml", "--limit", "one", "-e", '{"numatune_benchmark": {"modell": "x"}}')
    assert run.code != 0
    assert run.failure("one").count("numatune_benchmark has no option modell: did you mean model?") == 1
    assert "argument_spec_data" not in run.out


def test_what_a_target_says_of_itself_names_no_folder_elsewhere(
    controller: Controller, measured: SimpleNamespace, tmp_path: Path
) -> None:
    del measured
    says = {"python": "3.11", "executable": "/bin/true", "implementation": "CPython", "arch": "x/../../../escaped"}
    says |= {"glibc": "2.36", "root": False, "cache_home": "/nowhere", "packages": {"numpy": "2", "onnxruntime": "1"}}
    liar = tmp_path / "python"
    liar.write_text(f"#!/bin/sh\necho '{json.dumps(says)}'\n")
    liar.chmod(0o755)
    run = controller.play("playbooks/bench.yml", "--limit", "one", "-e", json.dumps({"benchmark_python": str(liar)}))
    assert run.code != 0
    assert "what cannot be" in run.failure("one")
    assert list(controller.folder.parent.rglob("escaped*")) == []


def test_what_is_larger_than_any_result_is_not_fetched(
    controller: Controller, measured: SimpleNamespace, tmp_path: Path
) -> None:
    """A target whose result would take gigabytes on the controller: its size is looked at there."""
    del measured
    says = {"python": "3.11", "executable": "/bin/true", "implementation": "CPython", "arch": "x86_64"}
    says |= {
        "glibc": "2.36",
        "root": False,
        "cache_home": str(tmp_path),
        "packages": {"numpy": "2", "onnxruntime": "1"},
    }
    liar = tmp_path / "python"
    liar.write_text(
        f"#!/bin/sh\ncase $1 in -c) echo '{json.dumps(says)}'; exit;; esac\n"
        'while [ "$1" != -o ]; do shift; done\ntruncate -s 200M "$2"\necho recorded\n'
    )
    liar.chmod(0o755)
    run = controller.play("playbooks/bench.yml", "--limit", "one", "-e", json.dumps({"benchmark_python": str(liar)}))
    assert run.code != 0
    assert "holds 209715200 bytes, and numatune reads 128 MiB at most" in run.failure("one")
    assert "TASK [numatune.latency.benchmark : Fetch the results]" not in run.out


@pytest.mark.slow
def test_wheels_of_ones_own_run_once_their_hashes_are_named(
    controller: Controller, measured: SimpleNamespace, tmp_path: Path
) -> None:
    """They come along, are unpacked on the target, and measure; without their hashes no pack is made."""
    del measured
    for package, version in lock_for(sys.version_info[:2]).items():
        if importlib.metadata.version(package) != version:
            pytest.skip(
                f"{package} {importlib.metadata.version(package)} is installed here, and the lock names {version}"
            )
        repack(package, tmp_path)
    wheels = {"benchmark_packages": "carry", "benchmark_wheels": str(tmp_path), "benchmark_launches": 1}
    run = controller.play("playbooks/bench.yml", "--limit", "two", "-e", json.dumps(wheels))
    assert run.code != 0
    assert "name that hash with --trust-wheel" in run.failure("two")
    named = [hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.whl")]
    trusted = json.dumps(wheels | {"benchmark_trusted_wheels": named})
    run = controller.play("playbooks/bench.yml", "--limit", "two", "-e", trusted)
    assert run.code == 0, run.out + run.err
