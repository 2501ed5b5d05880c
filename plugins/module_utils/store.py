# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""The journal's files on a target, under /var/lib/numatune/journal; core.journal says what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator

from .core.journal import Generation, JournalError, Seen, dump, file_name, load, recipe_name
from .core.recipe import recipe
from .tree import Tree, TreeError, sync_directory

FOLDER = "/var/lib/numatune/journal"
_NAME = re.compile(r"^\d{4,}\.json$")


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
        descriptor = (
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if create else os.open(path, os.O_RDONLY)
        )
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
            names = sorted(name for name in os.listdir(self.folder) if _NAME.match(name))
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            path = os.path.join(self.folder, name)
            with open(path, "rb") as handle:
                data = handle.read()
            try:
                text = data.decode()
            except UnicodeDecodeError:
                raise JournalError(f"{path}: the journal is damaged (no UTF-8): nothing was changed") from None
            found.append(load(text, path))
        return sorted(found, key=lambda item: item.number)

    def write(self, generation: Generation) -> str:
        """Write a generation and its recipe so that they last; return the generation's path."""
        name = f"{FOLDER}/{recipe_name(generation.number)}"
        self._tree.replace(name, Seen("file", content=recipe(generation).encode(), mode="0600"))
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


def now() -> str:
    """Return the time as the journal writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
