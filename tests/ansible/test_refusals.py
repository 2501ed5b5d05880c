"""What is refused, in one line and before the first write, each on a host of its own in one run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Controller, FakeRoot

AT_ONCE = ("-e", "numatune_serial=100%", "-e", "numatune_max_fail_percentage=100")
REFUSED = {
    "foreign": "/etc/sysctl.d/zzz-vendor.conf line 1 would win over",
    "damaged": "0001.json: the journal is damaged",
    "pipe": "0002.json is no plain file",
    "nested": "0001.json: the journal is damaged (RecursionError",
    "odd_owner": "0001.json: the journal is damaged (ValueError: a number is out of range)",
    "newer": "'numatune/journal/9' is not numatune/journal/3",
    "leads_out": "leads out of",
    "in_the_way": "99-zz-numatune.conf",
    "no_sysroot": "is not a directory: sysroot must be an existing tree",
    "empty_sysroot": "holds nothing that numatune reads",
    "cpu_0": "CPU 0 cannot serve",
    "no_cpus": "serving CPUs 64-65 do not exist",
    "bad_cpus": "cpus.serving",
    "bad_profile": "no profile named 'fast'",
    "bad_key": "unknown key 'colour'",
    "bad_type": "audit_fail_on",
    "bad_dict": "tune_audit: a mapping is wanted, not 'no'",
    "no_place": "is in the way",
    "agent": "power-profiles-daemon",
    "unpinned": "pinned: true",
    "bad_range": "a number from 0 is wanted, not -1",
    "no_housekeeping": "would have no housekeeping CPU",
    "bad_choice": "core_isolation.mode: one of none, partition, kernel is wanted",
    "security": "numatune changes no security setting",
    "loader": "no boot loader's configuration",
}

JOURNALS = ("damaged", "newer", "pipe", "nested", "odd_owner")
ODD_OWNER = json.dumps(
    {
        "schema": "numatune/journal/3",
        "generation": 1,
        "state": "completed",
        "boot_id": "x",
        "recorded": "x",
        "entries": [
            {
                "setting": "x",
                "kind": "file",
                "path": "/etc/x",
                "before": {"state": "file", "content": "", "uid": -5},
                "after": {"state": "absent"},
                "back": False,
            }
        ],
    }
)


def _wrapper(folder: Path, text: str) -> str:
    path = folder / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def _without_root(folder: Path) -> str:
    """Return an interpreter that gives up root; started without root there is none to give up."""
    if os.geteuid() != 0:
        return sys.executable
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    return _wrapper(folder, f'exec setpriv --reuid 65534 --regid 65534 --clear-groups {python} "$@"')


@pytest.fixture(scope="module")
def refused(controller: Controller) -> SimpleNamespace:
    """Tune one host for each refusal, all in one run."""
    roots: dict[str, FakeRoot] = {}
    variables = {
        "cpu_0": {"numatune_serving_cpus": "0-3"},
        "no_cpus": {"numatune_serving_cpus": "64-65"},
        "bad_cpus": {"numatune_serving_cpus": {"first": 2}},
        "bad_profile": {"numatune_profile": "fast"},
        "bad_key": {"numatune_profile": {"colour": "red"}},
        "bad_type": {"audit_fail_on": "sometimes"},
        "bad_range": {"tune_cpu_idle_max_exit_latency_us": -1},
        "no_housekeeping": {"numatune_serving_cpus": "4-7"},
        "bad_choice": {"tune_core_isolation_mode": "full"},
        "unpinned": {"tune_core_isolation_mode": "kernel"},
        "loader": {"tune_core_isolation_mode": "kernel", "tune_core_isolation_pinned": True},
        "security": {"tune_kernel_arguments_wanted": {"mitigations": "off"}},
    }
    for host in REFUSED:
        roots[host] = controller.root(host, **variables.get(host, {}))
    roots["foreign"].write("etc/sysctl.d/zzz-vendor.conf", "kernel.numa_balancing = 1\n")
    roots["damaged"].write("var/lib/numatune/journal/0001.json", '{"schema": "numatune/journal/1", "gener')
    roots["pipe"].write("var/lib/numatune/journal/lock", "")
    os.mkfifo(roots["pipe"].path / "var/lib/numatune/journal/0002.json")
    roots["nested"].write("var/lib/numatune/journal/0001.json", "[" * 200_000)
    roots["odd_owner"].write("var/lib/numatune/journal/0001.json", ODD_OWNER)
    roots["newer"].write("var/lib/numatune/journal/0001.json", '{"schema": "numatune/journal/9"}')
    outside = controller.folder / "outside"
    outside.mkdir()
    shutil.rmtree(roots["leads_out"].path / "etc/sysctl.d")
    (roots["leads_out"].path / "etc/sysctl.d").symlink_to(outside)
    (roots["in_the_way"].path / roots["in_the_way"].drop_in).symlink_to("10-local.conf")
    shutil.rmtree(roots["no_sysroot"].path)
    shutil.rmtree(roots["empty_sysroot"].path)
    roots["empty_sysroot"].path.mkdir()
    (roots["no_place"].path / "etc/tmpfiles.d").write_text("")
    roots["agent"].write("usr/lib/systemd/system/power-profiles-daemon.service", "")
    bus = "[D-BUS Service]\nName=net.hadess.PowerProfiles\nSystemdService=power-profiles-daemon.service\n"
    roots["agent"].write("usr/share/dbus-1/system-services/net.hadess.PowerProfiles.service", bus)
    shutil.rmtree(roots["loader"].path / "boot/grub")
    before = {host: root.state(journal=True) for host, root in roots.items()}
    # All at once: by default the first that fails would stop the run.
    run = controller.play("playbooks/tune.yml", *AT_ONCE)
    # The role's own variable, which the playbook sets.
    typed = controller.play("playbooks/tune.yml", "--limit", "bad_dict", "-e", '{"tune_audit": "no"}')
    back = controller.play("playbooks/revert.yml", "--limit", ",".join(JOURNALS))
    return SimpleNamespace(roots=roots, before=before, run=run, typed=typed, back=back, outside=outside)


@pytest.mark.parametrize("host", REFUSED)
def test_it_is_refused_before_the_first_write(refused: SimpleNamespace, host: str) -> None:
    run = refused.typed if host == "bad_dict" else refused.run
    assert run.code != 0
    assert REFUSED[host] in run.failure(host)
    assert run.recap(host)["changed"] == (0 if host != "bad_dict" else run.recap(host)["changed"])
    if host != "bad_dict":
        assert refused.roots[host].state(journal=True) == refused.before[host]
    assert "Traceback" not in run.out + run.err
    assert list(refused.outside.iterdir()) == []


@pytest.mark.parametrize("host", JOURNALS)
def test_revert_refuses_a_journal_that_is_none(refused: SimpleNamespace, host: str) -> None:
    assert REFUSED[host] in refused.back.failure(host)
    assert refused.roots[host].state(journal=True) == refused.before[host]
    assert "Traceback" not in refused.back.out + refused.back.err


def test_without_root_tune_is_refused_and_audit_is_not(controller: Controller, open_folder: Path) -> None:
    interpreter = _without_root(open_folder / "bin")
    root = controller.root("unprivileged", open_folder, ansible_python_interpreter=interpreter)
    if os.geteuid() != 0:
        # The owner of a tree may change it, so take one that this user does not own.
        controller.add("unprivileged", ansible_python_interpreter=interpreter, numatune_sysroot="/usr")
    before = root.state(journal=True)
    if os.geteuid() == 0:
        audit = controller.play("playbooks/audit.yml", "--limit", "unprivileged")
        assert audit.code == 0, audit.out
        tune = controller.play("playbooks/tune.yml", "--limit", "unprivileged")
        assert tune.code != 0
        assert "needs root" in tune.failure("unprivileged")
    revert = controller.play("playbooks/revert.yml", "--limit", "unprivileged")
    assert revert.code != 0
    assert "needs root" in revert.failure("unprivileged")
    assert root.state(journal=True) == before


def test_a_finding_fails_the_host_only_when_asked(controller: Controller) -> None:
    controller.root("found")
    run = controller.play("playbooks/audit.yml", "--limit", "found", "-e", "audit_fail_on=critical")
    assert run.code != 0
    assert "numa_balancing" in run.failure("found")
