"""OpenSSH servers of our own: throwaway keys in one folder, a high port, thousands of addresses of 127.0.0.0/8.

    with Sshd(tmp_path) as server:
        known = server.known(["127.1.0.1", "127.1.0.2"])
        subprocess.run([*server.ssh(), "127.1.0.1", "true"])

Nothing under ~/.ssh or /etc/ssh is read or written. It runs as root (sessions of root) and as any user with a shell
(sessions of that user).
"""

from __future__ import annotations

import functools
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
LOOPBACK = "127.0.0.0/8"


class SshdError(Exception):
    """This machine has no OpenSSH server, or it would not start: its own words."""


def addresses(count: int, network: int = 1) -> list[str]:
    """Return `count` (up to 62,500) loopback addresses of 127.`network`.0.0/16; .0 and .255 are left out."""
    if count > 62_500:
        raise ValueError("at most 62,500 addresses")
    return [f"127.{network}.{number // 250}.{number % 250 + 1}" for number in range(count)]


class Sshd:
    """A server on one port of every loopback address (`wide`) or of 127.0.0.1 alone.

    `folder` takes all of its files and is made where missing. `lines` is added in front of its configuration, where the
    first value wins; `force` is a shell command that runs in place of the client's (in $SSH_ORIGINAL_COMMAND).
    `keys_of` shares another server's host keys and client key. `inside` are the words of a command that runs it in a
    network namespace. `lent` are the addresses that may log in, as CIDR.

    Attributes: `port`, `user`, `key` (the client's private key), `home` (an empty folder for the client's HOME),
    `login` (the sessions' HOME), `known_hosts` (written for 127.0.0.1 at the start, for others by `known`),
    `host_keys` (type → public line).
    """

    def __init__(
        self,
        folder: Path,
        *,
        wide: bool = True,
        port: int | None = None,
        lines: Sequence[str] = (),
        force: str | None = None,
        max_startups: str = "2000:30:4000",
        max_sessions: int = 10,
        host_key_types: Sequence[str] = ("ed25519", "rsa"),
        keys_of: Sshd | None = None,
        log_level: str = "VERBOSE",
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
        lent: Sequence[str] = (LOOPBACK,),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.user = getpass.getuser()
        self.listen = "0.0.0.0" if wide else "127.0.0.1"
        self.port = port or free_port("0.0.0.0" if wide else "127.0.0.1")
        self.log = folder / "log"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.login = folder / "login"
        self.login.mkdir(exist_ok=True)
        self.key = keys_of.key if keys_of else folder / "user"
        self._hosts = keys_of._hosts if keys_of else {kind: folder / f"host_{kind}" for kind in host_key_types}
        if not keys_of:
            for path, kind in [(self.key, "ed25519"), *((path, kind) for kind, path in self._hosts.items())]:
                make_key(path, kind)
        self.authorized_keys = folder / "authorized_keys"
        if not self.authorized_keys.exists():
            shutil.copy(f"{self.key}.pub", self.authorized_keys)
        self.known_hosts = folder / "known_hosts"
        self._environment = environment
        self._inside = inside
        self._process: subprocess.Popen[bytes] | None = None
        self._write_config(lines, force, max_startups, max_sessions, log_level, lent)

    def _write_config(
        self,
        lines: Sequence[str],
        force: str | None,
        max_startups: str,
        max_sessions: int,
        log_level: str,
        lent: Sequence[str],
    ) -> None:
        config = [
            *lines,
            f"ListenAddress {self.listen}",
            f"Port {self.port}",
            *(f"HostKey {path}" for path in self._hosts.values()),
            "PidFile none",
            f"AuthorizedKeysFile {self.authorized_keys}",
            "StrictModes no",  # the folders of tests lie in /tmp
            "UsePAM no",
            "UseDNS no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "PermitUserRC no",
            # bash reads ~/.bashrc under sshd: what the developer has there is neither tested nor measured.
            f"SetEnv HOME={self.login}",
            "PrintMotd no",
            "PrintLastLog no",
            # A wide server listens beyond loopback too; nobody from there gets in.
            "AllowUsers " + " ".join(f"{self.user}@{network}" for network in lent),
            f"MaxStartups {max_startups}",
            f"MaxSessions {max_sessions}",
            f"LogLevel {log_level}",
            "Subsystem sftp internal-sftp",
        ]
        if _version() >= (9, 8):
            config.append("PerSourcePenalties no")  # the tests of failures come from one address
        if force is not None:
            config.append(f"ForceCommand {force}")
        (self.folder / "config").write_text("".join(line + "\n" for line in config))

    @property
    def pid(self) -> int:
        """The listening process."""
        assert self._process is not None
        return self._process.pid

    @property
    def host_keys(self) -> dict[str, str]:
        """Key type ("ed25519") → "ssh-ed25519 AAAA…"."""
        return {kind: " ".join(Path(f"{path}.pub").read_text().split()[:2]) for kind, path in self._hosts.items()}

    def known(self, names: Iterable[str], path: Path | None = None, port: int | None = None) -> Path:
        """Write a known_hosts file in which every name has this server's keys.

        By default the server's own, which all tests of a session share: there 127.0.0.1 stays.
        """
        names = [*names] if path else ["127.0.0.1", *names]
        path = path or self.known_hosts
        path.write_text("".join(self.known_lines(names, port)))
        return path

    def known_lines(self, names: Iterable[str], port: int | None = None) -> list[str]:
        """Return the lines of known_hosts for these names, one for each key."""
        keys = list(self.host_keys.values())
        return [f"{known_name(name, port or self.port)} {key}\n" for name in names for key in keys]

    def ssh(self, *options: str) -> list[str]:
        """Return the start of an `ssh` command with strict keys and none of the developer's own settings."""
        return [
            "ssh", "-F", "none", "-p", str(self.port), "-i", str(self.key), "-o", "IdentitiesOnly=yes",
            "-o", "IdentityAgent=none", "-o", f"UserKnownHostsFile={self.known_hosts}",
            "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", *options,
        ]  # fmt: skip

    def variables(self, address: str) -> dict[str, object]:
        """Return the inventory variables of a host here, with strict host keys."""
        return {
            "ansible_host": address,
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known_hosts}"
            " -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o IdentityAgent=none"
            " -o StrictHostKeyChecking=yes",
        }

    def start(self) -> Sshd:
        """Start it; return when it answers. Raises SshdError."""
        binary = shutil.which("sshd", path=_PATH)
        if not binary:
            raise SshdError("sshd is missing: install openssh-server (apt-get install openssh-server)")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if not self.known_hosts.exists():
            self.known(["127.0.0.1"])
        command = [*self._inside, binary, "-D", "-e", "-f", str(self.folder / "config")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise SshdError("sshd did not start: " + self.log.read_text(errors="replace")[-400:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        if self._inside:  # not reachable from here; it says when it listens
            return b"Server listening on" in self.log.read_bytes()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as banner:
                return banner.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        """End it and the sessions that it still has; nothing else."""
        if self._process is None:
            return
        sessions = descendants(self._process.pid)
        self._process.terminate()
        for pid in sessions:
            with_signal(pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        for pid in sessions:
            with_signal(pid, signal.SIGKILL)
        self._process = None

    def cpu_s(self) -> float:
        """Return the CPU seconds of the server and of its sessions that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def sessions(self) -> int:
        """Return how many connections it serves now."""
        return len(_children(self.pid))

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair without a comment; `path` is its private half."""
    size = ["-b", "2048"] if kind == "rsa" else []
    if passphrase:
        size += ["-a", "1"]  # rounds of its derivation: not what any test is about
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "", "-f", path], check=True, timeout=60
    )
    return path


def known_name(name: str, port: int) -> str:
    """Return a host's name as known_hosts has it."""
    return name if port == 22 else f"[{name}]:{port}"


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """Return the processes below one, parents first."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def with_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@functools.cache
def _version() -> tuple[int, int]:
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10, check=False).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
