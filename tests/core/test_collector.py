"""The collector's script: what each of its functions prints, in every shell, and that it is fit to be reviewed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from streams import HEAD

from numatune.core.collecting.collector import make_script, script, sources
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.core.model import Snapshot, State
from numatune.core.sources import KERNEL_CONFIG, BuildOption, Command, Directory, File, ProgramWord, Source

SHELLS = [
    words for words in (["sh"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"], ["mksh"]) if shutil.which(words[0])
]
_READS = "\n# --- What is read ---\n"


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
    asked = {source.name for source in sources() if isinstance(source, (Command, ProgramWord))}
    assert asked | {KERNEL_CONFIG} == set(snapshot.commands)


def test_script_says_which_tool_is_missing(tmp_path: Path) -> None:
    shell, grep = shutil.which("sh"), shutil.which("grep")
    assert shell
    assert grep
    (tmp_path / "grep").symlink_to(grep)
    script_ = script().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH")
    done = subprocess.run([shell, "-s"], input=script_, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 127
    assert "needs sed" in done.stderr
    assert done.stdout.endswith("@missing sed\n")


# --- fit to be reviewed ---


def test_it_is_commented_and_has_no_code_that_is_not_shown() -> None:
    lines = script().splitlines()
    assert not [line for line in lines if re.search(r"\beval\b|\$\(cat\)|\. /dev", line)]
    # What begins with a comment is explained; the shortest functions explain themselves.
    bare = [
        (lines[at - 1], line)
        for at, line in enumerate(lines)
        if re.fullmatch(r"[a-z_]+\(\) \{", line) and not lines[at - 1].startswith(("#", "links=", "long_files="))
    ]
    assert {name.partition("(")[0] for _, name in bare} <= {
        *("say", "flush", "not_too_many", "complain", "exists", "read_picked"),
        *("missing", "note", "pick", "look_for"),
    }
    # The expressions for secrets are what they are.
    assert [line for line in lines if len(line) > 200 and not line.startswith("    -e 's%")] == []
    names = set(re.findall(r"^ *([a-z_]+)=", script(), re.M)) | set(
        re.findall(r"\bfor ([a-z_]+) (?:in|do)\b", script())
    )
    assert [name for name in names if len(name) < 3] == []


@pytest.mark.skipif(not shutil.which("bash"), reason="only bash tells which program it did not find")
def test_it_starts_no_program_that_its_head_does_not_name(tmp_path: Path) -> None:
    sentence = re.search(r"It needs sh, (.*?)\.\n", script().replace("\n# ", " "), re.S)
    assert sentence
    named = re.findall(r"[a-z-]+", sentence[1].replace("where they are installed, it also starts", ""))
    assert {"grep", "sed", "systemctl", "gzip"} <= set(named) - {"and"}
    bash = shutil.which("bash")
    assert bash
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in {*named} - {"and"}:
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    begin = f'command_not_found_handle() {{ echo "$1" >>{tmp_path}/others; return 127; }}\n'
    text = begin + script().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH")
    done = subprocess.run([bash, "-s"], input=text, capture_output=True, text=True, env={"PATH": str(tools)})
    assert done.stdout.endswith("@end\n"), done.stderr
    others = (tmp_path / "others").read_text().split() if (tmp_path / "others").exists() else []
    # What it starts if it is there, and asks for no further.
    assert set(others) <= set(named)


@pytest.mark.parametrize(
    "source",
    [
        File("/etc/a b"),
        Directory("/etc/$(reboot)"),
        BuildOption("CONFIG_X|y"),
        BuildOption("CONFIG_X", where="/a;b"),
        ProgramWord("a", "b c", "d"),
        ProgramWord("a", "b", "'"),
        Command("a b", "true"),
    ],
)
def test_a_source_that_cannot_be_carried_is_refused(source: File) -> None:
    with pytest.raises(ValueError, match="the script cannot carry"):
        make_script([source])


def run(asked: Sequence[Source], shell: list[str], tools: Path) -> Snapshot:
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(
        [*shell, "-s"], input=make_script(asked), capture_output=True, text=True, check=True, env={"PATH": path}
    )
    assert done.stderr == ""
    return parse_stream(done.stdout)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_any_number_of_programs_and_options_is_asked(tmp_path: Path, shell: list[str]) -> None:
    assert not run([File("/proc/version")], shell, tmp_path).commands
    for name, text in (("first-tool", "\0a_word\0"), ("second-tool", "\x7fELF\0another_word\n\0")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    asked = [
        ProgramWord("one", "first-tool", "another_word"),
        ProgramWord("two", "second-tool", "another_word"),
        ProgramWord("none", "a-program-that-is-nowhere", "x"),
        BuildOption("CONFIG_SMP", where="/proc/version"),
        BuildOption("CONFIG_SMP"),
        BuildOption("CONFIG_OTHER", where="/a/folder/that/is/nowhere/*"),
    ]
    snapshot = run(asked, shell, tmp_path)
    said = {name: snapshot.command(name).text for name in ("one", "two", "none")}
    assert said == {"one": "0\n", "two": "1\n", "none": ""}
    assert KERNEL_CONFIG in snapshot.commands


def test_every_build_option_that_a_setting_looks_for_is_declared() -> None:
    """What no setting declares is not read on any host: a judge that looked for it would take it for "not set"."""
    folder = Path(__file__).resolve().parents[2] / "numatune/core/settings"
    named = {name for path in folder.rglob("*.py") for name in re.findall(r"CONFIG_[A-Z0-9_]+", path.read_text())}
    declared = {source.name for source in sources() if isinstance(source, BuildOption)}
    assert named
    # A constant may be the beginning of several names.
    assert [name for name in named if not any(option.startswith(name) for option in declared)] == []


# --- each function, in every shell ---


def helper(
    call: str, folder: Path, shell: Sequence[str] = ("sh",), tools: Path | None = None, root: Path | None = None
) -> str:
    """Run the script's functions, without what it reads, and a call of them; `root` stands for the host's /."""
    functions = script().partition(_READS)[0] + "\n"
    if root:
        functions = re.sub(r"(?<![a-z])/(proc|sys|boot|usr/sbin)/", rf"{root}\g<0>", functions)
    done = subprocess.run(
        [*shell, "-s"],
        input=functions + call + "\nflush\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=120,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"} if tools else None,
    )
    return done.stdout.partition(f"{MAGIC}\n")[2]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_script_tells_states_apart(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a b").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    names = ("file", "folder", "none", "dangling", "pipe", "odd/*")
    shown = helper("scan plain " + " ".join(f"{tmp_path}/{name}" for name in names), tmp_path, shell)
    assert shown.splitlines() == [
        f"f {tmp_path}/file",
        f"d {tmp_path}/folder",
        f"o {tmp_path}/pipe",
        f"e {tmp_path}/odd",
    ]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_names_cannot_forge_a_line(tmp_path: Path, shell: list[str]) -> None:
    """A directory's name with a line of its own would have the collector read a file that nobody listed."""
    forged = tmp_path / "x\nf " / "etc" / "shadow"
    forged.mkdir(parents=True)
    (forged / "tuned.conf").write_text("x")
    folder = f"{tmp_path}/*/etc/shadow"
    call = f"scan plain {folder}/tuned.conf\nscan plain {folder}\nscan_in plain tuned.conf {folder}\n"
    call += f"first_lines '' {folder}/tuned.conf\nkernel_files tuned.conf {folder}\nread_files\nread_picked"
    shown = helper(call, tmp_path, shell)
    assert [line for line in shown.splitlines() if line not in ("w tuned.conf", "@states")] == [f"e {tmp_path}"] * 5


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_whole_files_are_read_and_the_others_told_apart(tmp_path: Path, shell: list[str]) -> None:
    for number in range(3):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "topology" / "id").write_text(f"{number}\n@end\n")
        (tmp_path / f"cpu{number}" / "online").write_text("")
    (tmp_path / "cpu1" / "online").unlink()
    (tmp_path / "cpu2" / "online").unlink()
    if shell[0] != "busybox":  # its grep says nothing of a folder
        (tmp_path / "cpu2" / "online").mkdir()
    call = f"say @states\nkernel_files 'online topology/id' {tmp_path}/cpu[0-9]*\nkernel_files x {tmp_path}/none*\n"
    snapshot = parse_stream(f"{HEAD}{helper(call + 'read_files', tmp_path, shell)}@end\n")
    assert {path.removeprefix(f"{tmp_path}/"): text for path, text in snapshot.files.items()} == {
        "cpu0/online": "",
        **{f"cpu{number}/topology/id": f"{number}\n@end\n" for number in range(3)},
    }
    state = State.ABSENT if shell[0] == "busybox" else State.ERROR
    assert snapshot.read(f"{tmp_path}/cpu2/online").state is state


DYING = {
    "killed": ("kill -9 $$", "a"),
    "killed within a line": ("printf %s {0}; kill -9 $$", "a"),
    "killed within a text": ("printf %s {0}/b:4; kill -9 $$", "b"),
    "memory exhausted": ("echo grep: memory exhausted >&2; exit 2", "a"),
    "without a word": ("exit 2", "a"),
    "out of memory in busybox": ("echo grep: out of memory >&2; exit 1", "a"),
}


@pytest.mark.parametrize(("death", "last"), DYING.values(), ids=DYING)
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_what_a_dying_grep_did_not_read_counts_as_failed(
    tmp_path: Path, shell: list[str], death: str, last: str
) -> None:
    """An empty text would say that no file keeps the value. The last text may be cut."""
    for name in ("first", "a", "b", "c"):
        (tmp_path / name).write_text("42\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    text = f"#!/bin/sh\necho {tmp_path}/first:42\necho {tmp_path}/a:42\n{death.format(tmp_path)}\n"
    (tools / "grep").write_text(text)
    (tools / "grep").chmod(0o755)
    scanned = " ".join(f"{tmp_path}/{name}" for name in ("first", "a", "b", "c"))
    for call in (f"scan plain {scanned}\nread_files", f"pick 42 {scanned}\nread_picked"):
        shown = helper(f"say @states\n{call}\nscan plain {tmp_path}/tools/grep", tmp_path, shell, tools)
        snapshot = parse_stream(f"{HEAD}{shown}@end\n")
        failed = {path for path in ("a", "b", "c") if snapshot.read(f"{tmp_path}/{path}").state is State.ERROR}
        assert failed == {last, "b", "c"}
        assert snapshot.read(f"{tmp_path}/first").text == "42\n"
        assert snapshot.read(f"{tmp_path}/tools/grep").present


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_file_of_a_large_host_is_read(tmp_path: Path, shell: list[str]) -> None:
    """More paths than one call of grep gets."""
    for number in range(1500):
        (tmp_path / f"cpu{number}").mkdir()
        (tmp_path / f"cpu{number}" / "online").write_text(f"{number}\n")
    shown = helper(f"say @states\nkernel_files online {tmp_path}/cpu[0-9]*\nread_files", tmp_path, shell)
    assert shown.count("@texts\n") > 1
    snapshot = parse_stream(f"{HEAD}{shown}@end\n")
    assert snapshot.files == {f"{tmp_path}/cpu{number}/online": f"{number}\n" for number in range(1500)}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_link_cannot_forge_a_frame(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "plain.conf").symlink_to("/dev/null")
    (tmp_path / "target.conf").symlink_to("/x\n@end")
    (tmp_path / "name\n@end.conf").symlink_to("/dev/null")
    (tmp_path / "zero.conf").symlink_to("/dev/zero")
    call = f"scan links {tmp_path}/*.conf\noutput=\nread_links"
    wanted = [f"{tmp_path}/plain.conf /dev/null", f"{tmp_path}/zero.conf /dev/zero"]
    assert helper(call, tmp_path, shell).splitlines() == ["@links", *wanted, "@states"]
    (tmp_path / "target.conf").unlink()
    assert helper(call, tmp_path, shell).splitlines() == ["@links", *wanted, "@states"]
    # An empty line in a target must not make the next link's target of it.
    (tmp_path / "blank.conf").symlink_to("/y\n")
    assert helper(call, tmp_path, shell).splitlines() == ["@links", f"{tmp_path}/blank.conf /y", *wanted, "@states"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_of_links_that_mask_only_those_to_no_file_are_followed(tmp_path: Path, shell: list[str]) -> None:
    """A link to a file is read as that file; what it is called costs a program of its own."""
    (tmp_path / "plain").write_text("x\n")
    for name, target in (("a", "plain"), ("b", "/dev/null"), ("c", "nowhere")):
        (tmp_path / f"{name}.conf").symlink_to(target)
    masked = [f"{tmp_path}/b.conf /dev/null", f"{tmp_path}/c.conf nowhere"]
    shown = helper(f"scan masks {tmp_path}/*.conf\noutput=\nread_links", tmp_path, shell)
    assert shown.splitlines() == ["@links", *masked, "@states"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_wanted_units_are_looked_for_in_every_folder(tmp_path: Path, shell: list[str]) -> None:
    for folder, name in (("a", "tuned"), ("a", "x"), ("a", "tuned@x"), ("b\\x2dc", "other"), ("d\\x2de", "tlp")):
        (tmp_path / f"{folder}.wants").mkdir(exist_ok=True)
        (tmp_path / f"{folder}.wants/{name}.service").symlink_to(f"{tmp_path}/{name}")
        (tmp_path / name).touch()
    (tmp_path / "a.wants/tlp.service").write_text("")
    (found,) = re.findall(r"^scan_in links '[^']*' \S+\.wants$", script(), re.M)
    call = f"{found}\nread_links"
    shown = helper(call.replace("/etc/systemd/system", str(tmp_path)), tmp_path, shell)
    states = [*(f"f {tmp_path}/a.wants/{name}.service" for name in ("tlp", "tuned")), f"e {tmp_path}"]
    assert shown.splitlines() == [*states, "@links", f"{tmp_path}/a.wants/tuned.service {tmp_path}/tuned", "@states"]
    assert helper(call.replace("/etc/systemd/system", f"{tmp_path}/none"), tmp_path, shell) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can look in as another user")
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_closed_folder_is_told_from_one_that_lacks_a_name(shell: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.wants").mkdir(0o700)
        (folder / "b.wants").mkdir(0o755)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *shell]
        shown = helper(f"scan_in links 'x y' {folder}/*.wants", Path("/"), user)
    assert shown.splitlines() == [f"n {folder}/a.wants"]


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
        shown = helper(f"cpusets 'x y' '1 2 3 4' {tmp_path}/{root}", tmp_path, shell)
        found = [line.removeprefix(f"f {tmp_path}/{root}/") for line in shown.splitlines() if line.startswith("f ")]
        wanted = ["a/x", "f/x", ".g/x", "a/b/x", "a/b/c/x", "a/b/c/d/x"]
        if root == "hybrid":
            wanted = ["unified/x", *(f"unified/{name}" for name in wanted[:-1])]
        assert found == wanted
        assert f"e {tmp_path}/{Path(f'{root}/{wanted[0]}').parent.parent}" in shown
    (tmp_path / "pure/cgroup.subtree_control").write_text("cpu\n")
    assert helper(f"cpusets 'x y' '1 2 3 4' {tmp_path}/pure", tmp_path, shell) == ""


INFO = "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu\n\nprocessor\t: 1\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_first_lines_end_where_no_more_is_needed(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "info").write_text(INFO)
    for word, lines in (("", 3), ("model name", 2), ("other", 3)):
        shown = helper(f"first_lines '{word}' {tmp_path}/info", tmp_path, shell)
        snapshot = parse_stream(f"{HEAD}{shown}@end\n")
        assert snapshot.files == {f"{tmp_path}/info": "".join(INFO.splitlines(True)[:lines])}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_of_many_files_the_first_lines_are_told_apart(tmp_path: Path, shell: list[str]) -> None:
    texts = {"n0": "Node 0 MemTotal: 5 kB\nMemTotal: 6\n", "n1": "Node 1 MemTotal: 7 kB\n", "n2": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "n3").mkdir()
    call = f"first_lines MemTotal {tmp_path}/n[0-9]* {tmp_path}/none\nread_picked"
    snapshot = parse_stream(f"{HEAD}{helper(call, tmp_path, shell)}@end\n")
    assert snapshot.files == {f"{tmp_path}/n{n}": f"Node {n} MemTotal: {5 + 2 * n} kB\n" for n in (0, 1)}
    assert snapshot.read(f"{tmp_path}/n2").state is State.ERROR


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_picked_lines_are_those_that_match(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "a").write_text('{\n "state": "recorded",\n  "state": 1\n}\n')
    (tmp_path / "b").write_text("CONFIG_X=y\n# CONFIG_XY is not set\nCONFIG_XY=m\n")
    (tmp_path / "c").write_text("")
    call = f"say @states\npick '^ \"state\": ' {tmp_path}/a {tmp_path}/none\npick '^CONFIG_X=' {tmp_path}/[bc]\n"
    snapshot = parse_stream(f"{HEAD}{helper(call + 'read_picked', tmp_path, shell)}@end\n")
    texts = {"a": ' "state": "recorded",\n', "b": "CONFIG_X=y\n", "c": ""}
    assert snapshot.files == {f"{tmp_path}/{name}": text for name, text in texts.items()}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_table_is_cut_to_what_is_needed(tmp_path: Path, shell: list[str]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text("      CPU0 CPU1\n  24:  1  2  PCI eth0\n NMI:  1  2  x\n")
    (call,) = (line for line in script().splitlines() if line.startswith("  edit /proc/interrupts "))
    shown = helper(call.replace("/proc/", f"{tmp_path}/proc/"), tmp_path, shell)
    assert parse_stream(f"{HEAD}{shown}@end\n").files == {f"{tmp_path}/proc/interrupts": "  24: PCI eth0\n"}


NAMES = {
    "1": "init",
    "20": "irqbalance",
    "21": "tuned",
    "22": "tuned-ppd2",
    "23": " tuned",
    "24": "x\ntuned",
    "x": "tlp",
}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_processes_are_found_by_their_whole_names(tmp_path: Path, shell: list[str]) -> None:
    for pid, name in {**NAMES, **{str(1000 + number): "kworker/0:1" for number in range(300)}}.items():
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "comm").write_text(f"{name}\n")
    (tmp_path / "proc" / "25").mkdir()
    (tmp_path / "proc" / "25" / "comm").symlink_to("gone")
    (tmp_path / "proc/20/environ").write_text("A=1\0IRQBALANCE_ARGS=-x y\0SECRET=geheim\0IRQBALANCE_ONESHOT=\0")
    shown = helper("ask daemons\nask irqbalance_environment", tmp_path, shell, root=tmp_path)
    snapshot = parse_stream(f"{HEAD}{shown}@end\n")
    found = [line.removeprefix(f"{tmp_path}/proc/") for line in snapshot.command("daemons").text.splitlines()]
    assert found == ["20/comm:irqbalance", "21/comm:tuned"]
    assert snapshot.command("irqbalance_environment").text == "IRQBALANCE_ARGS=-x y\nIRQBALANCE_ONESHOT=\n"
    # Where systemd has answered, it said which process is irqbalance's.
    said = "Id=irqbalance.service\nMainPID=20\n\nId=tuned.service\nMainPID=21\n"
    shown = helper(f"units='{said}'\nask daemons\nask irqbalance_environment", tmp_path, shell, root=tmp_path)
    snapshot = parse_stream(f"{HEAD}{shown}@end\n")
    assert snapshot.command("daemons").state is State.ABSENT
    assert snapshot.command("irqbalance_environment").text.startswith("IRQBALANCE_ARGS=-x y\n")


def test_nothing_is_started_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    for tool in ("grep", "sed", "readlink"):
        (tmp_path / tool).write_text("#!/bin/sh\necho started\necho started >&2\n")
        (tmp_path / tool).chmod(0o755)
    call = f"scan plain {tmp_path}/none\npick x {tmp_path}/none\nread_files\nread_links\nread_picked"
    assert helper(call, tmp_path, tools=tmp_path) == ""


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("\0IRQBALANCE_BANNED_CPULIST\0", "1"),
        ("\0x\0", "0"),
        ("#!/bin/sh\nexec \\\nirqbalance\n", "0"),
        (None, ""),
    ],
)
@pytest.mark.parametrize("place", ["usr/sbin", "tools"])
def test_what_a_program_knows_is_asked_of_the_program(
    tmp_path: Path, shell: list[str], text: str | None, holds: str, place: str
) -> None:
    (tmp_path / place).mkdir(parents=True)
    if text is not None:
        (tmp_path / place / "irqbalance").write_text(text)
        (tmp_path / place / "irqbalance").chmod(0o755)
    call = "ask_word knows irqbalance IRQBALANCE_BANNED_CPULIST"
    if place == "usr/sbin" or text is not None:
        shown = helper(call, tmp_path, shell, tools=tmp_path / "tools", root=tmp_path)
        assert parse_stream(f"{HEAD}{shown}@end\n").command("knows").text.strip() == holds


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("in_boot", [True, False])
def test_the_running_kernels_options_are_asked_of_itself_where_boot_lacks_them(
    tmp_path: Path, shell: list[str], in_boot: bool
) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    config = "#\n# Automatically generated file; DO NOT EDIT.\nCONFIG_A=y\n# CONFIG_AB is not set\nCONFIG_AB=m\n"
    (tmp_path / "proc/config").write_text(config)
    subprocess.run(["gzip", str(tmp_path / "proc/config")], check=True)
    (tmp_path / "boot").mkdir()
    if in_boot:
        (tmp_path / "boot/config-6.1.0").write_text(config)
    for options, said in (("CONFIG_A", "CONFIG_A=y"), ("CONFIG_C", "")):
        shown = helper(f"look_for {options}\nask kernel_config gzip", tmp_path, shell, root=tmp_path)
        reading = parse_stream(f"{HEAD}{shown}@end\n").command(KERNEL_CONFIG)
        assert reading.state is (State.ABSENT if in_boot else State.PRESENT)
        assert in_boot or [line for line in reading.text.splitlines() if line[0] != "#"] == said.split()
    (tmp_path / "proc/config.gz").write_text("no gzip")
    shown = helper("look_for CONFIG_A\nask kernel_config gzip", tmp_path, shell, root=tmp_path)
    state = parse_stream(f"{HEAD}{shown}@end\n").command(KERNEL_CONFIG).state
    assert state is (State.ABSENT if in_boot else State.ERROR)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "said"), [("A=1\0container=lxc\0B=\n", "lxc\n"), ("container=\0", ""), ("xcontainer=a\0", ""), ("", "")]
)
def test_a_container_is_told_by_one_variable_alone(tmp_path: Path, shell: list[str], text: str, said: str) -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here, which says it itself")
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/environ").write_text(text)
    shown = helper("ask container tr", tmp_path, shell, root=tmp_path)
    assert parse_stream(f"{HEAD}{shown}@end\n").command("container").text == said


@pytest.mark.parametrize(("maker", "clocks"), [("Dell Inc.", "tsc kvm-clock"), ("QEMU", "tsc hpet")])
def test_no_hypervisor_is_systemds_word_alone(tmp_path: Path, maker: str, clocks: str) -> None:
    """A guest may hide the CPU's flag and show its host's maker: only what is asked for may say "none"."""
    (command,) = (item for item in sources() if isinstance(item, Command) and item.name == "virt")
    assert "none" not in command.shell
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text(f"{maker}\n")
    clock = tmp_path / "sys/devices/system/clocksource/clocksource0"
    clock.mkdir(parents=True)
    (clock / "available_clocksource").write_text(f"{clocks}\n")
    tool = tmp_path / "systemd-detect-virt"
    tool.write_text("#!/bin/sh\necho vm-other\n")
    tool.chmod(0o755)
    shown = helper("ask virt", tmp_path, tools=tmp_path, root=tmp_path)
    assert parse_stream(f"{HEAD}{shown}@end\n").command("virt").text == "vm-other\n"


def test_a_tool_that_hangs_is_given_up(tmp_path: Path) -> None:
    tool = tmp_path / "slow"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    # The script's five seconds, shortened.
    (tmp_path / "timeout").write_text('#!/bin/sh\nshift\nexec /usr/bin/env PATH=/usr/bin:/bin timeout 0.2 "$@"\n')
    (tmp_path / "timeout").chmod(0o755)
    shown = helper(f"ask_slow() {{ answer=$($limit {tool}); }}\nask slow", tmp_path, tools=tmp_path)
    assert parse_stream(f"{HEAD}{shown}@end\n").command("slow").detail == "exit status 124"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_no_program_reads_the_script(tmp_path: Path, shell: list[str]) -> None:
    """It comes on standard input, from which a program would take what the shell has not read yet."""
    shown = helper("ask_greedy() { answer=$(cat)x; }\nask greedy\nask greedy", tmp_path, shell)
    assert shown == "@command greedy 0\n| x\n" * 2


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_blank_lines_of_a_command_are_kept(tmp_path: Path, shell: list[str]) -> None:
    shown = helper("ask_some() {\nanswer='Id=a\n\n@end\n| b'\n}\nask some", tmp_path, shell)
    assert parse_stream(f"{HEAD}{shown}@end\n").command("some").text == "Id=a\n\n@end\n| b\n"


def test_source_paths_can_be_carried() -> None:
    paths = [source.path for source in sources() if isinstance(source, (File, Directory))]
    assert paths
    assert [path for path in paths if ":" in path or " " in path or not path.startswith("/")] == []
