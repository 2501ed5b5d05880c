"""An index of known_hosts files: which key is whose, asked for each host of a fleet, and new keys put on file.

A host's plain lines are found by its name. Of the others the keys lead: a key that is shown is looked up by its bytes,
and only the lines that hold it are compared with the host's name. So a host that is known costs no pass over the hashed
lines, of which each costs an HMAC (0.8 us) (but for those of hosts that were cloned with its key); a host that is
unknown or changed costs one pass. `key_types`, which is asked before any key is seen, looks for the type that
is preferred, from the last line found on: a fleet's file mostly has the fleet's order.

As for OpenSSH, a host on another port than 22 is `[host]:port`, and `host` where that is not on file; a key of one type
where another type is on file is "changed"; all files count alike. Stricter than OpenSSH: a key that is revoked for
`host` is revoked on every port.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from ..failure import Failure
from . import key_files, key_lines
from .key_lines import BadLineError, Line, Salted
from .key_patterns import Patterns, in_patterns

Verdict = Literal["ok", "unknown", "changed", "revoked"]

# The order in which a client asks for the types; sk- and other types come after these.
PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_MOST_NOTES = 5
_MOST_REMEMBERED = 50_000


class KnownHosts:
    """The keys of some files, read at the first question; threads may share it, processes read their own.

    `files`: the user's first, as in `Endpoint.known_hosts`; new keys go to the first. `notes` says in lines what was
    not read, and what `@cert-authority` lines there are (host certificates are not checked: such a host's own key
    must be on file).
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self._lock = threading.RLock()
        self._loaded = False
        self._clear()

    def __reduce__(self) -> tuple[type[KnownHosts], tuple[tuple[str, ...]]]:
        """Travel as the names of the files."""
        return KnownHosts, (self.files,)

    def _clear(self) -> None:
        self._notes: list[str] = []
        self._unread: list[str] = []
        self._unnamed: dict[bytes, list[Line]] = {}  # by key: the lines with patterns or hashed names
        self._revoked: dict[bytes, list[Line]] = {}
        self._plain: dict[bytes, list[Line]] = {}
        self._patterns = Patterns()
        self._hashed: dict[str, list[Salted]] = {}
        self._hit = 0
        self._remembered: dict[bytes, tuple[Line, ...]] = {}
        self._read_to: tuple[int, int, int] | None = None  # of the first file: device, inode, size
        self._read_lines = 0  # of the first file: how many of its lines have ended

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was not read and why, one line each."""
        with self._lock:
            self._load()
            return tuple(self._notes)

    def check(self, name: str, port: int, key_type: str, key_bytes: bytes) -> Verdict:
        """Return what the files say of a key that a host showed; `name` is its HostKeyAlias (port 22) or hostname."""
        with self._lock:
            self._load()
            several = _names(name, port)
            if any(_is_for(each, line) for each in several for line in self._revoked.get(key_bytes, ())):
                return "revoked"
            unnamed = self._unnamed.get(key_bytes, ())
            for each in several:
                if any(line.blob == key_bytes for line in self._plain.get(each, ())):
                    return "ok"
                if any(_is_for(each, line) for line in unnamed):
                    return "ok"
                if each is several[0] and self._of(each):
                    return "changed"
            return "unknown"

    def where(self, name: str, port: int, key_bytes: bytes) -> tuple[str, ...]:
        """Return the "file:line" of what speaks against a key: where it is revoked, or where the host has others."""
        with self._lock:
            self._load()
            several = _names(name, port)
            found = [line for each in several for line in self._revoked.get(key_bytes, ()) if _is_for(each, line)]
            found = found or [line for line in self._of(several[0]) if line.blob != key_bytes]
            return tuple(dict.fromkeys(f"{line.path}:{line.number}" for line in found))

    def key_types(self, name: str, port: int) -> tuple[str, ...]:
        """Return the types of a host's keys, in the order to ask for them; () where none is on file.

        As for OpenSSH, keys of the name without its port do not count here: they are right when they are shown.
        Where the preferred type is on file, others may be left out, since it decides. Where all hashed lines are of the
        first type of all, that is returned for a host that has no plain line, whether or not it has a hashed one.
        """
        with self._lock:
            self._load()
            return tuple(sorted(self._kinds(_names(name, port)[0]), key=lambda kind: (_rank(kind), kind)))

    def add(self, name: str, port: int, key_type: str, key_bytes: bytes, *, hashed: bool = False) -> None:
        """Put a key that is unknown on file: one line, written at once to the first file, under a lock.

        The file is 0600 and its folder 0700 where they are made. Where /dev/null comes first, the key is known to this
        process alone. Raises Failure("hostkey") for a key that is not unknown (any more), and where it cannot be
        written, or where a file could not be read, so that a new key cannot be told from a changed one.
        """
        with self._lock:
            self._load()
            if self._unread:
                raise Failure("hostkey", f"no new key is accepted: {self._unread[0]}")
            spelled = _names(name, port)[0].decode("utf-8", "surrogateescape")
            try:
                line = key_lines.written(spelled, key_type, key_bytes, os.urandom(20) if hashed else None)
            except ValueError as error:
                raise Failure("hostkey", f"no new key is accepted: {error}") from None

            def still_new() -> bool:
                state = self.check(name, port, key_type, key_bytes)
                if state in ("changed", "revoked"):
                    raise Failure("hostkey", f"another key of {spelled} was put on file meanwhile: it is {state}")
                return state == "unknown"

            path = self.files[0] if self.files else os.devnull
            if path == os.devnull:
                if still_new():
                    self._take(line, path, {})
                return
            try:
                self._append(path, line, still_new)
            except OSError as error:
                raise Failure("hostkey", f"a new key cannot be put on file: {path}: {error.strerror}") from None

    # --- reading ---

    def _load(self) -> None:
        if self._loaded:
            return
        self._clear()
        for place, path in enumerate(self.files):
            try:
                data, state = key_files.content(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                text = f"needs to read {path}: {error.strerror}"
                self._notes.append(text)
                self._unread.append(text)
                continue
            if place == 0 and state is not None:
                self._read_to = (state.st_dev, state.st_ino, len(data))
                self._read_lines = data.count(b"\n")
            counts: dict[str, list[int]] = {}
            self._take(data, path, counts)
            self._say(path, counts)
        self._loaded = True

    def _take(self, data: bytes, path: str, counts: dict[str, list[int]], after: int = 0) -> None:
        self._remembered = {}
        for number, line in key_lines.lines(data, path, after):
            if isinstance(line, BadLineError):
                counts.setdefault(str(line), []).append(number)
                continue
            marker, hosts, kind, blob = line[:4]
            if marker == "cert-authority":
                counts.setdefault(marker, []).append(number)
                continue
            if marker == "revoked":
                self._revoked.setdefault(blob, []).append(line)
                continue
            if hosts[:1] == b"|":
                try:
                    self._hashed.setdefault(kind, []).append(key_lines.salted(line))
                except BadLineError as error:
                    counts.setdefault(str(error), []).append(number)
                    continue
            elif b"*" in hosts or b"?" in hosts or b"!" in hosts:
                self._patterns.add(line)
            else:
                for name in hosts.lower().split(b","):
                    self._plain.setdefault(name, []).append(line)
                continue
            self._unnamed.setdefault(blob, []).append(line)

    def _say(self, path: str, counts: dict[str, list[int]]) -> None:
        for what, numbers in counts.items():
            places = ", ".join(str(number) for number in numbers[:_MOST_NOTES])
            more = f" and {len(numbers) - _MOST_NOTES} more" if len(numbers) > _MOST_NOTES else ""
            lines = f"{path}: line{'s' if len(numbers) > 1 else ''} {places}{more}"
            if what == "cert-authority":
                self._notes.append(
                    f"{lines}: @cert-authority is not used: --transport openssh checks host certificates"
                )
            else:
                self._notes.append(f"{lines}: skipped: {what}")

    # --- looking up ---

    def _of(self, name: bytes) -> tuple[Line, ...]:
        """Return all lines for a name; costs one HMAC for each hashed line."""
        found = self._remembered.get(name)
        if found is None:
            unhashed = self._unhashed(name)
            found = (*unhashed, *(line for kind in self._hashed for line in self._among(kind, name)))
            self._remember(name, found)
        return found

    def _remember(self, name: bytes, found: tuple[Line, ...]) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[name] = found

    def _unhashed(self, name: bytes) -> list[Line]:
        return [*self._plain.get(name, ()), *self._patterns.of(name)]

    def _kinds(self, name: bytes) -> set[str]:
        kinds = {line.kind for line in self._unhashed(name)}
        best = min(self._hashed, key=_rank, default=None)
        if best is None or PREFERRED[0] in kinds or name in self._remembered:
            return kinds | {line.kind for line in self._remembered.get(name, ())}
        if len(self._hashed) == 1 and not kinds and best == PREFERRED[0]:
            return {best}  # which is asked for first anyway
        if next(self._among(best, name), None) is not None:
            return kinds | {best}
        return kinds | {line.kind for line in self._of(name)}

    def _among(self, kind: str, name: bytes) -> Iterator[Line]:
        """Yield the hashed lines of a type that are for a name, from the last one found outwards to both sides."""
        several = self._hashed[kind]
        size, middle = len(several), self._hit
        for step in range(size):
            place = (middle + (step + 1 >> 1) * (1 if step & 1 else -1)) % size
            entry = several[place]
            if entry.is_of(name):
                self._hit = place
                yield entry.line

    # --- writing ---

    def _append(self, path: str, line: bytes, still_new: Callable[[], bool]) -> None:
        folder = Path(path).parent
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = key_files.locked(path)
        try:
            state = os.fstat(file)
            if (state.st_dev, state.st_ino, state.st_size) != self._read_to:
                # Other processes added keys, or somebody took one away: judge by what is there now.
                self._catch_up(file, state)
            if not still_new():
                return
            size = os.fstat(file).st_size
            ended = size == 0 or os.pread(file, 1, size - 1) == b"\n"
            written = line if ended else b"\n" + line
            if os.write(file, written) != len(written):
                raise OSError(0, "only a part was written")
            self._read_lines += not ended
            self._take(line, path, {}, self._read_lines)
            self._read_lines += 1
            self._read_to = (state.st_dev, state.st_ino, size + len(written))
        finally:
            os.close(file)

    def _catch_up(self, file: int, state: os.stat_result) -> None:
        known = self._read_to
        if known is not None and known[:2] == (state.st_dev, state.st_ino) and known[2] < state.st_size:
            added = os.pread(file, state.st_size - known[2], known[2])
            self._take(added, self.files[0], {}, self._read_lines)
            self._read_lines += added.count(b"\n")
            self._read_to = (state.st_dev, state.st_ino, state.st_size)
            return
        self._loaded = False
        self._load()


def _names(name: str, port: int) -> list[bytes]:
    plain = name.lower().encode("utf-8", "surrogateescape")
    return [plain] if port in (0, 22) else [b"[%s]:%d" % (plain, port), plain]


def _is_for(name: bytes, line: Line) -> bool:
    if line.hosts[:1] != b"|":
        return in_patterns(name, line.hosts)
    try:
        return key_lines.salted(line).is_of(name)
    except BadLineError:
        return False


def _rank(kind: str) -> int:
    return PREFERRED.index(kind) if kind in PREFERRED else len(PREFERRED)
