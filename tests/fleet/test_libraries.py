"""The installed paramiko, fabric and invoke: looked at before a host is asked, and not used where they differ."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fabric
import paramiko
import pytest
from fleet.sshd import Sshd

from numatune.core.errors import InputError
from numatune.fleet import transports
from numatune.transport.ssh import internals

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _looked_at_anew() -> Iterator[None]:
    internals.unexpected.cache_clear()
    yield
    internals.unexpected.cache_clear()


def test_what_is_installed_is_as_expected() -> None:
    assert internals.unexpected() == ""
    assert transports.choose(None) == transports.choose("paramiko") == transports.Choice("paramiko")


def later(self: Any, host_key: bytes, sig: bytes, algorithm: str) -> None:
    """A method of a paramiko that does not exist: it wants one thing more."""


def narrower(self: Any, hostname: str, port: int = 22) -> None:
    """A method that takes fewer."""


class Slotted(paramiko.Transport):
    """A transport that keeps its channels elsewhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self._channels


Change = Callable[[pytest.MonkeyPatch], None]
CHANGES: dict[str, tuple[Change, str]] = {
    "method gone": (lambda m: m.delattr(paramiko.Transport, "_auth_trigger"), "Transport._auth_trigger is missing"),
    "method replaced by ours takes more": (
        lambda m: m.setattr(paramiko.Transport, "_verify_key", later),
        "Transport._verify_key takes other arguments",
    ),
    "method that ours calls takes less": (
        lambda m: m.setattr(paramiko.SSHClient, "connect", narrower),
        "SSHClient.connect takes other arguments",
    ),
    "table gone": (lambda m: m.delattr(paramiko.Transport, "_kex_info"), "Transport._kex_info is missing"),
    "class gone": (lambda m: m.delattr("paramiko.packet.Packetizer"), "Packetizer"),
    "number gone": (lambda m: m.delattr("paramiko.common.MSG_USERAUTH_BANNER"), "MSG_USERAUTH_BANNER is missing"),
    "attribute gone": (lambda m: m.setattr(paramiko, "Transport", Slotted), "Transport has no _channels"),
    "fabric's connection is another": (
        lambda m: m.setattr(fabric.Connection, "__init__", lambda self, host: None),
        "Connection.__init__ takes other arguments",
    ),
    "fabric's configuration is another": (
        lambda m: m.setattr(fabric.Config, "__init__", lambda self: None),
        "Config.__init__ takes other arguments",
    ),
    "looking raises": (lambda m: m.setattr(inspect, "signature", 1), "raised TypeError"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_library_that_changed_is_named_and_ssh_is_used(
    change: Change, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        change(patch)
        differs = internals.unexpected()
        choice = transports.choose(None)
        with pytest.raises(InputError, match="use --transport openssh, or `pip install") as refused:
            transports.choose("paramiko")
        patch.setattr(shutil, "which", lambda _name: None)
        with pytest.raises(InputError, match="needs the ssh program"):
            transports.choose(None)
    assert differs
    assert said in differs
    assert choice.name == "openssh"
    assert "as by --transport openssh" in choice.because
    assert f"paramiko {paramiko.__version__}" in choice.because
    assert "\n" not in choice.because + str(refused.value)


def test_what_was_asked_for_by_name_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(paramiko.Transport, "_auth_trigger")
    assert transports.choose("openssh") == transports.Choice("openssh")


def test_the_advice_and_the_package_name_the_same_versions() -> None:
    wanted = (ROOT / "pyproject.toml").read_text()
    for requirement in re.findall(r"'([^']+)'", transports._TESTED):
        assert f'"{requirement}"' in wanted


def inventory(sshd: Sshd, folder: Path, *numbers: int) -> Path:
    known = sshd.known([f"127.8.0.{number}" for number in numbers], folder / "known")
    hosts = {f"serve{number}": sshd.variables(f"127.8.0.{number}") for number in numbers}
    for variables in hosts.values():
        words = str(variables["ansible_ssh_common_args"])
        variables["ansible_ssh_common_args"] = words.replace(str(sshd.known_hosts), str(known))
    path = folder / "hosts.json"
    path.write_text(json.dumps({"serving": {"hosts": hosts}}))
    return path


def audit(folder: Path, path: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": path, "SSH_AUTH_SOCK": ""}
    command = [sys.executable, "-m", "numatune", "audit", "-i", "hosts.json", "--store", "none", "--format", "json"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, env=environment, cwd=folder, timeout=180, check=False
    )


# As it may come: another package of that name in front of the installed one.
FUTURES = {
    "it lacks a module": "from __future__ import annotations\n__version__ = '6.0.0'\nclass SSHClient: ...\n",
    "it cannot be imported": "raise ImportError('cryptography is too new')\n",
}


@pytest.mark.parametrize("text", FUTURES.values(), ids=FUTURES)
def test_a_future_paramiko_leaves_the_fleet_reachable(sshd: Sshd, tmp_path: Path, text: str) -> None:
    future = tmp_path / "future"
    (future / "paramiko").mkdir(parents=True)
    (future / "paramiko/__init__.py").write_text(text)
    (future / "paramiko-6.0.0.dist-info").mkdir()
    (future / "paramiko-6.0.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: paramiko\nVersion: 6.0.0\n")
    inventory(sshd, tmp_path, 1)
    done = audit(tmp_path, f"{future}:{ROOT}")
    assert done.returncode in (0, 1, 3), done.stderr
    report = json.loads(done.stdout)
    assert [host["error"] for host in report["hosts"]] == [None]
    said = [line for line in done.stderr.splitlines() if "paramiko 6.0.0" in line]
    assert len(said) == 1
    assert "your ssh program is used instead" in said[0]
    assert report["transport"] == {"name": "openssh", "because": said[0].removeprefix("numatune: ")}
    refused = audit(tmp_path, f"{future}:{ROOT}", "--transport", "paramiko")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "use --transport openssh" in refused.stderr
    asked = audit(tmp_path, f"{future}:{ROOT}", "--transport", "openssh")
    assert "paramiko" not in asked.stderr
    assert "transport" not in json.loads(asked.stdout)


def floor() -> str:
    """Return a folder with the oldest paramiko, fabric and invoke that pyproject.toml allows; skip without them."""
    oldest = re.findall(r'"((?:paramiko|fabric|invoke))>=([0-9.]+),', (ROOT / "pyproject.toml").read_text())
    assert len(oldest) == 3
    wanted = [f"{name}=={version}.0" if version.count(".") == 1 else f"{name}=={version}" for name, version in oldest]
    folder = ROOT / "build/floor" / "-".join([*wanted, f"py{sys.version_info[0]}{sys.version_info[1]}"])
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--target", folder, *wanted], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            pytest.skip(f"{' '.join(wanted)} cannot be installed here: {done.stderr.strip()[-200:]}")
        (folder / "made").touch()
    return str(folder)


@pytest.mark.parametrize("oldest", [False, True], ids=["installed", "floor"])
def test_a_server_with_curve25519_under_its_standard_name_alone(sshd: Sshd, tmp_path: Path, oldest: bool) -> None:
    """A real server, the program as it is started, and by a jump host of its kind, at both ends of the versions."""
    lines = ["KexAlgorithms curve25519-sha256"]
    with Sshd(tmp_path / "strict", lines=lines, keys_of=sshd) as server:
        path = inventory(server, tmp_path, 1, 2)
        hosts = json.loads(path.read_text())
        known = server.known(["127.8.0.1", "127.8.0.2", "127.8.0.9"], tmp_path / "known")
        config = tmp_path / "ssh_config"
        config.write_text(
            f"Host *\n Port {server.port}\n User {server.user}\n IdentityFile {server.key}\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {known}\n GlobalKnownHostsFile /dev/null\n"
            "Host behind\n HostName 127.8.0.2\n ProxyJump 127.8.0.9\n"
        )
        hosts["serving"]["hosts"]["behind"] = {}
        path.write_text(json.dumps(hosts))
        folders = f"{floor()}:{ROOT}" if oldest else str(ROOT)
        done = audit(tmp_path, folders, "--transport", "paramiko", "-F", str(config))
    assert done.returncode in (0, 1, 3), done.stderr
    report = json.loads(done.stdout)
    assert {host["name"]: host["error"] for host in report["hosts"]} == {
        "serve1": None,
        "serve2": None,
        "behind": None,
    }, done.stderr
    assert "transport" not in report


@pytest.mark.slow
def test_the_whole_session_with_the_oldest_libraries() -> None:
    """The tests of the session itself, against its real and its lying servers."""
    environment = {**os.environ, "PYTHONPATH": floor()}
    code = "import paramiko, fabric, invoke; print(paramiko.__version__, fabric.__version__, invoke.__version__)"
    seen = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert seen.stdout.split()[0].startswith("3.4."), seen.stderr
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/fleet/test_ssh.py"]
    done = subprocess.run(
        [*command, "tests/fleet/test_ssh_hostile.py"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
