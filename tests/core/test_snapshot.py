"""The framed stream: what a cut or forged one is, and how absent, denied, failed and empty stay apart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from numatune.core.collector import script, sources
from numatune.core.errors import SnapshotError
from numatune.core.model import Snapshot, State
from numatune.core.snapshot import MAGIC, parse_stream
from numatune.core.sources import Command, Extract

STREAM = f"""{MAGIC}
@states
d /proc
d /sys
d /etc/sysctl.d
f /etc/two
f /etc/empty
f /etc/blank
f /etc/lost
f /etc/closed
n /root
n /etc/secret
e /etc/odd
@texts
/etc/two:a:b
/etc/two:@end
/etc/blank:
@errors
| grep: /etc/lost: Input/output error
| grep: /etc/closed: Permission denied
| xargs: something else
@links
/etc/sysctl.d/a.conf /dev/null
@extract /proc/cpuinfo
| model name: x
| @failed /etc/two
@failed /proc/x
@denied /proc/y
@command uname 0
| x86_64
|{" "}
@command virt absent
@command units 124
| half
@end
"""


def test_stream_is_read() -> None:
    snapshot = parse_stream(STREAM)
    assert snapshot.complete
    assert snapshot.files == {
        "/etc/two": "a:b\n@end\n",
        "/etc/empty": "",
        "/etc/blank": "\n",
        "/proc/cpuinfo": "model name: x\n@failed /etc/two\n",
    }
    assert snapshot.links == {"/etc/sysctl.d/a.conf": "/dev/null"}
    assert snapshot.dirs == {"/proc", "/sys", "/etc/sysctl.d"}


STATES = [
    ("/etc/two", State.PRESENT, ""),
    ("/etc/empty", State.PRESENT, ""),
    ("/etc/none", State.ABSENT, "/etc/none does not exist"),
    ("/etc/secret", State.DENIED, "needs root to read /etc/secret"),
    ("/etc/closed", State.DENIED, "needs root to read /etc/closed"),
    ("/root/deep/below", State.DENIED, "needs root to read /root/deep/below"),
    ("/etc/lost", State.ERROR, "reading /etc/lost failed: Input/output error"),
    ("/etc/odd/x", State.ERROR, "a file name that cannot be carried"),
    ("/proc/x", State.ERROR, "reading /proc/x failed: read error"),
    ("/proc/y", State.DENIED, "needs root to read /proc/y"),
]


@pytest.mark.parametrize(("path", "state", "why"), STATES)
def test_reading_says_why(path: str, state: State, why: str) -> None:
    reading = parse_stream(STREAM).read(path)
    assert (reading.path, reading.state) == (path, state)
    assert state is State.PRESENT or why in reading.why()


COMMANDS = [
    ("uname", State.PRESENT, "x86_64\n"),
    ("virt", State.ABSENT, ""),
    ("units", State.ERROR, "half\n"),
    ("never", State.ABSENT, ""),
]


@pytest.mark.parametrize(("name", "state", "text"), COMMANDS)
def test_command(name: str, state: State, text: str) -> None:
    reading = parse_stream(STREAM).command(name)
    assert (reading.state, reading.text) == (state, text)


BROKEN = {
    "nothing": ("", "not a numatune snapshot"),
    "another program": ("hello\n@end\n", "not a numatune snapshot"),
    "another version": ("numatune-snapshot 2\n@end\n", "not a numatune snapshot"),
    "magic alone": (f"{MAGIC}\n", "cut short"),
    "cut between lines": (STREAM.removesuffix("@end\n"), "cut short"),
    "cut in the trailer": (STREAM.removesuffix("nd\n"), "cut short"),
    "end twice": (f"{MAGIC}\n@end\n@end\n", "line 2 of the snapshot is no frame"),
    "unknown frame": (f"{MAGIC}\n@other\n@end\n", "line 2 of the snapshot is no frame"),
    "before any frame": (f"{MAGIC}\nx\n@end\n", "line 2 of the snapshot belongs to no frame"),
    "text of an unlisted file": (f"{MAGIC}\n@texts\n/etc/x:1\n@end\n", "line 3 of the snapshot names no listed file"),
    "bare line in a command": (f"{MAGIC}\n@command a 0\nb\n@end\n", "line 3 of the snapshot belongs to no frame"),
    "bare line in errors": (f"{MAGIC}\n@errors\nb\n@end\n", "line 3 of the snapshot belongs to no frame"),
    "bare state": (f"{MAGIC}\n@states\nf etc\n@end\n", "line 3 of the snapshot belongs to no frame"),
    "line after a failure": (f"{MAGIC}\n@failed /x\n| b\n@end\n", "line 3 of the snapshot belongs to no frame"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_stream_is_refused(text: str, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        parse_stream(text)


@pytest.mark.parametrize("lines", range(1, STREAM.count("\n")))
def test_stream_cut_after_any_line_is_refused(lines: int) -> None:
    with pytest.raises(SnapshotError):
        parse_stream("\n".join(STREAM.split("\n")[:lines]))


MISSING = [
    ("/etc/x", frozenset({"/proc", "/sys"}), True, State.ABSENT),
    ("/sys/x", frozenset({"/proc", "/sys"}), True, State.ABSENT),
    ("/sys/x", frozenset({"/proc"}), True, State.NOT_CAPTURED),
    ("/proc/x", frozenset({"/sys"}), True, State.NOT_CAPTURED),
    ("/etc/x", frozenset({"/proc", "/sys"}), False, State.NOT_CAPTURED),
]


@pytest.mark.parametrize(("path", "dirs", "complete", "state"), MISSING)
def test_missing_file_of_a_host_and_of_a_tree(path: str, dirs: frozenset[str], complete: bool, state: State) -> None:
    assert Snapshot({}, dirs=dirs, complete=complete).read(path).state is state


def collected(shell: str = "sh") -> str:
    # It only reads; the machine that runs the tests stands for any Linux host.
    done = subprocess.run([shell, "-s"], input=script(), capture_output=True, text=True, errors="replace", check=True)
    assert done.stderr == ""
    return done.stdout


def test_script_prints_a_whole_stream_of_this_machine() -> None:
    snapshot = parse_stream(collected())
    assert snapshot.read("/proc/version").text.startswith("Linux version")
    assert snapshot.read("/proc/cmdline").present
    assert snapshot.command("uid").text.strip().isdigit()
    assert {source.name for source in sources() if isinstance(source, Command)} == set(snapshot.commands)


def functions() -> str:
    """Return the script's helpers, without what it reads."""
    return script().partition("states=$(scan")[0].partition("echo 'numatune-snapshot 1'\n")[2]


def helper(call: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-s"], input=functions() + call, capture_output=True, text=True, check=True, cwd=folder
    )
    return done.stdout


def test_script_tells_states_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a b").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("file", "folder", "none", "dangling", "odd/*")
    shown = helper("scan " + " ".join(f"{tmp_path}/{name}" for name in names), tmp_path)
    assert shown.splitlines() == [f"f {tmp_path}/file", f"d {tmp_path}/folder", f"e {tmp_path}/odd"]


def test_link_cannot_forge_a_frame(tmp_path: Path) -> None:
    (tmp_path / "plain.conf").symlink_to("/dev/null")
    (tmp_path / "target.conf").symlink_to("/x\n@end")
    (tmp_path / "name\n@end.conf").symlink_to("/dev/null")
    assert helper(f"link {tmp_path}/*.conf", tmp_path) == f"{tmp_path}/plain.conf /dev/null\n"


def test_source_paths_can_be_carried() -> None:
    paths = [source.path for source in sources() if not isinstance(source, (Command, Extract))]
    assert paths
    assert [path for path in paths if ":" in path or " " in path or not path.startswith("/")] == []
