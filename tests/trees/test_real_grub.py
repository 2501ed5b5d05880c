"""What Debian's own grub-mkconfig makes of numatune's files is what was predicted."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from core.machine import Machine
from trees.tree import Tree

from numatune.core.parsers import cmdline, grub

pytestmark = pytest.mark.trees

WANTED = {"isolcpus.x": None, "skew_tick": "1", "nohz": "on", "a-b": "1"}
TEXT = "isolcpus.x skew_tick=1 nohz=on a-b=1"
KERNELS = ("6.1.0-10-amd64", "6.1.0-9-amd64")
DROP_INS = "etc/default/grub.d"
CONFIG = "boot/grub/grub.cfg"


class Case(NamedTuple):
    """A host's own files and kernels."""

    files: dict[str, str]
    kernels: tuple[str, ...] = KERNELS[:1]


_DISK = "5eaf00d5-0000-4000-8000-000000000001"
SECOND = f'GRUB_DEFAULT="gnulinux-advanced-{_DISK}>gnulinux-{KERNELS[1]}-advanced-{_DISK}"\n'
CLOUD = {
    f"{DROP_INS}/10_cloud.cfg": 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX console=tty0 console=ttyS0,115200"\n',
    f"{DROP_INS}/15_timeout.cfg": "GRUB_TIMEOUT=0\n",
    f"{DROP_INS}/50-cloudimg-settings.cfg": (
        'GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 skew_tick=0 console=ttyS0"\nGRUB_TERMINAL=console\n'
    ),
}
EDITED = {
    "etc/default/grub": (
        "GRUB_DEFAULT=saved\nGRUB_SAVEDEFAULT=true\nGRUB_TIMEOUT=1\nGRUB_DISTRIBUTOR=Own\n"
        "GRUB_CMDLINE_LINUX_DEFAULT='quiet  a_b=7 skew_tick=1 skew_tick=2 foo=* x=\"b c\"'\n"
        'GRUB_CMDLINE_LINUX="net.ifnames=0"\n'
    ),
    f"{DROP_INS}/99-own.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT nohz=off splash"\n',
    f"{DROP_INS}/98.cfg.disabled": 'GRUB_CMDLINE_LINUX="skew_tick=9"\n',
    f"{DROP_INS}/zzz.cfg.disabled": 'GRUB_CMDLINE_LINUX_DEFAULT=""\n',
    "etc/grub.d/45_own": "#!/bin/sh\nprintf \"menuentry 'Own' {\\n\\tlinux /own skew_tick=5\\n}\\n\"\n",
}
CASES = {
    "stock": Case({}),
    "stock, two kernels": Case({}, KERNELS),
    "cloud image": Case(CLOUD, KERNELS),
    "hand-edited": Case(EDITED, KERNELS),
    "empty, the default in a submenu": Case({"etc/default/grub": f'{SECOND}GRUB_CMDLINE_LINUX_DEFAULT=""\n'}, KERNELS),
    "not set": Case({"etc/default/grub": "GRUB_TIMEOUT=3\n"}),
    "no recovery entries": Case(
        {"etc/default/grub": 'GRUB_DISABLE_RECOVERY=true\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n'}, KERNELS
    ),
    "no submenu": Case(
        {"etc/default/grub": 'GRUB_DISABLE_SUBMENU=y\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', **CLOUD}, KERNELS
    ),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def laid(tree: Tree, case: Case) -> Machine:
    """Lay a case out with the menu that its own files make, and return the same host in memory."""
    tree.lay(case.files, case.kernels)
    for path in case.files:
        if path.startswith("etc/grub.d/"):
            (tree.root / path).chmod(0o755)
    tree.menu()
    host = Machine(tree.boot_files(), {})
    host.ask(WANTED, trial=False)
    return host


def carry_out(tree: Tree, host: Machine) -> str:
    """Do in the tree what is planned, by the real tool where the menu is meant; return the menu that was predicted."""
    predicted = ""
    for change in host.changes():
        if change.kind == "file":
            tree.write(change.path[1:], change.content, change.mode)
        elif change.kind == "menu":
            assert change.content
            predicted = change.content
            assert change.before == tree.read(CONFIG)
            tree.menu()
        else:
            file, _, name = change.path[1:].partition(":")
            tree.write(file, grub.with_variable(tree.read(file), name, change.content))
        host.apply(change)
    return predicted


def kernel_lines(text: str) -> list[tuple[str, list[str]]]:
    """Return each kernel line's words with the title of its entry."""
    found, title = [], ""
    for line in text.splitlines():
        head = re.match(r"\s*menuentry '([^']*)'", line)
        title = head[1] if head else title
        if line.split()[:1] == ["linux"]:
            found.append((title, line.split()))
    return found


@cases
def test_prediction_is_what_grub_mkconfig_makes(tree: Tree, case: Case) -> None:
    host = laid(tree, case)
    before = kernel_lines(tree.read(CONFIG))
    predicted = carry_out(tree, host)
    real = tree.read(CONFIG)
    assert kernel_lines(real) == kernel_lines(predicted)
    if case is not CASES["hand-edited"]:  # which has two blanks in a row; the shell keeps one
        assert real == predicted

    assert len(before) == len(kernel_lines(real)) >= len(case.kernels) + 1
    for (title, words), (_, then) in zip(kernel_lines(real), before, strict=True):
        if "recovery mode" in title or title == "Own":
            assert words == then, "it stays stock"
        else:
            for key, value in WANTED.items():
                assert cmdline.values(" ".join(words), key) == [value or ""]
            kept = [word for word in then if re.split("=", word)[0] not in ("skew_tick", "a_b", "nohz")]
            # Debian 12 has an entry for each init that is installed, which it names last.
            end = [kept.pop()] if kept[-1].startswith("init=") else []
            assert words == kept + TEXT.split() + end

    host = Machine(tree.boot_files(), host.settings, running=f"ro {TEXT}")
    for note in ("etc/numatune/kernel-arguments", "etc/numatune/kernel-arguments-held"):
        host.files[note] = tree.read(note)
    assert (host.status(), host.plan().changes) == ("ok", ())
    host.ask({})
    stock = carry_out(tree, host)
    assert [words for _, words in kernel_lines(tree.read(CONFIG))] == [words for _, words in before]
    if case is not CASES["hand-edited"]:  # whose variable is made of another's, which is not predicted
        assert tree.read(CONFIG) == stock
    assert tree.boot_files().keys() == laid(tree, case).files.keys() & tree.boot_files().keys()


@cases
def test_trial_stands_in_the_menu_and_grub_knows_it(tree: Tree, case: Case) -> None:
    host = laid(tree, case)
    host.ask(WANTED)
    before, default = kernel_lines(tree.read(CONFIG)), host.next(once=False)
    predicted = carry_out(tree, host)
    real = tree.read(CONFIG)
    assert real == predicted
    assert kernel_lines(real)[:-1] == before, "all other entries are as they were"
    entry = grub.entries(CONFIG, real)[-1]
    assert (entry.ident, entry.title) == ("numatune-trial", "numatune: one trial boot")
    assert real.count("--id numatune-trial") == 1

    host = Machine(tree.boot_files(), host.settings)
    assert host.next(once=False) == default
    words = host.next().split()
    for key, value in {**WANTED, "panic": "10"}.items():
        assert cmdline.values(" ".join(words), key) == [value or ""]
    assert (host.status(), host.plan().changes) == ("pending_reboot", ())

    # GRUB's own tools read the block as numatune wrote it, and write it the same way.
    block = tree.read("boot/grub/grubenv")
    assert len(block.encode()) == 1024
    listed = tree.run("grub-editenv", "/boot/grub/grubenv", "list").stdout.splitlines()
    assert [line.partition("=")[0] for line in listed] == ["numatune_trial", "next_entry"]
    assert listed[1] == "next_entry=numatune-trial"
    tree.run("grub-editenv", "/boot/grub/grubenv", "unset", "next_entry")
    emptied = tree.read("boot/grub/grubenv")
    tree.run("grub-reboot", "numatune-trial")
    assert grub.environment(tree.read("boot/grub/grubenv")) == grub.environment(block)
    # Debian 13 writes a line of warning into the block, which stays.
    assert grub.with_variable(tree.read("boot/grub/grubenv"), "next_entry", None).rstrip("#") == emptied.rstrip("#")

    host.files["proc/cmdline"] = f"ro {TEXT}\n"
    carry_out(tree, host)
    assert "numatune-trial" not in tree.read(CONFIG)
    assert len(kernel_lines(tree.read(CONFIG))) == len(before)
    assert not (tree.root / "etc/grub.d/zz_numatune").exists()


BROKEN = {
    "in the defaults": {"etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet\n'},
    "in a drop-in": {f"{DROP_INS}/50.cfg": "if true; then\nGRUB_TIMEOUT=0\n"},
    "a drop-in that fails": {f"{DROP_INS}/50.cfg": "false\n"},
    "in a script's menu": {"etc/grub.d/45_own": "#!/bin/sh\necho 'menuentry x {'\n"},
    "a script that fails": {"etc/grub.d/45_own": "#!/bin/sh\nexit 3\n"},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_broken_tree_fails_and_keeps_its_menu(tree: Tree, files: dict[str, str]) -> None:
    host = laid(tree, Case({}))
    menu = tree.read(CONFIG)
    for path, text in files.items():
        tree.write(path, text, "0755")
        host.files[path] = text
    for change in host.plan().changes:
        if change.kind == "file":
            tree.write(change.path[1:], change.content, change.mode)
    done = tree.run("grub-mkconfig", "-o", "/boot/grub/grub.cfg", check=False)
    assert done.returncode != 0
    assert tree.read(CONFIG) == menu


def test_what_runs_in_the_tree_is_debians_own(tree: Tree) -> None:
    found = tree.run("grub-mkconfig", "--version").stdout
    assert found.startswith("grub-mkconfig (GRUB) 2.")
    (tree.root / "tmp/x").write_text("menuentry x {\n")
    assert tree.run("grub-script-check", "/tmp/x", check=False).returncode == 1
