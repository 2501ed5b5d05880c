"""A captured tree is read as if its root were the host's: links stay inside, loops end, gaps say nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from synthetic import Link, Tree

from numatune.core.collecting.replay import MAX_FILE, collect, extract
from numatune.core.model import Snapshot, State
from numatune.core.sources import Extract
from numatune.transport.captured.replay import FolderTree

CONF = "etc/sysctl.d/a.conf"


class Odd(Tree):
    """A tree in which some paths are closed, fail or hold other bytes."""

    def __init__(self, files: dict[str, str], closed: str = "", failing: str = "", raw: bytes | None = None) -> None:
        super().__init__(files)
        self._closed, self._failing, self._raw = closed, failing, raw

    def listdir(self, path: str) -> list[str]:
        if path == self._closed:
            raise PermissionError
        return super().listdir(path)

    def read(self, path: str) -> bytes:
        if path == self._closed:
            raise PermissionError
        if path == self._failing:
            raise OSError(5, "Input/output error")
        return super().read(path) if self._raw is None else self._raw


def tree(files: dict[str, str], complete: bool = True) -> Snapshot:
    return collect(Tree({"proc/version": "x", "sys/x": "x", **files}), complete)


LINKS = {
    "relative": ({CONF: Link("../real"), "etc/real": "in"}, "in"),
    "absolute stays inside": ({CONF: Link("/etc/real"), "etc/real": "in"}, "in"),
    "absolute to what only the auditor has": ({CONF: Link("/proc/self/status")}, None),
    "above the root is the root": ({CONF: Link("../../../../../etc/real"), "etc/real": "in"}, "in"),
    "absolute above the root": ({CONF: Link("/../../etc/real"), "etc/real": "in"}, "in"),
    "chain": ({CONF: Link("b"), "etc/sysctl.d/b": Link("c"), "etc/sysctl.d/c": "in"}, "in"),
    "dots and slashes": ({CONF: Link(".//../sysctl.d/./c"), "etc/sysctl.d/c": "in"}, "in"),
    "dangling": ({CONF: Link("gone")}, None),
    "to itself": ({CONF: Link("a.conf")}, None),
    "loop of two": ({CONF: Link("b.conf"), "etc/sysctl.d/b.conf": Link("a.conf")}, None),
    "loop through a folder": ({CONF: Link("x/a.conf"), "etc/sysctl.d/x": Link("../sysctl.d")}, None),
    "folder is a link": ({"etc/sysctl.d": Link("/opt/d"), "opt/d/a.conf": "in"}, "in"),
    "up from a linked folder": (
        {CONF: Link("/opt/l/../real"), "opt/l": Link("/srv/d"), "srv/d/x": "", "srv/real": "in"},
        "in",
    ),
}


@pytest.mark.parametrize(("files", "wanted"), LINKS.values(), ids=LINKS)
def test_links_are_confined(files: dict[str, str], wanted: str | None) -> None:
    assert tree(files).files.get("/" + CONF) == wanted


@pytest.mark.parametrize("length", [40, 41])
def test_chain_of_links_ends_where_the_kernels_does(length: int) -> None:
    files: dict[str, str] = {f"etc/l{number}": Link(f"l{number + 1}") for number in range(1, length)}
    files |= {CONF: Link("/etc/l1"), f"etc/l{length}": "end"}
    assert tree(files).files.get("/" + CONF) == ("end" if length == 40 else None)


def test_link_that_masks_is_recorded() -> None:
    snapshot = tree({CONF: Link("/dev/null"), "etc/sysctl.d/b.conf": "x"})
    assert snapshot.links == {"/" + CONF: "/dev/null"}
    assert snapshot.below("/etc/sysctl.d") == ["/etc/sysctl.d/a.conf", "/etc/sysctl.d/b.conf"]


PATTERNS = [
    ("etc/sysctl.d/b.conf", True),
    ("etc/sysctl.d/b.conf.bak", False),
    ("etc/sysctl.d/.b.conf", False),
    ("etc/sysctl.d/deep/b.conf", False),
    ("etc/shadow", False),
    ("sys/devices/system/cpu/cpu7/cpufreq/scaling_governor", True),
    ("sys/devices/system/cpu/cpufreq/scaling_governor", False),
    ("sys/devices/system/cpu/cpu7/cpuidle/state10/name", True),
    ("etc/systemd/system/multi-user.target.wants/irqbalance.service", True),
    ("etc/systemd/system/multi-user.target.wants/other.service", False),
    ("sos_commands/kernel/sysctl_-a", True),
]


@pytest.mark.parametrize(("path", "wanted"), PATTERNS)
def test_only_what_the_list_names_is_read(path: str, wanted: bool) -> None:
    assert ("/" + path in tree({path: "x"}).files) is wanted


PROBLEMS = {
    "denied file": (Odd({CONF: "x"}, closed=CONF), "/" + CONF, State.DENIED),
    "denied folder": (Odd({CONF: "x"}, closed="etc/sysctl.d"), "/" + CONF, State.DENIED),
    "read error": (Odd({CONF: "x"}, failing=CONF), "/" + CONF, State.ERROR),
    "too large": (Odd({CONF: "x"}, raw=b"x" * (MAX_FILE + 1)), "/" + CONF, State.ERROR),
    "empty": (Odd({CONF: ""}), "/" + CONF, State.PRESENT),
    "absent": (Odd({"etc/sysctl.d/b.conf": ""}), "/" + CONF, State.ABSENT),
    "a folder of that name": (Odd({CONF + "/x": ""}), "/" + CONF, State.ABSENT),
}


@pytest.mark.parametrize(("files", "path", "state"), PROBLEMS.values(), ids=PROBLEMS)
def test_states_stay_apart(files: Odd, path: str, state: State) -> None:
    assert collect(files, complete=True).read(path).state is state


def test_gaps_of_a_captured_tree_say_nothing() -> None:
    assert tree({}, complete=False).read("/" + CONF).state is State.NOT_CAPTURED
    assert collect(Tree({"etc/x": ""}), complete=True).read("/proc/cmdline").state is State.NOT_CAPTURED


def test_bytes_that_are_no_text_are_kept_as_escapes() -> None:
    assert collect(Odd({CONF: "x"}, raw=b"a\xff\0"), complete=True).files["/" + CONF] == "a\\xff\0"


EXTRACTS = [
    (Extract("/x", keep="MemTotal"), "MemTotal: 1\nMemFree: 2\n", "MemTotal: 1\n"),
    (Extract("/x", keep="^ *[0-9]", cut=":[ 0-9]*"), "   CPU0\n 24:  1  2  PCI eth0\nNMI: 1\n", " 24: PCI eth0\n"),
    (Extract("/x", first_paragraph=True), "a\nb\n \t\nc\n", "a\nb\n"),
    (Extract("/x", keep="z"), "a\n", ""),
]


@pytest.mark.parametrize(("source", "text", "wanted"), EXTRACTS)
def test_extract(source: Extract, text: str, wanted: str) -> None:
    assert extract(source, text) == wanted


def test_kernels_own_files_are_read_in_small_pieces(tmp_path: Path) -> None:
    """A live or mounted root: /proc/sys refuses to be asked for 4 MiB at once (ENOMEM)."""
    data = bytes(range(256)) * 1024
    (tmp_path / "large").write_bytes(data)
    assert FolderTree(tmp_path).read("large") == data
    if not Path("/proc/sys/kernel/osrelease").is_file():
        pytest.skip("no /proc/sys here")
    assert FolderTree(Path("/")).read("proc/sys/kernel/osrelease").decode() == os.uname().release + "\n"
