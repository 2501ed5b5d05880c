"""Writing reports: to stdout, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..bench import places
from ..report.formats import RUNS
from ..report.layout import WIDTH, Style
from ..report.runs.said import Said
from .errors import CliError

_NARROWEST = 40


def colour() -> bool:
    """Return whether stdout may be coloured: a terminal that is not dumb, or FORCE_COLOR; never with NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR", "")
    if forced:
        return forced not in ("0", "false")
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return how many signs a line has at most: COLUMNS, else as the terminal has, 100 elsewhere and on a wide one."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said[:9]) > 0:
        return max(_NARROWEST, int(said[:9]))
    if not sys.stdout.isatty():
        return WIDTH
    return max(_NARROWEST, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def style() -> Style:
    """Return how text goes to stdout."""
    return Style(colour(), width(), "utf" not in (sys.stdout.encoding or "").lower())


def write(form: str, said: Said) -> None:
    """Print what was said of runs in one of `formats.RUNS`."""
    sys.stdout.writelines(RUNS[form](said, style()))


def check(path: Path, follow: bool = True) -> None:
    """Refuse a path where `write_whole` would fail, before there is anything to write; CliError in its words."""
    with _place(path, follow) as (folder, _):
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
            raise CliError(f"{path}: cannot be written: Permission denied")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone; CliError where it cannot be."""
    for place in reversed((folder, *folder.parents)):
        try:
            os.close(places.opened(os.fspath(place / "x"), follow=False)[0])
        except FileNotFoundError:
            try:
                place.mkdir(mode=0o700)
            except OSError as error:
                raise CliError(f"{folder}: cannot be made: {error.strerror}") from None
        except OSError as error:
            raise CliError(f"{folder}: cannot be made: {error.strerror}") from None


def write_whole(path: Path, data: bytes | Iterable[bytes], private: bool = False, follow: bool = True) -> None:
    """Write a file under a temporary name beside it and rename it; on failure nothing is left behind.

    `private` makes it 0600, whatever stood there before; otherwise the umask decides. A symbolic link stays one (what
    it points to is replaced), unless it is another user's in a folder that everybody can write; without `follow` it is
    replaced itself. What exists and is no regular file is refused.
    """
    with _place(path, follow) as (folder, name):
        temporary = f".{name[:200]}.{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(temporary, flags, 0o600, dir_fd=folder)
        except OSError as error:
            raise CliError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            with os.fdopen(handle, "wb") as sink:
                for piece in (data,) if isinstance(data, bytes) else data:
                    sink.write(piece)
                if not private:
                    umask = os.umask(0)
                    os.umask(umask)
                    os.fchmod(sink.fileno(), 0o666 & ~umask)
                sink.flush()
                os.fsync(sink.fileno())
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            if isinstance(error, OSError):
                raise CliError(f"{path}: cannot be written: {error.strerror}; nothing was left there") from None
            raise


@contextmanager
def _place(path: Path, follow: bool) -> Iterator[tuple[int, str]]:
    """The folder that `path` leads to, and the name in it.

    CliError where renaming over that name would replace a device, a pipe or a folder.
    """
    try:
        # Through links, those of /dev/stdout and the like too, which lead to no name.
        mode = _mode(path) if follow else stat.S_IFREG
        folder, name = places.opened(os.fspath(path), follow)
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        if not follow:
            with suppress(FileNotFoundError):
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode) and (follow or not stat.S_ISLNK(mode)):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise CliError(f"{path}: cannot be written: it is {kind}; name a file")
        yield folder, name
    finally:
        os.close(folder)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return stat.S_IFREG
