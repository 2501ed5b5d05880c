"""Batches, hooks, states: what a fleet run does when one of its hosts fails, is away, or was interrupted."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Controller, Run


def states(run: Run) -> dict[str, str]:
    """Return host -> state, as the last table shows them."""
    table = run.out.rpartition("TASK [Show the state of every host]")[2].partition("TASK [")[0]
    words = "tuned|failed|unreachable|not reached|incomplete|pending_reboot|lost|would change"
    return dict(re.findall(rf"^ +(\S+) +({words})\b", table, flags=re.M))


@pytest.fixture(scope="module")
def stopped(controller: Controller) -> SimpleNamespace:
    """Tune a canary that is fine, a host that fails, and two that come after it."""
    roots = {name: controller.root(name) for name in ("canary", "second", "third", "fourth")}
    roots["second"].write("etc/sysctl.d/zzz-vendor.conf", "kernel.numa_balancing = 1\n")
    before = {name: root.state() for name, root in roots.items()}
    marks = controller.folder / "marks"
    marks.mkdir()
    hooks = {}
    for name in ("drain", "undrain"):
        hooks[name] = controller.folder / f"{name}.yml"
        hooks[name].write_text(
            f"- name: Mark\n  ansible.builtin.file:\n    path: {marks}/{name}-{{{{ inventory_hostname }}}}\n"
            "    state: touch\n    mode: '0644'\n  delegate_to: localhost\n  become: false\n"
        )
    arguments = [f"numatune_{name}_tasks={path}" for name, path in hooks.items()]
    extra = [part for argument in arguments for part in ("-e", argument)]
    run = controller.play("playbooks/tune.yml", *extra)
    marked = sorted(path.name for path in marks.iterdir())
    stopped_at = {name: root.state() for name, root in roots.items()}
    (roots["second"].path / "etc/sysctl.d/zzz-vendor.conf").unlink()
    again = controller.play("playbooks/tune.yml", *extra)
    return SimpleNamespace(roots=roots, before=before, stopped_at=stopped_at, run=run, again=again, marked=marked)


def test_the_first_host_that_fails_stops_the_run(stopped: SimpleNamespace) -> None:
    assert stopped.run.code != 0
    assert states(stopped.run) == {
        "canary": "incomplete",
        "second": "failed",
        "third": "not reached",
        "fourth": "not reached",
    }
    for name in ("second", "third", "fourth"):
        assert stopped.stopped_at[name] == stopped.before[name]
    assert stopped.stopped_at["canary"] != stopped.before["canary"]
    assert "zzz-vendor.conf line 1 would win" in stopped.run.failure("second")


def test_a_run_that_is_taken_up_again_finishes(stopped: SimpleNamespace) -> None:
    assert stopped.again.code == 0, stopped.again.out
    assert set(states(stopped.again).values()) == {"incomplete"}
    assert stopped.again.recap("canary")["changed"] == 0


def test_only_what_changes_is_taken_out_of_service(stopped: SimpleNamespace) -> None:
    assert [name for name in stopped.marked if name.startswith("drain")] == ["drain-canary"]


def test_an_unreachable_host_counts_and_is_shown(controller: Controller) -> None:
    controller.root("away", ansible_port=1)
    controller.root("waits")
    run = controller.play("playbooks/tune.yml", "--limit", "away,waits")
    assert run.code != 0
    assert states(run) == {"away": "unreachable", "waits": "not reached"}
    assert "caused by" not in run.out + run.err
    assert "object of type" not in run.out + run.err
    assert run.err.count("fatal: [away]") + run.out.count("fatal: [away]") == 2, "away, and what that means for the run"


def test_an_interrupted_run_is_seen_and_finished(controller: Controller) -> None:
    root = controller.root("cut")
    assert controller.play("playbooks/tune.yml", "--limit", "cut").code == 0
    tuned = root.state()
    journal = root.path / root.journal / "journal/0001.json"
    data = json.loads(journal.read_text())
    journal.write_text(journal.read_text().replace(' "state": "completed"', ' "state": "recorded"', 1))
    assert data["state"] == "completed"
    audit = controller.play("playbooks/audit.yml", "--limit", "cut")
    assert "a run of tune was interrupted (generation 1" in " ".join(audit.out.split())
    again = controller.play("playbooks/tune.yml", "--limit", "cut")
    assert again.code == 0
    assert again.changed("cut") == ["Finish what an interrupted run left"]
    assert root.state() == tuned
    assert ' "state": "completed"' in journal.read_text()


@pytest.mark.slow
def test_what_check_refuses_after_a_cut_run_may_go_once_that_run_is_closed(controller: Controller) -> None:
    root = controller.root("cutcheck")
    assert controller.play("playbooks/tune.yml", "--limit", "cutcheck").code == 0
    journal = root.path / root.journal / "journal/0001.json"
    journal.write_text(journal.read_text().replace(' "state": "completed"', ' "state": "recorded"', 1))
    root.write("etc/sysctl.d/zzz-vendor.conf", "kernel.numa_balancing = 1\n")
    before = root.state(journal=True)
    run = controller.play("playbooks/tune.yml", "--limit", "cutcheck", "--check")
    assert run.code != 0
    said = run.failure("cutcheck").rstrip("'")
    assert "/etc/sysctl.d/zzz-vendor.conf line 1 would win over" in said
    assert said.endswith("generation 1 was interrupted: a run without --check closes it first, and may plan otherwise")
    assert root.state(journal=True) == before


def test_a_host_that_is_tuned_costs_one_module(controller: Controller) -> None:
    controller.root("cheap")
    assert controller.play("playbooks/tune.yml", "--limit", "cheap").code == 0
    run = controller.play("playbooks/tune.yml", "--limit", "cheap", "-vvv")
    assert run.code == 0
    assert run.recap("cheap")["changed"] == 0
    assert len(re.findall(r"<127\.0\.0\.1> SSH: EXEC", run.out)) == 1


def test_the_plan_is_made_item_by_item(controller: Controller) -> None:
    controller.root("items")
    playbook = controller.folder / "items.yml"
    playbook.write_text(
        "- hosts: items\n  gather_facts: false\n\n"
        "  vars: {only: [numa_balancing, cpu_governor, cpu_idle, irq_affinity]}\n"
        "  tasks:\n"
        "    - numatune.latency.tune_host: {only: '{{ only }}', sysroot: '{{ numatune_sysroot }}'}\n"
        "      check_mode: true\n      register: predicted\n"
        "    - numatune.latency.tune_host: {only: '{{ only }}', sysroot: '{{ numatune_sysroot }}'}\n"
        "      register: made\n"
        "    - ansible.builtin.assert:\n"
        "        that: [predicted.changes == made.changes, made.changes | length > 20, predicted.generation == 1]\n"
    )
    run = controller.play(str(playbook))
    assert run.code == 0, run.out


def test_a_tree_is_not_rebooted_and_says_what_waits(controller: Controller) -> None:
    root = controller.root("boots", tune_core_isolation_mode="partition", tune_core_isolation_unit="serve.service")
    run = controller.play("playbooks/tune.yml", "--limit", "boots")
    assert run.code == 0, run.out
    assert states(run) == {"boots": "pending_reboot"}
    refused = controller.play("playbooks/tune.yml", "--limit", "boots", "-e", "reboot_ok=true")
    assert "cannot be rebooted" in refused.failure("boots")
    # A boot since then that brought nothing: it is not tried again.
    root.write("proc/sys/kernel/random/boot_id", "5f0c1d5e-0000-4000-8000-000000000002\n")
    stuck = controller.play("playbooks/tune.yml", "--limit", "boots", "-e", "reboot_ok=true")
    assert "not rebooted again for the same change" in stuck.failure("boots")


ALL = ["numa_balancing", "cpu_governor", "cpu_idle", "irqbalance, irq_affinity"]
TAGS = {
    "skip one": (("--skip-tags", "irq_affinity"), ALL[:3]),
    "skip one of two": (("--skip-tags", "irqbalance"), [*ALL[:3], "irq_affinity"]),
    "skip the reboot": (("--skip-tags", "reboot"), ALL),
    "skip the audit": (("--skip-tags", "audit"), ALL),
    "one": (("--tags", "cpu_idle"), ["cpu_idle"]),
    "one that stands for two": (("--tags", "irq_affinity"), ALL[3:]),
    "one of two": (("--tags", "irqbalance"), ["irqbalance"]),
    "one that is not tuned by default": (("--tags", "swappiness"), ["swappiness"]),
    "and one that is named": (("-e", "tune_also=swappiness"), [*ALL, "swappiness"]),
    "what is named is left out": (("-e", '{"tune_also": ["swappiness"]}', "--skip-tags", "swappiness"), ALL),
}


# The choice itself is core/test_chosen.py's.
FEW = ("skip one of two", "one that stands for two", "and one that is named")


@pytest.mark.parametrize(
    "case", [*FEW, *(pytest.param(case, marks=pytest.mark.slow) for case in TAGS if case not in FEW)]
)
def test_tags_choose_what_is_tuned(controller: Controller, case: str) -> None:
    words, items = TAGS[case]
    name = case.replace(" ", "-")
    root = controller.root(name)
    root.write("proc/sys/vm/swappiness", "60\n")
    root.write("etc/default/irqbalance", "# Options\n")
    root.write("etc/systemd/system/multi-user.target.wants/irqbalance.service", "[Unit]\n")
    run = controller.play("playbooks/tune.yml", "--check", "--limit", name, *words)
    assert run.code == 0, run.out
    assert run.items(name) == items
    assert states(run) == {name: "would change"}


def test_what_is_tuned_where_it_is_named_is_tuned_by_what_its_remedy_says(controller: Controller) -> None:
    root = controller.root("named")
    root.write("proc/sys/vm/swappiness", "60\n")
    audit = controller.play("playbooks/audit.yml", "--limit", "named")
    assert "do: run playbooks/tune.yml --tags swappiness, which sets it now, or: sysctl" in " ".join(audit.out.split())
    assert "left to you (tune.yml does not change these):" in " ".join(audit.out.split())
    run = controller.play("playbooks/tune.yml", "--limit", "named", "--tags", "swappiness")
    assert run.code == 0, run.out
    assert run.items("named") == ["swappiness"]
    assert states(run) == {"named": "tuned"}
    assert root.read("proc/sys/vm/swappiness") == "10\n"
    assert root.read(root.runtime) == "1\n"


SLIPS = {
    ("--tags", "cpu_idel"): "no setting has the tag cpu_idel: did you mean cpu_idle?",
    ("--skip-tags", "irq_afinity"): "no setting has the tag irq_afinity: did you mean irq_affinity?",
    ("--tags", "mitigations"): "mitigations is reported, and numatune never changes it",
    ("-e", "tune_also=kms"): "no setting named 'kms' (did you mean ksm?)",
}


@pytest.mark.parametrize(("words", "said"), SLIPS.items(), ids=map(" ".join, SLIPS))
def test_a_mistyped_setting_is_refused(controller: Controller, words: tuple[str, ...], said: str) -> None:
    name = f"slip-{words[1][:5].replace('_', '-')}"
    root = controller.root(name)
    before = root.state(journal=True)
    run = controller.play("playbooks/tune.yml", "--limit", name, *words)
    assert run.code != 0
    assert said in run.failure(name)
    assert root.state(journal=True) == before


def test_the_reboot_alone_is_refused(controller: Controller) -> None:
    controller.root("reboot-alone")
    run = controller.play("playbooks/tune.yml", "--limit", "reboot-alone", "--tags", "reboot")
    assert "--tags reboot alone would tune nothing" in run.failure("reboot-alone")
    assert run.recap("reboot-alone")["changed"] == 0


@pytest.mark.parametrize("word", ["false", *(pytest.param(word, marks=pytest.mark.slow) for word in ("no", "False"))])
def test_a_no_in_words_does_not_reboot(controller: Controller, word: str) -> None:
    name = f"words-{word}"
    # On a tree, the task that refuses to reboot it is where a reboot would be.
    controller.root(name, tune_core_isolation_mode="partition", tune_core_isolation_unit="serve.service")
    run = controller.play("playbooks/tune.yml", "--limit", name, "-e", f"reboot_ok={word}")
    assert run.code == 0, run.out
    assert states(run) == {name: "pending_reboot"}


def test_a_hook_that_cannot_reach_its_balancer_stops_the_run(controller: Controller) -> None:
    controller.add("balancer", ansible_port=1)
    root = controller.root("behind")
    controller.root("later")
    hook = controller.folder / "unreachable.yml"
    hook.write_text("- name: Ask\n  ansible.builtin.ping:\n  delegate_to: balancer\n")
    before = root.state()
    hooks = {"numatune_drain_tasks": str(hook), "numatune_undrain_tasks": str(hook)}
    run = controller.play("playbooks/tune.yml", "--limit", "behind,later", "-e", json.dumps(hooks))
    assert run.code != 0
    assert "Connection refused" in run.out + run.err
    assert root.state() == before
    assert "later" not in re.findall(r"^changed: \[(\w+)\]", run.out, flags=re.M)
