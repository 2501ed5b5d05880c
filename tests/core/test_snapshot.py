"""The framed stream: what a cut or forged one is, and how absent, denied, failed and empty stay apart."""

from __future__ import annotations

import pytest
from streams import HEAD

from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.errors import SnapshotError
from numatune.core.model import Snapshot, State

STREAM = f"""{HEAD}@states
d /proc
d /sys
d /etc/sysctl.d
f /etc/two
f /etc/empty
f /etc/blank
f /etc/lost
f /etc/closed
w online topology/core_id gone
t /sys/cpu0
t /sys/cpu1
n /root
n /etc/secret
e /etc/odd
@texts
/etc/two:a:b
/etc/two:@end
/etc/blank:
/sys/cpu0/online:1
/sys/cpu1/topology/core_id:7

@ended 2
@errors
| grep: /sys/cpu0/gone: No such file or directory
| grep: /sys/cpu1/gone: No such file or directory
| grep: /sys/cpu1/online: Permission denied
| grep: /etc/lost: Input/output error
| grep: /etc/closed: Permission denied
| grep: warning: something else
| ERROR: ld.so: an object cannot be preloaded: ignored.
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
        "/sys/cpu0/online": "1\n",
        "/sys/cpu0/topology/core_id": "",
        "/sys/cpu1/topology/core_id": "7\n",
        "/proc/cpuinfo": "model name: x\n@failed /etc/two\n",
    }
    assert snapshot.links == {"/etc/sysctl.d/a.conf": "/dev/null"}
    assert snapshot.dirs == {"/proc", "/sys", "/etc/sysctl.d"}


STATES = [
    ("/etc/two", State.PRESENT, ""),
    ("/etc/empty", State.PRESENT, ""),
    ("/sys/cpu0/gone", State.ABSENT, "/sys/cpu0/gone does not exist"),
    ("/sys/cpu1/online", State.DENIED, "needs root to read /sys/cpu1/online"),
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
    "a tool is missing": (f"{MAGIC}\n@missing grep\n", "needs `grep`, which this host lacks"),
    "a tool with escapes": (f"{MAGIC}\n@missing \x1b[2J\n", r"needs `\?\?\?\?`, which"),
    "too many names": (f"{MAGIC}\n@states\nw {'n ' * 3000}\n@end\n", "line 3 of the snapshot names more files"),
    "too many files": (
        f"{MAGIC}\n@states\nw {'n ' * 2000}\nt /{'x' * 40_000}\n@end\n",
        "line 4 of the snapshot lists more files",
    ),
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
