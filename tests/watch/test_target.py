"""What --pid and --unit name, and what is said where they name nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from watch.tree import Process, Thread, Tree

from numatune.bench.errors import BenchError
from numatune.bench.watching.target import Roots, find_target

RUNNING = {"LoadState": "loaded", "ControlGroup": "/system.slice/serve.service", "MainPID": "10"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.show(10, Process(threads={10: Thread()}))
    return tree


@pytest.mark.parametrize("root", ["", "/unified", "/systemd"])
def test_a_unit_is_all_processes_of_its_group_and_those_below(tree: Tree, root: str) -> None:
    base = f"sys/fs/cgroup{root}/system.slice/serve.service"
    tree.put(f"{base}/cgroup.procs", "10\n0\n")
    tree.put(f"{base}/workers/cgroup.procs", "20\n21\n")
    target = find_target(None, "serve", tree.roots, lambda name: RUNNING if name == "serve.service" else {})
    assert (target.kind, target.name, target.pid, sorted(target.pids())) == ("unit", "serve.service", 10, [10, 20, 21])
    tree.put(f"{base}/workers/cgroup.procs", "")
    assert target.pids() == [10]


def test_without_systemd_the_group_is_where_it_would_be(tree: Tree) -> None:
    tree.put("sys/fs/cgroup/system.slice/serve.service/cgroup.procs", "10\n")
    assert find_target(None, "serve", tree.roots, lambda _name: None).pids() == [10]
    assert find_target(None, "/system.slice/serve.service", tree.roots, lambda _name: None).pids() == [10]


@pytest.mark.parametrize(
    ("pid", "unit", "said", "words"),
    [
        (4_000_000, None, None, "--pid 4000000: there is no such process"),
        (0, None, None, "a process number is 1 or more"),
        (None, None, None, "name what to watch"),
        (10, "serve", None, "name what to watch"),
        (None, "../x", None, "no name of a unit"),
        (None, "", None, "no name of a unit"),
        (None, "/", None, "no name of a unit"),
        (None, "absent", None, "there is no control group /system.slice/absent.service"),
        (None, "absent", {"LoadState": "not-found", "ControlGroup": ""}, "systemd knows no such unit"),
        (None, "stopped", {"LoadState": "loaded", "ControlGroup": "", "MainPID": "0"}, "does not run; start it"),
        (None, "empty", {"LoadState": "loaded", "ControlGroup": "/e"}, "no process runs in its control group"),
    ],
)
def test_what_cannot_be_watched(
    tree: Tree, pid: int | None, unit: str | None, said: dict[str, str] | None, words: str
) -> None:
    tree.put("sys/fs/cgroup/e/cgroup.procs", "")
    with pytest.raises(BenchError, match=words) as caught:
        find_target(pid, unit, tree.roots, lambda _name: said)
    assert "\n" not in str(caught.value)


def test_a_thread_is_no_process() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(BenchError, match=f"a thread of process {os.getpid()}"):
            find_target(thread.native_id, None, Roots())
    finally:
        end.set()
        thread.join()


def test_a_name_that_is_no_text_is_no_obstacle(tree: Tree) -> None:
    (tree.proc / "10/comm").write_bytes(b"caf\xe9\x1b[2J\n")
    (tree.proc / "10/status").write_bytes(b"Name:\tcaf\xe9\nTgid:\t10\n")
    assert find_target(10, None, tree.roots).name == "caf\ufffd?[2J"
