"""The founding story in a guest: NUMA balancing on and off in turns, under a memory walk and under the ResNet.

What is asserted of latency is asserted of the walk alone. On an emulated CPU a page fault and a TLB flush cost far more
than on hardware, and four emulated CPUs share two real ones: the counts carry over, the sizes do not, and the ResNet's
latency shows nothing.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from lab.conftest import Start
from lab.guest import LAB, ROOT, Guest
from lab.machine import Machine

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

TURNS = ("1", "0", "1", "0")
SPIKY, QUIET = 10, 3
"""The slowest walk over the median one: at least with NUMA balancing, and at most without."""

POLICIES = ("default", "local", "bind", "interleave")
NUMATUNE = "cd /opt && PYTHONPATH=/opt/site XDG_CACHE_HOME=/var/cache python3 -m numatune"
NOT_CLAIMED = "emulated CPUs: the counts carry over to hardware, the sizes of the spikes do not"


@pytest.fixture(scope="module")
def guest(start: Start) -> Iterator[Guest]:
    """A guest with numatune, numpy and the engine, and nothing else that works."""
    wheels = LAB / "site"
    subprocess.run([ROOT / "tools/install-for", "3.11", wheels, "numpy", "onnxruntime"], check=True)
    made = start("jitter", machine=Machine(memory=2048, parallel=True))
    made.send(wheels, "/opt/site")
    made.send(ROOT / "numatune", "/opt/numatune")
    made.ssh("systemctl is-system-running --wait; systemctl stop irqbalance", check=False)
    yield made
    (LAB / "jitter.json").write_text(json.dumps(_TABLE, indent=1) + "\n")


_TABLE: list[dict[str, Any]] = []


def measure(guest: Guest, balancing: str, words: str, what: str) -> dict[str, Any]:
    """Set NUMA balancing, record a run, and return its figures; they go to build/lab/jitter.json too."""
    guest.ssh(f"sysctl -qw kernel.numa_balancing={balancing}")
    done = guest.ssh(f"{NUMATUNE} {words} -o /tmp/run.json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(guest.read("cat /tmp/run.json"))
    latency, faults = run["latency_ns"], run["counters"]["minor_faults"]
    grown, number = run["run"]["vmstat"], len(latency)
    middle = statistics.median(latency)
    row = {
        "what": what,
        "numa_balancing": balancing,
        "iterations": number,
        "p50_ms": round(middle / 1e6, 1),
        "max_ms": round(max(latency) / 1e6, 1),
        "max_over_p50": round(max(latency) / middle, 2),
        "minor_faults_each": round(sum(faults) / number, 1),
        "hint_faults_each": round(grown["numa_hint_faults"] / number, 1),
        "hint_faults": grown["numa_hint_faults"],
        "pages_migrated": grown["numa_pages_migrated"],
        "note": NOT_CLAIMED,
    }
    _TABLE.append(row)
    LOG.info("  %s", row)
    assert run["environment"]["numa_balancing"] == balancing
    return row


def walk(guest: Guest, balancing: str) -> dict[str, Any]:
    """One turn of the probe.

    The guest cannot see when its CPUs were not run. A quiet turn that was disturbed by this machine is taken again,
    twice at most, and all of them are in the table; a turn with balancing is what it is.
    """
    row = measure(guest, balancing, "probe --threads 2", "probe")
    for _again in range(2):
        if balancing == "1" or row["max_over_p50"] <= QUIET:
            break
        LOG.info("  disturbed from outside; again")
        row = measure(guest, balancing, "probe --threads 2", "probe")
    return row


def test_the_walk_has_spikes_with_balancing_and_none_without(guest: Guest) -> None:
    rows = [walk(guest, turn) for turn in TURNS]
    for row in rows:
        if row["numa_balancing"] == "1":
            assert row["max_over_p50"] >= SPIKY, row
            assert row["hint_faults"] > 10_000, row
        else:
            assert row["max_over_p50"] <= QUIET, row
            assert row["hint_faults"] < 1_000, row
            assert row["minor_faults_each"] < 1, row


def test_the_kernel_skips_memory_under_an_explicit_policy(guest: Guest) -> None:
    words = "probe --threads 2 --seconds 12 --memory"
    found = {name: measure(guest, "1", f"{words} {name}", f"probe, {name}") for name in POLICIES}
    assert found["default"]["hint_faults"] > 10_000, found
    for name in ("local", "bind", "interleave"):
        assert found[name]["hint_faults"] < 1_000, found[name]


def test_the_faults_of_the_resnet_end_with_balancing(guest: Guest) -> None:
    words = "bench --size 64 --threads 4 --cpus 0-3 --iterations 12"
    rows = [measure(guest, turn, words, "resnet152 64×64") for turn in TURNS]
    for row in rows:
        if row["numa_balancing"] == "1":
            assert row["minor_faults_each"] > 1_000, row
            assert row["hint_faults_each"] > 1_000, row
        else:
            assert row["minor_faults_each"] < 100, row
            assert row["hint_faults_each"] < 100, row
