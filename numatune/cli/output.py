"""Writing reports: to stdout, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .errors import CliError


def colour() -> bool:
    """Return whether stdout may be coloured: a terminal, and NO_COLOR unset."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def check(path: Path) -> None:
    """Refuse a path where `write_whole` would fail, before there is anything to write; CliError in its words."""
    parent = _target(path).parent
    if not parent.is_dir():
        raise CliError(f"{path}: cannot be written: No such file or directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise CliError(f"{path}: cannot be written: Permission denied")


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file under a temporary name beside it and rename it; on failure nothing is left behind.

    A symbolic link stays one: what it points to is replaced. What exists and is no regular file is refused.
    """
    target = _target(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink:
            for piece in (data,) if isinstance(data, bytes) else data:
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink()
        raise CliError(f"{path}: cannot be written: {error.strerror}; nothing was left there") from None
    except BaseException:
        temporary.unlink()
        raise


def _target(path: Path) -> Path:
    """The file that `path` leads to; CliError where renaming over it would replace a device, a pipe or a folder."""
    try:
        mode = path.stat().st_mode  # through links, those of /dev/stdout and the like too
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CliError(f"{path}: cannot be written: it is {kind}; name a file")
    return Path(os.path.realpath(path))
