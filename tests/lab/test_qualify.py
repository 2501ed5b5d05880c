"""`qualify.yml` on a guest with two nodes: measured with NUMA balancing, tuned, measured without, and judged.

The guest has no network, pip or numpy: the recorder and its packages come with the role. An emulated CPU's latencies
say little: the criteria accept a verdict that decides nothing and limit the counts of faults, which do carry over.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from lab.conftest import Start
from lab.controller import Controller
from lab.guest import LAB
from lab.machine import Machine

pytestmark = pytest.mark.lab

LIMIT = 100
LAUNCHES, ITERATIONS = 3, 60


def test_a_guest_qualifies_once_its_faults_are_gone(start: Start, controller: Controller, tmp_path: Path) -> None:
    guest = start("qualify", machine=Machine(memory=2048, parallel=True))
    guest.ssh("systemctl is-system-running --wait", check=False)
    assert guest.read("cat /proc/sys/kernel/numa_balancing").strip() == "1"
    controller.add(guest)
    criteria = {
        "verdicts": ["eliminated", "clean", "reduced", "unchanged", "inconclusive"],
        "max_spikes_per_1000": None,
        "max_hint_faults_per_iteration": LIMIT,
        "max_minor_faults_per_iteration": LIMIT,
        "max_p50_ratio": None,
        "launches": LAUNCHES,
        "iterations": ITERATIONS,
    }
    run = controller.play(
        "qualify",
        timeout=5400,
        qualify_criteria=criteria,
        numatune_benchmark={"size": 64, "cpus": "0-3"},
        numatune_results_dir=str(tmp_path),
        benchmark_packages="carry",
    )
    (LAB / "qualify.txt").write_text(run.out)
    assert run.code == 0, run.out
    place = tmp_path / guest.name
    found = json.loads((place / "qualification.json").read_text())
    assert found["qualification"]["passed"], found
    faults = {
        side: [_faults(place / f"{side}-{launch}.json") for launch in range(1, LAUNCHES + 1)]
        for side in ("before", "after")
    }
    assert min(hints for _own, hints in faults["before"]) > 10 * LIMIT, faults
    assert max(max(pair) for pair in faults["after"]) < LIMIT, faults
    assert "<html" in (place / "report.html").read_text()
    assert guest.read("cat /proc/sys/kernel/numa_balancing").strip() == "0"


def _faults(path: Path) -> tuple[float, float]:
    """Minor faults of the process and hinting faults of the host, each on average over the iterations."""
    run = json.loads(path.read_text())
    assert run["iterations"] == ITERATIONS
    return statistics.mean(run["counters"]["minor_faults"]), statistics.mean(run["counters"]["numa_hint_faults"])
