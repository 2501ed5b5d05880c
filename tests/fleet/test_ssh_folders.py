"""The private folder of a run by the ssh program: one, gone with the run, and after a kill with the next run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from fleet.canned import Canned
from fleet.sshd import Sshd, descendants, free_port, make_key

from numatune.fleet import transports
from numatune.fleet.worker import hung
from numatune.transport.endpoint import Endpoint, Target
from numatune.transport.failure import Failure
from numatune.transport.limits import Limits
from numatune.transport.openssh import collect, folders, messages

ROOT = Path(__file__).parents[2]
HOSTS = 6
ADDRESSES = [f"127.7.0.{number + 1}" for number in range(HOSTS)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let it be the only place for such folders."""
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return path


def wait(done: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(folder: Path, inventory: str) -> subprocess.Popen[bytes]:
    words = ["audit", "-i", inventory, "--transport", "openssh", "--store", "none", "--timeout", "120"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SSH_AUTH_SOCK": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "numatune", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def inventory(server: Sshd, folder: Path, name: str, count: int, **more: object) -> str:
    server.known(ADDRESSES)
    hosts = {f"h{number}": {**server.variables(ADDRESSES[number]), **more} for number in range(count)}
    (folder / name).write_text(json.dumps({"all": {"hosts": hosts}}))
    return name


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_a_killed_run_left_goes_with_the_next(sshd: Sshd, tmp_path: Path, place: Path) -> None:
    began = tmp_path / "began"
    began.mkdir()
    force = f"echo x >{began}/$$; exec sleep 600"
    with Sshd(tmp_path / "hanging", keys_of=sshd, force=force) as server:
        hanging = inventory(server, tmp_path, "hanging.json", HOSTS, ansible_password="not-needed-71")
        refused = inventory(server, tmp_path, "refused.json", 1, ansible_port=free_port())
        runs = [start(tmp_path, hanging), start(tmp_path, hanging)]
        try:
            wait(lambda: len(list(began.iterdir())) == 2 * HOSTS)
            # One folder a run, and in it what each ssh needs.
            of_runs = sorted(place.iterdir())
            assert [path.name.startswith(folders.PREFIX) for path in of_runs] == [True, True]
            assert all(len(list(path.iterdir())) >= HOSTS for path in of_runs)
            family = [runs[0].pid, *descendants(runs[0].pid)]
            runs[0].kill()
            runs[0].wait()
            wait(lambda: all(gone(pid) for pid in family))
            assert sorted(place.iterdir()) == of_runs
            after = start(tmp_path, refused)
            assert after.communicate(timeout=60)[1].count(b"refused") >= 1 or after.returncode == 3
            # That of the run which is still under way stays, and only that.
            (left,) = place.iterdir()
            assert left in of_runs
            assert list(left.iterdir())
            runs[1].send_signal(signal.SIGINT)
            runs[1].communicate(timeout=60)
            assert list(place.iterdir()) == []
        finally:
            for run in runs:
                run.kill()
                run.communicate()


def test_the_sweep_takes_nothing_of_anybody_elses(tmp_path: Path, place: Path) -> None:
    names = ("left", "held", "open", "file", "link", "pipe")
    left, held, opened, file, link, pipe = (place / f"{folders.PREFIX}{name}" for name in names)
    victim = tmp_path / "victim"
    for path in (left, held, opened, victim):
        path.mkdir(mode=0o700)
        (path / "config").write_text("x")
    (left / "out").symlink_to(victim)
    opened.chmod(0o755)
    file.write_text("x")
    link.symlink_to(victim)
    os.mkfifo(pipe)
    others = place / f"{folders.PREFIX}others"
    others.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(others, 65534, 65534)
    else:
        others.rmdir()
    (place / "numatune-something").mkdir()
    holds = os.open(held, os.O_RDONLY)
    fcntl.flock(holds, fcntl.LOCK_SH)
    before = set(place.iterdir())
    folders.sweep()
    assert before - set(place.iterdir()) == {left}
    assert (victim / "config").exists()
    os.close(holds)
    folders.sweep()
    assert before - set(place.iterdir()) == {left, held}


def test_a_folder_that_another_run_swept_before_it_was_held_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not calls:
            calls.append(how)
            folders.sweep()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    run = folders.RunFolder()
    assert run.path.is_dir()
    assert list(place.iterdir()) == [run.path]
    run.close()
    assert list(place.iterdir()) == []


def test_a_runs_folder_that_goes_is_made_anew_once_for_all_hosts(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with XDG_RUNTIME_DIR at the last logout; /tmp is left."""
    monkeypatch.setattr(folders, "_own", None)
    monkeypatch.setattr(folders, "_entered", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    run = folders.RunFolder()
    assert run.path.parent == place
    folders.enter(run.path)
    assert folders.private_folder().parent == run.path
    for _ in range(2):
        shutil.rmtree(place)
        for left in (tmp_path / "tmp").iterdir():
            shutil.rmtree(left)
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda _: folders.private_folder(), range(32)))
        (again,) = {path.parent for path in made}
        assert again.parent == tmp_path / "tmp"
        assert list((tmp_path / "tmp").iterdir()) == [again]
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
        place.mkdir()
    run.close()


@pytest.mark.usefixtures("place")
def test_openssh_does_not_advise_itself() -> None:
    openssh = transports.find("openssh", [])
    assert "openssh" not in hung(60, openssh).message
    assert "try --transport openssh" in hung(60, transports.find("paramiko", [])).message


def test_a_session_that_is_refused_is_no_jump_hosts(tmp_path: Path, place: Path) -> None:
    refused = {"channel": paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED}
    with Canned(**refused) as server:
        (tmp_path / "known").write_text(server.known_line)
        end = Endpoint(
            alias="a",
            hostname="127.0.0.1",
            port=server.port,
            user="someone",
            identity_files=(str(make_key(tmp_path / "key")),),
            use_agent=False,
            ssh_args=("-F", "none", "-o", f"UserKnownHostsFile={tmp_path / 'known'}"),
        )
        with pytest.raises(Failure) as caught:
            collect(Target(end), "x", replace(Limits(), total_s=20))
    assert caught.value.phase == "exec"
    assert "refused to open a session" in caught.value.message
    assert "jump" not in caught.value.message


@pytest.mark.parametrize("words", ["open failed: administratively prohibited", "open failed: connect failed: no route"])
def test_the_same_words_on_the_way_are_a_jump_hosts(words: str) -> None:
    assert "jump host" in messages.failure("proxy", [f"channel 0: {words}"]).message
    assert "jump host" not in messages.failure("exec", [f"channel 0: {words}"]).message
