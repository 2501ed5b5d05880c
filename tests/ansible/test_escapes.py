"""What a host's files hold reaches no terminal raw: not by a diff, a message or a result that -v prints."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Controller, FakeRoot

# It would set the title of the window, turn the direction of writing, and clear the screen.
EVIL = "evil\x1b]0;owned\x07\u202egnp\x1b[2J\x9b1m"


def governors(root: FakeRoot, text: str) -> None:
    for path in root.path.rglob("scaling_governor"):
        path.write_text(f"{text}\n")


def test_escapes_of_a_host_are_written_out(controller: Controller) -> None:
    root = controller.root("hostile")
    governors(root, EVIL)
    root.write("etc/default/cpufrequtils", f"GOVERNOR={EVIL}\n")
    steps = (
        ("playbooks/audit.yml", "-v"),
        ("playbooks/tune.yml", "--check", "--diff", "-v"),
        ("playbooks/tune.yml", "--diff"),
        ("playbooks/revert.yml", "--check", "--diff", "-v"),
        ("playbooks/revert.yml", "--diff"),
    )
    for step in steps:
        run = controller.play(*step)
        assert run.code == 0, run.out + run.err
        raw = {sign for sign in run.out + run.err if unicodedata.category(sign) in ("Cc", "Cf")} - {"\n", "\t"}
        assert not raw, f"{step}: {raw}"
        assert r"evil\x1b]0;owned\x07\u202egnp\x1b[2J\x9b1m" in run.out.replace("\\\\", "\\"), step
    (governor, *_) = {path.read_text() for path in root.path.rglob("scaling_governor")}
    assert governor == f"{EVIL}\n"  # what is put back is what was there
