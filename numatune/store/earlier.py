"""An earlier run to go on from: a report that numatune wrote as JSON, or a store.

A report of 10,000 hosts is some hundred megabytes: it is read host by host, whatever program wrote its spaces.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..core.host_status import NOT_JUDGED, STATUSES, UNREACHABLE, failed
from . import schema
from .audits import pages
from .errors import StoreError
from .rows import Row, plain

_SQLITE = b"SQLite format 3\0"
_CHUNK = 1 << 20
_MOST = 64 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Earlier:
    """What an earlier run came to: when, by what measure (None: not said), and the status of each host by name.

    `rows()` gives its hosts again with their documents; the places in them are those of the earlier run.
    """

    source: Path
    started: str
    profile: str
    fail_on: str | None
    require: tuple[str, ...] | None
    statuses: Mapping[str, str]
    rows: Callable[[], Iterator[Row]]

    def wants(self, name: str) -> bool:
        """Whether a host is to be asked again: it failed, was not judged, or that run never came to it."""
        return self.statuses.get(plain(name), UNREACHABLE) in (UNREACHABLE, NOT_JUDGED)


def read(path: Path, command: str, names: Collection[str]) -> Earlier:
    """Read the report at `path`, or the newest run of `command` in the store there that knows one of these hosts.

    Raises StoreError where the file is neither, is cut, or holds no such run.
    """
    try:
        with path.open("rb") as source:
            head = source.read(len(_SQLITE))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; give a JSON report or a store of an earlier run") from None
    return _from_store(path, command, names) if head == _SQLITE else _from_report(path, command)


def _from_store(path: Path, command: str, names: Collection[str]) -> Earlier:
    wanted = {plain(name) for name in names}
    db = schema.open_to_read(path)
    try:
        # A judgement whose document was deleted since cannot be carried over: ask again. `collect` keeps none.
        status = "status" if command == "collect" else "iif(document IS NULL, 'unreachable', status)"
        columns = "id, started, profile, fail_on, require"
        runs = db.execute(f"SELECT {columns} FROM runs WHERE command = ? ORDER BY id DESC", (command,)).fetchall()
        for number, started, profile, fail_on, require in runs:
            statuses = dict(db.execute(f"SELECT name, {status} FROM hosts WHERE run = ?", (number,)).fetchall())
            if wanted & statuses.keys():
                rows = _rows_of(path, number)
                return Earlier(path, started, profile, fail_on, tuple(require.split()), statuses, rows)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the store cannot be read: {schema.reason(error)}") from None
    finally:
        db.close()
    raise StoreError(f"{path}: this store holds no {command} of any of these hosts")


def _rows_of(path: Path, run: int) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        db = schema.open_to_read(path)
        try:
            yield from pages(db, run)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: the store cannot be read: {schema.reason(error)}") from None
        finally:
            db.close()

    return rows


def _from_report(path: Path, command: str) -> Earlier:
    head: dict[str, Any] = {}
    statuses = {row.name: row.status for row in _hosts(path, head)}
    if head.get("schema") != f"numatune/{command}/1":
        raise StoreError(f"{path}: not a JSON report of `numatune {command}`: its schema is {head.get('schema')!r}")
    require = head.get("require")
    return Earlier(
        path,
        str(head.get("started")),
        str(head.get("profile")),
        head.get("fail_on"),
        tuple(map(str, require)) if isinstance(require, list) else None,
        statuses,
        lambda: _hosts(path, {}),
    )


def _hosts(path: Path, head: dict[str, Any]) -> Iterator[Row]:
    """Yield the hosts of a report; its other fields are in `head` at the end, whatever their order."""
    try:
        with path.open(encoding="utf-8") as source:
            reader = _Reader(source)
            for key in reader.fields():
                if key == "hosts":
                    yield from (_row(path, place, host) for place, host in enumerate(reader.items()))
                else:
                    head[key] = reader.value()
    except (ValueError, RecursionError):
        raise StoreError(f"{path}: neither a whole JSON report nor a store; it may be cut short") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def _row(path: Path, place: int, host: Any) -> Row:
    name, error = (host.get("name"), host.get("error")) if isinstance(host, dict) else (None, None)
    if not isinstance(name, str) or not (error is None or isinstance(error, dict)):
        raise StoreError(f"{path}: host {place + 1} in it has no name: not a report of numatune")
    if error is not None:
        phase, message = str(error.get("phase")), plain(str(error.get("message")))
        return Row(place, plain(name), failed(phase), phase, message, message)
    # A plan has no status: who has changes ahead of him counts as one with findings.
    status = host.get("status") or ("findings" if host.get("changes") or host.get("conflicts") else "ok")
    if status not in STATUSES:
        raise StoreError(f"{path}: {plain(name)!r} has a status that is none: not a report of numatune")
    return Row(place, plain(name), status, document=json.dumps(host, separators=(",", ":")).encode())


class _Reader:
    """One JSON object of a file, read value by value. Raises ValueError for what is no JSON, or ends too early."""

    def __init__(self, source: IO[str]) -> None:
        self._source = source
        self._text = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def fields(self) -> Iterator[str]:
        """Yield each key; the caller takes its value before the next."""
        self._take("{")
        if self._peek() == "}":
            return
        while True:
            key = self.value()
            self._take(":")
            yield str(key)
            if self._take(",}") == "}":
                return

    def items(self) -> Iterator[Any]:
        """Yield each item of the list that comes next."""
        self._take("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def value(self) -> Any:
        """Return the value that comes next."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                # A number at the very end of what was read may go on.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value
            except ValueError:
                if not self._more():
                    raise

    def _peek(self) -> str:
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing too
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise ValueError("it ends too early")

    def _take(self, wanted: str) -> str:
        sign = self._peek()
        if sign not in wanted:
            raise ValueError(f"{wanted} is missing")
        self._at += 1
        return sign

    def _more(self) -> bool:
        self._text, self._at = self._text[self._at :], 0
        chunk = self._source.read(_CHUNK) if len(self._text) < _MOST else ""
        self._text += chunk
        return bool(chunk)
