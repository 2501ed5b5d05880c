"""What is asked for, and when: passphrases of locked keys only where no agent holds them, and only on a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from numatune.core.errors import NumatuneError
from numatune.fleet import secrets
from numatune.fleet.inventory import Options, targets


def make_key(path: Path, phrase: str, *more: str) -> str:
    """Make a key pair with ssh-keygen."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(path), *more], check=True)
    return str(path)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an agent of our own."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it says where it listens once it does
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    yield path
    process.terminate()
    process.wait()
    process.stdout.close()


def test_locked_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked, plain = make_key(tmp_path / "locked", "phrase"), make_key(tmp_path / "plain", "")
    old = tmp_path / "old"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "phrase", "-f", str(old)], check=True)
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n%%%\n")
    names = [locked, plain, str(old), str(junk), str(tmp_path / "gone"), str(tmp_path)]
    assert secrets.locked_keys(names) == [locked, str(old)]


@pytest.mark.usefixtures("agent")
def test_a_key_that_the_agent_holds_is_not_locked(tmp_path: Path) -> None:
    held, other = make_key(tmp_path / "held", ""), make_key(tmp_path / "other", "phrase")
    subprocess.run(["ssh-add", "-q", held], check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "phrase", "-f", held], check=True)
    assert secrets.locked_keys([held, other]) == [other]
    Path(held + ".pub").unlink()  # the private file's own head says which key it is
    assert secrets.locked_keys([held, other]) == [other]


def test_an_agent_that_hangs_up_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    assert secrets.agent_keys() == frozenset()


def test_a_passphrase_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = make_key(tmp_path / "key", "0pen")
    (tmp_path / "ssh_config").write_text(f"Host a* b*\n IdentityFile {key}\n")
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "0pen"

    found = targets([], None, ["a1", "a2", "b1"], Options(ssh_config=tmp_path / "ssh_config", ask=ask))
    assert prompts == [f"Passphrase of the key {key}: "]
    assert [target.secrets.key_passphrase for target in found] == ["0pen"] * 3
    assert "0pen" not in repr(found)


def test_passwords_are_asked_for_in_ansibles_way(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").touch()
    answers = {"SSH password: ": "p", "BECOME password [defaults to SSH password]: ": ""}
    options = Options(
        ssh_config=tmp_path / "ssh_config", ask_pass=True, ask_become_pass=True, become=True, ask=answers.__getitem__
    )
    (target,) = targets([], None, ["a"], options)
    assert (target.secrets.password, target.secrets.become_password) == ("p", "p")


def test_without_a_terminal_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> int:
        raise OSError("no tty")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NumatuneError, match="no terminal") as raised:
        secrets.ask("SSH password: ")
    assert "\n" not in str(raised.value)
