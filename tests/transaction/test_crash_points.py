"""The process ends before each write, sync and rename of a run, in turn: nothing is ever lost or half-written.

A point before one step is the point after the one before it, so every state that the disk passes through is met.
After each: the audit tells the truth, tune converges, and revert restores byte for byte. Kernel arguments, which take
reboots, have their own walk (test_crash_arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transaction_host import Crash, Target, copy, faults, make, state

from plugins.module_utils import undo

# What each setting's truth hangs on: these, as they are after a whole run, and not one of them otherwise.
TRUTH = {
    "numa_balancing": ("etc/sysctl.d/99-zz-numatune.conf", "proc/sys/kernel/numa_balancing"),
    "cpu_governor": (
        *("etc/numatune/apply", "etc/numatune/apply.d/cpu_governor.conf"),
        *("etc/systemd/system/numatune-apply.service", "etc/systemd/system/multi-user.target.wants"),
        *(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor" for cpu in (1, 3)),
    ),
    "cpu_idle": (
        "etc/tmpfiles.d/zz-numatune-idle.conf",
        *(f"sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us" for cpu in (1, 3)),
    ),
}


def crashed(root: Path, profile: Any, run: Callable[[Target], object], at: int) -> Target:
    target = Target(root, profile)
    with faults(at), pytest.raises(Crash):
        run(target)
    return target


def points(template: Path, folder: Path, profile: Any, run: Callable[[Target], object]) -> int:
    """Return how many points a whole run has; it is done on a copy."""
    target = Target(copy(template, folder / "counted"), profile)
    with faults() as counted:
        run(target)
    assert any(line.startswith("rename") for line in counted.log)
    return counted.count


def audit_is_true(target: Target, tuned: dict[str, str]) -> None:
    now = state(target.root)
    statuses = target.statuses()
    for setting, names in TRUTH.items():
        related = [key for key in tuned for name in names if key == name or key.startswith(name + "/")]
        right = all(now.get(key) == tuned[key] for key in related)
        assert (statuses[setting] == "ok") is right, (setting, statuses[setting])
    report = target.audit()
    open_runs = undo.interrupted(target.host)
    assert any("was interrupted" in note for note in report.notes) is bool(open_runs)
    if open_runs:
        assert report.status != "ok"


def test_a_run_of_every_setting_that_ends_anywhere(tmp_path: Path) -> None:
    template = tmp_path / "template"
    make(template)
    before = state(template)
    count = points(template, tmp_path, {}, Target.tune)
    tuned = state(tmp_path / "counted")
    assert count > 60
    for at in range(count):
        target = crashed(copy(template, tmp_path / f"{at}"), {}, Target.tune, at)
        audit_is_true(target, tuned)
        other = Target(copy(target.root, tmp_path / f"{at}-revert"))
        other.revert()
        assert state(other.root) == before, at
        target.tune()
        assert state(target.root) == tuned, at
        assert target.tune().changes == ()
        assert undo.interrupted(target.host) == ()
        target.revert()
        assert state(target.root) == before, at


def test_a_revert_that_ends_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    template = tmp_path / "template"
    make(template)
    before = state(template)
    Target(template).tune()
    count = points(template, tmp_path, {}, Target.revert)
    for at in range(count):
        target = crashed(copy(template, tmp_path / f"{at}"), {}, Target.revert, at)
        target.revert()
        assert state(target.root) == before, at


def test_the_order_of_one_file_is_write_sync_rename_sync(tmp_path: Path) -> None:
    make(tmp_path / "root")
    with faults() as seen:
        Target(tmp_path / "root").tune()
    name = str(tmp_path / "root/etc/sysctl.d")
    at = next(index for index, line in enumerate(seen.log) if line == f"open {name}/.99-zz-numatune.conf.numatune")
    steps = [line.split()[0] for line in seen.log[at : at + 4]]
    assert steps == ["open", "fchmod", "fsync", "rename"]
    assert seen.log[at + 4].startswith("fsync"), "the directory"
    journal = [index for index, line in enumerate(seen.log) if line.endswith("/.0001.json.numatune")]
    assert journal[0] < at, "the journal comes first"
