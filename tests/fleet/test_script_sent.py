"""What `numatune collect --print-script` shows is what each host is given to run: the same bytes, by every way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fleet.sshd import Sshd

import numatune


def run(folder: Path, *words: str | Path, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
        "PYTHONPATH": str(Path(numatune.__file__).parents[1]),
        "XDG_STATE_HOME": str(folder / "state"),
        "HOME": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-m", "numatune", *map(str, words)],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip


def printed(folder: Path) -> str:
    shown = run(folder, "collect", "--print-script")
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_a_host_is_given_what_is_printed(tmp_path: Path, transport: str) -> None:
    taken, asked = tmp_path / "taken", tmp_path / "asked"
    # What a host would have to do to look: keep what comes, then run it.
    force = f'echo "$SSH_ORIGINAL_COMMAND" >{asked}; cat >{taken}; exec sh -s <{taken}'
    with Sshd(tmp_path / "sshd", force=force) as server:
        hosts = {"all": {"hosts": {"web1": server.variables("127.0.0.1")}}}
        (tmp_path / "hosts.json").write_text(json.dumps(hosts))
        done = run(tmp_path, "collect", "-i", tmp_path / "hosts.json", "-o", tmp_path / "out", "--transport", transport)
    assert done.returncode == 0, done.stderr
    assert taken.read_text() == printed(tmp_path)
    assert asked.read_text() == "exec sh -s\n"


def test_this_machine_is_given_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shell = tmp_path / "bin/sh"
    shell.write_text(f'#!/bin/sh\ncat >{tmp_path}/taken\nexec /bin/sh "$@" <{tmp_path}/taken\n')
    shell.chmod(0o755)
    done = run(tmp_path, "collect", "-o", tmp_path / "out", path=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "taken").read_text() == printed(tmp_path)
