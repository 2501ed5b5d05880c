"""The optional packages of the recorder: imported when a run begins, and named in one line where they are missing."""

from __future__ import annotations

import os
import platform
from typing import Any

from .errors import BenchError


def import_numpy() -> Any:
    """The numpy module, its BLAS without a thread pool: even an idle one would show among the threads."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        import numpy
    except ImportError as error:
        raise missing(error, "numpy") from error
    return numpy


def missing(error: ImportError, package: str) -> BenchError:
    """The complaint about a package that cannot be imported."""
    return BenchError(
        f"{error.name or package} is not installed: the benchmark needs it; pip install 'numatune[bench]'"
    )


def python_version() -> tuple[int, int]:
    """Such as (3, 11)."""
    major, minor = platform.python_version_tuple()[:2]
    return int(major), int(minor)
