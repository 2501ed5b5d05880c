"""One transaction on a fake root: predicted as made, refused before the first write, put back when a step fails."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transaction_host import JOURNAL, KERNEL, MENU, TODAY, TRIAL_SCRIPT, Target, copy, faults, make, state

from plugins.module_utils import reading, transaction, undo
from plugins.module_utils.core import withheld
from plugins.module_utils.core.change import Change
from plugins.module_utils.core.collecting.replay import collect
from plugins.module_utils.core.plan import make_plan
from plugins.module_utils.differences import differences
from plugins.module_utils.tree import TreeError


@pytest.fixture
def target(tmp_path: Path) -> Target:
    make(tmp_path / "root")
    return Target(tmp_path / "root")


def items(done: transaction.Done) -> list[tuple[str, str, str, str | None]]:
    return [(item.setting, item.kind, item.path, item.content) for item in done.changes]


def test_what_is_predicted_is_what_is_made(target: Target) -> None:
    before = state(target.root)
    predicted = target.predict()
    assert state(target.root) == before
    assert not (target.root / JOURNAL).exists()
    made = target.tune()
    assert items(predicted) == items(made) != []
    assert {setting for setting, *_ in items(made)} >= {"numa_balancing", "cpu_governor", "cpu_idle", "irq_affinity"}
    assert target.predict().changes == target.tune().changes == ()


SECRET = "rd.iscsi.password=geheim"


def with_secret(root: Path) -> Path:
    """A host whose entries hold a password: the trial's entry is a copy of one."""
    make(root)
    main = root / "etc/default/grub"
    main.write_text(main.read_text().replace("quiet", f"quiet {SECRET}"))
    menu = root / MENU
    menu.write_text(menu.read_text().replace("quiet", f"quiet {SECRET}"))
    return root


def test_an_entry_is_copied_with_its_secrets_and_none_is_told(tmp_path: Path) -> None:
    target = Target(with_secret(tmp_path / "root"), KERNEL)
    made = target.tune()
    assert SECRET in (target.root / TRIAL_SCRIPT[1:]).read_text()
    assert SECRET in (target.root / MENU).read_text()
    assert not [path for path in target.root.rglob("*") if path.is_file() and withheld.MARK in path.read_text()]
    shown = differences(made.changes)
    assert "geheim" in repr(shown)
    assert "geheim" not in repr(reading.shown(shown))
    assert withheld.MARK in repr(reading.shown(shown))


def test_what_stands_for_a_secret_is_never_written(tmp_path: Path) -> None:
    """A plan from what was read without secrets, as the controller has it: what would copy one is refused."""
    root = with_secret(tmp_path / "root")
    target = Target(root, KERNEL)
    before = state(root)
    plan = make_plan(collect(reading.Sysroot(str(root)), complete=True), target.profile, TODAY)
    assert any(withheld.MARK in (change.content or "") for change in plan.changes)
    for write in (False, True):
        with target.host.store.lock(create=False), pytest.raises(TreeError, match="where a password was left out"):
            transaction.tune(target.host, lambda: plan, dict, write=write)
        assert state(root) == before


def test_every_change_is_on_disk_as_planned(target: Target) -> None:
    for change in target.tune().changes:
        path = target.root / change.path[1:]
        if change.kind == "link":
            assert str(path.readlink()) == change.content
        elif change.kind in ("file", "runtime"):
            assert path.read_text() == change.content
    assert {name: status for name, status in target.statuses().items() if status == "wrong"} == {}


def test_a_step_that_fails_puts_back_what_was_there(tmp_path: Path) -> None:
    """Any step may fail, not only the writes that one thinks of; what was there is back whichever it is."""
    template = tmp_path / "template"
    make(template)
    before = state(template)
    with faults() as counted:
        Target(copy(template, tmp_path / "counted")).tune()
    failed: list[str] = []
    for at in range(counted.count):
        target = Target(copy(template, tmp_path / f"{at}"))
        with faults(at, OSError(errno.EIO, "Input/output error")):
            try:
                target.tune()
            except (TreeError, OSError) as error:
                failed.append(str(error))
        if state(target.root) != before:
            # An error after the last step that counts: then all of it is there.
            assert target.tune().changes == ()
        assert undo.interrupted(target.host) == (), at
    assert len(failed) > 40
    assert not [line for line in failed if "\n" in line]


def test_an_irq_that_the_kernel_keeps_is_said_and_no_failure(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    real = target.tree.write_value

    def write(path: str, content: bytes) -> None:
        if path == "/proc/irq/25/smp_affinity_list":
            raise OSError(errno.EIO, "Input/output error")
        real(path, content)

    monkeypatch.setattr(target.tree, "write_value", write)
    done = target.tune()
    assert done.refused == ("/proc/irq/25/smp_affinity_list",)
    assert "/proc/irq/25/smp_affinity_list" not in [item.path for item in done.changes]
    assert (target.root / "proc/irq/27/smp_affinity_list").read_text() == "0,2\n"
    # It is not asked again in this boot, and is no finding.
    assert target.predict().changes == target.tune().changes == ()
    assert target.revert().conflicts == ()


def test_a_program_that_cannot_be_started_puts_back_what_was_there(target: Target) -> None:
    kernel = Target(target.root, KERNEL)
    before = state(target.root)

    def refuse(argv: object) -> tuple[int, str, str]:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    # The scratch menu of the first pass is made, the real one is not.
    calls = iter([kernel._command] * 2)
    kernel.host.system._command = lambda argv: next(calls, refuse)(argv)
    with pytest.raises(TreeError, match=r"Cannot allocate memory.*what was there is back"):
        kernel.tune()
    assert state(target.root) == before


def test_bytes_that_are_no_text_are_refused_with_what_to_do(target: Target) -> None:
    (target.root / "etc/default/irqbalance").write_bytes(b"# caf\xe9\n")
    change = Change("irqbalance", "file", "/etc/default/irqbalance", "# new\n", "# caf\\xe9\n", "", "0644")
    with pytest.raises(TreeError, match="/etc/default/irqbalance holds bytes that are no UTF-8: write it in UTF-8"):
        transaction.preflight(target.host, [change], check_menu=False)


def test_a_menu_is_shown_without_its_secrets(target: Target) -> None:
    menu = target.root / "boot/grub/grub.cfg"
    menu.write_text("password_pbkdf2 root grub.pbkdf2.sha512.10000.SECRET\n" + menu.read_text())
    plan = Target(target.root, KERNEL).look()
    assert "SECRET" not in str(plan.as_dict())
    shown = differences(plan.changes)
    assert "SECRET" not in repr(shown)
    assert any("isolcpus=managed_irq" in item.get("after", "") for item in shown)


def test_an_irq_that_was_moved_since_is_no_conflict(target: Target) -> None:
    target.tune()
    (target.root / "proc/irq/25/smp_affinity_list").write_text("2\n")
    way = target.revert()
    assert way.conflicts == ()
    assert any("somebody moved that interrupt" in note for note in way.notes)


def test_a_value_that_the_kernel_does_not_take_is_put_back(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(target.root)
    monkeypatch.setattr(target.tree, "write_value", lambda path, content: None)
    with pytest.raises(TreeError, match=r"still holds '1' after '0' was written.*what was there is back"):
        target.tune()
    assert state(target.root) == before


def test_a_change_that_does_not_hold_is_put_back(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(target.root)
    right = target._prove

    def prove() -> dict[str, Any]:
        found = right()
        return {name: (type(status)("masked"), "a later file wins") for name, (status, _) in found.items()}

    monkeypatch.setattr(target, "_prove", prove)
    with pytest.raises(TreeError, match="numa_balancing is masked after it was tuned: a later file wins; what was"):
        target.tune()
    assert state(target.root) == before


FOREIGN = {
    "etc/sysctl.d/99-zz-numatune.conf": "exists and is not numatune's",
    "etc/tmpfiles.d/zz-numatune-idle.conf": "is not numatune's",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_in_the_way_is_refused(target: Target, name: str) -> None:
    (target.root / name).parent.mkdir(parents=True, exist_ok=True)
    (target.root / name).write_text("# mine\n")
    before = state(target.root)
    with pytest.raises(TreeError, match=FOREIGN[name]):
        target.tune()
    assert state(target.root) == before
    assert not (target.root / JOURNAL).exists()


def test_a_directory_in_the_way_is_refused(target: Target) -> None:
    (target.root / "etc/numatune").write_text("")
    before = state(target.root)
    with pytest.raises(TreeError, match="/etc/numatune is in the way"):
        target.tune()
    assert state(target.root) == before
    assert not (target.root / JOURNAL).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount in a namespace of its own")
@pytest.mark.parametrize(("options", "words"), [("ro,size=1m", "read-only"), ("size=64k", "no space left")])
def test_a_filesystem_that_cannot_hold_it_is_refused_before_the_first_write(
    tmp_path: Path, options: str, words: str
) -> None:
    make(tmp_path / "root")
    before = state(tmp_path / "root")
    script = (
        "import sys; sys.path[:0] = ['.', 'tests']\n"
        "from transaction_host import Target\nfrom pathlib import Path\n"
        f"Target(Path({str(tmp_path / 'root')!r})).tune()"
    )
    target = tmp_path / "root/etc"
    mounts = f"cp -a {target} {tmp_path}/etc; mount -t tmpfs -o size=4m tmpfs {target}; cp -a {tmp_path}/etc/. {target}"
    mounts += f"; mount -o remount,{options} {target}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounts}; exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert words in done.stderr, done.stderr
    assert "nothing was changed" in done.stderr
    assert state(tmp_path / "root") == before
    assert not (tmp_path / "root" / JOURNAL).exists()


def test_two_runs_are_kept_apart(target: Target) -> None:
    target.tune()
    (target.root / "proc/sys/kernel/numa_balancing").write_text("1\n")
    with (target.root / JOURNAL / "journal/lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TreeError, match="another numatune run holds"):
            target.tune()
    assert target.tune().changes != ()


def test_revert_to_a_generation_undoes_the_later_ones_alone(target: Target) -> None:
    target.tune()
    tuned = state(target.root)
    later = Target(target.root, {"settings": {"cpu_governor": {"expected": "powersave"}}})
    assert {item.setting for item in later.tune().changes} == {"cpu_governor"}
    assert state(target.root) != tuned
    later.revert(to=1)
    assert state(target.root) == tuned
    later.revert()
    assert target.statuses()["numa_balancing"] == "wrong"


def test_the_recipe_of_kernel_arguments_undoes_them_by_hand(tmp_path: Path) -> None:
    make(tmp_path / "root")
    before = state(tmp_path / "root")
    Target(tmp_path / "root", KERNEL).tune()
    recipe = tmp_path / "root" / JOURNAL / "journal/0001-undo.txt"
    editor = tmp_path / "bin/grub-editenv"
    editor.parent.mkdir()
    # Debian's own tool, as far as the recipe uses it: FILE unset NAME.
    editor.write_text('#!/bin/sh\nsed -i "s/^$3=.*//" "$1"\n')
    editor.chmod(0o755)
    environment = {**os.environ, "ROOT": str(tmp_path / "root"), "PATH": f"{editor.parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(recipe)], env=environment, check=True, timeout=30)
    skipped = "boot/grub/grubenv"
    after = {key: value for key, value in state(tmp_path / "root").items() if key != skipped}
    assert after == {key: value for key, value in before.items() if key != skipped}


def test_the_life_of_kernel_arguments(tmp_path: Path) -> None:
    make(tmp_path / "root")
    target = Target(tmp_path / "root", KERNEL)
    before = state(target.root)
    assert target.tune().changes != ()
    assert target.statuses()["kernel_arguments"] == "pending_reboot"
    assert target.tune().changes == ()
    target.reboot()
    assert target.statuses()["kernel_arguments"] == "lost_at_reboot"
    assert target.tune().changes != ()
    assert target.statuses()["kernel_arguments"] == target.statuses()["core_isolation"] == "ok"
    target.reboot()
    assert target.statuses()["kernel_arguments"] == "ok"
    assert target.tune().changes == ()
    assert "isolcpus=1 " not in (target.root / "boot/grub/grub.cfg").read_text()
    target.revert()
    now = state(target.root)
    assert {key for key in before if before[key] != now.get(key) and not key.startswith(("proc/", "sys/"))} <= {
        "boot/grub/grubenv"
    }
    assert set(now) == set(before)


def test_a_trial_that_did_not_hold_is_not_tried_again_by_itself(tmp_path: Path) -> None:
    make(tmp_path / "root")
    target = Target(tmp_path / "root", KERNEL)
    target.tune()
    target.reboot()
    # The host panicked in the trial, and came back on the default entry.
    target.reboot()
    assert target.statuses()["kernel_arguments"] == "wrong"
    with pytest.raises(TreeError, match=r"trial boot.*not tried again"):
        target.tune()
    again = {"settings": {**KERNEL["settings"], "kernel_arguments": {"retry": True}}}
    retry = Target(target.root, again)
    assert retry.tune().changes != ()
    assert retry.statuses()["kernel_arguments"] == "pending_reboot"
