"""The tables of a store, and how its file is opened: made private, refused where it is something else.

The rollback journal is kept, not the write-ahead log, which needs shared memory and so fails on a network home. Every
transaction is short and every read is a page, so that two runs that share a file wait for each other for moments.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from .errors import StoreError

VERSION = 1
APPLICATION = 0x6E756D61  # "numa"
_BUSY_S = 30.0

_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also after the newest run was deleted
    command TEXT NOT NULL,                 -- audit, collect, plan
    version TEXT NOT NULL,                 -- of numatune
    profile TEXT NOT NULL,
    fail_on TEXT NOT NULL,
    require TEXT NOT NULL,                 -- settings, separated by spaces; "" for the profile's critical ones
    started TEXT NOT NULL,                 -- UTC, 2026-01-31T12:00:00Z
    finished TEXT,                         -- NULL while it runs, and for ever when it was killed
    partial INTEGER NOT NULL DEFAULT 0,
    hosts INTEGER NOT NULL                 -- how many were asked for
);
CREATE TABLE hosts (
    run INTEGER NOT NULL REFERENCES runs,
    place INTEGER NOT NULL,                -- in the order of the inventory, from 0
    name TEXT NOT NULL,                    -- the inventory's alias
    status TEXT NOT NULL,                  -- ok, findings, incomplete, unreachable, not_judged
    phase TEXT,                            -- of the failure
    message TEXT,
    kind TEXT,                             -- the message without what differs from host to host
    seconds REAL NOT NULL,
    attempts INTEGER NOT NULL,
    document BLOB,                         -- zlib of the host's JSON; NULL for a failure and in old runs
    PRIMARY KEY (run, place)
);
CREATE INDEX hosts_by_name ON hosts (name, run);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    setting TEXT NOT NULL,
    status TEXT NOT NULL,
    severity TEXT NOT NULL,
    value TEXT NOT NULL,                   -- the running value, "" when there is none; why, where it is unknown
    expected TEXT NOT NULL,
    UNIQUE (setting, status, severity, value, expected)
);
CREATE TABLE findings (
    run INTEGER NOT NULL,
    verdict INTEGER NOT NULL REFERENCES verdicts,
    place INTEGER NOT NULL,
    PRIMARY KEY (run, verdict, place)
) WITHOUT ROWID;
"""


def default_path(environment: dict[str, str]) -> Path:
    """Return where the store of a user lies: $XDG_STATE_HOME or ~/.local/state, numatune/history.sqlite."""
    state = environment.get("XDG_STATE_HOME", "")
    # The specification of those folders ignores a relative one.
    base = Path(state) if state.startswith("/") else Path(environment.get("HOME") or "~").expanduser() / ".local/state"
    return base / "numatune" / "history.sqlite"


def open_file(path: Path) -> sqlite3.Connection:
    """Open a store to read and write it, and make it where there is none (folder 0700, file 0600).

    Raises StoreError when it cannot be, is another program's or a newer numatune's.
    """
    try:
        # Each folder that is made here is private, not the last one alone, as mkdir's parents would have it.
        for folder in reversed([path.parent, *path.parent.parents]):
            folder.mkdir(mode=0o700, exist_ok=True) if not folder.exists() else None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        hint = "give another file with --store, or `--store none`"
        raise StoreError(f"{path}: the store cannot be opened: {error.strerror}; {hint}") from None
    return _prepared(path, _connect(path, f"{path.absolute().as_uri()}?mode=rw"))


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing store without changing it; raises StoreError as `open_file` does, and for an empty file."""
    connection = _connect(path, f"{path.absolute().as_uri()}?mode=ro")
    try:
        if _kind(path, connection) == "empty":
            raise StoreError(f"{path}: an empty file, no store of numatune")
    except BaseException:
        connection.close()
        raise
    return connection


def open_private() -> sqlite3.Connection:
    """Open a store that nobody else sees and that goes with this process; a large one spills to the temporary folder.

    Raises sqlite3.Error where neither memory nor that folder has room.
    """
    connection = sqlite3.connect("", isolation_level=None)
    connection.executescript("PRAGMA cache_size = -16384; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")
    connection.executescript(_TABLES)
    return connection


def reason(error: sqlite3.Error) -> str:
    """Say in a few words what SQLite complains of."""
    words = {
        "SQLITE_FULL": "no space is left on its disk",
        "SQLITE_READONLY": "it may not be written",
        "SQLITE_BUSY": f"another program held it for {_BUSY_S:.0f} s (or its disk cannot lock files)",
        "SQLITE_NOTADB": "it is no SQLite database",
        "SQLITE_CORRUPT": "it is damaged",
        "SQLITE_CANTOPEN": "it cannot be opened",
    }
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, text in words.items():
        if name.startswith(prefix):
            return text
    return str(error)


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    try:
        # Transactions are begun by hand: the module's own would be opened by one statement and not by another.
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the store cannot be opened: {reason(error)}") from None


def _prepared(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        if _kind(path, connection) == "empty":
            connection.execute("BEGIN IMMEDIATE")
            # Another run may have made the tables since.
            if _kind(path, connection) == "empty":
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        hint = "give another file with --store, or `--store none`"
        raise StoreError(f"{path}: the store cannot be used: {reason(error)}; {hint}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _kind(path: Path, connection: sqlite3.Connection) -> str:
    """Return "empty" or "store"; raise StoreError for anything else."""
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        hint = "give another file with --store, or `--store none`"
        raise StoreError(f"{path}: the store cannot be used: {reason(error)}; {hint}") from None
    if not tables and not version and application in (0, APPLICATION):
        return "empty"
    if application != APPLICATION:
        raise StoreError(f"{path}: a SQLite database of another program, no store of numatune; name another file")
    if version > VERSION:
        raise StoreError(
            f"{path}: written by a newer numatune (schema {version}, this one knows {VERSION}): use that one, "
            "or another file with --store"
        )
    return "store"
