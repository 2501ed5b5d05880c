"""Root trees with Debian's own packages, made once by tools/root-tree and copied for the tests that change them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from trees.tree import Tree

ROOT = Path(__file__).parents[2]


def unable(why: str) -> None:
    """Skip, or fail where `make trees` asked for these very tests."""
    if os.environ.get("NUMATUNE_TREES") == "required":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def tree(request: pytest.FixtureRequest) -> Tree:
    """A copy of a root tree that may be changed; nothing is mounted and no service runs in it."""
    suite: str = request.param
    if os.geteuid() != 0:
        unable("needs root, to make and enter a root tree")
    made, copy = ROOT / "build/trees" / suite, ROOT / "build/trees/work" / suite
    done = subprocess.run([ROOT / "tools/root-tree", suite, made], capture_output=True, text=True, check=False)
    if done.returncode:
        unable(f"the {suite} tree could not be made: {done.stderr.strip().splitlines()[-1]}")
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", made, copy], check=True)
    return Tree(copy)
