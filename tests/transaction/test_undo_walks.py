"""Tune, revert, tune, revert, each cut anywhere, with reboots between: every way on ends byte for byte as it began.

Each point of a revert is cut once; then come seeded walks of several runs, and runs of a real process that is killed.
NUMATUNE_WALKS and NUMATUNE_KILLED_ENGINES set how many; by default a few.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transaction_host import KERNEL, Crash, Target, copy, faults, make, state

from plugins.module_utils import undo

WALKS = range(int(os.environ.get("NUMATUNE_WALKS", "20")))
KILLS = range(int(os.environ.get("NUMATUNE_KILLED_ENGINES", "20")))
BOOT = "proc/sys/kernel/random/boot_id"
OTHER: dict[str, Any] = {"settings": {"cpu_governor": {"expected": "powersave"}}}


def stable(root: Path) -> dict[str, str]:
    """Return what a revert must restore, in whichever boot."""
    return {name: what for name, what in state(root).items() if name not in (BOOT, "proc/cmdline")}


def boot(root: Path, stock: Path, number: int) -> None:
    """Boot: each value is the kernel's own again. (What the host's files set at boot, a tune sets as well.)"""
    for top in ("proc", "sys"):
        for path in (stock / top).rglob("*"):
            here = root / path.relative_to(stock)
            if path.is_file() and not path.is_symlink() and here.read_bytes() != path.read_bytes():
                here.write_bytes(path.read_bytes())
    for path in (root / "run").iterdir():
        if path.is_file():
            path.unlink()
    (root / BOOT).write_text(f"{number:08d}-0000-4000-8000-000000000000\n")


def honest(target: Target) -> None:
    """Check that the audit names exactly what is interrupted."""
    notes = [note for note in target.audit().notes if "interrupted" in note and "(generation" in note]
    assert bool(notes) is bool(undo.interrupted(target.host))
    for number in undo.interrupted(target.host):
        assert any(str(number) in note for note in notes)


@pytest.mark.parametrize("rebooted", [False, True])
@pytest.mark.parametrize("tuned_again", [False, True])
def test_a_revert_of_two_generations_that_ends_anywhere(tmp_path: Path, rebooted: bool, tuned_again: bool) -> None:
    stock, template = tmp_path / "stock", tmp_path / "template"
    make(stock)
    before = stable(stock)
    Target(copy(stock, template)).tune()
    Target(template, OTHER).tune()
    counted = Target(copy(template, tmp_path / "counted"))
    with faults() as seen:
        counted.revert()
    assert stable(counted.root) == before
    # Every point over the four variants, and every second in each.
    for at in range(int(rebooted != tuned_again), seen.count, 2):
        target = Target(copy(template, tmp_path / f"{at}"))
        with faults(at), pytest.raises(Crash):
            target.revert()
        honest(target)
        if rebooted:
            boot(target.root, stock, at)
        if tuned_again:
            target.tune()
            assert target.tune().changes == ()
            assert undo.interrupted(target.host) == ()
        assert target.revert().conflicts == (), at
        assert stable(target.root) == before, at
        assert {item.state for item in target.host.store.read()} == {"reverted"}, at


def on_disk(root: Path) -> dict[str, str]:
    """Return what the next boot reads; of GRUB's block, which a boot changes, only what is set in it."""
    found = {name: what for name, what in state(root).items() if not name.startswith(("proc/", "sys/"))}
    block = "boot/grub/grubenv"
    return {**found, block: "\n".join(line for line in found[block].split("\n") if not line.startswith("#"))}


@pytest.mark.parametrize("following", [("boot",), ("boot", "tune"), ("tune",), ("tune", "boot")])
def test_a_revert_of_permanent_kernel_arguments_that_ends_anywhere(tmp_path: Path, following: tuple[str, ...]) -> None:
    stock, template = tmp_path / "stock", tmp_path / "template"
    make(stock)
    before = on_disk(stock)
    target = Target(copy(stock, template), KERNEL)
    target.tune()
    target.reboot()
    target.tune()
    assert target.statuses()["kernel_arguments"] == "ok"
    with faults() as seen:
        Target(copy(template, tmp_path / "counted")).revert()
    assert on_disk(tmp_path / "counted") == before
    cuts = [at for at, line in enumerate(seen.log) if "/journal/" not in line]
    for at in cuts[len(following) - 1 :: 2]:
        target = Target(copy(template, tmp_path / f"{at}"), KERNEL)
        with faults(at), pytest.raises(Crash):
            target.revert()
        honest(target)
        for step in following:
            if step == "boot":
                target.reboot()
            else:
                target.tune()
                assert undo.interrupted(target.host) == ()
        assert target.revert().conflicts == (), at
        assert on_disk(target.root) == before, at


@pytest.mark.parametrize("seed", WALKS)
def test_a_walk_of_runs_that_are_cut(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    stock = tmp_path / "stock"
    make(stock)
    before = stable(stock)
    root = copy(stock, tmp_path / "root")
    kernel = seed % 3 == 0
    for step in range(chance.randrange(3, 8)):
        profile: Mapping[str, Any] = chance.choice(({}, OTHER, KERNEL) if kernel else ({}, OTHER))
        target = Target(root, profile)
        run = chance.choice((target.tune, target.revert, target.revert))
        at = chance.choice((-1, chance.randrange(150), chance.randrange(60)))
        with faults(at), contextlib.suppress(Crash):
            run()
        honest(target)
        # What a boot makes of a trial is in the tests of kernel arguments.
        if not kernel and chance.random() < 0.3:
            boot(root, stock, step)
    target = Target(root)
    assert target.revert().conflicts == ()
    assert stable(root) == before
    assert {item.state for item in target.host.store.read()} <= {"reverted"}


def killed(target: Target, name: str, part: float | None) -> float:
    """Run in a process of its own, and kill it so many seconds after its first write; return how long it writes.

    With None it ends by itself.
    """
    folder = target.root / "var/lib/numatune/journal"

    def stamp() -> int:
        return folder.stat().st_mtime_ns if folder.exists() else 0

    before = stamp()
    child = os.fork()
    if child == 0:
        try:
            getattr(target, name)()
        finally:
            os._exit(0)
    ended = False
    while not ended and stamp() == before:
        ended = os.waitpid(child, os.WNOHANG)[0] == child
    began = time.monotonic()
    if part is not None and not ended:
        time.sleep(part)
        os.kill(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return time.monotonic() - began


@pytest.mark.parametrize("seed", KILLS)
def test_an_engine_that_is_killed_at_any_instant(
    tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(seed)
    root = tmp_path / "root"
    make(root)
    before = state(root)
    profile = KERNEL if seed % 4 == 0 else {}
    target = Target(root, profile)
    name = chance.choice(("tune", "revert"))
    if name == "revert":
        target.tune()
    whole = killed(Target(copy(root, tmp_path / "whole"), profile), name, None)
    killed(target, name, chance.uniform(0, 1) * whole)
    following = chance.choice((["revert"], ["tune", "revert"], ["revert", "revert"]))
    states = [item.state for item in target.host.store.read()]
    left = len([path for path in root.rglob("*.numatune*") if not path.is_relative_to(root / "var")])
    record_property("killed", f"{name}, {states}, {left} half-written; then {following}")
    honest(target)
    for step in following:
        getattr(target, step)()
    assert state(root) == before
    assert not [path for path in root.rglob("*.numatune*") if not path.is_relative_to(root / "var")]
