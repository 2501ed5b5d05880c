"""Hosts that repeat the password that they were told, in each way that SSH has: numatune writes it nowhere."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paramiko
import pytest
import streams
from fleet.canned import Canned
from paramiko.message import Message
from synthetic import host

from numatune.transport.endpoint import Secrets
from numatune.transport.failure import Failure, clean, hiding

ROOT = Path(__file__).parents[2]
SECRET = "Zq7-Tröub4dor"
PASSPHRASE = "0pen-Sesame"


def say(transport: paramiko.Transport, *parts: Any) -> None:
    message = Message()
    message.add_byte(bytes([parts[0]]))
    for part in parts[1:]:
        if isinstance(part, bool):
            message.add_boolean(part)
        elif isinstance(part, int):
            message.add_int(part)
        else:
            message.add_string(part)
    transport._send_message(message)


def disconnect(transport: paramiko.Transport, _channel: object = None) -> None:
    say(transport, 1, 11, f"you said {SECRET}!", "")


def refuse(transport: paramiko.Transport) -> None:
    say(transport, 92, 0, 1, f"not with {SECRET}", "")


def signal(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    say(transport, 98, channel.remote_chanid, "exit-signal", False, SECRET, False, "", "")
    channel.close()


def output(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    channel.sendall(f"hello {SECRET}\n".encode())
    channel.send_exit_status(3)
    channel.close()


def errors(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    channel.sendall_stderr(f"hello {SECRET}\n".encode())
    channel.send_exit_status(3)
    channel.close()


def many_errors(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    """What is kept of it, 8 KiB, ends within the password."""
    whole = f"hello {SECRET}\n".encode()
    last = f"bye {SECRET}\n".encode()
    padding = (8 << 10) - len(whole) - len(last) + 5
    channel.sendall_stderr(b"x" * 99 + b"\n" + b"y" * (padding - 101) + b"\n" + whole + last)
    channel.send_exit_status(3)
    channel.close()


def stream(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    files = host(4, 1, 1, arguments=f"quiet word={SECRET} key={PASSPHRASE}")
    channel.sendall(streams.stream(files).encode())
    channel.send_exit_status(0)
    channel.close()


def cut(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    channel.sendall(streams.stream({f"proc/{SECRET}": f"{SECRET}"}).removesuffix("@end\n").encode())
    channel.send_exit_status(0)
    channel.close()


WAYS: dict[str, dict[str, Any]] = {
    "disconnects-at-login": {"after_kex": disconnect, "hangs": True},
    "disconnects-while-it-runs": {"on_exec": disconnect},
    "refuses-a-channel": {"on_channel": refuse, "channel": paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED},
    "lists-methods": {"password": "another", "allowed": f"password,{SECRET},keyboard-interactive"},
    "names-a-signal": {"on_exec": signal},
    "prints": {"on_exec": output},
    "prints-errors": {"on_exec": errors},
    "prints-many-errors": {"on_exec": many_errors},
    "greets": {"banner": f"hello {SECRET}", "after_kex": disconnect, "hangs": True},
    "asks": {"allowed": "keyboard-interactive", "prompts": ((f"is {SECRET} right? ", True),), "password": "another"},
    "shows-it-in-a-file": {"on_exec": stream},
    "cuts-the-stream": {"on_exec": cut},
}


@pytest.fixture
def parrots(tmp_path: Path) -> Iterator[Path]:
    """Serve all of them; give the folder with their inventory."""
    hosts = {}
    lines = []
    with ExitStack() as stack:
        for way, options in WAYS.items():
            server = stack.enter_context(Canned(**{"password": SECRET, "allowed": "password", **options}))
            lines.append(server.known_line)
            hosts[way] = {"ansible_port": server.port}
        (tmp_path / "known").write_text("".join(lines))
        words = f"-F none -o UserKnownHostsFile={tmp_path}/known -o GlobalKnownHostsFile=/dev/null"
        common = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "someone",
            "ansible_password": SECRET,
            "ansible_private_key_passphrase": PASSPHRASE,
            "ansible_ssh_common_args": f"{words} -o IdentityAgent=none -o PubkeyAuthentication=no",
        }
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        yield tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), "SSH_AUTH_SOCK": ""}
    return subprocess.run(
        [sys.executable, "-m", "numatune", *words], capture_output=True, env=environment, cwd=folder, timeout=180
    )


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_a_password_that_is_repeated_is_written_nowhere(parrots: Path, transport: str) -> None:
    asked = ("-i", "hosts.json", "--transport", transport, "--timeout", "20", "--store", "store")
    done = run(parrots, "audit", *asked, "--format", "json", "--report", "text=told", "--report", "json=kept")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    by_name = {each["name"]: each for each in report["hosts"]}
    assert by_name.keys() == WAYS.keys()
    files = [parrots / name for name in ("store", "told", "kept")]
    collected = run(parrots, "collect", *asked, "-o", "snapshots")
    snapshot = gzip.decompress((parrots / "snapshots/shows-it-in-a-file.numatune.gz").read_bytes())
    with sqlite3.connect(parrots / "store") as store:
        dump = "\n".join(store.iterdump()).encode()
    written = [done.stdout, done.stderr, collected.stdout, collected.stderr, snapshot, dump]
    # The text as it is, and as JSON has it.
    for secret in (SECRET, json.dumps(SECRET)[1:-1], PASSPHRASE):
        for text in [*written, *(path.read_bytes() for path in files)]:
            assert secret.encode() not in text
    assert b"word=*** key=***" in snapshot
    for way, each in by_name.items():
        if way == "shows-it-in-a-file":
            assert each["error"] is None
            continue
        message = each["error"]["message"]
        assert SECRET[:6] not in message, (way, message)
        # It was quoted, or else this would show nothing: but for what ssh itself does not tell.
        if transport == "paramiko" and way != "cuts-the-stream":
            assert "***" in message, (way, message)


def test_login_is_not_disturbed_by_a_password_that_is_a_word_of_the_protocol(tmp_path: Path) -> None:
    with Canned(password="password", allowed="publickey,password", on_exec=stream) as server:
        (tmp_path / "known").write_text(server.known_line)
        words = f"-F none -o UserKnownHostsFile={tmp_path}/known -o GlobalKnownHostsFile=/dev/null"
        variables = {"ansible_port": server.port, "ansible_password": "password", "ansible_user": "someone"}
        variables |= {"ansible_host": "127.0.0.1", "ansible_ssh_common_args": f"{words} -o IdentityAgent=none"}
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"a": variables}}}))
        done = run(tmp_path, "audit", "-i", "hosts.json", "--format", "json", "--store", "none")
    assert json.loads(done.stdout)["hosts"][0]["error"] is None, done.stderr


def test_what_is_hidden_where() -> None:
    secrets = Secrets("hunter2", "hunter2-and-more", "x")
    assert secrets.hide("hunter2-and-more, hunter2, x") == "***, ***, x"
    assert Secrets("abc").hide("abcd") == "***d"
    assert Secrets("abc").hide_in_data("abcd") == "abcd"
    assert Secrets("123456789").hide_in_data("MemTotal: 1234567890 kB") == "MemTotal: 1234567890 kB"
    assert Secrets("1234567890").hide_in_data("1234567890") == "***"
    text = "nothing of it\n" * 4000
    assert secrets.hide_in_data(text) is text
    assert Secrets().hide_in_data(text) is text


def test_it_goes_before_anything_is_cut() -> None:
    with hiding(Secrets(SECRET).hide):
        assert clean("x" * 195 + SECRET) == "x" * 195 + "***"
        assert clean(f"{SECRET}\x1b".encode()) == "***"
    assert clean(SECRET) == SECRET
    with hiding(Secrets("wrong").hide):
        assert Failure("become", "the password is wrong").message.endswith("wrong")
