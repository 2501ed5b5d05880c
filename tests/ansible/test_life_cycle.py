"""Audit, tune and revert over ssh, in the order in which a user does it; each playbook runs once for all hosts.

`stock` is a stock Debian host, `bare` has no /etc/sysctl.d, and on `edited` somebody edits the drop-in after tune.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Controller

HOSTS = ("stock", "bare", "edited")
EDIT = "# Somebody's line\nkernel.numa_balancing = 0\n"


@pytest.fixture(scope="module")
def cycle(controller: Controller) -> SimpleNamespace:
    """Run the whole cycle once, and keep what each step said and left."""
    roots = {host: controller.root(host) for host in HOSTS}
    for path in sorted((roots["bare"].path / "etc/sysctl.d").iterdir()):
        path.unlink()
    (roots["bare"].path / "etc/sysctl.d").rmdir()
    seen = SimpleNamespace(controller=controller, roots=roots, states={}, runs={})

    def keep(step: str) -> None:
        seen.states[step] = {host: root.state() for host, root in roots.items()}

    def play(step: str, *arguments: str) -> None:
        seen.runs[step] = controller.play(*arguments)
        keep(step)

    seen.full_before = {host: root.state(journal=True) for host, root in roots.items()}
    keep("before")
    reports = controller.folder / "reports"
    reports.mkdir()
    seen.reports = reports
    play("audit", "playbooks/audit.yml", "-e", f"audit_report_dir={reports}")
    play("tags audit", "playbooks/tune.yml", "--tags", "audit")
    play("check", "playbooks/tune.yml", "--check", "--diff")
    seen.full_after_check = {host: root.state(journal=True) for host, root in roots.items()}
    play("tune", "playbooks/tune.yml")
    play("tune again", "playbooks/tune.yml")
    seen.recipe = {host: root.read(root.journal + "/journal/0001-undo.txt") for host, root in roots.items()}
    seen.tuned_files = {host: root.read(root.drop_in) for host, root in roots.items()}
    seen.tuned_values = {host: root.read(root.runtime) for host, root in roots.items()}
    roots["edited"].write(roots["edited"].drop_in, EDIT)
    keep("edit")
    play("revert to none", "playbooks/revert.yml", "-e", "numatune_revert_to=99")
    play("revert check", "playbooks/revert.yml", "--check", "--diff")
    play("revert", "playbooks/revert.yml")
    seen.kept = roots["edited"].read(roots["edited"].drop_in)
    (roots["edited"].path / roots["edited"].drop_in).unlink()
    play("revert again", "playbooks/revert.yml")
    return seen


def test_audit_says_what_is_wrong(cycle: SimpleNamespace) -> None:
    run = cycle.runs["audit"]
    assert run.code == 0, run.out + run.err
    text = " ".join(run.out.split())
    assert "wrong: numa_balancing = 1, want 0 [critical]: " in text
    assert "numa_balancing: set /proc/sys/kernel/numa_balancing to 0 (now 1)" in text
    report = json.loads((cycle.reports / "stock.json").read_text())
    assert report["name"] == "stock"
    assert {item["setting"]: item["status"] for item in report["findings"]}["numa_balancing"] == "wrong"


@pytest.mark.parametrize("step", ["audit", "tags audit", "check"])
def test_looking_changes_nothing(cycle: SimpleNamespace, step: str) -> None:
    assert cycle.runs[step].code == 0, cycle.runs[step].out
    assert cycle.states[step] == cycle.states["before"]


def test_check_mode_leaves_no_journal_either(cycle: SimpleNamespace) -> None:
    assert cycle.full_after_check == cycle.full_before


def test_tags_audit_predicts_no_change(cycle: SimpleNamespace) -> None:
    assert [cycle.runs["tags audit"].changed(host) for host in HOSTS] == [[], [], []]


@pytest.mark.parametrize("host", HOSTS)
def test_check_mode_predicts_what_tune_changes(cycle: SimpleNamespace, host: str) -> None:
    predicted = cycle.runs["check"].changed(host)
    assert predicted == cycle.runs["tune"].changed(host)
    assert len(predicted) == 4
    assert cycle.runs["check"].items(host) == ["numa_balancing", "cpu_governor", "cpu_idle", "irq_affinity"]
    assert cycle.runs["tune"].items(host) == cycle.runs["check"].items(host)
    assert f"+ /{cycle.roots[host].drop_in}: kernel.numa_balancing = 0\n" in cycle.runs["check"].out


@pytest.mark.parametrize("host", HOSTS)
def test_tune_turns_it_off_now_and_at_every_boot(cycle: SimpleNamespace, host: str) -> None:
    assert cycle.runs["tune"].code == 0, cycle.runs["tune"].out
    assert cycle.tuned_values[host] == "0\n"
    assert "kernel.numa_balancing = 0\n" in cycle.tuned_files[host]


@pytest.mark.parametrize("host", HOSTS)
def test_tune_says_what_became_of_each_host(cycle: SimpleNamespace, host: str) -> None:
    assert re.search(rf"{host} +incomplete +irqbalance unknown", cycle.runs["tune"].out)
    assert re.search(rf"{host} +would change +\d+ changes", cycle.runs["check"].out)


@pytest.mark.parametrize("host", HOSTS)
def test_the_second_run_changes_nothing(cycle: SimpleNamespace, host: str) -> None:
    assert cycle.runs["tune again"].code == 0
    assert cycle.runs["tune again"].recap(host)["changed"] == 0
    assert cycle.states["tune again"][host] == cycle.states["tune"][host]


def test_a_generation_that_never_was_is_refused(cycle: SimpleNamespace) -> None:
    run = cycle.runs["revert to none"]
    assert run.code != 0
    for host in HOSTS:
        assert re.search(r"numatune_revert_to: there is no generation 99, the newest is \d", run.failure(host))
    assert cycle.states["revert to none"] == cycle.states["edit"]


def test_reverting_in_check_mode_changes_nothing(cycle: SimpleNamespace) -> None:
    assert cycle.states["revert check"] == cycle.states["edit"]
    for host in HOSTS:
        assert cycle.runs["revert check"].changed(host) == cycle.runs["revert"].changed(host) != []
    governor = "/sys/devices/system/cpu/cpu[1-3,5-7]/cpufreq/scaling_governor"
    assert f"would put back {governor} " in " ".join(cycle.runs["revert check"].out.split())
    assert f"~ {governor}: performance -> schedutil\n" in cycle.runs["revert check"].out


@pytest.mark.parametrize("host", ["stock", "bare"])
def test_revert_restores_byte_for_byte(cycle: SimpleNamespace, host: str) -> None:
    assert cycle.runs["revert"].recap(host)["failed"] == 0
    assert cycle.states["revert"][host] == cycle.states["before"][host]


def test_revert_leaves_alone_what_somebody_changed(cycle: SimpleNamespace) -> None:
    assert cycle.runs["revert"].code != 0
    assert "99-zz-numatune.conf was changed by somebody" in cycle.runs["revert"].failure("edited")
    assert "99-zz-numatune.conf was changed by somebody" in cycle.runs["revert check"].failure("edited")
    assert cycle.kept == EDIT


def test_revert_finishes_once_the_conflict_is_gone(cycle: SimpleNamespace) -> None:
    assert cycle.runs["revert again"].code == 0, cycle.runs["revert again"].out
    assert [cycle.runs["revert again"].changed(host) for host in HOSTS] == [[], [], []]
    assert cycle.states["revert again"]["edited"] == cycle.states["before"]["edited"]


def test_the_recipe_undoes_by_hand(cycle: SimpleNamespace) -> None:
    controller = cycle.controller
    root = cycle.roots["bare"]
    assert controller.play("playbooks/tune.yml", "--limit", "bare").code == 0
    assert root.state() == cycle.states["tune"]["bare"]
    # One text for each transaction, undone from the last to the first.
    recipes = sorted((root.path / root.journal / "journal").glob("*-undo.txt"))[-4:]
    for recipe in reversed(recipes):
        subprocess.run(["sh", str(recipe)], env={**os.environ, "ROOT": str(root.path)}, check=True, timeout=30)
    assert root.state() == cycle.states["before"]["bare"]
