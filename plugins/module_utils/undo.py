# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The way back on a target: what can be put back is put back, whatever fails on the way, and each failure is named.

core.undo.journal has the states of a generation, core.undo.revert decides what the steps are; here they are done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .core.loaders.bls import FOLDER as ENTRIES
from .core.loaders.loader import OWNED
from .core.undo import journal
from .core.undo.journal import UNFINISHED, Entry, Generation, Seen, value_of
from .core.undo.revert import Action, Reversal, begin, mark, open_generations, paths, plan_back
from .core.undo.run_mark import UNDOES
from .store import Store, now
from .system import System
from .tree import Tree, TreeError, reason

_UNITS = "/etc/systemd/system/"
_PLACED = ("write", "remove", "menu", "once")
"""Steps on what the next boot reads."""


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


@dataclass(frozen=True)
class Undone:
    """What a way back did, or in check mode would do."""

    way: Reversal
    failure: str | None = None
    """What could not be put back and stays, each with its reason, as one line."""
    leftovers: tuple[str, ...] = ()
    """A line for each half-written file of an earlier run that could not be removed."""


_Failures = Sequence["tuple[str, str]"]
"""(what, why) in the order in which it happened."""


def undo(host: Host, generations: Sequence[Generation], first: int, write: bool = True) -> Undone:
    """Put back what was there before generation `first`; without `write`, say what would be.

    A step that fails keeps no other from being done. What is back is marked in the journal as far as that can be
    written; what it cannot say is found out from the disk by the next run.
    """
    leftovers = clean(host, generations) if write else ()
    readable, current, failures = _look_at(host, generations)
    way = plan_back(readable, current, host.tree.boot_id(), first)
    if not write or not generations:
        unread = [f"{path} cannot be looked at: {why}" for path, why in failures]
        return Undone(replace(way, conflicts=(*unread, *way.conflicts)))
    opened = [begin(item) for item in generations]
    # A journal that cannot be written is said at the end: it is no reason to leave the host as it is.
    with contextlib.suppress(OSError, TreeError):
        _record(host, opened)
    failures += _steps(host, way, opened, reload=any(path.startswith(_UNITS) for _, path in _places(generations)))
    left = {path for path, _ in failures}
    done = way.done - left - {path for path in way.done if any(other.startswith(path + "/") for other in left)}
    if any(path in left for kind, path in _places(generations) if kind in ("file", "link")):
        # What reads those files reads them again when they are back.
        done -= {path for kind, path in _places(generations) if kind in ("menu", "service")}
    try:
        _record(host, [mark(item, done, now(), over=not failures) for item in opened])
    except (OSError, TreeError) as error:
        return Undone(way, _told(failures, leftovers, reason(error)), leftovers)
    return Undone(way, _told(failures, leftovers) if failures else None, leftovers)


def _places(generations: Iterable[Generation]) -> set[tuple[str, str]]:
    return {(entry.kind, entry.path) for item in generations for entry in item.entries}


def _record(host: Host, generations: Iterable[Generation]) -> None:
    """Write what became of generations, from the newest to the oldest: see core.undo.journal."""
    for item in sorted(generations, key=lambda item: -item.number):
        host.store.update(item)


def _look_at(
    host: Host, generations: Iterable[Generation]
) -> tuple[list[Generation], dict[str, Seen], list[tuple[str, str]]]:
    """Return the generations without what cannot be looked at (and the directories above it), what stands, and why."""
    failures: list[tuple[str, str]] = []
    current: dict[str, Seen] = {}
    for kind, path in paths(generations):
        try:
            current.update(host.look([(kind, path)]))
        except (OSError, TreeError) as error:
            failures.append((path, _why(error)))
    odd = {path for path, _ in failures} | {above for path, _ in failures for above in journal.parents(path)}
    kept = [
        replace(item, entries=tuple(entry for entry in item.entries if entry.back or entry.path not in odd))
        for item in generations
    ]
    return kept, current, failures


def _steps(host: Host, way: Reversal, opened: Sequence[Generation], reload: bool) -> list[tuple[str, str]]:
    """Do all steps that can be done; return what could not, and why."""
    failures: list[tuple[str, str]] = []
    done: list[str] = []
    for action in way.actions:
        if action.kind not in _PLACED and done and not failures:
            # The next boot is as it was: somebody may change these files from here on, were the run cut.
            with contextlib.suppress(OSError, TreeError):
                _record(host, [mark(item, done, now(), over=False) for item in opened])
            done = []
        try:
            if action.kind == "service" and reload:
                host.system.reload()
                reload = False
            if action.kind == "rmdir" and any(path.startswith(action.path + "/") for path, _ in failures):
                continue
            _step(host, action)
        except (OSError, TreeError) as error:
            failures.append((action.path, _why(error)))
            continue
        if action.kind in _PLACED:
            done.append(action.path)
    if reload:
        try:
            host.system.reload()
        except (OSError, TreeError) as error:
            failures.append(("systemd's view of its units", _why(error)))
    return failures


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(getattr(error, "why", None) or reason(error))


def _told(failures: _Failures, leftovers: Iterable[str], unwritten: str = "") -> str:
    """Return all that failed as one line, what stays changed first."""
    said = []
    for why in dict.fromkeys(why for _, why in failures):
        said.append(
            f"not put back, left as tuned: {_names([path for path, other in failures if other == why])} ({why})"
        )
    said.append("all else is back" if failures else "what was there is back")
    if unwritten:
        said.append(f"but the journal could not be written ({unwritten})")
    return "; ".join([*said, *leftovers, "mend that, then run revert again"])


def _names(paths: list[str]) -> str:
    """Return all files by name, and of the kernel's many values the first."""
    values = [path for path in paths if path.startswith(("/proc/", "/sys/"))]
    named = [path for path in paths if path not in values[1:]]
    more = f" and {len(values) - 1} more values" if len(values) > 1 else ""
    return ", ".join(named) + more


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
        tree.set_variables({action.path: action.then})
    elif action.kind == "service":
        active = value_of(action.then) == b"active"
        verb = "stopped" if not active else "restarted" if value_of(action.now) == b"active" else "started"
        host.system.service(action.path, verb)
    else:
        tree.write_value(action.path, action.then.content or b"")
        if value_of(Seen("file", content=tree.value(action.path))) != value_of(action.then):
            raise TreeError("the kernel did not take the old value")


def interrupted(host: Host) -> tuple[int, ...]:
    """Return the numbers of the generations whose run, or whose revert, did not end."""
    return tuple(item.number for item in host.store.read() if item.state in UNFINISHED)


def settle(host: Host) -> tuple[int, ...]:
    """Close generations whose run or revert was interrupted with what they came to; return their numbers.

    What their files should have led to in a daemon that reads them is done first. The menu or entry of a run is planned
    anew from what stands, for it counts in which boot it is made.
    """
    generations = host.store.read()
    found = [item for item in generations if item.state in UNFINISHED]
    # What cannot be removed is in nobody's way: where it is in the way of a change, that is refused by name.
    clean(host, found)
    back = _back(host, generations)
    for generation in reversed(found):
        try:
            for entry in journal.undone_effects(generation, _entries(host, generation), _of(generation, back)):
                _effect(host, generation, entry)
        except TreeError as error:
            number = generation.number
            raise TreeError(
                f"generation {number} was interrupted and cannot be finished: {error}; playbooks/revert.yml {UNDOES}"
            ) from None
    # Looked at again: a menu that was as before is not, where it was made from a file that could not be put back.
    back = _back(host, generations)
    for generation in reversed(found):
        host.store.write(journal.settle(generation, _entries(host, generation), now(), _of(generation, back)))
    return tuple(item.number for item in found)


def _entries(host: Host, generation: Generation) -> dict[str, Seen]:
    return host.look((entry.kind, entry.path) for entry in generation.entries)


def _of(generation: Generation, back: frozenset[str]) -> frozenset[str]:
    return back if generation.state == "reverting" else frozenset()


def _back(host: Host, generations: Iterable[Generation]) -> frozenset[str]:
    """Return the paths that a revert which was cut has put back."""
    generations = list(generations)
    first = min((item.number for item in generations if item.state == "reverting"), default=None)
    if first is None:
        return frozenset()
    opened = open_generations(generations, first)
    return plan_back(opened, host.look(paths(opened)), host.tree.boot_id(), first).back


def _effect(host: Host, generation: Generation, entry: Entry) -> None:
    if entry.kind == "menu":
        host.system.make_menu(entry.path)
        return
    if entry.kind == "once":
        host.tree.set_variables({entry.path: entry.before if generation.state == "reverting" else entry.after})
        return
    host.system.reload()
    if generation.state == "reverting":
        # It may have been left as tuned, or put back: it only has to read its files again.
        if value_of(host.system.look_service(entry.path)) == b"active":
            host.system.service(entry.path, "restarted")
    else:
        host.system.service(entry.path, "stopped" if value_of(entry.after) == b"inactive" else "restarted")


def clean(host: Host, generations: Iterable[Generation]) -> tuple[str, ...]:
    """Remove what interrupted runs, of tune or of revert, left half-written beside the files; say what stays."""

    def drop(entry: Entry) -> None:
        if entry.kind in ("file", "link", "menu") or (entry.kind == "runtime" and host.tree.root):
            host.tree.remove_temporary(entry.path)
        elif entry.kind == "once":
            host.tree.remove_temporary(host.tree.environment_file(entry.path))
        if entry.kind == "menu":
            host.system.remove_scratch(entry.path)

    failures = []
    for entry in (entry for generation in generations for entry in generation.entries):
        try:
            drop(entry)
        except (OSError, TreeError) as error:
            failures.append(f"what a run that was cut left beside {entry.path} could not be removed ({reason(error)})")
    return tuple(dict.fromkeys(failures))


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
