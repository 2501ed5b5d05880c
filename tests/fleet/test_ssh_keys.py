"""Which private keys a host is offered, beside what the ssh program does with the same files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fleet.sshd import Sshd, make_key

from numatune.transport.endpoint import Endpoint, Secrets, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.ssh import collect

LIMITS = Limits(connect_s=10, banner_s=20, kex_s=20, auth_s=20, channel_s=20, total_s=60)


def end(server: Sshd, key: Path, bits: int = 1024) -> Endpoint:
    return Endpoint(
        alias="a",
        hostname="127.0.0.1",
        port=server.port,
        user=server.user,
        identity_files=(str(key),),
        use_agent=False,
        known_hosts=(str(server.known_hosts),),
        rsa_bits=bits,
    )


def by_ssh(server: Sshd, key: Path, *options: str) -> bool:
    command = server.ssh("-i", str(key), *options)
    place = command.index(str(server.key))
    del command[place - 1 : place + 1]
    return subprocess.run([*command, "127.0.0.1", "true"], capture_output=True, timeout=60, check=False).returncode == 0


def allowed(server: Sshd, key: Path) -> Path:
    with server.authorized_keys.open("a") as file:
        file.write(Path(f"{key}.pub").read_text())
    return key


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o640, 0o604, 0o601, 0o644])
def test_a_key_that_others_may_use_is_not_used(sshd: Sshd, tmp_path: Path, mode: int) -> None:
    key = allowed(sshd, make_key(tmp_path / "key"))
    key.chmod(mode)
    target = Target(end(sshd, key), Secrets())
    if by_ssh(sshd, key):
        assert collect(target, "echo x\n", LIMITS, KnownHosts) == "x\n"
        return
    assert mode & 0o077
    with pytest.raises(Failure) as caught:
        collect(target, "echo x\n", LIMITS, KnownHosts)
    assert caught.value.phase == "auth"
    assert f"bad permissions: others may use it: chmod 600 {key}" in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_a_key_of_another_account_is_its_own_affair(sshd: Sshd, tmp_path: Path) -> None:
    key = allowed(sshd, make_key(tmp_path / "key"))
    key.chmod(0o644)
    os.chown(key, 65534, -1)
    assert by_ssh(sshd, key)
    assert collect(Target(end(sshd, key)), "echo x\n", LIMITS, KnownHosts) == "x\n"


@pytest.mark.parametrize("bits", [2048, 2049])
def test_a_long_modulus_is_wanted_of_the_users_key(sshd: Sshd, tmp_path: Path, bits: int) -> None:
    key = allowed(sshd, make_key(tmp_path / "key", "rsa"))
    target = Target(end(sshd, key, bits))
    assert by_ssh(sshd, key, "-o", f"RequiredRSASize={bits}") == (bits == 2048)
    if bits == 2048:
        assert collect(target, "echo x\n", LIMITS, KnownHosts) == "x\n"
        return
    with pytest.raises(Failure) as caught:
        collect(target, "echo x\n", LIMITS, KnownHosts)
    assert caught.value.phase == "auth"
    assert "RequiredRSASize" in caught.value.message
