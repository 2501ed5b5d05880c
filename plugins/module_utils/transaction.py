# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Changes to a target as one transaction: refused before the first write, journaled, made, proven, or put back.

One module run is one transaction, under a lock that the kernel drops when the process ends: a generation that is
`recorded` or `reverting` while nobody holds the lock was interrupted (core.undo.journal has the states).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import store as stores
from . import undo
from .core import catalogue
from .core.change import Change, Plan
from .core.errors import NumatuneError
from .core.model import Status
from .core.parsers.interrupts import KEPT
from .core.undo import journal
from .core.undo.journal import ABSENT, Generation, Seen
from .core.withheld import MARK
from .store import now
from .tree import Tree, TreeError, reason
from .undo import Host

_UNITS = "/etc/systemd/system/"


@dataclass(frozen=True)
class Done:
    """What a transaction did, or in check mode would do."""

    changes: tuple[Change, ...] = ()
    generation: int | None = None
    refused: tuple[str, ...] = ()
    """Interrupts that the kernel does not let go."""
    statuses: Mapping[str, str] | None = None
    """Setting -> status afterwards; None where nothing was changed."""


def tune(
    host: Host,
    look: Callable[[], Plan],
    prove: Callable[[], Mapping[str, tuple[Status, str]]],
    write: bool,
    try_menu: bool = True,
) -> Done:
    """Make the changes that `look` plans; without `write`, say what they would be.

    Called without `write` first: that pass finds what must be refused; with `try_menu`, also by making GRUB's menu into
    a scratch file, which runs the host's scripts. `look` reads the host and plans it; `prove`
    reads it again and returns setting -> (status, reason). Raises TreeError, with what was there back in place, when a
    change fails or does not hold.
    """
    if write:
        undo.settle(host)
    plan = look()
    if plan.conflicts:
        raise TreeError("; ".join(item.message for item in plan.conflicts) + "; nothing was changed")
    changes = plan.changes
    if not changes:
        return Done()
    seen = preflight(host, changes, check_menu=try_menu and not write)
    number = max([item.number for item in host.store.read()], default=0) + 1
    generation = journal.record(number, changes, seen, host.tree.boot_id(), now())
    if not write:
        return Done(changes, number)
    try:
        host.store.write(generation)
        refused = _make(host, changes, generation)
        current = host.look((entry.kind, entry.path) for entry in generation.entries)
        generation = journal.complete(generation, current, now(), refused)
        statuses = prove()
        _hold(changes, statuses, refused)
        if generation.entries:
            host.store.write(generation)
        else:
            host.store.discard(generation)
    except (NumatuneError, OSError) as error:
        raise TreeError(f"{reason(error)}; {_put_back(host, generation)}") from None
    _remember(host.tree, refused)
    made = tuple(change for change in changes if change.path not in refused)
    return Done(made, number, refused, {name: status.value for name, (status, _) in statuses.items()})


def preflight(host: Host, changes: Sequence[Change], check_menu: bool) -> dict[str, Seen]:
    """Return what stands where the changes go; raises TreeError for all that can be foreseen to fail.

    Making a scratch menu takes seconds, so it is done once, in the pass that writes nothing.
    """
    tree = host.tree
    seen: dict[str, Seen] = {}
    kinds = {change.path: change for change in changes}
    for kind, path in journal.paths_to_record(changes):
        if kind == "directory":
            seen[path] = tree.look_directory(path)
        elif kind == "runtime":
            seen[path] = Seen("file", content=tree.value(path))
        elif kind in ("file", "link", "menu") and _below_nothing(path, seen):
            seen[path] = ABSENT
        else:
            seen[path] = host.look([(kind, path)])[path]
        change = kinds.get(path)
        if change is None:
            continue
        if MARK in (change.content or ""):
            # It stands for a secret that was not read: what is copied would lack it.
            raise TreeError(f"{path} would get {MARK} where a password was left out: nothing was changed")
        if kind in ("file", "link", "menu"):
            _usable(tree, change, seen[path])
        elif kind == "once":
            tree.refuse_odd(tree.environment_file(path))
        if kind in ("file", "runtime"):
            _as_planned(path, change.before, seen[path])
    if check_menu and any(change.kind == "menu" for change in changes):
        host.system.check_menu()
    full = tree.may_hold(f"{stores.FOLDER}/x", sum(len(change.before or "") for change in changes))
    if full:
        raise TreeError(f"{full}; nothing was changed")
    return seen


def _below_nothing(path: str, seen: Mapping[str, Seen]) -> bool:
    return any(seen.get(parent, Seen("directory")).state == "absent" for parent in journal.parents(path))


def _usable(tree: Tree, change: Change, here: Seen) -> None:
    if here.state not in (("link", "absent") if change.kind == "link" else ("file", "absent")):
        raise TreeError(f"{change.path} is in the way: it is no plain {change.kind}; move it, then run again")
    tree.refuse_odd(change.path)
    full = tree.may_hold(change.path, len(change.content or ""))
    if full:
        raise TreeError(f"{full}; nothing was changed")


def _as_planned(path: str, before: str | None, here: Seen) -> None:
    """Raise TreeError unless what stands is what the plan was made from."""
    try:
        now = None if here.content is None else here.content.decode()
    except UnicodeDecodeError:
        # What was planned from escapes would be written as escapes.
        raise TreeError(f"{path} holds bytes that are no UTF-8: write it in UTF-8; nothing was changed") from None
    if (before is None) is not (now is None) or (before or "").strip() != (now or "").strip():
        raise TreeError(f"{path} changed after it was planned: run again; nothing was changed")


def _make(host: Host, changes: Sequence[Change], generation: Generation) -> tuple[str, ...]:
    """Make the changes in their order; return the interrupts that the kernel keeps where they are."""
    before = {entry.path: entry for entry in generation.entries}
    refused = []
    for path in (entry.path for entry in generation.entries if entry.kind == "directory"):
        host.tree.mkdir(path)
    reload, made = False, set()
    for number, change in enumerate(changes):
        if change.path in made:
            continue
        if change.kind == "service" and reload:
            host.system.reload()
            reload = False
        reload = reload or change.path.startswith(_UNITS)
        if change.kind == "once":
            together = journal.one_write(changes[number:])
            host.tree.set_variables({item.path: journal.planned(item, before[item.path].before) for item in together})
            made.update(item.path for item in together)
            continue
        if not _make_one(host, change, before[change.path].before):
            refused.append(change.path)
    if reload:
        host.system.reload()
    return tuple(refused)


def _make_one(host: Host, change: Change, before: Seen) -> bool:
    tree = host.tree
    if change.kind == "runtime":
        return _set_value(tree, change)
    if change.kind == "service":
        host.system.service(change.path, str(change.content))
    elif change.kind == "menu":
        host.system.make_menu(change.path)
    elif change.content is None:
        tree.remove(change.path)
    elif change.kind == "link":
        tree.replace(change.path, Seen("link", content=change.content.encode()))
    else:
        # All but the content is kept: owner, label, ACL and other extended attributes.
        kept = replace(before, state="file", sha256=None, mode=change.mode or before.mode, xattrs=before.kept_xattrs)
        tree.replace(change.path, replace(kept, content=change.content.encode()))
    return True


def _set_value(tree: Tree, change: Change) -> bool:
    content = (change.content or "").encode()
    try:
        tree.write_value(change.path, content)
    except OSError as error:
        # Managed and per-CPU interrupts answer so; nothing in /proc says it before.
        if change.path.startswith("/proc/irq/") and error.errno in (errno.EIO, errno.EPERM):
            return False
        raise TreeError(f"the kernel refused {_text(content)!r} in {change.path}: {error.strerror}") from None
    after = tree.value(change.path)
    if after.strip() != content.strip():
        raise TreeError(
            f"{change.path} still holds {_text(after)!r} after {_text(content)!r} was written: "
            "the kernel or another program does not take it"
        )
    return True


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _hold(changes: Sequence[Change], statuses: Mapping[str, tuple[Status, str]], refused: Sequence[str]) -> None:
    """Raise TreeError unless every setting that was changed is right, now and at the next boot."""
    for setting in dict.fromkeys(change.setting for change in changes):
        status, why = statuses[setting]
        fine = {Status.OK, Status.UNKNOWN, Status.NOT_APPLICABLE, Status.WAIVED}
        if any(change.needs_reboot for change in changes if change.setting == setting):
            fine.add(Status.PENDING_REBOOT)
        if refused and catalogue.setting(setting).may_be_refused:
            fine |= {Status.WRONG, Status.PENDING_REBOOT}
        if status not in fine:
            raise TreeError(f"{setting} is {status.value} after it was tuned: {why}")


def _remember(tree: Tree, refused: Sequence[str]) -> None:
    """Keep, until the next boot, which interrupts the kernel does not let go, so that nobody asks it again."""
    if not refused:
        return
    path = tree.root + KEPT
    # Where it cannot be kept, the next run asks again; what was done stays done.
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "a", encoding="ascii") as handle:
            handle.writelines(f"{name.split('/')[3]}\n" for name in refused)


def _put_back(host: Host, generation: Generation) -> str:
    undone = undo.undo(host, [generation], generation.number)
    if undone.failure:
        return undone.failure
    return "; but ".join(["what was there is back", *undone.way.conflicts, *undone.leftovers])
