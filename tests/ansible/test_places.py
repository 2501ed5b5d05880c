"""From every place that the documentation names: the root, playbooks/, an installed collection, a role alone."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numatune.core import variables

if TYPE_CHECKING:
    from conftest import Controller

PLAYBOOKS = ("audit", "tune", "revert", "bench", "qualify")


def test_typed_in_the_playbooks_folder(controller: Controller) -> None:
    root = controller.root("here")
    before = root.state(journal=True)
    run = controller.play("tune.yml", "--check", "--limit", "here", cwd=controller.repo / "playbooks")
    assert run.code == 0, run.out + run.err
    assert len(run.items("here")) == 4
    assert root.state(journal=True) == before


@pytest.mark.parametrize("folder", ["", "playbooks"])
def test_the_configuration_holds_in_both_folders(controller: Controller, folder: str) -> None:
    shown = controller.run("ansible-config", "dump", "--only-changed", cwd=controller.repo / folder)
    for line in ("INVENTORY_ANY_UNPARSED_IS_FAILED", "INJECT_FACTS_AS_VARS", "PIPELINING", "DEFAULT_HOST_LIST"):
        assert line in shown.out
    hosts = controller.run("ansible-inventory", "--list", cwd=controller.repo / folder)
    assert "this-machine" in hosts.out


def test_an_inventory_that_does_not_parse_fails(controller: Controller) -> None:
    broken = controller.folder / "broken.yml"
    broken.write_text("all:\n  hosts: [\n")
    run = controller.play("playbooks/tune.yml", "--check", inventory=broken)
    assert run.code != 0
    assert "broken.yml" in run.err
    assert "PLAY" not in run.out


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_inventory_without_hosts_fails(controller: Controller, playbook: str) -> None:
    empty = controller.folder / "empty.yml"
    empty.write_text("all:\n  hosts: {}\n")
    run = controller.play(f"playbooks/{playbook}.yml", "--check", inventory=empty)
    assert run.code != 0
    assert "the inventory has no hosts" in run.err


def test_a_pattern_that_matches_no_host_fails(controller: Controller) -> None:
    controller.root("matched")
    for playbook in PLAYBOOKS:
        run = controller.play(f"playbooks/{playbook}.yml", "--check", "-e", "numatune_hosts=nosuch")
        assert run.code != 0, playbook
        assert "numatune_hosts=nosuch matches no host of the inventory" in " ".join(run.err.split()), playbook
    some = controller.play("playbooks/audit.yml", "-e", '{"numatune_hosts": ["matched", "nosuch"]}')
    assert some.recap("matched")["ok"] > 0


MISTYPED = {
    "tune_cpu_govenor_expected": "tune_cpu_governor_expected",
    "tune_ksm_expcted": "tune_ksm_expected",
    "tune_ksm_colour": "",
    "tune_alsoo": "tune_also",
    "tune_alos": "tune_also",
    # A setting without an option of it.
    "tune_swappiness": "tune_swappiness_expected",
    "tune_kernel_arguments": "tune_kernel_arguments_wanted",
    "tune_irqbalance": "",
    # Of the roles that were.
    "cpu_governor_expected": "tune_cpu_governor_expected",
    "cpu_governor_expcted": "tune_cpu_governor_expected",
    "cpu_govenor_expected": "tune_cpu_governor_expected",
    "cpu_governor_tuned_daemon": "tune_cpu_governor_tuned",
    "cpu_idle_max_exit_latency_us": "tune_cpu_idle_max_exit_latency_us",
    "core_isolation_mode": "tune_core_isolation_mode",
    "numa_balancing_anything": "",
}


USERS_OWN = (
    "reboot_notes",
    "house_mode",
    "tune_postgres_mode",
    "state",
    "profile",
    "settings",
    "result",
    "only",
    "now",
)


def test_a_mistyped_variable_is_refused_by_name(controller: Controller) -> None:
    typos = dict.fromkeys(MISTYPED, "fast")
    root = controller.root("typed", **typos, **dict.fromkeys(USERS_OWN, "mine"))
    before = root.state(journal=True)
    for playbook in PLAYBOOKS:
        run = controller.play(f"playbooks/{playbook}.yml", "--limit", "typed", "-e", "numatune_serving_cpu=2-3")
        assert run.code != 0, playbook
        said = " ".join((run.out + run.err).split())
        assert "numatune has no variable numatune_serving_cpu: did you mean numatune_serving_cpus?" in said
        for name, meant in MISTYPED.items():
            assert f"numatune has no variable {name}" + (f": did you mean {meant}?" if meant else "") in said
        assert not re.findall(rf"no variable ({'|'.join(USERS_OWN)})\b", said), "a user's own"
    assert root.state(journal=True) == before


@pytest.mark.parametrize("playbook", ["audit", "tune"])
def test_what_the_playbooks_give_the_roles_themselves_is_refused(controller: Controller, playbook: str) -> None:
    controller.root(f"given-{playbook}", tune_serving_cpus="2-3")
    run = controller.play(f"playbooks/{playbook}.yml", "--check", "--limit", f"given-{playbook}")
    assert run.code != 0
    said = " ".join((run.out + run.err).split())
    assert "the playbooks pass over tune_serving_cpus: give numatune_serving_cpus" in said


def test_a_part_of_a_revert_is_refused(controller: Controller) -> None:
    controller.root("in-parts")
    run = controller.play("playbooks/revert.yml", "--limit", "in-parts", "--tags", "swappiness")
    assert "revert.yml undoes runs, not settings" in " ".join(run.failure("in-parts").split())


def test_every_variable_that_the_playbooks_read_is_known(controller: Controller) -> None:
    texts = [path.read_text() for path in controller.repo.glob("playbooks/**/*.yml") if "collections" not in path.parts]
    read = {name for text in texts for name in re.findall(r"(?<!/)\bnumatune_[a-z_]+", text)}
    assert read == set(variables.PLAYBOOKS)
    # What a playbook of ours keeps or computes is no slip of a user's, in a run of several playbooks either.
    kept = {name for text in texts for name in re.findall(r"(?<![a-z._])tune_[a-z_]+", text)}
    assert kept - variables.ROLES == variables.KEPT


def test_the_example_inventory_parses(controller: Controller) -> None:
    run = controller.run("ansible-inventory", "-i", "inventory/example.yml", "--list")
    assert run.code == 0
    assert "numatune_serving_cpus" in run.out


def test_the_role_alone_plans_for_itself(controller: Controller) -> None:
    root = controller.root("alone", tune_cpu_governor_expected="powersave")
    root.write("proc/sys/vm/swappiness", "60\n")
    playbook = controller.folder / "alone.yml"
    playbook.write_text(
        "- hosts: alone\n  gather_facts: false\n  roles:\n    - role: numatune.latency.tune\n"
        '      vars: {tune_sysroot: "{{ numatune_sysroot }}", tune_also: [swappiness]}\n'
        "  tasks:\n    - ansible.builtin.debug:\n"
        "        msg: \"did {{ tune_result.results | map(attribute='changes') | map('length') | join(' ') }}\"\n"
    )
    run = controller.play(str(playbook))
    assert run.code == 0, run.out + run.err
    assert run.items("alone") == ["numa_balancing", "cpu_governor", "cpu_idle", "irq_affinity", "swappiness"]
    assert re.search(r"msg: did 2 11 7 5 1\n", run.out), run.out
    assert root.read(root.runtime) == "0\n"
    assert root.read("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor") == "powersave\n"
    again = controller.play(str(playbook))
    assert again.code == 0
    assert again.recap("alone")["changed"] == 0
    slip = controller.play(str(playbook), "-e", "tune_cpu_govenor_expected=performance")
    assert slip.code != 0
    assert "did you mean tune_cpu_governor_expected?" in slip.failure("alone")


@pytest.mark.slow
def test_built_installed_and_named_from_an_empty_folder(controller: Controller, tmp_path: Path) -> None:
    build = controller.run("ansible-galaxy", "collection", "build", "--output-path", str(tmp_path))
    assert build.code == 0, build.out + build.err
    (tarball,) = tmp_path.glob("numatune-latency-*.tar.gz")
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
        links = {member.name: member.linkname for member in archive if member.issym() or member.islnk()}
    assert links == {"plugins/module_utils/core": "../../numatune/core"}
    assert all(name.startswith("numatune/core") for name in names if name.startswith("numatune/"))
    tops = {name.split("/")[0] for name in names}
    assert tops <= {
        *("FILES.json", "MANIFEST.json", "plugins", "roles", "playbooks", "meta", "docs", "numatune"),
        *("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    }
    assert "numatune/core/settings/memory/numa_balancing.py" in names
    assert {"docs/tune.md", "docs/settings/numa_balancing.md", "docs/report.png"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    # The default place below this controller's home, so that the empty folder needs no configuration.
    install = controller.run("ansible-galaxy", "collection", "install", "--offline", str(tarball), cwd=tmp_path)
    assert install.code == 0, install.out + install.err
    empty = tmp_path / "empty"
    empty.mkdir()
    root = controller.root("installed")
    run = controller.play("numatune.latency.audit", "--limit", "installed", cwd=empty)
    assert run.code == 0, run.out + run.err
    assert "wrong: numa_balancing = 1, want 0" in run.out
    # Without an inventory an audit takes this machine; the limit keeps a developer's own /etc/ansible/hosts out.
    found = ("-e", f"numatune_sysroot={root.path}", "--limit", "localhost")
    run = controller.run("ansible-playbook", "numatune.latency.audit", *found, cwd=empty)
    assert run.code == 0, run.out + run.err
    assert run.recap("localhost")["ok"] == 3
    run = controller.play("numatune.latency.tune", "--limit", "installed", "--check", cwd=empty)
    assert run.code == 0, run.out + run.err
    assert len(run.items("installed")) == 4
