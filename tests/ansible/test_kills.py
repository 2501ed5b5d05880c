"""Whole runs of tune.yml and revert.yml ended by SIGKILL, module and all, at seeded instants: what follows is exact.

NUMATUNE_KILLED_RUNS=60 runs as many seeds; by default one. Ansible's workers and modules are in sessions of their
own, so the processes of a run are found by a variable of their environment, which no other process has.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Controller, FakeRoot

SEEDS = range(int(os.environ.get("NUMATUNE_KILLED_RUNS", "1")))
_MARK = "NUMATUNE_KILLED_RUN"
_LONGEST = 240.0
"""Seconds that a run may take."""


def play(controller: Controller, name: str) -> int:
    run = controller.play(f"playbooks/{name}.yml", "-e", "numatune_become=false")
    assert "Traceback" not in run.out + run.err, run.out + run.err
    return run.code


def processes(token: str) -> list[int]:
    """Return the processes that were started with a token in their environment."""
    wanted = f"{_MARK}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def killed(controller: Controller, name: str, now: Callable[[], bool]) -> bool:
    """Run a playbook and kill all of it once `now` says so; return whether it was still running."""
    token = uuid.uuid4().hex
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(controller.inventory)]
    with (controller.folder / "log").open("w") as log:
        run = subprocess.Popen(
            [*command, f"playbooks/{name}.yml", "-e", "numatune_become=false"],
            cwd=controller.repo,
            env={**controller.environment(), _MARK: token},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    end = time.monotonic() + _LONGEST
    while run.poll() is None and not now():
        assert time.monotonic() < end, f"{name}.yml takes longer than {_LONGEST} s"
        time.sleep(0.001)
    running = run.poll() is None
    # The controller first, so that it starts nothing more; what a dying worker started meanwhile is found again.
    run.kill()
    run.wait()
    while left := processes(token):
        assert time.monotonic() < end + 60, f"{left} cannot be killed"
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)
    return running


def writes(root: FakeRoot, count: int, seconds: float) -> Callable[[], bool]:
    """Return what says whether the journal's folder changed so often, as far as one can tell, and some time passed."""
    folder = root.path / root.journal / "journal"
    seen = {folder.stat().st_mtime_ns if folder.is_dir() else 0}
    ends: list[float] = []

    def now() -> bool:
        seen.add(folder.stat().st_mtime_ns if folder.is_dir() else 0)
        if not ends and len(seen) > count:
            ends.append(time.monotonic() + seconds)
        return bool(ends) and time.monotonic() >= ends[0]

    return now


def tasks(controller: Controller, count: int, seconds: float) -> Callable[[], bool]:
    """Return what says whether so many tasks began, and some time passed since."""
    log = controller.folder / "log"
    ends: list[float] = []

    def now() -> bool:
        if not ends and log.exists() and log.read_text().count("\nTASK [") >= count:
            ends.append(time.monotonic() + seconds)
        return bool(ends) and time.monotonic() >= ends[0]

    return now


def journal(root: FakeRoot) -> list[str]:
    files = sorted((root.path / root.journal / "journal").glob("*.json"))
    return [json.loads(path.read_text())["state"] for path in files]


def test_a_revert_that_was_killed_then_tune_then_revert(local: Controller) -> None:
    """When the drop-in has gone: what came next was refused for ever."""
    root = local.root("cut")
    before = root.state()
    assert play(local, "tune") == 0
    assert killed(local, "revert", lambda: not root.has(root.drop_in))
    named = local.play("playbooks/audit.yml", "-e", "numatune_become=false")
    if "reverting" in journal(root):
        assert "could not put all back (generation" in " ".join(named.out.split())
    assert play(local, "tune") == 0
    assert root.has(root.drop_in)
    assert not {"recorded", "reverting"} & set(journal(root))
    assert play(local, "revert") == 0
    assert root.state() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_is_killed_at_any_instant_leaves_what_the_next_ones_undo(
    local: Controller, seed: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(seed)
    root = local.root(f"killed{seed}")
    before = root.state()
    name = ("tune", "revert")[seed % 2]
    if name == "revert":
        assert play(local, "tune") == 0
    # Most of a run is no write: two of three are killed between the journal's own.
    when = (
        tasks(local, chance.randrange(12), chance.uniform(0, 2))
        if seed % 3 == 0
        else writes(root, chance.randrange(1, 6 if name == "tune" else 3), chance.uniform(0, 0.1))
    )
    running = killed(local, name, when)
    left = sorted(path.name for path in root.path.rglob("*.numatune"))
    states = journal(root) if (root.path / root.journal / "journal").is_dir() else []
    following = chance.choice((["revert"], ["tune", "revert"], ["revert", "revert"]))
    record_property("killed", f"{name}, {'running' if running else 'ended'}, {states}, {left}; then {following}")
    for step in following:
        assert play(local, step) == 0
    assert root.state() == before
    assert set(journal(root)) <= {"reverted"} if (root.path / root.journal).is_dir() else True
