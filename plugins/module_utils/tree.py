# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""A target's files under its root, or under a sysroot that stands for one: looked at, replaced whole, put back.

Every path here is absolute on the target ("/etc/sysctl.d/x"). Under a sysroot nothing outside it is touched: a
path that leads out of it, through a link, is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import replace

from . import attributes
from .core.errors import InputError, NumatuneError
from .core.parsers import choices, grub
from .core.undo.journal import ABSENT, NO_BLOCK, Seen

_KERNEL = ("/proc/", "/sys/")
_MARGIN = 64 << 10
"""Bytes that must be free beside what is written."""


class TreeError(NumatuneError):
    """A file that cannot be used as asked; one line that says which, why and what to do.

    `why` is the reason alone, where what it happened to is said by others.
    """

    def __init__(self, text: str, why: str | None = None) -> None:
        super().__init__(text)
        self.why = why


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
        if stat.S_ISLNK(info.st_mode):
            return Seen("link", content=os.readlink(real).encode("utf-8", "surrogateescape"))
        if not stat.S_ISREG(info.st_mode):
            return Seen("other", **known)
        with open(real, "rb") as handle:
            content = handle.read()
        return Seen("file", content=content, label=attributes.label(real), xattrs=attributes.of(real), **known)

    def refuse_odd(self, path: str) -> None:
        """Raise TreeError where a file cannot be replaced so that nothing of it is lost."""
        real = self.real(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            count = os.lstat(real).st_nlink
            if count > 1 and os.path.isfile(real):
                raise TreeError(
                    f"{path} has {count} names (hard links), and the others would keep what it holds now: make it "
                    f"a file of its own (cp -a {path} {path}.own && mv {path}.own {path}), then run again; "
                    "nothing was changed"
                )
        for name in (self.temporary(path), f"{real}.numatune", f"{real}.numatune.new"):
            if os.path.isdir(name) and not os.path.islink(name):
                raise TreeError(f"{name} is in the way, a directory: move it, then run again; nothing was changed")

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
        """Read a kernel file; of one that shows a choice in brackets, the chosen word."""
        with open(self._kernel_file(path), "rb") as handle:
            return _bytes(choices.chosen(_text(handle.read())))

    def write_value(self, path: str, content: bytes) -> None:
        """Write a kernel file in one write; it must exist, and is never replaced by another file."""
        real = self._kernel_file(path)
        if self.root:
            # A plain file that stands for the kernel's: a write there must not be seen half-done either.
            name = real[len(self.root) :]
            here = self.look(name)
            shown = choices.shown_after(_text(here.content or b""), _text(content))
            if shown is None:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self.replace(name, replace(here, content=_bytes(shown)))
            return
        descriptor = os.open(real, os.O_WRONLY)
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
        """Put a whole file (or link) in place: made beside it, synced, renamed, and its directory synced."""
        real = self.real(path)
        temporary = self.temporary(path)
        try:
            _unlink(temporary)
            if seen.state == "link":
                os.symlink((seen.content or b"").decode("utf-8", "surrogateescape"), temporary)
            else:
                _write_whole(temporary, seen)
            os.rename(temporary, real)
        except OSError as error:
            with contextlib.suppress(OSError):
                _unlink(temporary)
            why = str(error.strerror)
            if os.path.isdir(temporary) and not os.path.islink(temporary):
                why += f" ({temporary}: move it away)"
            raise TreeError(f"{real} could not be written: {why}; what was there is untouched", why) from None
        sync_directory(os.path.dirname(real))

    def temporary(self, path: str) -> str:
        """Return the name that a file has until it is whole; a run that was cut leaves at most that."""
        real = self.real(path)
        return os.path.join(os.path.dirname(real), f".{os.path.basename(real)}.numatune")

    def remove_temporary(self, path: str) -> None:
        """Remove what a run that was cut left beside a file."""
        with contextlib.suppress(NotADirectoryError):
            _unlink(self.temporary(path))

    def environment_file(self, path: str) -> str:
        """Return where the block of a variable ("FILE:NAME") lies: RHEL has a link to the EFI partition there."""
        real = os.path.realpath(self.real(path.rpartition(":")[0]))
        if self.root and not real.startswith(self.root + "/"):
            raise TreeError(f"{path} leads out of {self.root}, to {real}: nothing was written")
        return real[len(self.root) :]

    def remove(self, path: str) -> None:
        """Remove a file or link and make that last."""
        real = self.real(path)
        os.unlink(real)
        sync_directory(os.path.dirname(real))

    def mkdir(self, path: str) -> None:
        """Make one directory and make that last."""
        real = self.real(path)
        os.mkdir(real, 0o755)
        os.chmod(real, 0o755)
        sync_directory(os.path.dirname(real))

    def variable(self, path: str) -> Seen:
        """Return a variable of GRUB's environment block, named "FILE:NAME"; absent where it is not set.

        One that GRUB emptied is there, and empty. Of a block that is not there, the content is b"" and no None.
        """
        name = path.rpartition(":")[2]
        file, text = self._environment(path)
        value = grub.environment(text).get(name)
        if value is None:
            return ABSENT if self.look(file).state != "absent" else NO_BLOCK
        return Seen("file", content=value.encode())

    def set_variables(self, wanted: Mapping[str, Seen]) -> None:
        """Set variables of one of GRUB's environment blocks ("FILE:NAME"), or take them out, in one write.

        A block that is to be as before there was one goes, when nothing is left in it.
        """
        file, text = self._environment(next(iter(wanted)))
        here = self.look(file)
        try:
            for path, seen in wanted.items():
                value = None if seen.state == "absent" else (seen.content or b"").decode()
                text = grub.with_variable(text, path.rpartition(":")[2], value)
        except InputError as error:
            raise TreeError(f"{file}: {error}; take out what is not needed by grub-editenv, then run again") from None
        if not grub.environment(text) and (here.state == "absent" or NO_BLOCK in wanted.values()):
            if here.state != "absent":
                self.remove(file)
            return
        self.replace(
            file,
            replace(here, state="file", content=text.encode(), mode=here.mode or "0644", xattrs=here.kept_xattrs),
        )

    def _environment(self, path: str) -> tuple[str, str]:
        """Return the path of the block's file and its text."""
        file = self.environment_file(path)
        try:
            with open(self.root + file, encoding="utf-8") as handle:
                return file, handle.read()
        except FileNotFoundError:
            return file, ""
        except UnicodeDecodeError:
            raise TreeError(f"{file} is no GRUB environment block: nothing was written") from None

    def may_hold(self, path: str, size: int) -> str:
        """Return why a file of a size cannot be put in place ("" where it can): a read-only or full filesystem."""
        folder = os.path.dirname(self.real(path)) if self._parent_exists(path) else self._existing(path)
        if not os.access(folder, os.W_OK):
            return f"{folder} cannot be written: its filesystem is read-only, or it is closed"
        free = os.statvfs(folder)
        # The old file stays until the new one is whole; directories and the journal take a little too.
        if free.f_bavail * free.f_frsize < 2 * size + _MARGIN or (free.f_files and not free.f_favail):
            return f"{folder} has no space left for {path}"
        return ""

    def _parent_exists(self, path: str) -> bool:
        return os.path.isdir(self.root + os.path.dirname(path))

    def _existing(self, path: str) -> str:
        folder = os.path.dirname(self.root + path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        return folder

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


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _write_whole(path: str, seen: Seen) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(seen.content or b"")
        handle.flush()
        attributes.give(handle.fileno(), seen)
        os.fsync(handle.fileno())


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_directory(path: str) -> None:
    """Make the names in a directory last through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.filename:
        return " ".join(f"{error.filename}: {error.strerror}".split())
    return " ".join(str(error).split()) or type(error).__name__
