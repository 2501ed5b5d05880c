"""An sshd of our own on loopback, fake roots to tune, and ansible-playbook run as a user runs it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from synthetic import Link, host

REPO = Path(__file__).resolve().parents[2]
BOOT_ID = "5f0c1d5e-0000-4000-8000-000000000001"
_FILES = {
    **host(8, 2, threads=1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4),
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "proc/sys/kernel/random/boot_id": BOOT_ID + "\n",
    "proc/sys/kernel/osrelease": "6.1.0-56-amd64\n",
    "proc/version": "Linux version 6.1.0-56-amd64 (debian) #1 SMP PREEMPT_DYNAMIC\n",
    "proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.1.0-56-amd64 root=/dev/vda1 ro quiet\n",
    "etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "etc/sysctl.conf": "# kernel.numa_balancing = 1\n",
    "etc/sysctl.d/10-local.conf": "vm.swappiness = 10\n",
    "usr/lib/sysctl.d/50-default.conf": "kernel.sysrq = 0x01b6\n",
    "boot/config-6.1.0-56-amd64": "CONFIG_NUMA_BALANCING=y\nCONFIG_NUMA_BALANCING_DEFAULT_ENABLED=y\n",
    "boot/grub/grub.cfg": (
        "menuentry 'Debian' --class debian {\n"
        "\tlinux\t/boot/vmlinuz-6.1.0-56-amd64 root=/dev/vda1 ro quiet\n\tinitrd\t/boot/initrd.img\n}\n"
    ),
}


class FakeRoot:
    """A tree that stands for a Debian host with two nodes of four CPUs and NUMA balancing on."""

    drop_in = "etc/sysctl.d/99-zz-numatune.conf"
    runtime = "proc/sys/kernel/numa_balancing"
    journal = "var/lib/numatune"

    def __init__(self, path: Path) -> None:
        self.path = path
        for name, text in _FILES.items():
            self.write(name, text)
        (path / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
        (path / "var/lib").mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        """Write one file, with its directories."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, Link):
            target.symlink_to(text)
        else:
            target.write_text(text)

    def read(self, name: str) -> str:
        """Return the text of one file."""
        return (self.path / name).read_text()

    def has(self, name: str) -> bool:
        """Whether anything stands there."""
        return os.path.lexists(self.path / name)

    def state(self, journal: bool = False) -> dict[str, str]:
        """Return every name with its type, mode, owner and content; the journal only where asked for."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if not journal and (name == self.journal or name.startswith(self.journal + "/")):
                continue
            info = path.lstat()
            if path.is_symlink():
                content = str(path.readlink())
            else:
                content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[name] = f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {content}"
        return found


@dataclass(frozen=True)
class Run:
    """What ansible-playbook said."""

    code: int
    out: str
    err: str

    def changed(self, host: str) -> list[str]:
        """Return the tasks that changed a host, one entry for each loop item, in their order."""
        found = []
        for task in re.split(r"^TASK \[", self.out, flags=re.M)[1:]:
            name = task.split("] *", 1)[0]
            found += [name] * len(re.findall(rf"^changed: \[{re.escape(host)}\]", task, flags=re.M))
        return found

    def items(self, host: str) -> list[str]:
        """Return what the role tune changed on a host, transaction by transaction."""
        return re.findall(rf"^changed: \[{re.escape(host)}\] => \(item=(.*)\)", self.out, flags=re.M)

    def recap(self, host: str) -> dict[str, int]:
        """Return a host's counts."""
        line = re.search(rf"^{re.escape(host)} +: (.*)$", self.out, flags=re.M)
        assert line, self.out + self.err
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[1])}

    def failure(self, host: str) -> str:
        """Return the block that says how a host failed, its lines joined."""
        block = re.search(rf"^fatal: \[{re.escape(host)}\]:.*?(?=^\S|\Z)", self.out + "\n", flags=re.M | re.S)
        assert block, self.out + self.err
        return " ".join(block[0].replace("''", "'").split())


@dataclass(frozen=True)
class Sshd:
    """A running sshd and how to reach it."""

    port: int
    key: Path
    known_hosts: Path

    def variables(self) -> dict[str, Any]:
        """Return the inventory variables that lead here, with strict host keys."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes"
            " -o StrictHostKeyChecking=yes",
            "ansible_python_interpreter": sys.executable,
        }


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Start sshd on a high port of loopback with throwaway keys, and end it."""
    binary = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not binary:
        pytest.fail("sshd is missing: install openssh-server (apt-get install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True, timeout=30
        )
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": folder / "host",
        "PidFile": "none",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "100",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([binary, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as banner:
                    assert banner.recv(4) == b"SSH-"
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("sshd did not start: " + (folder / "log").read_text()[-400:])
        yield Sshd(port, folder / "user", folder / "known_hosts")
    finally:
        server.terminate()
        server.wait(10)


class Local:
    """The way to a host that needs no server: its modules run on this machine, on the host's fake root."""

    def variables(self) -> dict[str, Any]:
        """Return the inventory variables."""
        return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


class Controller:
    """A folder with an inventory, and ansible-playbook run from the repository's root."""

    repo = REPO

    def __init__(self, folder: Path, sshd: Sshd | Local) -> None:
        self.folder = folder
        self._variables = sshd.variables()
        self._hosts: dict[str, dict[str, Any]] = {}
        self.inventory = folder / "inventory.json"

    def root(self, host: str, parent: Path | None = None, **variables: Any) -> FakeRoot:
        """Add a host whose root is a new fake root."""
        root = FakeRoot((parent or self.folder) / "roots" / host)
        self.add(host, numatune_sysroot=str(root.path), **variables)
        return root

    def add(self, host: str, **variables: Any) -> None:
        """Add a host to the inventory, reached through the sshd."""
        self._hosts[host] = {**self._variables, **variables}
        self.inventory.write_text(json.dumps({"all": {"hosts": self._hosts}}))

    def play(self, *arguments: str, cwd: Path = REPO, inventory: Path | None = None) -> Run:
        """Run ansible-playbook with this inventory."""
        return self.run("ansible-playbook", "-i", str(inventory or self.inventory), *arguments, cwd=cwd)

    def run(self, command: str, *arguments: str, cwd: Path = REPO) -> Run:
        """Run one of Ansible's commands, with none of the developer's own settings."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / command), *arguments],
            cwd=cwd,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        """Return what Ansible's commands get as their environment."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return environment | {
            "HOME": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
            # No connection outlives its task, so that nothing is left running.
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o ControlPath=none",
            "LC_ALL": "C.UTF-8",
        }


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Controller:
    """Return a controller that the tests of one module share."""
    return Controller(tmp_path_factory.mktemp("controller"), sshd)


@pytest.fixture
def local() -> Iterator[Controller]:
    """Return a controller whose hosts are fake roots on this machine, without any ssh."""
    with tempfile.TemporaryDirectory(prefix="numatune-test-") as name:
        yield Controller(Path(name), Local())


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """Return a folder that every user of this machine can read, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="numatune-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
