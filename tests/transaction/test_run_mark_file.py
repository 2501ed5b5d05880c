"""The mark's file on a target: private, whole, refused where it is odd, and gone without a trace."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from plugins.module_utils import run_mark
from plugins.module_utils.core.undo.run_mark import Mark, MarkError
from plugins.module_utils.tree import Tree, TreeError

MARK = Mark("tune", "2026-11-24T10:00:00Z", drained="2026-11-24T10:00:00Z")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "var/lib/numatune/run.json"
    path.parent.mkdir(parents=True)
    return path


def test_it_is_private_and_leaves_nothing(place: Path, tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    assert run_mark.read(tree) is None
    run_mark.write(tree, MARK)
    assert place.stat().st_mode & 0o777 == 0o600
    assert run_mark.read(tree) == MARK
    # As a write that was cut leaves it.
    Path(tree.temporary("/var/lib/numatune/run.json")).write_text("half")
    run_mark.remove(tree)
    assert list(place.parent.iterdir()) == []


def test_what_a_role_changed_is_added_once(place: Path, tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    host = SimpleNamespace(tree=tree)
    run_mark.add(host, ["cpu_idle"])
    assert not place.exists()
    run_mark.write(tree, MARK)
    run_mark.add(host, [])
    for settings in (["cpu_idle", "cpu_idle"], ["irqbalance", "cpu_idle"]):
        run_mark.add(host, settings)
    assert run_mark.read(tree).done == ("cpu_idle", "irqbalance")
    place.write_text("odd")
    run_mark.add(host, ["irq_affinity"])
    assert place.read_text() == "odd"


def test_a_link_or_a_pipe_in_its_place_is_refused_and_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MarkError, match="no plain file"):
        run_mark.read(Tree(str(tmp_path)))
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(MarkError, match="no plain file"):
        run_mark.read(Tree(str(tmp_path)))


def test_a_folder_that_leads_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var/lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "var/lib/numatune").symlink_to(tmp_path / "outside")
    with pytest.raises(TreeError, match="leads out of"):
        run_mark.write(Tree(str(root)), MARK)
