"""What became of every host of a run, written as the hosts end and read back in the order of the inventory.

Rows are gathered for a moment and written in one short transaction; a run that is killed loses what the last second
brought. When the file cannot be written any more (no space, a lock that is never given), what is known goes on in a
private store, so that the report of this run is whole; `Store.trouble` then says why the file has not got it.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..core.host_status import STATUSES
from ..core.model import RUN_UNKNOWN
from . import schema
from .errors import StoreError
from .rows import Group, Row, RunFacts, Verdict, plain, verdicts

KEEP_RUNS = 100
"""Runs that a file keeps, with the verdict of every setting."""
KEEP_DOCUMENTS = 10
"""Runs of which a file keeps each host's whole JSON, evidence included."""

_BATCH = 200
_BATCH_S = 1.0
_PAGE = 100

T = TypeVar("T")


class Store:
    """A file of runs, or with None one that nobody keeps. Raises StoreError where nothing can hold the rows."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept = path is not None
        self._db = schema.open_file(path) if path is not None else _private()
        self._waiting: list[Row] = []
        self._since = 0.0
        self._verdicts: dict[Verdict, int] = {}
        self.trouble: str | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def begin(self, facts: RunFacts) -> int:
        """Open a run and return its number."""
        values = (*vars(facts).values(),)
        row = tuple(" ".join(value) if isinstance(value, tuple) else value for value in values)
        return self._guarded(None, lambda: self._begin(row))

    def _begin(self, row: tuple[Any, ...]) -> int:
        sql = "INSERT INTO runs (command, version, profile, fail_on, require, started, hosts) VALUES (?,?,?,?,?,?,?)"
        return int(self._db.execute(sql, row).lastrowid or 0)

    def add(self, run: int, row: Row) -> None:
        """Take one host; it is on the disk about a second later, if `tick` is called meanwhile."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(row)
        self.tick(run)

    def tick(self, run: int) -> None:
        """Write what waits if it is much, or has waited long."""
        if len(self._waiting) >= _BATCH or time.monotonic() - self._since >= _BATCH_S:
            self.flush(run)

    def flush(self, run: int) -> None:
        """Write what waits, in one transaction."""
        if self._waiting:
            self._guarded(run, lambda: self._write(run))
            self._waiting.clear()

    def _write(self, run: int) -> None:
        known = dict(self._verdicts)
        with _transaction(self._db):
            for row in self._waiting:
                packed = None if row.document is None else zlib.compress(row.document, 1)
                text = (plain(row.name), row.status, plain(row.phase), plain(row.message), plain(row.kind))
                values = (run, row.place, *text, row.seconds, row.attempts, packed)
                # A host that ends twice would be a fault of the caller: the later word holds, and nothing is lost.
                self._db.execute("INSERT OR REPLACE INTO hosts VALUES (?,?,?,?,?,?,?,?,?,?)", values)
                found = [(run, self._number(verdict, known), row.place) for verdict in verdicts(row.document)]
                self._db.executemany("INSERT OR REPLACE INTO findings VALUES (?,?,?)", found)
        self._verdicts = known  # only what was committed

    def _number(self, verdict: Verdict, known: dict[Verdict, int]) -> int:
        if verdict not in known:
            if len(known) >= 50_000:
                known.clear()  # a fleet whose every value differs must not fill the memory
            self._db.execute("INSERT OR IGNORE INTO verdicts VALUES (NULL,?,?,?,?,?)", verdict)
            where = "setting=? AND status=? AND severity=? AND value=? AND expected=?"
            known[verdict] = self._db.execute(f"SELECT id FROM verdicts WHERE {where}", verdict).fetchone()[0]
        return known[verdict]

    def finish(self, run: int, finished: str, partial: bool) -> None:
        """Write what waits and close the run."""
        self.flush(run)
        values = (finished, int(partial), run)
        sql = "UPDATE runs SET finished = ?, partial = ? WHERE id = ?"
        self._guarded(run, lambda: self._db.execute(sql, values))

    def prune(self) -> None:
        """Delete the runs beyond the newest KEEP_RUNS, and the documents beyond KEEP_DOCUMENTS; free space is reused.

        A run that goes on is left alone as long as it is among the newest. What fails here is tried by the next run.
        """
        if not self._kept:
            return
        try:
            newest = self._db.execute("SELECT id FROM runs ORDER BY id DESC LIMIT ?", (KEEP_RUNS + 1,))
            numbers = [row[0] for row in newest]
            with _transaction(self._db):
                if len(numbers) > KEEP_RUNS:
                    for table, column in (("findings", "run"), ("hosts", "run"), ("runs", "id")):
                        self._db.execute(f"DELETE FROM {table} WHERE {column} <= ?", (numbers[KEEP_RUNS],))
                    self._db.execute("DELETE FROM verdicts WHERE id NOT IN (SELECT verdict FROM findings)")
                if len(numbers) > KEEP_DOCUMENTS:
                    done = "SELECT id FROM runs WHERE id <= ? AND finished IS NOT NULL"
                    sql = f"UPDATE hosts SET document = NULL WHERE document IS NOT NULL AND run IN ({done})"
                    self._db.execute(sql, (numbers[KEEP_DOCUMENTS],))
        except sqlite3.Error:
            return

    def summary(self, run: int) -> dict[str, int]:
        """Count the hosts by status, as the reports do."""
        rows = dict(self._rows("SELECT status, count(*) FROM hosts WHERE run = ? GROUP BY status", (run,)))
        counted = {status: int(rows.get(status, 0)) for status in STATUSES}
        return {"hosts": sum(counted.values()), **counted}

    def unsure(self, run: int) -> int:
        """Count the hosts that are ok and of which something is not known: a setting, or whether a run was cut."""
        sql = (
            "SELECT DISTINCT h.place FROM hosts h JOIN findings f ON f.run = h.run AND f.place = h.place"
            " JOIN verdicts v ON v.id = f.verdict WHERE h.run = ? AND h.status = 'ok' AND v.status = 'unknown'"
        )
        settings = {place for (place,) in self._rows(sql, (run,))}
        sql = "SELECT place, document FROM hosts WHERE run = ? AND status = 'ok' AND document IS NOT NULL"
        note = RUN_UNKNOWN.encode()
        try:
            # One at a time: together the documents of a fleet take much memory.
            runs = {place for place, packed in self._db.execute(sql, (run,)) if note in zlib.decompress(packed)}
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        return len(settings | runs)

    def hosts(self, run: int) -> Iterator[Row]:
        """Yield the hosts of a run in the order of the inventory; a page at a time, so that nobody waits for a lock."""
        try:
            yield from pages(self._db, run)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def failures(self, run: int, names: int = 3) -> list[Group]:
        """Return (phase, kind) of the hosts that failed, the most frequent first."""
        sql = (
            "SELECT phase, kind, count(*) AS n FROM hosts WHERE run = ? AND phase IS NOT NULL"
            " GROUP BY phase, kind ORDER BY n DESC, phase, kind"
        )
        first = "SELECT name FROM hosts WHERE run = ? AND phase IS ? AND kind IS ? ORDER BY place LIMIT ?"
        groups = self._rows(sql, (run,))
        return [
            Group((phase, kind or ""), count, tuple(name for (name,) in self._rows(first, (run, phase, kind, names))))
            for phase, kind, count in groups
        ]

    def findings(self, run: int, statuses: Collection[str], names: int = 3) -> list[Group]:
        """Return the verdicts of these statuses (`what` has the fields of Verdict), the most frequent first."""
        marks = ",".join("?" * len(statuses))
        sql = (
            "SELECT v.setting, v.status, v.severity, v.value, v.expected, v.id, count(*) AS n FROM findings f"
            f" JOIN verdicts v ON v.id = f.verdict WHERE f.run = ? AND v.status IN ({marks})"
            " GROUP BY v.id ORDER BY n DESC, v.setting, v.value"
        )
        first = (
            "SELECT h.name FROM findings f JOIN hosts h ON h.run = f.run AND h.place = f.place"
            " WHERE f.run = ? AND f.verdict = ? ORDER BY f.place LIMIT ?"
        )
        groups = self._rows(sql, (run, *statuses))
        return [
            Group(tuple(what), count, tuple(name for (name,) in self._rows(first, (run, number, names))))
            for *what, number, count in groups
        ]

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"{self._path or 'this run'}: its results cannot be read: {schema.reason(error)}")

    def _guarded(self, run: int | None, work: Callable[[], T]) -> T:
        """Do it in the file, or say why not and do it in a private store that holds all of this run."""
        try:
            return work()
        except sqlite3.Error as error:
            if not self._kept:
                raise StoreError(f"no room for this run's results: {schema.reason(error)}") from None
            self.trouble = f"{self._path}: this run is not kept there: {schema.reason(error)}"
        file, self._db, self._kept = self._db, _private(), False
        self._verdicts = {}
        try:
            if run is not None:
                _copy(file, self._db, run)
            file.close()
        except sqlite3.Error as error:
            raise StoreError(f"{self.trouble}; nor can what it holds be read: {schema.reason(error)}") from None
        return self._guarded(run, work)


def pages(db: sqlite3.Connection, run: int) -> Iterator[Row]:
    """Yield the hosts of a run in their order, reading a page at a time; raises sqlite3.Error."""
    columns = "place, name, status, phase, message, kind, seconds, attempts, document"
    sql = f"SELECT {columns} FROM hosts WHERE run = ? AND place > ? ORDER BY place LIMIT {_PAGE}"
    place = -1
    while page := db.execute(sql, (run, place)).fetchall():
        for *fields, packed in page:
            document = None if packed is None else zlib.decompress(packed)
            yield Row(*(*fields, document))
        place = page[-1][0]


def _private() -> sqlite3.Connection:
    try:
        return schema.open_private()
    except sqlite3.Error as error:
        raise StoreError(f"no room for this run's results: {schema.reason(error)}") from None


def _copy(file: sqlite3.Connection, private: sqlite3.Connection, run: int) -> None:
    with _transaction(private):
        for table, key in (("runs", "id"), ("hosts", "run")):
            for row in file.execute(f"SELECT * FROM {table} WHERE {key} = ?", (run,)):
                private.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
        used = "SELECT * FROM verdicts WHERE id IN (SELECT verdict FROM findings WHERE run = ?)"
        private.executemany("INSERT INTO verdicts VALUES (?,?,?,?,?,?)", file.execute(used, (run,)))
        found = file.execute("SELECT * FROM findings WHERE run = ?", (run,))
        private.executemany("INSERT INTO findings VALUES (?,?,?)", found)


class _transaction:  # noqa: N801 - reads as the statement that it is
    """BEGIN IMMEDIATE to COMMIT; ROLLBACK where it fails (some errors have rolled it back already)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
