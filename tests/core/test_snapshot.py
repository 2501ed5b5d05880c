"""The framed stream: what a cut or forged one is, and how absent, denied, failed and empty stay apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
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
@errors
| grep: /sys/cpu0/gone: No such file or directory
| grep: /sys/cpu1/gone: No such file or directory
| grep: /sys/cpu1/online: Permission denied
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


def test_script_says_which_tool_is_missing(tmp_path: Path) -> None:
    shell, grep = shutil.which("sh"), shutil.which("grep")
    assert shell
    assert grep
    (tmp_path / "grep").symlink_to(grep)
    script_ = script().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH")
    done = subprocess.run([shell, "-s"], input=script_, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 127
    assert "needs sed" in done.stderr
    with pytest.raises(SnapshotError, match="needs `sed`"):
        parse_stream(done.stdout)


SHELLS = [words for words in (["sh"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]


def helper(call: str, folder: Path, shell: Sequence[str] = ("sh",), tools: Path | None = None) -> str:
    """Run the script's functions, without what it reads, and a call of them."""
    functions = script().partition("\no= s=;")[0] + "\n"
    # bash takes the whole of its input at the first line.
    done = subprocess.run(
        [*shell, "-s"],
        input=functions + call + "\nflush\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=30,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"} if tools else None,
    )
    return done.stdout.partition(f"{MAGIC}\n")[2]


def links() -> str:
    """Return the part of the script that follows links."""
    return 'if [ -n "$links" ]' + script().partition('if [ -n "$links" ]')[2].partition("\nfi\n")[0] + "\nfi\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_script_tells_states_apart(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a b").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    names = ("file", "folder", "none", "dangling", "pipe", "odd/*")
    shown = helper("scan " + " ".join(f"{tmp_path}/{name}" for name in names), tmp_path, shell)
    assert shown.splitlines() == [f"f {tmp_path}/file", f"d {tmp_path}/folder", f"e {tmp_path}/odd"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_names_cannot_forge_a_line(tmp_path: Path, shell: list[str]) -> None:
    """A directory's name with a line of its own would have the collector read a file that nobody listed."""
    forged = tmp_path / "x\nf " / "etc" / "shadow"
    forged.mkdir(parents=True)
    (forged / "tuned.conf").write_text("x")
    folder = f"{tmp_path}/*/etc/shadow"
    shown = helper(f"scan {folder}/tuned.conf\nlist {folder}\nwhole tuned.conf {folder}", tmp_path, shell)
    assert [line for line in shown.splitlines() if line != "w tuned.conf"] == [f"e {tmp_path}"] * 3


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_whole_files_are_read_and_the_others_told_apart(tmp_path: Path, shell: list[str]) -> None:
    for number in range(3):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "topology" / "id").write_text(f"{number}\n@end\n")
        (tmp_path / f"cpu{number}" / "online").write_text("")
    (tmp_path / "cpu1" / "online").unlink()
    (tmp_path / "cpu2" / "online").unlink()
    (tmp_path / "cpu2" / "online").mkdir()
    call = f'out="@states$nl"\nwhole "online topology/id" {tmp_path}/cpu[0-9]*\nwhole x {tmp_path}/none*\ntexts'
    snapshot = parse_stream(f"{MAGIC}\n{helper(call, tmp_path, shell)}@end\n")
    assert {path.removeprefix(f"{tmp_path}/"): text for path, text in snapshot.files.items()} == {
        "cpu0/online": "",
        **{f"cpu{number}/topology/id": f"{number}\n@end\n" for number in range(3)},
    }
    assert snapshot.read(f"{tmp_path}/cpu2/online").state is State.ERROR


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_file_of_a_large_host_is_read(tmp_path: Path, shell: list[str]) -> None:
    """More paths than one call of grep gets."""
    for number in range(1500):
        (tmp_path / f"cpu{number}").mkdir()
        (tmp_path / f"cpu{number}" / "online").write_text(f"{number}\n")
    shown = helper(f'out="@states$nl"\nwhole online {tmp_path}/cpu[0-9]*\ntexts', tmp_path, shell)
    assert shown.count("@texts\n") > 1
    snapshot = parse_stream(f"{MAGIC}\n{shown}@end\n")
    assert snapshot.files == {f"{tmp_path}/cpu{number}/online": f"{number}\n" for number in range(1500)}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_link_cannot_forge_a_frame(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "plain.conf").symlink_to("/dev/null")
    (tmp_path / "target.conf").symlink_to("/x\n@end")
    (tmp_path / "name\n@end.conf").symlink_to("/dev/null")
    (tmp_path / "zero.conf").symlink_to("/dev/zero")
    shown = helper(f"linked=1\nscan {tmp_path}/*.conf\nout=\n{links()}", tmp_path, shell)
    wanted = [f"{tmp_path}/plain.conf /dev/null", f"{tmp_path}/zero.conf /dev/zero"]
    assert shown.splitlines() == ["@links", *wanted, "@states"]
    (tmp_path / "target.conf").unlink()
    shown = helper(f"linked=1\nscan {tmp_path}/*.conf\nout=\n{links()}", tmp_path, shell)
    assert shown.splitlines() == ["@links", *wanted, "@states"]
    # An empty line in a target must not make the next link's target of it.
    (tmp_path / "blank.conf").symlink_to("/y\n")
    shown = helper(f"linked=1\nscan {tmp_path}/*.conf\nout=\n{links()}", tmp_path, shell)
    assert shown.splitlines() == ["@links", f"{tmp_path}/blank.conf /y", *wanted, "@states"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_of_links_that_mask_only_those_to_no_file_are_followed(tmp_path: Path, shell: list[str]) -> None:
    """A link to a file is read as that file; what it is called costs a program of its own."""
    (tmp_path / "plain").write_text("x\n")
    for name, target in (("a", "plain"), ("b", "/dev/null"), ("c", "nowhere")):
        (tmp_path / f"{name}.conf").symlink_to(target)
    masked = [f"{tmp_path}/b.conf /dev/null", f"{tmp_path}/c.conf nowhere"]
    shown = helper(f"linked=masks\nscan {tmp_path}/*.conf\nout=\n{links()}", tmp_path, shell)
    assert shown.splitlines() == ["@links", *masked, "@states"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_wanted_units_are_looked_for_in_every_folder(tmp_path: Path, shell: list[str]) -> None:
    for folder, name in (("a", "tuned"), ("a", "x"), ("a", "tuned@x"), ("b\\x2dc", "other"), ("d\\x2de", "tlp")):
        (tmp_path / f"{folder}.wants").mkdir(exist_ok=True)
        (tmp_path / f"{folder}.wants/{name}.service").symlink_to(f"{tmp_path}/{name}")
        (tmp_path / name).touch()
    (tmp_path / "a.wants/tlp.service").write_text("")
    start, end = "linked=all\nfor d in ", "\ndone\ndone\n"
    loop = start + script().partition(start)[2].partition(end)[0] + end
    shown = helper(f"S={tmp_path}\n{loop}{links()}", tmp_path, shell)
    found = [*(f"f {tmp_path}/a.wants/{name}.service" for name in ("tlp", "tuned")), f"e {tmp_path}"]
    assert shown.splitlines() == [*found, "@links", f"{tmp_path}/a.wants/tuned.service {tmp_path}/tuned", "@states"]
    assert helper(f"S={tmp_path}/none\n{loop}{links()}", tmp_path, shell) == ""


CGROUPS = {
    "": "cpuset cpu",
    "a": "cpu cpuset",
    "a/b": "cpuset",
    "a/b/c": "cpuset",
    "a/b/c/d": "cpuset",
    "a/b/c/d/e": "cpuset",
    "f": "cpu memory",
    "f/g": "cpuset",
    ".g": "cpuset",
    "h i": "cpuset",
    "h i/j": "",
}
"""Folder -> what it hands on. Below "f" there are no such files, which the kernel sees to."""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_cgroups_are_followed_where_cpuset_is_handed_on(tmp_path: Path, shell: list[str]) -> None:
    for root in ("pure", "hybrid/unified"):
        for folder, handed in CGROUPS.items():
            (tmp_path / root / folder).mkdir(parents=True)
            (tmp_path / root / folder / "cgroup.subtree_control").write_text(f"{handed}\n")
            (tmp_path / root / folder / "x").write_text("0\n")
    for root in ("pure", "hybrid"):
        shown = helper(f"cgroups 'x y' '1 2 3 4' {tmp_path}/{root}", tmp_path, shell)
        found = [line.removeprefix(f"f {tmp_path}/{root}/") for line in shown.splitlines() if line.startswith("f ")]
        wanted = ["a/x", "f/x", ".g/x", "a/b/x", "a/b/c/x", "a/b/c/d/x"]
        if root == "hybrid":
            wanted = ["unified/x", *(f"unified/{name}" for name in wanted[:-1])]
        assert found == wanted
        assert f"e {tmp_path}/{Path(f'{root}/{wanted[0]}').parent.parent}" in shown
    (tmp_path / "pure/cgroup.subtree_control").write_text("cpu\n")
    assert helper(f"cgroups 'x y' '1 2 3 4' {tmp_path}/pure", tmp_path, shell) == ""


INFO = "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu\n\nprocessor\t: 1\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_paragraph_ends_where_no_more_is_needed(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "info").write_text(INFO)
    for word, lines in (("", 3), ("model name", 2), ("other", 3)):
        call = f"virtual='{word}'\nparagraph {tmp_path}/info ${{virtual:+\"$virtual\"}}"
        snapshot = parse_stream(f"{MAGIC}\n{helper(call, tmp_path, shell)}@end\n")
        assert snapshot.files == {f"{tmp_path}/info": "".join(INFO.splitlines(True)[:lines])}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_first_line_with_a_word_is_taken(tmp_path: Path, shell: list[str]) -> None:
    for name, text in (
        ("n0", "a\nNode 0 MemTotal: 5 kB\nMemTotal: 6\n"),
        ("n1", "Node 1 MemTotal: 7 kB\n"),
        ("n2", ""),
    ):
        (tmp_path / name).write_text(text)
    call = f"first MemTotal {tmp_path}/n[0-9]* {tmp_path}/none"
    snapshot = parse_stream(f"{MAGIC}\n{helper(call, tmp_path, shell)}@end\n")
    assert snapshot.files == {f"{tmp_path}/n{n}": f"Node {n} MemTotal: {5 + 2 * n} kB\n" for n in (0, 1)}
    assert snapshot.read(f"{tmp_path}/n2").state is State.ERROR


def picks(folder: Path) -> str:
    """Return the part of the script that picks lines, for a made-up /proc in a folder and a program in PATH."""
    text = (
        "all=$all$one\nr= b=" + script().partition("all=$all$one\nr= b=")[2].partition("\nerrors\n")[0] + "\nerrors\n"
    )
    # One that is installed on the machine that runs the tests does not count.
    text = text.replace("command -v irqbalance", f"ls {folder}/irqbalance 2>/dev/null")
    text = text.replace("/usr/sbin/irqbalance", f"{folder}/none").replace("/proc/", f"{folder}/proc/")
    return f"N={folder}/none C={folder}/none\nout='@states\n'\n{text}"


NAMES = {
    "1": "init",
    "20": "irqbalance",
    "21": "tuned",
    "22": "tuned-ppd2",
    "23": " tuned",
    "24": "x\ntuned",
    "x": "tlp",
}


@pytest.mark.parametrize("others", [0, 300], ids=["few", "many"])
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_processes_are_found_by_their_whole_names(tmp_path: Path, shell: list[str], others: int) -> None:
    """Of few the shell reads the names, of many grep does."""
    for pid, name in {**NAMES, **{str(1000 + number): "kworker/0:1" for number in range(others)}}.items():
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "comm").write_text(f"{name}\n")
    (tmp_path / "proc" / "25").mkdir()
    (tmp_path / "proc" / "25" / "comm").symlink_to("gone")
    shown = helper(
        picks(tmp_path) + "o=$daemons\ntell daemons 0",
        tmp_path,
        shell,
    )
    text = parse_stream(f"{MAGIC}\n{shown}@end\n").command("daemons").text
    found = [line.removeprefix(f"{tmp_path}/proc/") for line in text.splitlines()]
    assert [line for line in found if not line.startswith("24/")] == ["20/comm:irqbalance", "21/comm:tuned"]


def test_nothing_is_started_where_there_is_nothing_to_pick_from(tmp_path: Path) -> None:
    for tool in ("grep", "readlink", "gzip"):
        (tmp_path / tool).write_text("#!/bin/sh\necho started\necho started >&2\n")
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "proc").mkdir()
    shown = helper(f"{links()}\n{picks(tmp_path)}", tmp_path, tools=tmp_path)
    assert shown.splitlines() == ["@states", "@texts"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("\0IRQBALANCE_BANNED_CPULIST\0", "1"),
        ("\0x\0", "0"),
        # What other patterns pick from it says nothing of the word.
        ("#!/bin/sh\nexec \\\nirqbalance\n", "0"),
        (None, ""),
    ],
)
def test_what_a_program_knows_is_asked_of_the_program(
    tmp_path: Path, shell: list[str], text: str | None, holds: str
) -> None:
    (tmp_path / "proc").mkdir()
    if text is not None:
        (tmp_path / "irqbalance").write_text(text)
        (tmp_path / "irqbalance").chmod(0o755)
    shown = helper(picks(tmp_path) + "o=$holds\ntell knows 0", tmp_path, shell)
    assert parse_stream(f"{MAGIC}\n{shown}@end\n").command("knows").text.strip() == holds


@pytest.mark.parametrize(("maker", "clocks"), [("Dell Inc.", "tsc kvm-clock"), ("QEMU", "tsc hpet")])
def test_no_hypervisor_is_systemds_word_alone(tmp_path: Path, maker: str, clocks: str) -> None:
    """A guest may hide the CPU's flag and show its host's maker: only what is asked for may say "none"."""
    (command,) = (item for item in sources() if isinstance(item, Command) and item.name == "virt")
    assert "none" not in command.shell
    text = command.shell.replace("/sys/", f"{tmp_path}/sys/")
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text(f"{maker}\n")
    clock = tmp_path / "sys/devices/system/clocksource/clocksource0"
    clock.mkdir(parents=True)
    (clock / "available_clocksource").write_text(f"{clocks}\n")
    tool = tmp_path / "systemd-detect-virt"
    tool.write_text("#!/bin/sh\necho vm-other\n")
    tool.chmod(0o755)
    shown = helper(f"o= s=; {{ {text}; }} 2>/dev/null; tell virt $?", tmp_path, tools=tmp_path)
    assert parse_stream(f"{MAGIC}\n{shown}@end\n").command("virt").text == "vm-other\n"


def test_a_tool_that_hangs_is_given_up(tmp_path: Path) -> None:
    tool = tmp_path / "slow"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    # The script's five seconds, shortened.
    (tmp_path / "timeout").write_text('#!/bin/sh\nshift\nexec /usr/bin/env PATH=/usr/bin:/bin timeout 0.2 "$@"\n')
    (tmp_path / "timeout").chmod(0o755)
    shown = helper(f"o=$($limit {tool}); tell slow $?", tmp_path, tools=tmp_path)
    assert parse_stream(f"{MAGIC}\n{shown}@end\n").command("slow").detail == "exit status 124"


def test_blank_lines_of_a_command_are_kept(tmp_path: Path) -> None:
    shown = helper("o='Id=a\n\n@end\n| b'\ntell units 0", tmp_path)
    assert parse_stream(f"{MAGIC}\n{shown}@end\n").command("units").text == "Id=a\n\n@end\n| b\n"


def test_source_paths_can_be_carried() -> None:
    paths = [source.path for source in sources() if not isinstance(source, (Command, Extract))]
    assert paths
    assert [path for path in paths if ":" in path or " " in path or not path.startswith("/")] == []
