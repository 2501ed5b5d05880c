"""Writing reports: to stdout, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from .errors import CliError


def colour() -> bool:
    """Return whether stdout may be coloured: a terminal, and NO_COLOR unset."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it and rename it; on failure nothing is left behind."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(data)
            sink.flush()
            os.fsync(sink.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink()
        raise CliError(f"{path}: cannot be written: {error.strerror}; nothing was left there") from None
    except BaseException:
        temporary.unlink()
        raise
