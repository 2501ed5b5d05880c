# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""What stands at the journal's paths, and the steps back, done on a tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from .core.journal import Generation, Seen, parents, paths_to_record, value_of
from .core.revert import Action, Reversal, paths
from .tree import Tree, TreeError, reason


def recordable(tree: Tree, changes: list[Mapping[str, Any]]) -> dict[str, Seen]:
    """Return what stands where a plan would write; raises TreeError where it must not be written."""
    seen: dict[str, Seen] = {}
    kinds = {change["path"]: change for change in changes}
    for path in paths_to_record(changes):
        change = kinds.get(path)
        if change is None:
            seen[path] = tree.look_directory(path)
        elif change["kind"] == "runtime":
            seen[path] = Seen("file", content=tree.value(path))
        else:
            if any(seen[parent].state == "absent" for parent in parents(path)):
                seen[path] = Seen("absent")
                continue
            seen[path] = tree.look(path)
            if seen[path].state not in ("file", "absent"):
                raise TreeError(f"{path} is in the way: it is no plain file; move it, then run again")
        if change is not None and not _as_planned(change["before"], seen[path]):
            raise TreeError(f"{path} changed after it was planned: run again; nothing was changed")
    return seen


def _as_planned(before: str | None, here: Seen) -> bool:
    if before is None or here.content is None:
        return before is None and here.content is None
    try:
        return before.strip() == here.content.decode().strip()
    except UnicodeDecodeError:
        # The plan holds escapes for such bytes; what is there is kept as it is.
        return True


def look_at(tree: Tree, generations: Iterable[Generation]) -> dict[str, Seen]:
    """Return what stands now at every path of these generations that is not back yet."""
    chosen = list(generations)
    runtime = {entry.path for item in chosen for entry in item.entries if entry.kind == "runtime"}
    return {path: tree.look_value(path) if path in runtime else tree.look(path) for path in paths(chosen)}


def put_back(tree: Tree, way: Reversal, mark: Callable[[Iterable[str]], object]) -> str | None:
    """Do the steps; then mark in the journal what is back. Return why it stopped short, as one line."""
    failed: dict[str, str] = {}
    for action in way.actions:
        try:
            _step(tree, action)
        except (OSError, TreeError) as error:
            failed[action.path] = reason(error)
            break
    unfinished = [action.path for action in way.actions]
    if failed:
        path = next(iter(failed))
        unfinished = unfinished[unfinished.index(path) :]
        mark(way.done - set(unfinished))
        return f"{path} could not be put back: {failed[path]}; mend that, then run revert again"
    mark(way.done)
    return None


def _step(tree: Tree, action: Action) -> None:
    if action.kind == "rmdir":
        tree.rmdir(action.path)
    elif action.kind == "remove":
        tree.remove(action.path)
    elif action.kind == "write":
        tree.replace(action.path, action.then)
    else:
        tree.write_value(action.path, action.then.content or b"")
        if value_of(Seen("file", content=tree.value(action.path))) != value_of(action.then):
            raise TreeError("the kernel did not take the old value")
