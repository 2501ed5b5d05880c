"""GRUB's own files: who may read a new menu, what check mode touches, what revert takes away."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transaction_host import MENU, Target, faults, make, state

from plugins.module_utils import transaction
from plugins.module_utils.core.undo.recipe import recipe

ARGUMENTS: Any = {"settings": {"kernel_arguments": {"wanted": {"skew_tick": "1"}}}}
BLOCK = "boot/grub/grubenv"
PASSWORD = "password_pbkdf2 root grub.pbkdf2.sha512.10000.SECRET\n"


class WithMkconfig(Target):
    """A host whose grub-mkconfig closes a menu that holds a password, as Debian's does."""

    password = ""
    made = 0o444

    def _command(self, argv: Sequence[str]) -> tuple[int, str, str]:
        done = super()._command(argv)
        if argv[2].endswith("grub-mkconfig"):
            menu = self.root / argv[4].lstrip("/")
            menu.write_text(self.password + menu.read_text())
            menu.chmod(0o600 if self.password else self.made)
        return done


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "root")
    return tmp_path / "root"


MODES = {
    "stock": (0o444, "", 0o444, 0o444),
    "a password has come": (0o444, PASSWORD, 0o444, 0o600),
    "a password, and open to writers": (0o666, PASSWORD, 0o444, 0o600),
    "closed by hand": (0o600, "", 0o444, 0o600),
    "closed by hand, with a password": (0o400, PASSWORD, 0o444, 0o400),
    "open to writers": (0o664, "", 0o444, 0o644),
    "made closed by another version": (0o444, "", 0o600, 0o444),
}


@pytest.mark.parametrize(("before", "password", "made", "after"), MODES.values(), ids=MODES)
def test_a_new_menu_is_no_more_open_than_grub_would_make_it(
    root: Path, before: int, password: str, made: int, after: int
) -> None:
    (root / MENU).chmod(before)
    target = WithMkconfig(root, ARGUMENTS)
    target.password, target.made = password, made
    stock = state(root)
    target.tune()
    assert (root / MENU).stat().st_mode & 0o7777 == after
    target.revert()
    assert state(root) == stock


def test_check_mode_runs_no_script_and_writes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(root, ARGUMENTS)
    whole = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    ran: list[Sequence[str]] = []
    monkeypatch.setattr(target.host.system, "_command", lambda argv: ran.append(argv) or (0, "", ""))
    with faults() as seen, target.host.store.lock(create=False):
        done = transaction.tune(target.host, target.look, target._prove, write=False, try_menu=False)
    assert any(change.kind == "menu" for change in done.changes)
    assert (ran, seen.log) == ([], [])
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == whole
    with faults() as seen:
        target = Target(root, ARGUMENTS)
        target.predict()
    assert "generate" in seen.log, "a run that writes makes it before its first write"
    assert not (root / "run/numatune-grub.cfg").exists()


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("made_permanent", [False, True])
def test_an_environment_block_that_tune_made_goes_with_revert(root: Path, booted: bool, made_permanent: bool) -> None:
    (root / BLOCK).unlink()
    stock = {key: value for key, value in state(root).items() if not key.startswith(("proc/", "sys/"))}
    target = Target(root, ARGUMENTS)
    target.tune()
    assert "next_entry=numatune-trial\n" in (root / BLOCK).read_text()
    if booted or made_permanent:
        target.reboot()
    if made_permanent:
        target.tune()
    target.revert()
    assert {key: value for key, value in state(root).items() if not key.startswith(("proc/", "sys/"))} == stock


def test_a_block_that_tune_made_stays_where_somebody_keeps_a_variable_in_it(root: Path) -> None:
    (root / BLOCK).unlink()
    target = Target(root, ARGUMENTS)
    target.tune()
    text = (root / BLOCK).read_text()
    (root / BLOCK).write_text(text.replace("Block\n", "Block\nsaved_entry=a\n").removesuffix("#" * 14))
    target.revert()
    assert "saved_entry=a\n" in (root / BLOCK).read_text()
    assert "numatune" not in (root / BLOCK).read_text()


def test_what_grub_emptied_is_back_as_it_was(root: Path) -> None:
    """An empty `next_entry=` that was there before stays, one that only numatune's trial left goes."""
    for before in ("next_entry=\n", ""):
        text = f"# GRUB Environment Block\n{before}saved_entry=0\n"
        (root / BLOCK).write_text(text + "#" * (1024 - len(text)))
        whole = (root / BLOCK).read_bytes()
        target = Target(root, ARGUMENTS)
        target.tune()
        target.reboot()
        target.revert()
        assert (root / BLOCK).read_bytes() == whole


def test_the_trial_and_its_mark_are_one_write(root: Path) -> None:
    with faults() as seen:
        Target(root, ARGUMENTS).tune()
    assert len([line for line in seen.log if line.startswith("rename") and ".grubenv" in line]) == 1


def test_the_text_for_undoing_by_hand_takes_the_block_out_again(root: Path, tmp_path: Path) -> None:
    (root / BLOCK).unlink()
    target = Target(root, ARGUMENTS)
    target.tune()
    (generation,) = target.host.store.read()
    text = recipe(generation)
    assert text.index("numatune_trial") < text.index("next_entry"), "an entry without its mark is only tried again"
    # grub-editenv as far as the text needs it.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "grub-editenv").write_text(
        '#!/bin/sh\ncase $2 in list) ;; *) [ "$2" = unset ] && echo "$3" >> "$1.log";; esac\n'
    )
    (tools / "grub-mkconfig").write_text("#!/bin/sh\n")
    (tools / "chroot").write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = tmp_path / "undo.sh"
    script.write_text(text)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "ROOT": str(root)}
    subprocess.run(["sh", str(script)], env=environment, check=True, capture_output=True)
    assert (root / f"{BLOCK}.log").read_text() == "numatune_trial\nnext_entry\n"
    assert not (root / BLOCK).exists()
