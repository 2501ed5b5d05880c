# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the modules share: the profile from their options, the host's snapshot, and the options themselves."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from .core import withheld
from .core.collecting.collector import script
from .core.collecting.replay import collect
from .core.collecting.snapshot import parse_stream
from .core.inventory import named, with_options, with_roles
from .core.model import Snapshot
from .core.printable import plain
from .core.wanted import Profile
from .tree import Tree, TreeError

_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"))

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "profile": {"type": "raw", "default": "inference-latency"},
    "settings": {"type": "dict", "default": {}},
    "serving_cpus": {"type": "raw"},
    "housekeeping_cpus": {"type": "raw"},
    "sysroot": {"type": "path"},
}


class Sysroot:
    """The raw operations that the core's replay asks of a tree; the core keeps them inside it."""

    def __init__(self, root: str) -> None:
        self._root = root

    def kind(self, path: str) -> str:
        """Say what a path is, links not followed."""
        try:
            mode = os.lstat(os.path.join(self._root, path)).st_mode
        except PermissionError:
            return "denied"
        except OSError:
            return "absent"
        return next((name for test, name in _KINDS if test(mode)), "other")

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        return os.readlink(os.path.join(self._root, path))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(os.path.join(self._root, path))

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        with open(os.path.join(self._root, path), "rb") as handle:
            return handle.read()


def wanted(params: Mapping[str, Any]) -> Profile:
    """Make the profile from a module's options; what the inventory says wins over the profile."""
    profile = with_roles(named(params["profile"]), params["serving_cpus"], params["housekeeping_cpus"])
    return with_options(profile, params["settings"])


def snapshot_of(module: Any, tree: Tree) -> Snapshot:
    """Read the running host through the collector's script, or a sysroot through the same list.

    Whole, secrets included, for a boot entry is copied as it is: what is told of it passes `shown`.
    """
    if tree.root:
        found = collect(Sysroot(tree.root), complete=True, secrets=True)
        if not found.files:
            raise TreeError(
                f"{tree.root} holds nothing that numatune reads: sysroot must be a tree with etc, proc and sys"
            )
        return found
    # Bytes, because files such as /proc/cmdline need not be UTF-8.
    code, out, err = module.run_command(
        ["sh", "-s"], data=script(secrets=True), environ_update={"LC_ALL": "C"}, encoding=None
    )
    if code:
        detail = err.decode("utf-8", "replace").strip().splitlines()
        raise TreeError(f"the collector ended with code {code}: {detail[-1] if detail else 'no message'}")
    return parse_stream(out.decode("utf-8", "backslashreplace"), secrets=True)


def shown(result: Any) -> Any:
    """Return what a module may tell: a result or a message, fit for a terminal, with secrets left out."""
    return plain(withheld.value(result))
