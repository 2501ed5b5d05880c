"""Files are whole or absent: damaged weights, full disks, interrupts, places that cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from numatune.bench.errors import BenchError
from numatune.bench.files import check_writable, replacing
from numatune.bench.model import cache as weight_cache
from numatune.bench.model import weights

MODEL = "resnet50"


def folder_of(cache: Path) -> Path:
    return cache / "numatune/bench" / f"{MODEL}-{weight_cache.WEIGHTS_SHA256[MODEL][:16]}"


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.part"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_damaged_weights_are_made_again(own_cache: Path, damage: str) -> None:
    said: list[str] = []
    model = weight_cache.ensure_model(MODEL, said.append)
    path = Path(model.weights_path)
    with path.open("r+b") as file:
        if damage == "flipped":
            file.seek(12_345)
            file.write(b"\xff\xff\xff\xff")
        else:
            file.truncate(4096 if damage == "cut" else 0)
    said.clear()
    again = weight_cache.ensure_model(MODEL, said.append)
    assert again == model
    assert len(said) == 1
    assert f"the cached weights {path} are damaged; making them again" in said[0]
    said.clear()
    weight_cache.ensure_model(MODEL, said.append)
    assert said == []
    assert left_over(own_cache) == []


def test_a_damaged_graph_is_put_back(own_cache: Path) -> None:
    model = weight_cache.ensure_model(MODEL, lambda line: None)
    Path(model.graph_path).write_bytes(b"not a graph")
    weight_cache.ensure_model(MODEL, lambda line: None)
    assert Path(model.graph_path).read_bytes() == weight_cache.shipped_graph(MODEL)


def test_a_host_that_computes_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "SEED", "another numpy")
    monkeypatch.setattr(weights, "tensors", lambda network: iter([("stem.weight", b"12345678")]))
    with pytest.raises(BenchError, match="its numpy computes differently"):
        weight_cache.ensure_model(MODEL, lambda line: None)
    assert [path.name for path in folder_of(tmp_path).iterdir()] == []


def test_an_interrupt_while_weights_are_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_network: Any) -> Iterator[tuple[str, bytes]]:
        yield "stem.weight", b"1234"
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        weight_cache.ensure_model(MODEL, lambda line: None)
    assert list(folder_of(tmp_path).iterdir()) == []


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numatune").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BenchError, match=r"cannot create the cache folder .*; set XDG_CACHE_HOME"):
        weight_cache.ensure_model(MODEL, lambda line: None)


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert weight_cache.cache_folder() == str(Path("~/.cache/numatune/bench").expanduser())


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.json"
    target.write_text("the old one")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(BenchError, match=r"cannot write .*: No space left on device; free some"),
        replacing(str(target), "free some") as file,
    ):
        file.write(b"the new one")
    assert target.read_text() == "the old one"
    assert left_over(tmp_path) == []


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    with replacing(str(tmp_path / "link.json"), "") as file:
        file.write(b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing/r.json", "does not exist"), ("folder", "it is a folder"), ("/dev/null", "not a regular file")],
)
def test_a_result_that_could_not_be_written_is_refused_first(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BenchError, match=message):
        check_writable(str(tmp_path / name))


def test_what_a_killed_process_of_the_same_number_left_is_not_in_the_way(tmp_path: Path) -> None:
    """In a container the recorder has the same number each time."""
    (tmp_path / f".run.json.{os.getpid()}.part").write_text("half of")
    with replacing(str(tmp_path / "run.json"), "") as file:
        file.write(b"whole")
    assert (tmp_path / "run.json").read_text() == "whole"
