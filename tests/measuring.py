"""What the tests that measure share: a small run, and a Python on the target that takes a busy machine for quiet."""

from __future__ import annotations

import os
import sys
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
