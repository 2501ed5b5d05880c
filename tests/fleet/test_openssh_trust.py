"""The ssh program is told what was given and numatune's own rules; all else it decides itself, as without numatune."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from fleet.sshd import Sshd, known_name, make_key

from numatune.transport.endpoint import Become, Endpoint, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.openssh import arguments, collect
from numatune.transport.openssh.config import opened as written
from numatune.transport.ssh import collect as by_paramiko
from numatune.transport.ssh_config import resolve

LIMITS = Limits(connect_s=10, banner_s=20, kex_s=20, auth_s=20, channel_s=20, total_s=60)
SCRIPT = "echo x\n"
HOST = "127.0.0.1"


def config(server: Sshd, folder: Path, *first: str) -> Path:
    """Write a file in which the host is known and its user can log in, behind the lines that are given."""
    path = folder / "config"
    lines = [
        *first,
        "Host *",
        f"Port {server.port}",
        f"User {server.user}",
        f"IdentityFile {server.key}",
        "IdentitiesOnly yes",
        "IdentityAgent none",
        f"UserKnownHostsFile {server.known_hosts}",
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def by_ssh(path: Path, host: str = HOST) -> bool:
    command = ["ssh", "-F", str(path), "-o", "BatchMode=yes", host, "true"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def reached(end: Endpoint) -> str:
    """Return "" where the script ran, else the phase in which it did not come to that."""
    try:
        assert collect(Target(end), SCRIPT, LIMITS) == "x\n"
    except Failure as failure:
        return failure.phase
    return ""


def files(server: Sshd, folder: Path) -> dict[str, Path]:
    """Return files of host keys: with the server's revoked, with another in their place, with none."""
    name = known_name(HOST, server.port)
    made = {kind: folder / kind for kind in ("revoked", "other", "none")}
    made["revoked"].write_text("".join(f"@revoked * {key}\n" for key in server.host_keys.values()))
    other = (make_key(folder / "key").parent / "key.pub").read_text()
    made["other"].write_text(f"{name} {other}")
    made["none"].touch()
    return made


BLOCKS = {
    "revoked": ("GlobalKnownHostsFile {revoked}", "hostkey"),
    "another key": ("UserKnownHostsFile {other}", "hostkey"),
    "no key": ("UserKnownHostsFile /dev/null", "hostkey"),
    "another name": ("HostKeyAlias somebody", "hostkey"),
    "another server": ("Port {port}", "tcp"),
    "another user": ("User numatune-nobody", "auth"),
    "no user's key": ("IdentityFile {other}\nPubkeyAuthentication no", "auth"),
    "refused": ("HostKeyAlgorithms ecdsa-sha2-nistp521", "kex"),
}


@pytest.mark.parametrize("policy", ["strict", "accept-new"])
@pytest.mark.parametrize("block", BLOCKS)
def test_what_ssh_alone_can_tell_counts(
    sshd: Sshd, tmp_path: Path, block: str, policy: Literal["strict", "accept-new"]
) -> None:
    lines, phase = BLOCKS[block]
    named = {**files(sshd, tmp_path), "port": 1}
    path = config(sshd, tmp_path, f'Match originalhost {HOST} exec "true"', *lines.format(**named).splitlines())
    end = resolve(HOST, config=path, host_keys=policy)
    before = {name: made.read_bytes() for name, made in files_in(tmp_path)}
    if policy == "strict":
        assert not by_ssh(path)
    elif block in ("no key", "another name"):
        return  # ssh takes the key there, and so may numatune
    assert reached(end) == phase
    assert {name: made.read_bytes() for name, made in files_in(tmp_path)} == before
    with pytest.raises(Failure, match="only the ssh program can honour Match exec"):
        by_paramiko(Target(end), SCRIPT, LIMITS, KnownHosts)


def files_in(folder: Path) -> list[tuple[str, Path]]:
    return [(path.name, path) for path in sorted(folder.iterdir()) if path.is_file()]


def test_what_was_given_outright_comes_first_all_the_same(sshd: Sshd, tmp_path: Path) -> None:
    path = config(sshd, tmp_path, "Match exec true", "Port 1", "User nobody", f"IdentityFile {tmp_path}/absent")
    given = {"port": sshd.port, "user": sshd.user, "identity_file": str(sshd.key)}
    assert reached(resolve(HOST, config=path)) == "tcp"
    assert reached(resolve(HOST, given, config=path)) == ""
    assert reached(resolve(f"{sshd.user}@{HOST}:{sshd.port}", {"identity_file": str(sshd.key)}, config=path)) == ""


def test_nothing_is_told_that_was_not_given(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "Port 24\nUser me\nIdentityFile /k\nUserKnownHostsFile /u\nIdentitiesOnly yes\nIdentityAgent none\n"
    )
    told = " ".join(arguments.words(resolve("one", config=path), LIMITS, False, "x"))
    for keyword in ("Port=", "User=", "Identit", "KnownHostsFile", "IgnoreUnknown", "ServerAlive"):
        assert keyword not in told
    given = resolve("you@one", {"port": 25, "identity_file": ("/a b", "~/%r")}, config=path)
    options = [word for word in arguments.words(given, LIMITS, False, "x") if "=" in word][-4:]
    assert options == ['User="you"', 'Port="25"', 'IdentityFile="/a b"', 'IdentityFile="~/%r"']


def test_no_rule_of_ssh_config_makes_an_unknown_key_good(sshd: Sshd, tmp_path: Path) -> None:
    new = tmp_path / "new"
    lines = ("Match exec true", "StrictHostKeyChecking no", f"UserKnownHostsFile {new}", "UpdateHostKeys yes")
    path = config(sshd, tmp_path, *lines)
    assert reached(resolve(HOST, config=path)) == "hostkey"
    assert not new.exists()
    assert reached(resolve(HOST, config=path, host_keys="accept-new")) == ""
    assert known_name(HOST, sshd.port) in new.read_text()


def test_nothing_but_a_key_on_file_vouches_for_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"verifyhostkeydns": ("yes", "false"), "gssapikeyexchange": ("yes", "no")}

    def printed(*words: str) -> dict[str, str]:
        told = subprocess.run(["ssh", "-G", *words], capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, told.stderr
        return dict(line.partition(" ")[::2] for line in told.stdout.splitlines() if line.partition(" ")[0] in foreign)

    known = "gssapikeyexchange" in printed("-F", "none", "one")
    assert arguments.knows_gssapi_keys() is known
    path = tmp_path / "config"
    path.write_text("VerifyHostKeyDNS yes\n" + "GSSAPIKeyExchange yes\n" * known + "Match host one\nProxyJump jump\n")
    end = resolve("one", {"options": {"verifyhostkeydns": "yes"}}, path)
    end = replace(end, ssh_args=("-o", "VerifyHostKeyDNS=yes"))
    assert printed("-F", str(path), "one")["verifyhostkeydns"] in ("yes", "true")
    safe = {word: no for word, (_, no) in foreign.items() if word == "verifyhostkeydns" or known}
    words = arguments.words(end, LIMITS, False, "x")
    assert printed(*words[1 : words.index("--")], "one") == safe
    with written(end) as file:
        assert file is not None
        assert printed("-F", file, "jump") == safe
    arguments.knows_gssapi_keys.cache_clear()
    monkeypatch.setattr(arguments, "refused", lambda _lines: {0: "Bad configuration option"})
    try:
        assert "GSSAPI" not in "".join(arguments.words(end, LIMITS, False, "x")).replace("GSSAPIDelegate", "")
        with written(end) as file:
            assert file is not None
            assert Path(file).read_text().lower().count("gssapi") == known
    finally:
        arguments.knows_gssapi_keys.cache_clear()


def test_no_check_and_no_file_are_the_usual_files_for_a_jump_host_too(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "Port 7\nHost jump\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nHost one\nProxyJump me@jump:24\n"
    )

    def files(*words: str) -> tuple[str, bool]:
        told = subprocess.run(["ssh", "-G", *words], capture_output=True, text=True, timeout=60, check=True).stdout
        return next(line for line in told.splitlines() if line.startswith("userknownhostsfile")), "port 7\n" in told

    (usual, _), given = files("-F", "none", "jump"), files("-F", str(path), "jump")
    assert given == ("userknownhostsfile /dev/null", True)
    end = resolve("one", config=path)
    with written(end) as file:
        assert file is not None
        assert files("-F", file, "jump") == (usual, True)
        assert files("-F", file, "another") == (usual, True)
        assert files("-F", file, "-o", "UserKnownHostsFile=/k", "jump") == ("userknownhostsfile /k", True)


def test_no_check_and_no_file_are_the_usual_files_there_too(sshd: Sshd, tmp_path: Path) -> None:
    # Taken as ssh takes it, accept-new would take whatever key comes, each time.
    lines = (
        "Match exec true",
        "StrictHostKeyChecking no",
        "UserKnownHostsFile /dev/null",
        f"HostKeyAlias {tmp_path.name}",
    )
    path = config(sshd, tmp_path, *lines)
    assert reached(resolve(HOST, config=path)) == "hostkey"


@pytest.mark.parametrize("policy", ["strict", "accept-new"])
def test_a_jump_host_that_ssh_alone_finds_is_checked(
    sshd: Sshd, tmp_path: Path, policy: Literal["strict", "accept-new"]
) -> None:
    new = tmp_path / "new"
    path = config(
        sshd, tmp_path, "Host jump", "HostName 127.0.0.7", "StrictHostKeyChecking no", f"UserKnownHostsFile {new}",
        f'Match originalhost {HOST} exec "true"', "ProxyJump jump",
    )  # fmt: skip
    with pytest.raises(Failure) as caught:
        collect(Target(resolve(HOST, config=path, host_keys=policy)), SCRIPT, LIMITS)
    assert (caught.value.phase, "jump host" in caught.value.message) == ("hostkey", True)
    assert not new.exists()
    new.write_text("".join(sshd.known_lines(["127.0.0.7"])))
    assert reached(resolve(HOST, config=path, host_keys=policy)) == ""


def test_a_command_that_gives_the_keys(sshd: Sshd, tmp_path: Path) -> None:
    other = files(sshd, tmp_path)["other"]
    for keys, phase in ((sshd.known_hosts, ""), (other, "hostkey")):
        lines = (f"KnownHostsCommand /bin/cat {keys}", f"UserKnownHostsFile {tmp_path}/none")
        path = config(sshd, tmp_path, *lines)
        assert by_ssh(path) == (phase == "")
        end = resolve(HOST, config=path)
        assert reached(end) == phase
        with pytest.raises(Failure, match="honour KnownHostsCommand: use --transport openssh"):
            by_paramiko(Target(end), SCRIPT, LIMITS, KnownHosts)


def test_keywords_that_the_user_wants_ignored_are(sshd: Sshd, tmp_path: Path) -> None:
    path = config(sshd, tmp_path, "IgnoreUnknown UseOfWhat", "UseOfWhat yes", "Match exec true", "Compression no")
    assert by_ssh(path)
    assert reached(resolve(HOST, config=path)) == ""


def test_who_logs_in_decides_whether_sudo_is_needed(sshd: Sshd, tmp_path: Path) -> None:
    path = config(sshd, tmp_path, "Match exec true", f"User {sshd.user}", "Match all", "User another")
    end = resolve(HOST, config=path)
    become = Become(user=sshd.user)
    assert collect(Target(Endpoint(**{**vars(end), "become": become})), SCRIPT, LIMITS) == "x\n"


# --- with other files in /etc, in a mount namespace of their own ---

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root, with unshare, can put other files into /etc",
)
_CHILD = """
from numatune.transport.limits import Limits
from numatune.transport.endpoint import Target
from numatune.transport.failure import Failure
from numatune.transport.openssh import collect
from numatune.transport.ssh_config import resolve
limits = Limits(connect_s=10, banner_s=20, kex_s=20, auth_s=20)
try:
    collect(Target(resolve({host!r}, config={config!r})), "echo x", limits)
    print("numatune:")
except Failure as failure:
    print("numatune:" + failure.phase)
"""


def told(folder: Path, mounts: dict[str, Path], host: str, config: Path | None = None) -> list[str]:
    """Return the exit status of ssh and the phase in which numatune failed ("" for none), with `mounts` in place."""
    child = folder / "child.py"
    child.write_text(_CHILD.format(host=host, config=config and str(config)))
    (folder / "empty").mkdir(exist_ok=True)
    if (Path.home() / ".ssh").is_dir():
        mounts = {**mounts, str(Path.home() / ".ssh"): folder / "empty"}
    option = f"-F {config}" if config else ""
    steps = [*(f"mount --bind {new} {old} || exit 9" for old, new in mounts.items())]
    steps += [f"ssh {option} -o BatchMode=yes {host} true", "echo ssh:$?", f"exec {sys.executable} {child}"]
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", "\n".join(steps)], capture_output=True, text=True, timeout=120, check=False
    )
    if "ssh:" not in ran.stdout:
        pytest.skip(f"no mount namespace here: {ran.stderr[-200:]}")
    assert "numatune:" in ran.stdout, ran.stderr
    return ran.stdout.split()


INCLUDES = (
    "Include site.conf",
    'Include="site.conf"',
    "Include absent.conf s?te.conf",
    "include 'site.conf' # x",
    "Include nested.d/*.conf",
    "Host *\n Include nested.d/*.conf",
    "Include /etc/ssh/site.conf",
)


@needs_root
@pytest.mark.parametrize(("include", "jump"), [(INCLUDES[0], False), *((each, True) for each in INCLUDES)])
def test_what_the_systems_file_includes_counts(sshd: Sshd, tmp_path: Path, include: str, jump: bool) -> None:
    etc = tmp_path / "ssh"
    (etc / "nested.d").mkdir(parents=True)
    (etc / "nested.d/one.conf").write_text("Match all\nInclude deeper.conf\n")
    (etc / "deeper.conf").write_text("Host *\nInclude site.conf\n")
    (etc / "ssh_known_hosts").write_text("".join(sshd.known_lines([HOST, "127.0.0.7"])))
    path = config(sshd, tmp_path, include, f"Host {HOST}", "ProxyJump 127.0.0.7" if jump else "Compression no")
    lines = path.read_text().splitlines(keepends=True)
    (etc / "ssh_config").write_text("".join(line for line in lines if "KnownHostsFile" not in line))
    public = [f"{key}.pub" for key in sshd._hosts.values()]
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", etc / "krl", *public], check=True, timeout=60)
    (etc / "site.conf").write_text("RevokedHostKeys /etc/ssh/krl\n")
    assert told(tmp_path, {"/etc/ssh": etc}, HOST) == ["ssh:255", "numatune:hostkey"]
    if include is INCLUDES[0]:
        (etc / "site.conf").write_text("Compression no\n")
        assert told(tmp_path, {"/etc/ssh": etc}, HOST) == ["ssh:0", "numatune:"]


@needs_root
@pytest.mark.parametrize("said", ["yes", "always"])
def test_names_made_canonical_by_ssh(sshd: Sshd, tmp_path: Path, said: str) -> None:
    (tmp_path / "hosts").write_text(f"{HOST} localhost\n127.0.0.7 web1.corp.test web1.corp.test.\n")
    (tmp_path / "known").write_text("".join(sshd.known_lines(["web1.corp.test"])))
    path = tmp_path / "config"
    path.write_text(
        f"CanonicalizeHostname {said}\nCanonicalDomains corp.test\nHost *.corp.test\n User {sshd.user}\n"
        f" Port {sshd.port}\n IdentityFile {sshd.key}\n IdentitiesOnly yes\n IdentityAgent none\n"
        f" UserKnownHostsFile {tmp_path}/known\n GlobalKnownHostsFile /dev/null\n"
    )
    end = resolve("web1", config=path)
    assert (end.sure, end.port, end.unsupported) == (False, 22, ("CanonicalizeHostname",))
    assert told(tmp_path, {"/etc/hosts": tmp_path / "hosts"}, "web1", path) == ["ssh:0", "numatune:"]
