"""One root tree as the tests use it: its boot files laid out, Debian's own tools run inside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# grub-probe looks for the disks behind a path, of which a root tree has none.
_PROBE = """#!/bin/sh
case "$*" in
  *target=device*) echo /dev/sda1 ;;
  *fs_uuid*) echo 5eaf00d5-0000-4000-8000-000000000001 ;;
  *partuuid*) echo 5eaf00d5-01 ;;
  *hint*) echo hd0,msdos1 ;;
  *drive*) echo '(hd0,msdos1)' ;;
  *partmap*) echo msdos ;;
  *abstraction* | *cryptodisk_uuid* | *fs_label*) ;;
  *) echo ext2 ;;
esac
"""
_READ = ("etc/os-release", "etc/default/grub", "boot/grub/grub.cfg", "boot/grub/grubenv", "etc/grub.d/zz_numatune")


class Tree:
    """A root tree that may be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        probe = root / "usr/sbin/grub-probe"
        probe.write_text(_PROBE)
        probe.chmod(0o755)

    def lay(self, files: Mapping[str, str], kernels: tuple[str, ...]) -> None:
        """Put GRUB's own defaults, kernels and other files in place; what an earlier test left goes."""
        shutil.rmtree(self.root / "boot")
        shutil.rmtree(self.root / "etc/default/grub.d", ignore_errors=True)
        for path in ("etc/grub.d/zz_numatune", "etc/grub.d/45_own", "etc/numatune/kernel-arguments"):
            (self.root / path).unlink(missing_ok=True)
        (self.root / "boot/grub").mkdir(parents=True)
        shutil.copy(self.root / "usr/share/grub/default/grub", self.root / "etc/default/grub")
        for kernel in kernels:
            for name in ("vmlinuz", "initrd.img"):
                (self.root / f"boot/{name}-{kernel}").touch()
        for path, text in files.items():
            self.write(path, text)
        self.run("grub-editenv", "/boot/grub/grubenv", "create")

    def write(self, path: str, text: str | None, mode: str | None = None) -> None:
        real = self.root / path
        if text is None:
            real.unlink()
            return
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text)
        if mode:
            real.chmod(int(mode, 8))

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def boot_files(self) -> dict[str, str]:
        """Return what the collector would read of it."""
        found = [self.root / path for path in _READ] + sorted((self.root / "etc/default/grub.d").glob("*"))
        return {str(path.relative_to(self.root)): path.read_text() for path in found if path.exists()}

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["chroot", self.root, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
        )

    def menu(self, path: str = "/boot/grub/grub.cfg") -> str:
        """Make the menu by Debian's own tool, and return it."""
        self.run("grub-mkconfig", "-o", path)
        self.run("grub-script-check", path)
        return self.read(path[1:])
