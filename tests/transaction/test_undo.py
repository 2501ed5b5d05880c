"""The way back: whatever was cut or failed before, all that can be put back is, and what cannot is named."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from transaction_host import JOURNAL, KERNEL, Crash, Target, copy, faults, make, state

from plugins.module_utils import undo
from plugins.module_utils.core.undo.journal import JournalError, Seen
from plugins.module_utils.tree import TreeError

CONF = "etc/sysctl.d/99-zz-numatune.conf"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    make(tmp_path / "root")
    return Target(tmp_path / "root")


def cut_revert(target: Target, gone: str = CONF) -> None:
    """Revert until one file is as it was before, and end there."""
    with faults() as counted:
        whole = copy(target.root, Path(tempfile.mkdtemp(dir=target.root.parent)) / "whole")
        Target(whole).revert()
    at = counted.log.index(f"unlink {whole / gone}")
    with faults(at + 1), pytest.raises(Crash):
        target.revert()
    assert not (target.root / gone).exists()


def states(target: Target) -> list[str]:
    return [item.state for item in target.host.store.read()]


def test_a_revert_that_was_cut_is_named_and_tuned_over_and_undone(target: Target) -> None:
    before = state(target.root)
    target.tune()
    cut_revert(target)
    assert states(target) == ["reverting"]
    (note,) = [note for note in target.audit().notes if "interrupted" in note]
    assert note.startswith("a revert was interrupted, or could not put all back (generation 1 in /var/lib/numatune")
    assert "run playbooks/revert.yml" in note
    assert target.audit().status != "ok"
    target.tune()
    assert states(target) == ["completed", "completed"]
    assert [entry.back for entry in target.host.store.read()[0].entries if entry.path == f"/{CONF}"] == [True]
    assert not [note for note in target.audit().notes if "interrupted" in note]
    cut_revert(target)
    target.tune()
    assert target.revert().conflicts == ()
    assert state(target.root) == before
    assert set(states(target)) == {"reverted"}


def test_a_revert_that_was_cut_by_a_version_that_marked_nothing_is_undone_too(target: Target) -> None:
    before = state(target.root)
    target.tune()
    journal = (target.root / JOURNAL / "journal/0001.json").read_text()
    cut_revert(target)
    (target.root / JOURNAL / "journal/0001.json").write_text(journal)
    target.tune()
    assert target.revert().conflicts == ()
    assert state(target.root) == before


def test_a_package_that_puts_its_old_file_back_breaks_no_chain(target: Target) -> None:
    name = "etc/default/irqbalance"
    before, old = state(target.root), (target.root / name).read_bytes()
    target.tune()
    if (target.root / name).read_bytes() == old:
        name, old = CONF, b""
        (target.root / CONF).unlink()
    else:
        (target.root / name).write_bytes(old)
    target.tune()
    assert target.revert().conflicts == ()
    assert state(target.root) == before


def test_reverting_to_a_generation_that_was_cut_is_undone(target: Target) -> None:
    """What stands is what the first generation left: no end of the chain, and still nobody else's."""
    before = state(target.root)
    target.tune()
    first = state(target.root)
    later = Target(target.root, {"settings": {"cpu_governor": {"expected": "powersave"}}})
    later.tune()
    journal = (target.root / JOURNAL / "journal/0002.json").read_text()
    later.revert(to=1)
    assert state(target.root) == first
    (target.root / JOURNAL / "journal/0002.json").write_text(journal)
    later.tune()
    assert later.revert().conflicts == ()
    assert state(target.root) == before


def test_what_somebody_wrote_after_a_cut_revert_stays(target: Target) -> None:
    target.tune()
    cut_revert(target)
    (target.root / CONF).write_text("# mine\n")
    with pytest.raises(TreeError, match="is not numatune's"):
        target.tune()
    assert any("changed by somebody" in line for line in target.revert().conflicts)
    assert (target.root / CONF).read_text() == "# mine\n"
    assert states(target) == ["completed"], "the revert is over, for it did all it may"


def everything_fails_but(target: Target, fine: int, code: int = errno.EROFS) -> str:
    """Tune, and let every write on files (not on kernel values, not in the journal) after `fine` of them fail."""
    real, count = target.tree.replace, 0

    def replace(path: str, seen: Any) -> None:
        nonlocal count
        if path.startswith("/etc/"):
            count += 1
            if count > fine:
                raise TreeError(f"{path} could not be written: {os.strerror(code)}", os.strerror(code))
        real(path, seen)

    def refuse(path: str) -> None:
        if count > fine and path.startswith("/etc/"):
            raise OSError(code, os.strerror(code), path)

    target.tree.replace = replace
    for name in ("remove", "rmdir", "remove_temporary"):
        old = getattr(target.tree, name)
        setattr(target.tree, name, lambda path, old=old: (refuse(path), old(path)))
    with pytest.raises(TreeError) as caught:
        target.tune()
    return str(caught.value)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EPERM])
@pytest.mark.parametrize("fine", [1, 2, 3])
def test_what_can_be_put_back_is_and_what_cannot_is_named(target: Target, fine: int, code: int) -> None:
    before = state(target.root)
    said = everything_fails_but(target, fine, code)
    now = state(target.root)
    stays = {name for name in now if now[name] != before.get(name)}
    assert stays
    assert all(name.startswith("etc/") for name in stays), "each kernel value is back"
    files = {name for name in stays if (target.root / name).is_file()}
    assert all(f"/{name}" in said for name in files), said
    assert "not put back, left as tuned" in said
    assert "all else is back" in said
    assert "\n" not in said
    assert states(target) == ["reverting"]
    mended = Target(target.root)
    assert any("a revert was interrupted" in note for note in mended.audit().notes)
    assert mended.revert().conflicts == ()
    assert state(target.root) == before


@pytest.mark.parametrize("gone", ["etc/default/grub.d/zz-numatune.cfg", "etc/grub.d/zz_numatune"])
def test_a_menu_is_back_only_when_what_it_is_made_from_is(tmp_path: Path, gone: str) -> None:
    make(tmp_path / "root")
    host = Target(tmp_path / "root", KERNEL)
    stock = menu_and_sources(host)
    host.tune()
    if "default" in gone:
        host.reboot()
        host.tune()
    with faults() as counted:
        whole = copy(host.root, tmp_path / "whole")
        Target(whole, KERNEL).revert()
    at = counted.log.index(f"unlink {whole / gone}")
    with (
        faults(at, OSError(errno.EPERM, "Operation not permitted")),
        pytest.raises(AssertionError, match="not put back"),
    ):
        host.revert()
    host.tune()
    assert host.revert().conflicts == ()
    assert menu_and_sources(host) == stock


def menu_and_sources(host: Target) -> dict[str, str]:
    return {key: value for key, value in state(host.root).items() if key.startswith(("boot/", "etc/"))}


def test_a_block_that_is_full_is_named_and_keeps_nothing_else_from_going_back(target: Target) -> None:
    block = "boot/grub/grubenv"
    (target.root / block).write_text(f"# GRUB Environment Block\nmine={'x' * 900}\n".ljust(1024, "#"))
    with pytest.raises(TreeError, match=f"/{block}: .* does not fit .*; take out what is not needed by grub-editenv"):
        target.tree.set_variables({f"/{block}:kernelopts": Seen("file", content=b"y" * 200)})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount in a namespace of its own")
def test_a_filesystem_that_turns_read_only_in_mid_run(tmp_path: Path) -> None:
    """As ext4 does after an error: a real mount, remounted after the eighth write, then made writable again."""
    make(tmp_path / "root")
    before = state(tmp_path / "root")
    script = f"""
import subprocess, sys; sys.path[:0] = ['.', 'tests']
from pathlib import Path
from transaction_host import Target, state
from plugins.module_utils.tree import TreeError
root = Path({str(tmp_path / "root")!r})
before, target, real, count = state(root), Target(root), None, 0
def turned(name):
    real = getattr(target.tree, name)
    def step(path, *rest):
        global count
        real(path, *rest)
        count += path.startswith(('/etc/', '/proc/', '/sys/'))
        if count == 8:
            subprocess.run(['mount', '-o', 'remount,ro', str(root / 'etc')], check=True)
    setattr(target.tree, name, step)
for name in ('replace', 'mkdir', 'write_value'):
    turned(name)
try:
    target.tune()
except TreeError as error:
    print(error)
now = state(root)
assert {{name.split('/')[0] for name in now if now[name] != before.get(name)}} == {{'etc'}}, 'all values are back'
try:
    Target(root).revert()
except AssertionError as error:
    print(error)
subprocess.run(['mount', '-o', 'remount,rw', str(root / 'etc')], check=True)
assert Target(root).revert().conflicts == ()
assert state(root) == before
"""
    etc = tmp_path / "root/etc"
    mounts = f"cp -a {etc} {tmp_path}/etc; mount -t tmpfs -o size=4m,mode=755 tmpfs {etc}; cp -a {tmp_path}/etc/. {etc}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounts}; exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tuned, reverted = done.stdout.splitlines()
    for line in (tuned, reverted):
        assert "not put back, left as tuned: /etc/" in line
        assert "Read-only file system" in line
    assert state(tmp_path / "root") == before


@pytest.mark.parametrize("name", ["etc/sysctl.d/.99-zz-numatune.conf.numatune", "boot/grub/grub.cfg.numatune"])
def test_a_directory_in_the_place_of_a_temporary_name(target: Target, name: str) -> None:
    kernel = Target(target.root, KERNEL)
    (target.root / name).mkdir(parents=True)
    before = state(target.root)
    with pytest.raises(TreeError, match=r"is in the way, a directory: move it.*nothing was changed"):
        kernel.tune()
    assert state(target.root) == before
    assert not (target.root / JOURNAL).exists()
    (target.root / name).rmdir()
    before = state(target.root)
    kernel.tune()
    (target.root / name).mkdir()
    with target.host.store.lock(create=True):
        undone = undo.undo(target.host, target.host.store.read(), 1)
    left = {key for key, value in state(target.root).items() if value != before.get(key)}
    # What needs no temporary name is back: a new file is removed.
    assert left == {name} | ({"boot/grub/grub.cfg"} if name.endswith("grub.cfg.numatune") and undone.failure else set())
    assert any(f"{Path(name).name}" in line for line in (*undone.leftovers, undone.failure or ""))
    (target.root / name).rmdir()
    target.revert()
    assert state(target.root) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for an immutable file")
def test_a_file_that_cannot_be_changed_keeps_no_other_from_going_back(target: Target) -> None:
    before = state(target.root)
    target.tune()
    if subprocess.run(["chattr", "+i", str(target.root / CONF)], capture_output=True).returncode != 0:
        pytest.skip("this filesystem has no immutable files")
    try:
        with target.host.store.lock(create=True):
            failure = undo.undo(target.host, target.host.store.read(), 1).failure
    finally:
        subprocess.run(["chattr", "-i", str(target.root / CONF)], check=True)
    assert failure is not None
    assert f"left as tuned: /{CONF} (Operation not permitted); all else is back" in failure
    assert {key for key, value in state(target.root).items() if value != before.get(key)} == {*(CONF, "etc/sysctl.d")}
    target.revert()
    assert state(target.root) == before


def test_a_journal_that_cannot_be_written_keeps_nothing_from_going_back(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(target.root)
    target.tune()

    def full(generation: object) -> str:
        raise TreeError("/var is full")

    monkeypatch.setattr(target.host.store, "update", full)
    with target.host.store.lock(create=True):
        undone = undo.undo(target.host, target.host.store.read(), 1)
    assert undone.failure
    assert undone.failure.startswith("what was there is back; but the journal could not be written (/var is full)")
    assert state(target.root) == before
    # Nothing says that it was reverted, and both ways on find it out.
    other = Target(copy(target.root, target.root.parent / "other"))
    assert other.revert().conflicts == ()
    assert state(other.root) == before
    again = Target(target.root)
    again.tune()
    assert again.revert().conflicts == ()
    assert state(target.root) == before


def damaged(target: Target, kind: str) -> None:
    """Put a journal's file there that is none."""
    path = target.root / JOURNAL / "journal/0002.json"
    text = (target.root / JOURNAL / "journal/0001.json").read_text().replace('"generation": 1', '"generation": 2')
    data = json.loads(text)
    change = {
        "uid": {"uid": -5},
        "gid": {"gid": 1 << 40},
        "mode": {"mode": "-1"},
        "name": {"xattrs": {"user.\0": "AA=="}},
        "sha256": {"sha256": "0; touch /PWNED"},
        "surrogate": {"label": "\ud800"},
    }
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "nested":
        path.write_text("[" * 200_000)
    elif kind == "number":
        path.write_text(text.replace('"generation": 2', f'"generation": {"9" * 5000}'))
    elif kind == "nul":
        path.write_text(text.replace("/etc/", "/etc/\\u0000", 1))
    elif kind == "large":
        with path.open("w") as file:
            file.truncate(17 << 20)
    else:
        data["entries"][0]["before"] = {"state": "file", "content": "", **change[kind]}
        path.write_text(json.dumps(data))


DAMAGES = (
    *("pipe", "directory", "nested", "number", "nul", "large"),
    *("uid", "gid", "mode", "name", "sha256", "surrogate"),
)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_journal_that_is_none_is_refused_in_one_line(target: Target, kind: str) -> None:
    target.tune()
    damaged(target, kind)
    before = state(target.root)
    for run in (target.tune, target.revert):
        with pytest.raises((JournalError, OSError), match=r"0002\.json") as caught:
            run()
        assert "\n" not in str(caught.value)
    assert state(target.root) == before
