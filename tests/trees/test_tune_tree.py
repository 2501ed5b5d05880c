"""A whole tune of a Debian tree with its own systemd, GRUB and irqbalance: predicted as made, twice, and back."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import pytest
from synthetic import host, write
from transaction_host import KERNEL, Target, state
from trees.tree import Tree

pytestmark = pytest.mark.trees

KERNEL_RELEASE = "6.1.0-synthetic"


class TreeTarget(Target):
    """The engine on a tree, whose tools are the distribution's own."""

    def _command(self, argv: Sequence[str]) -> tuple[int, str, str]:
        assert list(argv[:2]) == ["chroot", str(self.root)]
        done = Tree(self.root).run(*argv[2:], check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def root(tree: Tree) -> Tree:
    """Give the tree a kernel's view of a stock host, and the menu that its own GRUB makes."""
    for name in ("proc", "sys", "var/lib/numatune", "etc/numatune"):
        shutil.rmtree(tree.root / name, ignore_errors=True)
    files = host(4, 2, 1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4)
    kernel = {name: text for name, text in files.items() if name.startswith(("proc/", "sys/", "boot/config"))}
    tree.lay({}, (KERNEL_RELEASE,))
    write({**kernel, "proc/mounts": "/dev/vda1 / ext4 rw 0 0\n"}, tree.root)
    tree.menu()
    return tree


def items(done: Any) -> list[tuple[str, str, str]]:
    return [(item.setting, item.kind, item.path) for item in done.changes]


def test_predicted_as_made_then_nothing_then_back(root: Tree) -> None:
    target = TreeTarget(root.root, KERNEL)
    before = state(root.root)
    predicted = target.predict()
    assert state(root.root) == before, "check mode changed the tree"
    made = target.tune()
    assert items(predicted) == items(made)
    assert {kind for _, kind, _ in items(made)} == {"file", "link", "runtime", "menu", "once"}
    assert {item for item in items(made) if item[0] == "kernel_arguments"}
    statuses = target.statuses()
    assert [statuses[name] for name in ("numa_balancing", "cpu_governor", "cpu_idle")] == ["ok"] * 3
    assert statuses["kernel_arguments"] == "pending_reboot"
    assert target.tune().changes == ()
    target.reboot()
    # The boot's own writes are not numatune's: the values are the kernel's again.
    assert target.statuses()["kernel_arguments"] == "lost_at_reboot"
    made = target.tune()
    assert "menu" in {kind for _, kind, _ in items(made)}
    assert target.statuses()["kernel_arguments"] == target.statuses()["core_isolation"] == "ok"
    assert target.tune().changes == ()
    assert target.revert().conflicts == ()
    after = state(root.root)
    left = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    # What the boot itself changed: its command line, id and CPU lists, and the block that GRUB writes.
    assert left <= {
        "boot/grub/grubenv",
        "proc/cmdline",
        *(f"proc/sys/kernel/{name}" for name in ("random/boot_id", "numa_balancing")),
        *(f"sys/devices/system/cpu/{name}" for name in ("isolated", "nohz_full")),
        *(name for name in left if name.startswith(("sys/devices/system/cpu/cpu", "proc/irq/"))),
    }


def test_a_broken_configuration_is_refused_before_the_first_write(root: Tree) -> None:
    root.write("etc/default/grub.d/10-broken.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet\n')
    before = state(root.root)
    with pytest.raises(Exception, match=r"grub-mkconfig failed: .*mend what GRUB's configuration says"):
        TreeTarget(root.root, KERNEL).tune()
    assert state(root.root) == before
    assert not (root.root / "var/lib/numatune").exists()
