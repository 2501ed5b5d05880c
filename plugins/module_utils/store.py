# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The journal's files on a target, under /var/lib/numatune/journal; core.undo.journal says what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator

from .core.undo.journal import Generation, JournalError, Seen, file_name, recipe_name
from .core.undo.journal_file import dump, load
from .core.undo.recipe import recipe
from .tree import Tree, TreeError, sync_directory

FOLDER = "/var/lib/numatune/journal"
_NAME = re.compile(r"[0-9]{4,}\.json")
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Not waiting: a pipe in a file's place, which has no writer, answers at once."""
_LIMIT = 16 << 20
"""Bytes of one generation: a menu and a few hundred values are a few hundred kilobytes."""


class Store:
    """The generations that a target's journal holds."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.folder = tree.real(FOLDER + "/.")[:-2]

    @contextlib.contextmanager
    def lock(self, create: bool) -> Iterator[None]:
        """Keep other numatune modules off this host's journal; without `create` nothing is made for it."""
        if create:
            self._make_folder()
        path = os.path.join(self.folder, "lock")
        if not create and not os.path.exists(path):
            yield
            return
        # Not for writing: a lock that is there can be held on a filesystem that has turned read-only.
        descriptor = os.open(path, _FLAGS | (os.O_CREAT if create else 0), 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TreeError(f"another numatune run holds {path}: wait until it ends, then run again") from None
            yield
        finally:
            os.close(descriptor)

    def read(self) -> list[Generation]:
        """Return all generations, oldest first; a damaged one is an error, never skipped."""
        try:
            names = sorted(name for name in os.listdir(self.folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            path = os.path.join(self.folder, name)
            try:
                found.append(load(_read(path).decode(), path))
            except UnicodeDecodeError:
                raise JournalError(f"{path}: the journal is damaged (no UTF-8): nothing was changed") from None
        return sorted(found, key=lambda item: item.number)

    def write(self, generation: Generation) -> str:
        """Write a generation and its recipe so that they last; return the generation's path."""
        name = f"{FOLDER}/{recipe_name(generation.number)}"
        text = recipe(generation).encode("utf-8", "surrogateescape")
        self._tree.replace(name, Seen("file", content=text, mode="0600"))
        return self.update(generation)

    def update(self, generation: Generation) -> str:
        """Write a generation whose state alone changed, or what is back of it: its recipe stays as it is."""
        name = f"{FOLDER}/{file_name(generation.number)}"
        self._tree.replace(name, Seen("file", content=dump(generation).encode(), mode="0600"))
        return name

    def discard(self, generation: Generation) -> None:
        """Remove a generation that changed nothing after all."""
        for name in (file_name(generation.number), recipe_name(generation.number)):
            self._tree.remove(f"{FOLDER}/{name}")

    def _make_folder(self) -> None:
        missing = []
        path = self.folder
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            os.mkdir(path, 0o700 if "/var/lib/numatune" in path else 0o755)
            sync_directory(os.path.dirname(path))


def _read(path: str) -> bytes:
    """Read a file of the journal: a plain one of a sane size, so that nothing waits with the lock held."""
    descriptor = os.open(path, _FLAGS)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise JournalError(f"{path} is no plain file: move it away, then run again; nothing was changed")
        if info.st_size > _LIMIT:
            raise JournalError(f"{path}: the journal is damaged ({info.st_size} bytes): nothing was changed")
        with os.fdopen(os.dup(descriptor), "rb") as handle:
            return handle.read(_LIMIT)
    finally:
        os.close(descriptor)


def now() -> str:
    """Return the time as the journal writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
