"""qualify.yml over ssh: a host that qualifies, one that misses a criterion, one that tune refuses, one that is away."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from measuring import small

from numatune.verdict.qualification import Criteria, parse_criteria

if TYPE_CHECKING:
    from conftest import Controller

HOSTS = ("good", "slow", "refused", "away")
# Twenty inferences decide nothing, and that is not what these tests are about: any verdict on valid runs is accepted.
CRITERIA = {
    "verdicts": ["eliminated", "clean", "reduced", "unchanged", "worse", "inconclusive"],
    "max_spikes_per_1000": None,
    "max_p50_ratio": None,
    "launches": 1,
    "iterations": 20,
}


@pytest.fixture(scope="module")
def judged(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Look with --check, then qualify all at once."""
    folder, cache = controller.folder, tmp_path_factory.mktemp("cache")
    mark = {"numatune_drain_tasks": str(folder / "drain.yml"), "numatune_undrain_tasks": str(folder / "undrain.yml")}
    for name in ("drain", "undrain"):
        (folder / f"{name}.yml").write_text(
            f"- name: Mark\n  ansible.builtin.lineinfile:\n    path: {folder}/marks\n    create: true\n"
            f"    mode: '0644'\n    line: {name} {{{{ inventory_hostname }}}}\n    insertafter: EOF\n"
            "  delegate_to: localhost\n  become: false\n  throttle: 1\n"
        )
    common = {**small(folder, cache), **mark, "qualify_criteria": CRITERIA}
    roots = {}
    for name, variables in {
        "good": {"qualify_criteria": {**CRITERIA, "max_minor_faults_per_iteration": 1e6}},
        "slow": {"qualify_criteria": {**CRITERIA, "max_p50_ratio": 0.02}},
        "refused": {},
        "away": {"ansible_port": 1},
    }.items():
        roots[name] = controller.root(name, **common | variables)
    roots["refused"].write("etc/sysctl.d/zzz-vendor.conf", "kernel.numa_balancing = 1\n")
    before = {name: root.state(journal=True) for name, root in roots.items()}
    checked = controller.play("playbooks/qualify.yml", "--check", "--limit", "good")
    unchanged = roots["good"].state(journal=True) == before["good"]
    run = controller.play("playbooks/qualify.yml")
    table = run.out.rpartition("TASK [Show every host]")[2].partition("TASK [")[0]
    found = re.findall(rf"^ +({'|'.join(HOSTS)}) +(\w+) +(\S+) +(-|[\d.]+ > [\d.]+)(?: .*)?$", table, flags=re.M)
    rows = {host: SimpleNamespace(state=state, verdict=verdict) for host, state, verdict, _spikes in found}
    return SimpleNamespace(
        folder=folder,
        roots=roots,
        checked=checked,
        unchanged=unchanged,
        run=run,
        rows=rows,
        table=" ".join(table.split()),
    )


def test_one_qualifies_and_the_others_fail_without_stopping_it(judged: SimpleNamespace) -> None:
    states = {host: row.state for host, row in judged.rows.items()}
    assert states == {"good": "qualified", "slow": "failed", "refused": "failed", "away": "unreachable"}, judged.run.out
    assert judged.run.code != 0
    assert {host: judged.run.recap(host)["failed"] for host in HOSTS} == {"good": 0, "slow": 1, "refused": 1, "away": 1}
    assert judged.rows["good"].verdict in CRITERIA["verdicts"]


def test_each_failure_says_which_criterion_or_what_went_wrong(judged: SimpleNamespace) -> None:
    assert "the median after in medians before" in judged.run.failure("slow")
    assert "more than 0.02" in judged.table
    assert "zzz-vendor.conf line 1 would win" in judged.run.failure("refused")
    assert "unreachable" in judged.run.failure("away")


def test_the_host_is_tuned_between_the_measurements(judged: SimpleNamespace) -> None:
    assert judged.roots["good"].read("proc/sys/kernel/numa_balancing") == "0\n"
    place = judged.folder / "results/good"
    before, after = (json.loads((place / f"{name}-1.json").read_text()) for name in ("before", "after"))
    assert before["started"] < after["started"]
    audit = {item["setting"]: item["status"] for item in json.loads((place / "audit.json").read_text())["findings"]}
    assert audit["numa_balancing"] == "ok"


def test_each_host_has_its_verdict_and_its_report(judged: SimpleNamespace) -> None:
    for host, passed in (("good", True), ("slow", False)):
        place = judged.folder / "results" / host
        found = json.loads((place / "qualification.json").read_text())
        assert found["qualification"]["passed"] is passed
        assert (place / "report.html").is_file(), judged.table
    assert "no report" not in judged.table
    assert not (judged.folder / "results/refused/qualification.json").exists()


def test_only_a_host_that_qualifies_returns_into_service(judged: SimpleNamespace) -> None:
    marks = (judged.folder / "marks").read_text().splitlines()
    assert sorted(line for line in marks if line.startswith("drain")) == ["drain good", "drain refused", "drain slow"]
    assert [line for line in marks if line.startswith("undrain")] == ["undrain good"]


def test_check_mode_shows_what_would_be_done_and_measures_nothing(judged: SimpleNamespace) -> None:
    assert judged.checked.code == 0, judged.checked.out
    said = " ".join(judged.checked.out.split())
    assert "would start numatune-bench bench" in said
    assert re.search(r"good +would measure .* would change", said)
    assert judged.unchanged


def test_a_part_of_it_is_refused(controller: Controller, judged: SimpleNamespace) -> None:
    del judged
    run = controller.play("playbooks/qualify.yml", "--limit", "good", "--tags", "numa_balancing")
    assert run.code != 0
    assert "qualify.yml is one whole" in run.failure("good")


def test_the_criteria_of_the_playbook_are_those_of_the_program(controller: Controller) -> None:
    import yaml

    data = yaml.safe_load((controller.repo / "playbooks/vars/criteria.yml").read_text())["qualify_standard"]
    assert parse_criteria(data, "criteria.yml") == Criteria()
    assert list(data) == list(Criteria().as_dict())
