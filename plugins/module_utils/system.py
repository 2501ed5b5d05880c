# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The target's own tools: what makes GRUB's menu, and systemd. Under a sysroot they run inside it, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Callable

from . import attributes
from .core.undo.journal import Seen
from .tree import Tree, TreeError, sync_directory

Command = Callable[[Sequence[str]], "tuple[int, str, str]"]
"""Runs a program: its exit code, what it printed, and its messages."""

_GENERATORS = ("/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig", "/sbin/grub-mkconfig")
_CHECKERS = ("/usr/bin/grub-script-check", "/bin/grub-script-check")
_VERBS = {"restarted": "restart", "started": "start", "stopped": "stop"}


def runner(module: Any) -> Command:
    """Return a module's way to run a program; one that cannot be started is an OSError, not the module's end."""

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        code, out, err = module.run_command(list(argv), handle_exceptions=False)
        return code, out, err

    return run


class System:
    """The tools of the host that a tree is the root of."""

    def __init__(self, tree: Tree, command: Command) -> None:
        self._tree = tree
        self._command = command

    def check_menu(self) -> None:
        """Make GRUB's menu into a scratch file under /run; raises TreeError where its configuration is broken.

        That runs the host's own scripts of /etc/grub.d, so nothing of it is done in check mode.
        """
        self._tool(_GENERATORS)
        if os.path.isdir(self._tree.root + "/run"):
            self._drop(self._generated("/run/numatune-grub.cfg"))

    def make_menu(self, path: str) -> None:
        """Make GRUB's menu anew, check it, and put it in place whole; closed where it holds a password.

        grub-mkconfig itself truncates the menu in place, without a sync: a power cut there leaves a host that
        does not boot.
        """
        here = self._tree.look(path)
        made = self._generated(f"{path}.numatune")
        try:
            descriptor = os.open(made, os.O_RDWR)
            try:
                mode = f"{_menu_mode(descriptor, here):04o}"
                attributes.give(descriptor, replace(here, mode=mode, xattrs=here.kept_xattrs))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(made, self._tree.real(path))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._drop(made)
            text = f"{path} could not be written: {error.strerror}; what was there is untouched"
            raise TreeError(text, error.strerror) from None
        sync_directory(os.path.dirname(self._tree.real(path)))

    def remove_scratch(self, path: str) -> None:
        """Remove what a run that was cut left beside the menu."""
        self._drop(self._tree.real(f"{path}.numatune"))

    def _generated(self, path: str) -> str:
        real = self._tree.real(path)
        self._drop(real)
        generator, checker = self._tool(_GENERATORS), self._tool(_CHECKERS)
        for argv in ([generator, "-o", path], [checker, path]):
            code, _, err = self._run(argv)
            if code:
                self._drop(real)
                said = [line.strip() for line in err.splitlines() if line.strip()]
                raise TreeError(
                    f"{os.path.basename(argv[0])} failed: {said[-1] if said else f'exit code {code}'}; "
                    "mend what GRUB's configuration says there, then run again"
                )
        return real

    def _drop(self, real: str) -> None:
        for name in (real, real + ".new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _tool(self, places: Sequence[str]) -> str:
        for path in places:
            if os.path.exists(self._tree.root + path):
                return path
        raise TreeError(f"{os.path.basename(places[0])} is missing: install grub-common; nothing was changed")

    def _run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        return self._command(["chroot", self._tree.root, *argv] if self._tree.root else argv)

    def look_service(self, name: str) -> Seen:
        """Return whether a unit runs."""
        if self._tree.root:
            return Seen("file", content=b"inactive")
        code, _, _ = self._command(["systemctl", "is-active", "--quiet", "--", name])
        return Seen("file", content=b"inactive" if code else b"active")

    def service(self, name: str, wanted: str) -> None:
        """Restart, start or stop a unit ("restarted", "started", "stopped"); raises TreeError when it fails."""
        if self._tree.root:
            return
        code, _, err = self._command(["systemctl", _VERBS[wanted], "--", name])
        if code:
            said = [line.strip() for line in err.splitlines() if line.strip()]
            raise TreeError(
                f"{name} could not be {wanted}: {said[0] if said else f'exit code {code}'}; see journalctl -u {name}"
            )

    def reload(self) -> None:
        """Let systemd read its unit files again, where it runs."""
        if not self._tree.root and os.path.isdir("/run/systemd/system"):
            code, _, err = self._command(["systemctl", "daemon-reload"])
            if code:
                raise TreeError(f"systemctl daemon-reload failed: {' '.join(err.split()) or f'exit code {code}'}")


def _menu_mode(descriptor: int, here: Seen) -> int:
    """Return the mode of a menu that was made anew, of the file as its tool made it and the one before.

    grub-mkconfig closes a menu that holds a password, whatever the one before was. With an ACL the group's bits are its
    mask, and say nothing of the group.
    """
    made = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if here.mode is None:
        return made
    with os.fdopen(os.dup(descriptor), "rb") as handle:
        secret = any(line.lstrip().startswith(b"password") for line in handle)
    mode = int(here.mode, 8)
    if secret and mode & 0o077:
        return 0o600
    masked = any(name == attributes.ACL for name, _ in here.xattrs or ())
    return mode & (0o700 | made | _READERS | (0o070 if masked else 0))


_READERS = 0o044
"""Some versions make every menu 0600 where there was none, and leave an old one as it was."""
