"""One inventory, `ansible all -m ping` and `numatune audit`: the same hosts reached, through jump hosts, by ssh_config.

Four network namespaces in a row, none of which forwards packets: control – gate – inner – vault. What lies behind a
gate is reached by ProxyJump alone. They are held by processes that end with this one, and so leave nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fleet.sshd import Sshd, known_name

REPO = Path(__file__).resolve().parents[2]
NETWORK = "10.231.0.0/16"
PORT, OTHER_PORT = 2222, 2022
GATE, GATE_INNER, INNER, INNER_VAULT, VAULT = "10.231.1.2", "10.231.2.1", "10.231.2.2", "10.231.3.1", "10.231.3.2"

# alias → the host's variables; what ssh_config says of it is below.
HOSTS: dict[str, dict[str, object]] = {
    "gate": {"ansible_host": GATE, "ansible_port": PORT},
    "gate-by-alias": {"ansible_host": "gate-alias"},
    "inner": {"ansible_host": INNER, "ansible_port": PORT},
    "inner-by-alias": {"ansible_host": "inner-alias"},
    "inner-by-name": {},
    "inner-other-port": {"ansible_host": "inner-alias", "ansible_port": OTHER_PORT},
    "inner-by-variables": {
        "ansible_host": "inner-bare",
        "ansible_ssh_common_args": "-F {config} -o ProxyJump=gate-alias",
    },
    "vault": {"ansible_host": "vault-alias"},
    "vault-chain": {"ansible_host": "vault-chain"},
    "vault-own-name": {"ansible_host": "vault-named"},
    "gate-no-jump": {"ansible_host": "direct.jumped"},
    "no-way": {"ansible_host": "no-jump.jumped"},
    "wrong-user": {"ansible_host": "somebody"},
    "wrong-user-mended": {"ansible_host": "somebody", "ansible_user": "root"},
    "wrong-key": {"ansible_host": "reinstalled"},
    "unknown-key": {"ansible_host": "never-seen"},
    "down": {"ansible_host": "10.231.1.99", "ansible_port": PORT},
    "down-behind-the-gate": {"ansible_host": "10.231.2.99", "ansible_port": PORT},
    "closed-behind-the-gate": {"ansible_host": "closed"},
    "behind-a-wrong-gate": {"ansible_host": "trapped"},
}
REACHED = {
    "gate", "gate-by-alias", "inner", "inner-by-alias", "inner-by-name", "inner-other-port", "inner-by-variables",
    "vault", "vault-chain", "vault-own-name", "gate-no-jump", "wrong-user-mended",
}  # fmt: skip

CONFIG = f"""
Host gate-alias
  HostName {GATE}
  Port {PORT}
Host inner-alias
  HostName {INNER}
  Port {PORT}
  ProxyJump gate-alias
Host inner-by-name
  HostName {INNER}
  Port {PORT}
  ProxyJump root@{GATE}:{PORT}
Host inner-bare
  HostName {INNER}
  Port {PORT}
Host vault-alias
  HostName {VAULT}
  Port {PORT}
  ProxyJump inner-alias
Host vault-chain
  HostName {VAULT}
  Port {PORT}
  ProxyJump gate-alias,root@{INNER}:{OTHER_PORT}
Host vault-named
  HostName {VAULT}
  Port {PORT}
  ProxyJump inner-alias
  HostKeyAlias the-vault
Host direct.jumped
  HostName {GATE}
  Port {PORT}
  ProxyJump none
Host no-jump.jumped
  HostName {INNER}
  Port {PORT}
  ProxyJump none
Host *.jumped
  ProxyJump gate-alias
Host somebody
  HostName {GATE}
  Port {PORT}
  User nosuchuser
Host reinstalled
  HostName {GATE}
  Port {PORT}
  HostKeyAlias reinstalled
Host never-seen
  HostName {GATE}
  Port {PORT}
  HostKeyAlias never-seen
Host closed
  HostName {INNER}
  Port 9
  ProxyJump gate-alias
Host trapped
  HostName {INNER}
  Port {PORT}
  ProxyJump reinstalled
Host 10.231.2.*
  ProxyJump gate-alias
Host *
  User root
  ConnectTimeout 5
  IdentitiesOnly yes
  IdentityAgent none
  KexAlgorithms curve25519-sha256
  GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class Network:
    """The namespace that clients run in, and their files."""

    control: Sequence[str]
    folder: Path
    inventory: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a client on the control node."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "SSH_AUTH"))}
        own = {"HOME": str(self.folder), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPO), "NO_COLOR": "1"}
        return subprocess.run(
            [*self.control, *command],
            env={**kept, **own, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@contextmanager
def namespace() -> Iterator[list[str]]:
    """Hold a network namespace with its loopback up; yield the words that run a command in it."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    assert holder.stderr
    try:
        if holder.stdout.readline() != "up\n":
            pytest.skip(f"needs network namespaces: {holder.communicate()[1].strip()}")
        yield ["nsenter", "--target", str(holder.pid), "--net"]
    finally:
        holder.communicate(timeout=10)


def wire(one: Sequence[str], other: Sequence[str], name: str, addresses: tuple[str, str]) -> None:
    """Connect two namespaces by a pair of interfaces."""
    subprocess.run([*one, *f"ip link add {name}0 type veth peer name {name}1 netns {other[2]}".split()], check=True)
    for inside, interface, address in ((one, f"{name}0", addresses[0]), (other, f"{name}1", addresses[1])):
        subprocess.run([*inside, "ip", "address", "add", f"{address}/24", "dev", interface], check=True)
        subprocess.run([*inside, "ip", "link", "set", interface, "up"], check=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Build the namespaces, their servers and the inventory."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    missing = [tool for tool in ("ip", "unshare", "nsenter") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (iproute2, util-linux)")
    folder = tmp_path_factory.mktemp("network")
    with ExitStack() as stack:
        control, gate, inner, vault = (stack.enter_context(namespace()) for _ in range(4))
        for each in (gate, inner):
            subprocess.run([*each, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"], check=True)
        wire(control, gate, "a", ("10.231.1.1", GATE))
        wire(gate, inner, "b", (GATE_INNER, INNER))
        wire(inner, vault, "c", (INNER_VAULT, VAULT))
        # The way there is known, so that nothing but the gates' refusal to forward keeps packets out.
        subprocess.run([*control, "ip", "route", "add", NETWORK, "via", GATE], check=True)
        servers = {}
        first: Sshd | None = None
        for name, inside, lines in (
            ("gate", gate, ()),
            ("inner", inner, (f"Port {OTHER_PORT}",)),
            ("vault", vault, ()),
        ):
            server = Sshd(
                folder / name, port=PORT, inside=inside, lines=lines, lent=[NETWORK], host_key_types=("ed25519",)
            )
            if first is None:
                first = server
            else:
                server.authorized_keys.write_text(first.authorized_keys.read_text())
            servers[name] = stack.enter_context(server)
        assert first is not None
        known = [
            *servers["gate"].known_lines([GATE]),
            *servers["inner"].known_lines([INNER]),
            *servers["inner"].known_lines([INNER], OTHER_PORT),
            *servers["vault"].known_lines(["the-vault"], 22),
            *servers["vault"].known_lines([VAULT]),
            *servers["inner"].known_lines(["reinstalled"], 22),
        ]
        (folder / "known_hosts").write_text("".join(known))
        assert known_name(GATE, PORT) in known[0]
        config = folder / "config"
        config.write_text(f"{CONFIG}  IdentityFile {first.key}\n  UserKnownHostsFile {folder}/known_hosts\n")
        yield Network(control, folder, _inventory(folder, config))


def _inventory(folder: Path, config: Path) -> Path:
    hosts = {alias: dict(variables) for alias, variables in HOSTS.items()}
    for variables in hosts.values():
        if "ansible_ssh_common_args" in variables:
            variables["ansible_ssh_common_args"] = str(variables["ansible_ssh_common_args"]).format(config=config)
    common = {"ansible_ssh_common_args": f"-F {config}", "ansible_python_interpreter": sys.executable}
    path = folder / "inventory.json"
    path.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    return path


@pytest.fixture(scope="module")
def pinged(network: Network) -> set[str]:
    """Return the hosts that Ansible reaches."""
    done = network.run(
        str(Path(sys.executable).parent / "ansible"), "all", "-i", str(network.inventory), "-m", "ping", "-o",
        "-f", str(len(HOSTS)),
        ANSIBLE_HOME=str(network.folder / "ansible"),
        ANSIBLE_LOCAL_TEMP=str(network.folder / "ansible/tmp"),
        ANSIBLE_SSH_ARGS="-o ControlMaster=no -o ControlPath=none",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_PIPELINING="1",
    )  # fmt: skip
    found = dict(re.findall(r"^(\S+) \| (\w+)", done.stdout, flags=re.M))
    assert set(found) == set(HOSTS), done.stdout + done.stderr
    return {alias for alias, word in found.items() if word == "SUCCESS"}


def test_ansible_reaches_the_hosts_that_it_should(pinged: set[str]) -> None:
    assert pinged == REACHED


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_an_audit_reaches_the_hosts_that_ansible_reaches(network: Network, pinged: set[str], transport: str) -> None:
    done = network.run(
        sys.executable, "-m", "numatune", "audit", "-i", str(network.inventory), "--format", "json", "--store", "none",
        "--transport", transport, "--timeout", "30",
    )  # fmt: skip
    assert done.stdout, done.stderr
    hosts = {host["name"]: host for host in json.loads(done.stdout)["hosts"]}
    errors = {name: host["error"] for name, host in hosts.items() if host["status"] == "unreachable"}

    assert set(hosts) == set(HOSTS)
    assert set(hosts) - set(errors) == pinged, errors
    phases = {name: error["phase"] for name, error in errors.items()}
    assert phases["wrong-key"] == "hostkey"
    assert phases["unknown-key"] == "hostkey"
    assert phases["wrong-user"] == "auth"
    assert phases["down"] == phases["no-way"] == "tcp"
    assert phases["closed-behind-the-gate"] == phases["down-behind-the-gate"] == "tcp"
    # A gate that cannot be trusted: said as what it is, and nothing was sent through it.
    assert phases["behind-a-wrong-gate"] == "hostkey"
    assert done.returncode == 3
