# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Changes to a target as one transaction: refused before the first write, journaled, made, proven, or put back.

One module run is one transaction, under a lock that the kernel drops when the process ends: a generation that is
`recorded` while nobody holds the lock was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import store as stores
from .core import journal
from .core.errors import NumatuneError
from .core.journal import ABSENT, Entry, Generation, Seen, value_of
from .core.loaders.bls import FOLDER as ENTRIES
from .core.loaders.loader import OWNED
from .core.model import Change, Plan, Status
from .core.parsers.interrupts import KEPT
from .core.revert import Action, Reversal, mark, plan_back
from .core.revert import paths as back_paths
from .store import Store, now
from .system import System
from .tree import Tree, TreeError, reason

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


class Host:
    """A target as a transaction sees it: its files, its tools, its journal."""

    def __init__(self, tree: Tree, system: System, store: Store) -> None:
        self.tree = tree
        self.system = system
        self.store = store

    def look(self, items: Iterable[tuple[str, str]]) -> dict[str, Seen]:
        """Return what stands at each (kind, path)."""
        return {path: self._look(kind, path) for kind, path in items}

    def _look(self, kind: str, path: str) -> Seen:
        if kind == "runtime":
            return self.tree.look_value(path)
        if kind == "service":
            return self.system.look_service(path)
        if kind == "once":
            return self.tree.variable(path)
        return self.tree.look(path)


def tune(
    host: Host, look: Callable[[], Plan], prove: Callable[[], Mapping[str, tuple[Status, str]]], write: bool
) -> Done:
    """Make the changes that `look` plans; without `write`, say what they would be.

    Called without `write` first: that pass finds what must be refused. `look` reads the host and plans it; `prove`
    reads it again and returns setting -> (status, reason). Raises TreeError, with what was there back in place, when a
    change fails or does not hold.
    """
    if write:
        settle(host)
    plan = look()
    if plan.conflicts:
        raise TreeError("; ".join(item.message for item in plan.conflicts) + "; nothing was changed")
    changes = plan.changes
    if not changes:
        return Done()
    seen = preflight(host, changes, check_menu=not write)
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
        if kind in ("file", "link", "menu"):
            _usable(tree, change, seen[path])
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
    reload = False
    for change in changes:
        if change.kind == "service" and reload:
            host.system.reload()
            reload = False
        reload = reload or change.path.startswith(_UNITS)
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
    elif change.kind == "once":
        tree.set_variable(change.path, journal.planned(change, before))
    elif change.content is None:
        tree.remove(change.path)
    elif change.kind == "link":
        tree.replace(change.path, Seen("link", content=change.content.encode()))
    else:
        mode = change.mode or before.mode
        content = change.content.encode()
        tree.replace(
            change.path,
            Seen("file", content=content, mode=mode, uid=before.uid, gid=before.gid, label=before.label),
        )
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
        if refused and setting == "irq_affinity":
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
    clean(host, [generation])
    current = host.look(back_paths([generation]))
    way = plan_back([generation], current, host.tree.boot_id(), generation.number)
    try:
        failure = put_back(host, way, lambda done: host.store.write(mark(generation, done, now())))
    except (NumatuneError, OSError) as error:
        return f"what was there is back, but the journal could not be written ({reason(error)}): run revert"
    if failure:
        return failure
    return "; but ".join(["what was there is back", *way.conflicts])


def interrupted(host: Host) -> tuple[int, ...]:
    """Return the numbers of the generations that are neither finished nor undone."""
    return tuple(item.number for item in host.store.read() if item.state == "recorded")


def difference(change: Change) -> dict[str, str]:
    """Return a change as Ansible shows differences."""
    gone = change.content is None
    return {
        "before_header": change.path,
        "after_header": change.path + (" (removed)" if gone else ""),
        "before": _shown(change, change.as_dict()["before"]),
        "after": _shown(change, change.as_dict()["content"]),
    }


def _shown(change: Change, text: str | None) -> str:
    if text is None:
        return ""
    text = f"link to {text}" if change.kind == "link" else text
    return text if text.endswith("\n") else text + "\n"


def settle(host: Host) -> tuple[int, ...]:
    """Close generations whose run was interrupted with what they came to; return their numbers.

    What their files should have led to (the menu, a daemon that reads them) is done first.
    """
    found = [item for item in host.store.read() if item.state == "recorded"]
    clean(host, found)
    for generation in found:
        items = [(entry.kind, entry.path) for entry in generation.entries]
        try:
            for entry in journal.undone_effects(generation, host.look(items)):
                _effect(host, entry)
        except TreeError as error:
            number = generation.number
            raise TreeError(
                f"generation {number} was interrupted and cannot be finished: {error}; playbooks/revert.yml undoes it"
            ) from None
        host.store.write(journal.settle(generation, host.look(items), now()))
    return tuple(item.number for item in found)


def clean(host: Host, generations: Iterable[Generation]) -> None:
    """Remove what interrupted runs, of tune or of revert, left half-written beside the files."""
    for entry in (entry for generation in generations for entry in generation.entries):
        if entry.kind in ("file", "link") or (entry.kind == "runtime" and host.tree.root):
            host.tree.remove_temporary(entry.path)
        elif entry.kind == "once":
            host.tree.remove_temporary(host.tree.environment_file(entry.path))
        elif entry.kind == "menu":
            host.tree.remove_temporary(entry.path)
            host.system.remove_scratch(entry.path)


def _effect(host: Host, entry: Entry) -> None:
    if entry.kind == "menu":
        host.system.make_menu(entry.path)
    else:
        host.system.reload()
        host.system.service(entry.path, "stopped" if value_of(entry.after) == b"inactive" else "restarted")


def strangers(host: Host, generations: Iterable[Generation]) -> list[str]:
    """Return a line for each boot entry of a kernel that came since, and still holds numatune's arguments."""
    known = {entry.path: entry for generation in generations for entry in generation.entries}
    if OWNED not in known:
        return []
    owned = host.tree.look(OWNED).content or known[OWNED].before.content or b""
    words = [line for line in owned.decode("utf-8", "replace").splitlines() if line and not line.startswith("#")]
    wanted = set(" ".join(words).split())
    found = []
    for name in host.tree.look(ENTRIES).names if wanted else ():
        path = f"{ENTRIES}/{name}"
        text = (host.tree.look(path).content or b"").decode("utf-8", "replace")
        held = sorted(wanted & set(text.split()))
        if name.endswith(".conf") and path not in known and held:
            found.append(
                f"{path} came with a kernel installed since, and holds {' '.join(held)}: take that out by hand "
                "(grubby --remove-args)"
            )
    return found


def put_back(host: Host, way: Reversal, mark_done: Callable[[Iterable[str]], object]) -> str | None:
    """Do the steps; then mark in the journal what is back. Return why it stopped short, as one line."""
    unfinished = [action.path for action in way.actions]
    # Also what an earlier revert put back, and was cut before systemd saw it.
    reload = any(path.startswith(_UNITS) for path in way.done)
    for count, action in enumerate(way.actions):
        try:
            if action.kind == "service" and reload:
                host.system.reload()
                reload = False
            _step(host, action)
        except (OSError, TreeError) as error:
            mark_done(way.done - set(unfinished[count:]))
            return f"{action.path} could not be put back: {reason(error)}; mend that, then run revert again"
    if reload:
        host.system.reload()
    mark_done(way.done)
    return None


def _step(host: Host, action: Action) -> None:
    tree = host.tree
    if action.kind == "rmdir":
        tree.rmdir(action.path)
    elif action.kind == "remove":
        tree.remove(action.path)
    elif action.kind == "write":
        tree.replace(action.path, action.then)
    elif action.kind == "menu":
        host.system.make_menu(action.path)
    elif action.kind == "once":
        tree.set_variable(action.path, action.then)
    elif action.kind == "service":
        active = value_of(action.then) == b"active"
        verb = "stopped" if not active else "restarted" if value_of(action.now) == b"active" else "started"
        host.system.service(action.path, verb)
    else:
        tree.write_value(action.path, action.then.content or b"")
        if value_of(Seen("file", content=tree.value(action.path))) != value_of(action.then):
            raise TreeError("the kernel did not take the old value")
