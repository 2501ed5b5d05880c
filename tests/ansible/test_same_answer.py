"""`numatune plan -i` and `tune.yml --check` say the same of the same inventory: profiles, CPU roles, role variables.

The playbook reads fake roots over the tests' sshd; the command line gets, over a server of its own, what the collector
would print of the same roots.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fleet.sshd import Sshd
from streams import COMMANDS, HEAD

from numatune.core import inventory, variables
from numatune.core.chosen import ALSO
from numatune.core.model import Snapshot
from numatune.core.report_lines import change, conflict, plan_headline
from numatune.fleet.ansible_options import NOT_READ
from numatune.report.audits.reading import host
from numatune.transport.captured import replay

if TYPE_CHECKING:
    from conftest import Controller

REPO = Path(__file__).resolve().parents[2]
HOSTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "profile": {
        "numatune_profile": {"name": "virtual", "settings": {"numa_balancing": False, "cpu_idle": False}},
    },
    "roles": {"numatune_serving_cpus": "2-3", "numatune_housekeeping_cpus": [0, 1, 4, 5, 6, 7]},
    "options": {
        "tune_cpu_governor_expected": "schedutil",
        "tune_cpu_idle_max_exit_latency_us": "{{ 5 + 5 }}",
        "tune_irq_affinity_method": "place",
    },
    "arguments": {"tune_kernel_arguments_wanted": {"skew_tick": "1"}, "tune_kernel_arguments_trial": "no"},
    "also": {"tune_also": ["swappiness"]},
    "nosuch": {"numatune_profile": "nosuch"},
    "typo": {"numatune_profile": {"settings": {"cpu_govenor": False}}},
    "misfit": {"tune_cpu_idle_max_exit_latency_us": "fast"},
    "mistyped": {"numatune_serving_cpu": "{{ nothing_of_that_name }}", "reboot_notes": "a user's own"},
}
BAD = {
    "nosuch": "no profile named 'nosuch'",
    "typo": "unknown key 'cpu_govenor'",
    "misfit": "int is wanted, not 'fast'",
}
MISTYPED = "numatune has no variable numatune_serving_cpu: did you mean numatune_serving_cpus?"
GOOD = [name for name in HOSTS if name not in (*BAD, "mistyped")]


def stream(found: Snapshot) -> str:
    """Return what the collector would have printed of a tree."""
    states = [f"d {path}" for path in sorted(found.dirs)] + [f"f {path}" for path in found.files]
    texts = [f"{path}:{line}" for path, text in found.files.items() for line in text.splitlines()]
    links = [f"{path} {target}" for path, target in found.links.items()]
    return HEAD + "\n".join(["@states", *states, "@texts", *texts, "@links", *links, f"{COMMANDS}@end", ""])


@pytest.fixture(scope="module")
def said(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Ask the command line and the playbook once."""
    folder = tmp_path_factory.mktemp("same")
    force = f"sh -c 'cat >/dev/null; set -- $SSH_CONNECTION; cat {folder}/$3.stream'"
    variables: dict[str, dict[str, Any]] = {}
    with Sshd(folder / "sshd", force=force) as server:
        for number, (name, wanted) in enumerate(HOSTS.items(), 1):
            root = controller.root(name, **wanted)
            root.write("proc/sys/vm/swappiness", "60\n")
            address = f"127.9.0.{number}"
            (folder / f"{address}.stream").write_text(stream(replay.from_root(root.path)))
            variables[name] = {**server.variables(address), **wanted, "numatune_sysroot": str(root.path)}
        server.known([str(one["ansible_host"]) for one in variables.values()])
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": variables}}))

        def numatune(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "numatune", *words, "-i", "hosts.json", "--format", "json", "--store", "none"],
                capture_output=True,
                text=True,
                cwd=folder,
                env={**os.environ, "HOME": str(server.home), "PYTHONPATH": str(REPO), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                timeout=240,
                check=False,
            )

        plan, audit = numatune("plan"), numatune("audit")
        given = numatune("plan", "--profile", "inference-latency", "-l", "profile,roles,typo")
    played = controller.play("playbooks/tune.yml", "--check", "-e", "numatune_serial=100%")
    hosts = {one["name"]: one for one in json.loads(plan.stdout)["hosts"]}
    judged = {one["name"]: one for one in json.loads(audit.stdout)["hosts"]}
    summary = json.loads(audit.stdout)["summary"]
    replaced = {one["name"]: one for one in json.loads(given.stdout)["hosts"]}
    return SimpleNamespace(
        hosts=hosts,
        judged=judged,
        summary=summary,
        given=replaced,
        err=plan.stderr,
        given_err=given.stderr,
        played=played,
    )


def report_of(run: Any, name: str) -> str:
    """Return the report that the playbook showed of one host, in one line."""
    shown = re.search(rf"^ok: \[{name}\] =>\s*\n\s+msg:\n(.*?)(?=^\S|\Z)", run.out, flags=re.M | re.S)
    assert shown, run.out + run.err
    return " ".join(shown[1].replace("''", "'").split())


@pytest.mark.parametrize("name", GOOD)
def test_the_plan_is_what_tune_would_do(name: str, said: SimpleNamespace) -> None:
    plan = host(json.dumps(said.hosts[name])).plan
    assert plan is not None, said.hosts[name]
    text = report_of(said.played, name)
    would = [plan_headline(plan), *(change(group) for group in plan.groups()), *map(conflict, plan.conflicts)]
    assert [line for line in would if " ".join(line.split()) not in text] == []
    if plan.conflicts:
        assert text.count("refused, ") >= len(plan.conflicts)
    else:
        assert re.search(rf"{name} +would change +{len(plan.changes)} changes", said.played.out)


def test_the_inventory_makes_a_contrast(said: SimpleNamespace) -> None:
    """Were the variables not read, all of these would be as `plain` is."""
    assert len({json.dumps({**said.hosts[name], "name": ""}) for name in GOOD}) == len(GOOD)
    paths = {one["path"] for one in said.hosts["profile"]["changes"]}
    assert "/proc/sys/kernel/numa_balancing" not in paths
    assert said.judged["profile"]["profile"] == "virtual"
    assert "profile" not in said.judged["plain"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_variable_is_that_hosts_error_for_both(name: str, said: SimpleNamespace) -> None:
    variable = next(iter(HOSTS[name]))
    assert said.hosts[name]["error"]["message"].startswith(f"its variables: {variable}: ")
    assert BAD[name] in said.hosts[name]["error"]["message"]
    assert said.hosts[name]["error"]["phase"] == "profile"
    assert said.judged[name]["status"] == "not_judged"
    assert BAD[name] in said.played.failure(name).replace('\\"', '"')


def test_what_is_not_judged_is_counted_apart(said: SimpleNamespace) -> None:
    assert said.summary["not_judged"] == len(BAD) + 1
    assert said.summary["unreachable"] == 0


def test_a_mistyped_variable_is_that_hosts_error_in_the_same_words(said: SimpleNamespace) -> None:
    for hosts in (said.hosts, said.judged):
        assert hosts["mistyped"]["error"]["message"] == f"its variables: {MISTYPED}"
    assert MISTYPED in said.played.failure("mistyped")


def test_what_is_not_read_is_named(said: SimpleNamespace) -> None:
    assert f"the inventory sets numatune_sysroot for {len(HOSTS)} hosts: not read here" in said.err
    assert "numatune_profile" not in said.err


def test_a_profile_of_the_command_line_replaces_that_of_the_inventory_and_no_more(said: SimpleNamespace) -> None:
    assert said.given["profile"]["changes"] == said.hosts["plain"]["changes"]
    assert said.given["typo"]["changes"] == said.hosts["plain"]["changes"]
    assert said.given["roles"]["changes"] == said.hosts["roles"]["changes"]
    assert "the inventory sets numatune_profile for 2 hosts: not read here, --profile" in said.given_err


def test_the_table_of_variables_is_that_of_the_playbooks() -> None:
    """Options come to both by `inventory.OPTIONS`; the rest is named in one file."""
    text = yaml.safe_load((REPO / "playbooks/vars/wanted.yml").read_text())
    roles = {re.findall(r"\w+", text[f"audit_{role}_cpus"])[0]: role for role in ("serving", "housekeeping")}
    assert roles == dict(inventory.ROLES)
    assert inventory.PROFILE in text["audit_profile"]
    assert "numatune.latency.setting_options" in text["audit_settings"]
    assert ALSO in text["tune_everything"]


def test_the_table_of_what_a_typo_is_told_by_is_that_of_the_roles() -> None:
    specs = [
        yaml.safe_load(path.read_text())["argument_specs"] for path in REPO.glob("roles/*/meta/argument_specs.yml")
    ]
    declared = {name for roles in specs for entry in roles.values() for name in entry.get("options", {})}
    assert declared == variables.ROLES
    read = {inventory.PROFILE, ALSO, *inventory.ROLES, *inventory.OPTIONS, *NOT_READ}
    assert read <= variables.PLAYBOOKS | variables.ROLES
