# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""A target's files under its root, or under a sysroot that stands for one: looked at, replaced whole, put back.

Every path here is absolute on the target ("/etc/sysctl.d/x"). Under a sysroot nothing outside it is touched: a
path that leads out of it, through a link, is refused.
"""

from __future__ import annotations

import os
import stat
import tempfile

from .core.journal import ABSENT, Seen

_LABEL = "security.selinux"
_KERNEL = ("/proc/", "/sys/")


class TreeError(Exception):
    """A file that cannot be used as asked; one line that says which, why and what to do."""


class Tree:
    """The files below `sysroot` ("" is the target's own root)."""

    def __init__(self, sysroot: str | None = None) -> None:
        self.root = os.path.realpath(sysroot) if sysroot else ""
        if self.root == "/":
            self.root = ""
        if sysroot and not os.path.isdir(self.root or "/"):
            raise TreeError(f"{sysroot} is not a directory: sysroot must be an existing tree with etc, proc and sys")

    def may_write(self) -> bool:
        """Whether this process can put files back with their owner: root, or the owner of the sysroot."""
        return os.geteuid() == 0 or (bool(self.root) and os.stat(self.root).st_uid == os.geteuid())

    def real(self, path: str) -> str:
        """Return where a path of the target lies for this process; its parents are resolved, itself it is not."""
        parent = os.path.realpath(self.root + os.path.dirname(path))
        if self.root and parent != self.root and not parent.startswith(self.root + "/"):
            raise TreeError(f"{path} leads out of {self.root}, to {parent}: replace the link that leads there")
        return os.path.join(parent, os.path.basename(path))

    def look(self, path: str) -> Seen:
        """Return what stands at a path; a link is never followed."""
        real = self.real(path)
        try:
            info = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        known = {"mode": f"{stat.S_IMODE(info.st_mode):04o}", "uid": info.st_uid, "gid": info.st_gid}
        if stat.S_ISDIR(info.st_mode):
            return Seen("directory", names=tuple(sorted(os.listdir(real))), **known)
        if not stat.S_ISREG(info.st_mode):
            return Seen("other", **known)
        with open(real, "rb") as handle:
            return Seen("file", content=handle.read(), label=_label(real), **known)

    def look_directory(self, path: str) -> Seen:
        """Return whether a directory stands at a path, through links that stay in the tree."""
        real = self.real(path + "/.")[:-2]
        if os.path.isdir(real):
            return Seen("directory")
        if os.path.lexists(real):
            raise TreeError(f"{path} is in the way: it is no directory; move it, then run again")
        return ABSENT

    def look_value(self, path: str) -> Seen:
        """Return a kernel file's value, or its absence."""
        try:
            return Seen("file", content=self.value(path))
        except TreeError:
            return ABSENT

    def value(self, path: str) -> bytes:
        """Read a kernel file."""
        with open(self._kernel_file(path), "rb") as handle:
            return handle.read()

    def write_value(self, path: str, content: bytes) -> None:
        """Write a kernel file in one write; it must exist, and is never replaced by another file."""
        descriptor = os.open(self._kernel_file(path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def _kernel_file(self, path: str) -> str:
        if not path.startswith(_KERNEL) or "/../" in path:
            raise TreeError(f"{path} is no kernel file: runtime values lie under /proc and /sys")
        real = os.path.realpath(self.real(path))
        if not real.startswith(tuple(self.root + top for top in _KERNEL)):
            raise TreeError(f"{path} leads out of the kernel's files, to {real}: nothing was written")
        if not os.path.isfile(real):
            raise TreeError(f"{path} does not exist: this kernel has no such setting; nothing was written")
        return real

    def replace(self, path: str, seen: Seen) -> None:
        """Put a whole file in place: written beside it, synced, renamed, and its directory synced."""
        real = self.real(path)
        parent = os.path.dirname(real)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(real)}.", suffix=".numatune", dir=parent)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(seen.content or b"")
                handle.flush()
                if seen.uid is not None and seen.gid is not None:
                    os.fchown(handle.fileno(), seen.uid, seen.gid)
                os.fchmod(handle.fileno(), int(seen.mode or "0600", 8))
                if seen.label is not None:
                    os.setxattr(handle.fileno(), _LABEL, seen.label.encode())
                os.fsync(handle.fileno())
            os.rename(temporary, real)
        except OSError as error:
            os.unlink(temporary)
            raise TreeError(f"{real} could not be written: {error.strerror}; what was there is untouched") from None
        sync_directory(parent)

    def remove(self, path: str) -> None:
        """Remove a file and make that last."""
        real = self.real(path)
        os.unlink(real)
        sync_directory(os.path.dirname(real))

    def rmdir(self, path: str) -> None:
        """Remove an empty directory and make that last."""
        real = self.real(path)
        os.rmdir(real)
        sync_directory(os.path.dirname(real))

    def boot_id(self) -> str:
        """Return the id of the running boot, "unknown" where the kernel shows none."""
        try:
            return self.value("/proc/sys/kernel/random/boot_id").decode().strip() or "unknown"
        except (OSError, TreeError):
            return "unknown"


def sync_directory(path: str) -> None:
    """Make the names in a directory last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _label(real: str) -> str | None:
    try:
        return os.getxattr(real, _LABEL, follow_symlinks=False).decode()
    except OSError:
        return None


def reason(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
