"""What is kept on the controller of hosts with odd names: a file for each, for its owner alone, and no secret in it."""

from __future__ import annotations

import json
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from numatune.core.names import file_name
from numatune.core.withheld import MARK

if TYPE_CHECKING:
    from conftest import Controller

NAMES = ("a/b", "a_b", "..", file_name("a/b"))
HASH = "grub.pbkdf2.sha512.10000.5D1A00FF.77C0FFEE"
PROFILE = {"extends": "inference-latency", "settings": {"core_isolation": {"mode": "kernel", "pinned": True}}}


@pytest.fixture(scope="module")
def audited(controller: Controller) -> SimpleNamespace:
    """Audit four hosts whose boot entries hold a password, and say what tune.yml would do to one."""
    for number, name in enumerate(NAMES):
        root = controller.root(f"host{number}")
        root.write("proc/cmdline", root.read("proc/cmdline").rstrip("\n") + " rd.iscsi.password=geheim\n")
        menu = root.read("boot/grub/grub.cfg").replace("ro quiet", "ro quiet rd.iscsi.password=geheim")
        root.write("boot/grub/grub.cfg", f"password_pbkdf2 root {HASH}\n{menu}")
        root.write("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet rd.iscsi.password=geheim"\n')
        controller.add(name, numatune_sysroot=str(root.path))
    limit = ["--limit", "all:!host*"]
    folder = controller.folder / "new" / "reports"
    asked = {"audit_report_dir": str(folder), "numatune_profile": PROFILE}
    run = controller.play("playbooks/audit.yml", *limit, "-e", json.dumps(asked))
    check = controller.play(
        "playbooks/tune.yml", "--check", "--diff", "--limit", "a_b", "-e", json.dumps({"numatune_profile": PROFILE})
    )
    return SimpleNamespace(run=run, check=check, folder=folder)


def test_no_two_hosts_share_a_file(audited: SimpleNamespace) -> None:
    assert audited.run.code == 0, audited.run.out + audited.run.err
    reports = {json.loads(path.read_text())["name"]: path for path in audited.folder.iterdir()}
    assert set(reports) == set(NAMES)
    assert {name: path.name for name, path in reports.items()} == {name: f"{file_name(name)}.json" for name in NAMES}
    assert stat.S_IMODE(audited.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in reports.values()} == {0o600}


def test_no_secret_comes_to_the_controller(audited: SimpleNamespace) -> None:
    texts = [audited.run.out, audited.check.out, *(path.read_text() for path in audited.folder.iterdir())]
    for text in texts:
        assert "geheim" not in text
        assert HASH not in text
    assert MARK in texts[-1]
    assert audited.check.code == 0 or "refused, " in audited.check.out, audited.check.out


def test_names_are_told_apart() -> None:
    """Each that had to be changed, or looks as if it had been, has the digest of its own."""
    odd = [
        "a/b",
        "a_b",
        "a b",
        "a\nb",
        ".a_b",
        "..",
        ".",
        "",
        "/",
        "a_b-" + file_name("a/b")[-10:],
        "é",
        "x" * 300,
        "x" * 301,
    ]
    names = [file_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    assert names[1] == "a_b"
    assert all(name and "/" not in name and not name.startswith(".") and len(name) < 200 for name in names)
