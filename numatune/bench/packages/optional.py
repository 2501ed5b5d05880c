"""The optional packages of the recorder: imported when a run begins, and named in one line where they are missing."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import Any

from ..errors import BenchError

PACKAGES = ("numpy>=1.26", "onnxruntime>=1.20", "plotly>=6", "ruptures>=1.1.9", "scipy>=1.12")
"""What `[bench]` stands for, as pyproject.toml has it."""

_HERE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


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
    return BenchError(said_missing(error.name or package, "the benchmark needs it"))


def said_missing(package: str, why: str) -> str:
    """The line about a package that is not installed, with what installs it as it is typed here."""
    return f"{package.partition('.')[0]} is not installed: {why}; run `{how_to_install()}`"


def how_to_install() -> str:
    """The command, in a checkout with its `[bench]`; numatune is on no package index, and its packages are.

    Of a wheel nobody knows here where it lies.
    """
    python, place = _shown(sys.executable or "python3"), os.path.dirname(_HERE)
    if os.path.isfile(os.path.join(place, "pyproject.toml")):
        what = [f"{'.' if place == os.getcwd() else place}[bench]"]
    else:
        what = list(PACKAGES)
    return f"{shlex.quote(python)} -m pip install {' '.join(map(shlex.quote, what))}"


def _shown(path: str) -> str:
    """A path relative to the working directory where it lies below."""
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path


def python_version() -> tuple[int, int]:
    """Such as (3, 11)."""
    major, minor = platform.python_version_tuple()[:2]
    return int(major), int(minor)
