# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The mark of a run on a target, read and written; core.undo.run_mark says what is in it and when it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from .core.errors import NumatuneError
from .core.undo import run_mark
from .core.undo.journal import Seen
from .core.undo.run_mark import PATH, Mark
from .tree import Tree
from .undo import Host


def read(tree: Tree) -> Mark | None:
    """Return the mark; MarkError for what stands in its place and is none."""
    seen = tree.look(PATH)
    if seen.state == "absent":
        return None
    if seen.state != "file":
        raise run_mark.odd("it is no plain file")
    return run_mark.load((seen.content or b"").decode("utf-8", "replace"))


def write(tree: Tree, mark: Mark) -> None:
    """Write a mark whole, so that it lasts; its folder is there once the journal's lock is held."""
    tree.replace(PATH, Seen("file", content=run_mark.dump(mark).encode(), mode="0600"))


def remove(tree: Tree) -> None:
    """Remove the mark, and what a write of it that was cut left."""
    tree.remove_temporary(PATH)
    tree.remove(PATH)


def add(host: Host, settings: Sequence[str]) -> None:
    """Note in the mark, where there is one, which settings were changed; what was changed stays so without that."""
    with contextlib.suppress(OSError, NumatuneError):
        mark = read(host.tree)
        if mark is not None and settings:
            write(host.tree, replace(mark, done=tuple(dict.fromkeys([*mark.done, *settings]))))
