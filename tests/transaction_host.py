"""A made-up Debian host as a fake root, and the transaction engine run on it in this process, with faults injected.

The engine is the one that Ansible carries to a target: plugins/module_utils, which has its own copy of the core.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from core.bls_trees import TREES
from synthetic import host, write

from plugins.module_utils import attributes, reading, store, system, transaction, tree, undo
from plugins.module_utils.core.audit import judge
from plugins.module_utils.core.change import Plan
from plugins.module_utils.core.collecting.replay import collect
from plugins.module_utils.core.loaders.debian_grub import TRIAL_SCRIPT
from plugins.module_utils.core.model import HostReport, Snapshot
from plugins.module_utils.core.plan import make_plan
from plugins.module_utils.core.profile import from_mapping
from plugins.module_utils.core.undo import revert

TODAY = date(2026, 11, 24)
JOURNAL = "var/lib/numatune"
MENU = "boot/grub/grub.cfg"
KERNEL = {"settings": {"core_isolation": {"mode": "kernel", "pinned": True}}}
_HEAD = (
    "if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n"
    'if [ "${next_entry}" ] ; then\n   set default="${next_entry}"\nelse\n   set default="0"\nfi\n'
)


class Crash(BaseException):
    """The process ends here: nothing of the engine catches it, as nothing catches a power cut."""


def make(root: Path, entries: str = "") -> None:
    """Lay out a stock host of 4 CPUs on 2 nodes, with GRUB as Debian has it; or with the boot entries of `TREES`."""
    files = host(4, 2, 1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4)
    files["proc/mounts"] = "/dev/vda1 / ext4 rw 0 0\n"
    if entries:
        del files["boot/grub/grub.cfg"], files["etc/default/grub"]
        write({**files, **TREES[entries]}, root)
        (root / "var/lib").mkdir(parents=True)
        (root / "run").mkdir()
        (root / "proc/cmdline").write_text(_running(_chosen(root, once=False)))
        return
    files["etc/os-release"] = "ID=debian\n"
    files["etc/default/grub"] = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet isolcpus=1"\nGRUB_CMDLINE_LINUX=""\n'
    files["etc/default/irqbalance"] = "# stock\n"
    files["boot/grub/grubenv"] = "# GRUB Environment Block\n" + "#" * (1024 - 25)
    files["usr/sbin/grub-mkconfig"] = files["usr/bin/grub-script-check"] = ""
    write(files, root)
    (root / "var/lib").mkdir(parents=True)
    (root / "etc/grub.d").mkdir()
    (root / "run").mkdir()
    (root / MENU).write_text(_menu(root))
    (root / "proc/cmdline").write_text(_running(_chosen(root, once=False)))


def _running(arguments: str) -> str:
    return f"BOOT_IMAGE=/boot/vmlinuz-6.1.0-synthetic {arguments}\n"


def _block(root: Path) -> Path:
    return next(path for path in (root / "boot/grub2/grubenv", root / "boot/grub/grubenv") if path.parent.is_dir())


def _chosen(root: Path, once: bool = True) -> str:
    """Return the arguments of the entry that GRUB takes: the one-time one, or else the default."""
    block = _block(root)
    env = tree.grub.environment(block.read_text()) if block.exists() else {}
    name = env.get("next_entry") if once else ""
    if "grub2" in str(block):
        path = root / f"boot/loader/entries/{name or env['saved_entry']}.conf"
        lines = [line for line in path.read_text().splitlines() if line.startswith("options ")]
        found = " ".join(line.partition(" ")[2] for line in lines)
        return found.replace("$kernelopts", env.get("kernelopts", "")).replace("$tuned_params", "").strip()
    menu = tree.grub.entries("/x", (root / MENU).read_text())
    entry = next((item for item in menu if name and item.ident == name), menu[0])
    assert entry.linux is not None
    return tree.grub.arguments(entry.linux)


def _menu(root: Path) -> str:
    """Return what grub-mkconfig would print, by the same shell that reads its configuration."""
    sourced = "for f in etc/default/grub etc/default/grub.d/*.cfg; do [ ! -e $f ] || . ./$f; done; "
    shell = ["sh", "-c", sourced + 'printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"']
    default = subprocess.run(shell, cwd=root, capture_output=True, text=True, check=True).stdout
    lines = f"\tlinux\t/boot/vmlinuz-6.1.0-synthetic root=UUID=0 ro {default}\n}}\n"
    text = f"{_HEAD}### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Debian' --class debian --id a {{\n{lines}"
    recovery = "\tlinux\t/boot/vmlinuz-6.1.0-synthetic root=UUID=0 ro single\n}\n"
    text += f"menuentry 'Debian (recovery mode)' --id b {{\n{recovery}### END /etc/grub.d/10_linux ###\n"
    trial = root / TRIAL_SCRIPT[1:]
    if trial.exists():
        printed = subprocess.run(["sh", str(trial)], capture_output=True, text=True, check=True).stdout
        text += f"\n### BEGIN {TRIAL_SCRIPT} ###\n{printed}### END {TRIAL_SCRIPT} ###\n"
    return text


def remake_menu(root: Path) -> None:
    """Do what update-grub does when a kernel is installed."""
    (root / MENU).write_text(_menu(root))


class Target:
    """One fake root and the engine on it; `only` names what is tuned, None what is so by default."""

    def __init__(self, root: Path, profile: Mapping[str, Any] | None = None, only: Sequence[str] | None = None) -> None:
        self.only = only
        self.root = root
        self.profile = from_mapping(profile or {})
        self.tree = tree.Tree(str(root))
        self.host = undo.Host(self.tree, system.System(self.tree, self._command), store.Store(self.tree))

    def _command(self, argv: Sequence[str]) -> tuple[int, str, str]:
        assert list(argv[:2]) == ["chroot", str(self.root)]
        if argv[2].endswith("grub-mkconfig"):
            target = self.root / argv[4].lstrip("/")
            target.write_text("half")
            _OS.point()
            target.write_text(_menu(self.root))
        return 0, "", ""

    def look(self) -> Plan:
        """Plan what is tuned."""
        return make_plan(self.snapshot(), self.profile, TODAY, self.only)

    def snapshot(self) -> Snapshot:
        """Read the host as it is now."""
        return collect(reading.Sysroot(str(self.root)), complete=True, secrets=True)

    def audit(self) -> HostReport:
        """Judge the host as it is now."""
        return judge(self.snapshot(), self.profile, TODAY)

    def statuses(self) -> dict[str, str]:
        """Return setting -> status."""
        return {item.setting: item.status.value for item in self.audit().findings}

    def _prove(self) -> dict[str, Any]:
        return {item.setting: (item.status, item.reason) for item in self.audit().findings}

    def tune(self) -> transaction.Done:
        """Do what the module tune_host does."""
        if undo.interrupted(self.host):
            with self.host.store.lock(create=True):
                undo.settle(self.host)
        with self.host.store.lock(create=False):
            done = transaction.tune(self.host, self.look, self._prove, write=False)
            unfinished = undo.interrupted(self.host)
        if done.changes or unfinished:
            with self.host.store.lock(create=True):
                done = transaction.tune(self.host, self.look, self._prove, write=True)
        return done

    def predict(self) -> transaction.Done:
        """Do what the module does in check mode."""
        with self.host.store.lock(create=False):
            return transaction.tune(self.host, self.look, self._prove, write=False)

    def revert(self, to: int = 0) -> revert.Reversal:
        """Do what the module journal does for `reverted`; a step that fails is an error."""
        with self.host.store.lock(create=True):
            generations = revert.open_generations(self.host.store.read(), to + 1)
            undone = undo.undo(self.host, generations, to + 1)
            assert undone.failure is None, undone.failure
        return undone.way

    def next(self, once: bool = True) -> str:
        """Return the arguments that the next boot, or the default entry, has: by GRUB's rules, not numatune's."""
        return _chosen(self.root, once)

    def reboot(self, panics: bool = False) -> bool:
        """Boot as GRUB would: the one-time entry once, its arguments on the command line, every value the kernel's.

        A one-time entry that panics is followed by the default. Return whether it did.
        """
        arguments, once = self.next(), self.next() != self.next(once=False)
        block = _block(self.root)
        if block.exists() and "next_entry=" in block.read_text():
            # As save_env leaves it.
            block.write_text(tree.grub.with_variable(block.read_text(), "next_entry", ""))
        if once and panics:
            arguments = self.next()
        self._boot(arguments)
        return once and panics

    def _boot(self, arguments: str) -> None:
        (self.root / "proc/cmdline").write_text(_running(arguments))
        boot = self.root / "proc/sys/kernel/random/boot_id"
        boot.write_text(f"{hashlib.sha256(boot.read_bytes()).hexdigest()[:8]}-0000-4000-8000-000000000000\n")
        for name, key in (("isolated", "isolcpus"), ("nohz_full", "nohz_full")):
            found = [word.partition("=")[2] for word in arguments.split() if word.startswith(key + "=")]
            value = found[0].removeprefix("managed_irq,").removeprefix("domain,") if found else ""
            (self.root / f"sys/devices/system/cpu/{name}").write_text(value + "\n")


def state(root: Path) -> dict[str, str]:
    """Return every name with its type, mode, owner and content.

    The journal is left out, /usr, which is not numatune's, and /run, which a boot empties.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith((JOURNAL + "/", "run/", "usr/")) or name == JOURNAL:
            continue
        info = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text("latin-1") if path.is_file() else ""
        found[name] = f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {content}"
    return found


def copy(root: Path, to: Path) -> Path:
    """Copy a fake root."""
    shutil.copytree(root, to, symlinks=True)
    return to


class _Os:
    """`os` as the engine sees it: everything that changes the disk is a point at which the process may end."""

    names = (
        *("open", "rename", "unlink", "mkdir", "rmdir", "symlink", "fsync", "write", "fchmod", "fchown", "chmod"),
        *("setxattr", "removexattr"),
    )

    def __init__(self) -> None:
        self.at = -1
        self.count = 0
        self.log: list[str] = []
        self.error: BaseException = Crash()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.names:
            return real

        def step(*arguments: Any, **options: Any) -> Any:
            reads = name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if not reads:
                self.point(f"{name} {arguments[0]}")
            return real(*arguments, **options)

        return step

    def point(self, what: str = "generate") -> None:
        """One point; ends the run there when it is the chosen one."""
        self.log.append(what)
        self.count += 1
        if self.count - 1 == self.at:
            raise self.error


_OS = _Os()


@contextmanager
def faults(at: int = -1, error: BaseException | None = None) -> Iterator[_Os]:
    """Count the points of a run, and end it (or raise an error) right before one of them; by default before none."""
    _OS.at, _OS.count, _OS.log, _OS.error = at, 0, [], error or Crash()
    modules = (tree, store, system, attributes)
    try:
        for module in modules:
            module.os = _OS  # only what these modules see
        yield _OS
    finally:
        for module in modules:
            module.os = os
        _OS.at = -1
