"""How much tune.yml prints of a host that is tuned, and of one with 112 CPUs on which all is wrong."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from synthetic import host, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Controller, Run

MOST_TUNED = 25
MOST_CHECK = 60
CAPTURED = Path(__file__).resolve().parents[1] / "hosts/nri-2s-snc-pmem-112cpu.tar.gz"


def lines(run: Run) -> int:
    """Return the lines of a run of one host, empty ones too."""
    assert run.code == 0, run.out + run.err
    return len(run.out.splitlines())


def play(controller: Controller, *more: str) -> Run:
    return controller.play("playbooks/tune.yml", "-e", "numatune_become=false", *more)


def test_a_tuned_host_is_told_in_a_few_lines(local: Controller) -> None:
    local.root("tuned")
    assert play(local).code == 0
    run = play(local)
    assert run.recap("tuned")["changed"] == 0
    assert lines(run) <= MOST_TUNED, run.out


def _synthetic(path: Path) -> None:
    files = host(112, 2, numa_balancing="1", sysctl={}, governor="powersave", driver="intel_pstate", irqs=300)
    preference = "energy_performance_preference"
    write(files | {name: "balance_performance\n" for name in files if name.endswith(preference)}, path)


def _captured(path: Path) -> None:
    with tarfile.open(CAPTURED) as archive:
        archive.extractall(path, filter="data")


@pytest.mark.parametrize("make", [_synthetic, _captured])
def test_what_would_change_on_112_cpus_is_told_in_a_few_lines(local: Controller, make: Callable[[Path], None]) -> None:
    root = local.root("large")
    shutil.rmtree(root.path)
    root.path.mkdir()
    make(root.path)
    run = play(local, "--check", "--diff")
    assert "~ /sys/devices/system/cpu/cpu[" in run.out
    assert "/cpufreq/energy_performance_preference: balance_performance -> performance\n" in run.out
    assert lines(run) <= MOST_CHECK, run.out
