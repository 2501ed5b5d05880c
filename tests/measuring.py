"""What the tests that measure share: a small run, a Python that takes a busy machine for quiet, wheels."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

# The tests share their machine with whatever else runs there. What makes a run invalid is tested where the rules are.
_PYTHON = """#!{python}
import os
import sys

words = sys.argv[1:]
if not words[0].endswith(".pyz"):
    os.execv(sys.executable, [sys.executable, *words])
sys.path.insert(0, words[0])
from numatune.bench import validity

validity.look_before_start = lambda *_cpus: []
validity.judge_run = lambda *_seen: []
from numatune.bench.__main__ import main

sys.argv = words
sys.exit(main())
"""


def calm_python(folder: Path, python: str = sys.executable) -> str:
    """Write the interpreter, which is `python` otherwise; its path."""
    path = folder / "calm-python"
    path.write_text(_PYTHON.format(python=python))
    path.chmod(0o755)
    return str(path)


def small(folder: Path, cache: Path) -> dict[str, Any]:
    """Inventory variables of a host that measures for a moment and keeps everything below the test's own folders."""
    cpu = str(min(os.sched_getaffinity(0)))
    return {
        "numatune_become": False,
        "numatune_results_dir": str(folder / "results"),
        "numatune_benchmark": {"model": "resnet50", "size": 32, "iterations": 20, "cpus": cpu},
        "benchmark_python": calm_python(folder),
        "benchmark_packages": "target",
        "benchmark_cache_home": str(cache),
        "benchmark_pack_dir": str(folder / "packs"),
        "benchmark_throttle": 1,
    }


def repack(package: str, folder: Path) -> Path:
    """The wheel that an installed package came from, not compressed."""
    found = importlib.metadata.distribution(package)
    tags = [line.split(": ")[1] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    platforms = ".".join(tag.split("-")[2] for tag in tags)
    path = folder / f"{package}-{found.version}-{'-'.join(tags[0].split('-')[:2])}-{platforms}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in found.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(str(file.locate()), str(file))
    return path
