"""Where numatune is installed and where its output goes: the command of a remedy, the terminal's width, colours."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from numatune.cli import main, output, playbooks

ROOT = Path(__file__).parents[2]
HOST = ROOT / "tests/hosts/nri-2s-snc-pmem-112cpu.tar.gz"


def arguments(**said: object) -> argparse.Namespace:
    return argparse.Namespace(**{"inventory": [], "target": [], "root": None, "snapshot": [], **said})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"inventory": ["my hosts.yml", "b.ini"], "target": ["db"]}, "-i 'my hosts.yml' -i b.ini"),
        ({"target": ["db1"]}, "-i INVENTORY"),
        ({"snapshot": [Path("x.tar.gz")]}, "-i INVENTORY"),
        ({"root": Path("/mnt")}, "-i INVENTORY"),
        ({}, "-i localhost, -c local"),
    ],
)
def test_a_remedy_is_typed_as_it_stands(
    said: dict[str, object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -i, the playbook would tune the machine that it is typed on."""
    monkeypatch.setattr(playbooks, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(playbooks, "_ansible_playbook", lambda: "ansible-playbook")
    assert playbooks.command(arguments(**said)) == f"`ansible-playbook {words} numatune.latency.{{}}`"
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/tune.yml").touch()
    monkeypatch.chdir(tmp_path)
    own = f" {words}" if said else ""
    assert playbooks.command(arguments(**said)) == f"`ansible-playbook{own} playbooks/{{}}.yml`"


def test_the_audit_of_a_pip_installation_names_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(playbooks, "_CHECKOUT", tmp_path)
    for word in ("audit", "plan"):
        main([word, "--snapshot", str(HOST)])
    main(["explain", "numa_balancing"])
    said = capsys.readouterr().out
    assert "-i INVENTORY numatune.latency.tune`" in " ".join(said.split())
    assert "playbooks/tune.yml" not in said


@pytest.mark.parametrize("columns", [60, 80])
def test_text_fits_into_the_terminal(columns: int) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "numatune", "audit", "--snapshot", str(HOST)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        cwd=ROOT,
        env={**environment, "TERM": "dumb"},
    )
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.wait(60)
    lines = said.decode().replace("\r", "").splitlines()
    assert len(lines) > 10
    # A path is never broken.
    assert [line for line in lines if len(line) > columns and len(line.split()) > 3] == []
    assert "\x1b" not in said.decode()


@pytest.mark.parametrize("columns", ["60", "80", "140"])
@pytest.mark.parametrize("command", ["audit", "plan", "settings"])
def test_columns_says_how_wide_a_line_is_in_a_pipe(
    command: str, columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    monkeypatch.chdir(tmp_path)
    hosts = [] if command == "settings" else ["--snapshot", str(HOST), "bad.tar.gz"]

    def lines() -> list[str]:
        main([command, *hosts])
        return capsys.readouterr().out.splitlines()

    usual = max(map(len, lines()))
    monkeypatch.setenv("COLUMNS", columns)
    assert [line for line in lines() if len(line) > int(columns) and len(line.split()) > 3] == []
    monkeypatch.setenv("COLUMNS", "140")
    assert max(map(len, lines())) > usual or command == "settings"
    for nothing in ("", "0", "wide"):
        monkeypatch.setenv("COLUMNS", nothing)
        assert max(map(len, lines())) == usual


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours(environment: dict[str, str], terminal: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert output.colour() is coloured
