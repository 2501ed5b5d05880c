"""ssh_config means what the ssh binary says that it means, and what it cannot mean here is said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from numatune.transport.endpoint import Endpoint, chosen
from numatune.transport.ssh_config import SshConfigError, asked, resolve
from numatune.transport.ssh_config.words import tokens, variables

SSH = shutil.which("ssh")
needs_ssh = pytest.mark.skipif(SSH is None, reason="the ssh binary is not here to compare with")

# name -> (configuration, the words to ask for). {dir} is the test's own folder.
# ruff: noqa: ISC004 -- long texts of one file each
CASES: dict[str, tuple[str, str]] = {
    "nothing": ("", "web1 root@web2 10.0.0.1 127.1 ::1 WEB3"),
    "host-name": ("Host a\n HostName %h.Example.COM\nHost b*\n HostName 127.2\n", "a b bc A"),
    "first-wins": ("Host a\n Port 2222\nHost *\n Port 22\n User all\n Port 24\nHost a\n User late\n", "a b"),
    "patterns": ("Host *.lan !bad.lan web-?\n User lan\nHost !x *\n Port 7\n", "a.lan bad.lan web-1 web-12 x WEB-1"),
    "equals": ("Host=a\n Port = 2222\n User=\tme\n IdentityFile=~/.ssh/k\n", "a"),
    "quotes": ('Host "a" \'b\'\n IdentityFile "~/.ssh/my key"\n User "a b"\n"Port" 23\n', "a b"),
    "escapes": ('Host a\n IdentityFile ~/.ssh/my\\ key\n IdentityFile "/a\\"b"\n IdentityFile /a\\\\b\n', "a"),
    "comments": ("# x\nHost a # b\n Port 2222 # why\n  #User x\n User y#z\n", "a b"),
    "crlf": ("Host a\r\n Port 2222\r\n User u\r\n", "a"),
    "case": ("HOST a\n hostNAME B.Example\n PORT 2222\n", "a"),
    "identities": (
        "Host a\n IdentityFile ~/.ssh/a\n IdentityFile %d/k/%%\nHost *\n IdentityFile ~/.ssh/b\n IdentitiesOnly yes\n"
        " IdentityFile ~/.ssh/a\n",
        "a b",
    ),
    "identity-none": ("Host a\n IdentityFile none\n", "a b"),
    "agent": (
        "Host a\n IdentityAgent none\nHost b\n IdentityAgent ~/s.sock\nHost c\n IdentityAgent SSH_AUTH_SOCK\n",
        "a b c d",
    ),
    "known-hosts": (
        'Host a\n UserKnownHostsFile ~/k1 "{dir}/k 2" ~/%h ${{NUMATUNE_TEST}}/k\n GlobalKnownHostsFile /g1 /g2\n'
        "Host b\n UserKnownHostsFile /dev/null\nHost *\n UserKnownHostsFile /later\n",
        "a b c",
    ),
    "known-hosts-none": ("Host a\n UserKnownHostsFile none\n GlobalKnownHostsFile /dev/null\n", "a b"),
    "alias": ("Host a\n HostKeyAlias FooBar\n HashKnownHosts yes\n", "a b"),
    "strict": (
        "Host a\n StrictHostKeyChecking yes\nHost b\n StrictHostKeyChecking accept-new\nHost c\n"
        " StrictHostKeyChecking ask\nHost e\n StrictHostKeyChecking true\n",
        "a b c d e",
    ),
    "times": (
        "Host a\n ConnectTimeout 1m30\n ServerAliveInterval 1h\n ServerAliveCountMax 7\nHost b\n ConnectTimeout none\n"
        " ConnectTimeout 9\nHost c\n ConnectTimeout 3\n",
        "a b c d",
    ),
    "jump": (
        "Host a\n ProxyJump u@j:2222\nHost b\n ProxyJump j1,x@j2:23,[::1]:24\nHost c\n ProxyJump ssh://u@j/\n",
        "a b c",
    ),
    "jump-none": ("Host a j\n ProxyJump none\nHost b\n ProxyJump NONE # no\nHost *\n ProxyJump j\n", "a b c"),
    "jump-first": ("Host a\n ProxyJump j\n ProxyCommand c %h\nHost b\n ProxyCommand none\n ProxyJump j\n", "a b"),
    "match": (
        "Match host web*,!web2\n User m\nMatch originalhost a\n HostName web9\nMatch host web9 user m\n Port 5\n"
        "Match !host web* originalhost !x,*\n Port 6\nMatch all\n User rest\n",
        "web1 web2 a x WEB1 y",
    ),
    "match-user": (
        "Match user root\n Port 5\nMatch localuser nobody-at-all\n Port 6\nMatch User m* Host=a\n Port 7\n",
        "a m@a m@b",
    ),
    "match-final": (
        "Match final host *.example.com\n User f\n IdentityFile ~/f\nMatch canonical\n Port 9\nHost a\n"
        " HostName a.Example.com\nHost a.example.com\n Compression yes\nMatch !final\n ServerAliveInterval 4\n",
        "a b",
    ),
    "include": ("Include {dir}/inc.d/*.conf {dir}/absent\nHost *\n User rest\n", "a inner b"),
    "include-in-host": ("Host a\n Include {dir}/inc.d/*.conf\nPort 77\nHost *\n User rest\n", "a inner b"),
    "algorithms": (
        "Host a\n Ciphers aes256-gcm@openssh.com,aes128-ctr\n KexAlgorithms +diffie-hellman-group14-sha1\n"
        " HostKeyAlgorithms -ecdsa*\n MACs ^hmac-sha2-512\nHost *\n Ciphers aes128-ctr\n",
        "a b",
    ),
    "flags": ("Host a\n Compression yes\n IdentitiesOnly true\n AddressFamily inet6\nHost b\n Compression no\n", "a b"),
    "other-options": ("Host a\n SendEnv LANG LC_*\n ForwardAgent yes\n RemoteCommand x y\n User u\n", "a"),
}
INCLUDED = {"10.conf": "Port 2200\nHost inner\n Compression yes\n", "20.conf": "Host a\n HostName included\n"}


def said_by_ssh(config: Path, word: str) -> dict[str, list[str]]:
    """Return keyword -> values that `ssh -G` prints."""
    assert SSH is not None
    told = subprocess.run(
        [SSH, "-G", "-F", config, word], capture_output=True, text=True, check=True, errors="surrogateescape"
    ).stdout
    found: dict[str, list[str]] = {}
    for line in told.split("\n")[:-1]:
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


ALGORITHMS = ("ciphers", "kexalgorithms", "hostkeyalgorithms", "macs")
HOME = Path.home()
NO_FILES = ("none", "/dev/null", str(HOME / ".ssh/id_xmss"), str(HOME / ".ssh/id_dsa"))


def of_ssh(said: dict[str, list[str]]) -> dict[str, object]:
    """Return the fields that are compared, from what ssh prints; it leaves `~` and tokens in names of keys."""
    one = {key: values[0] for key, values in said.items()}
    known = {"d": str(HOME), "h": one["hostname"], "n": one["host"], "r": one["user"], "p": one["port"]}
    keys = [tokens(re.sub("^~", str(HOME), path), known) for path in said["identityfile"]]
    keys = [variables(path, os.environ) for path in keys]
    return {
        "hostname": one["hostname"],
        "port": int(one["port"]),
        "user": one["user"],
        "identities_only": one["identitiesonly"] == "yes",
        "use_agent": one.get("identityagent") != "none",
        "identity_files": keys,
        "known_hosts": f"{one['userknownhostsfile']} {one['globalknownhostsfile']}".split(" "),
        "host_key_alias": one.get("hostkeyalias"),
        "strict": "accept-new" if one["stricthostkeychecking"] == "accept-new" else "strict",
        "hash_known_hosts": one["hashknownhosts"] == "yes",
        "connect_timeout_s": None if one["connecttimeout"] in ("none", "0") else float(one["connecttimeout"]),
        "alive_interval_s": int(one["serveraliveinterval"]),
        "alive_count": int(one["serveralivecountmax"]),
        "address_family": one["addressfamily"],
        "jumps": one.get("proxyjump", "none").lower(),
        **{key: one[key].split(",") for key in ALGORITHMS},
    }


def of_endpoint(endpoint: Endpoint, usual: dict[str, list[str]]) -> dict[str, object]:
    """Return the same fields of an endpoint; algorithms that ssh_config does not set are ssh's usual ones."""
    named = (endpoint.ciphers, endpoint.kex, endpoint.hostkeyalgorithms, endpoint.macs)
    jumps = [jump.alias.lower().removeprefix("ssh://").rstrip("/") for jump in endpoint.jumps]
    plain = {key: getattr(endpoint, key) for key in of_ssh(usual) if key not in (*ALGORITHMS, "jumps")}
    return {
        **plain,
        "jumps": ",".join(jumps) or "none",
        # ssh prints names that hold a blank without quotes.
        "known_hosts": " ".join(endpoint.known_hosts).split(" "),
        **{
            key: list(chosen(each, tuple(usual[key][0].split(","))))
            for each, key in zip(named, ALGORITHMS, strict=True)
        },
    }


def differences(path: Path, word: str, usual: dict[str, list[str]]) -> dict[str, tuple[object, object]]:
    """Return field -> (ssh's, ours) where they differ."""
    wanted = of_ssh(said_by_ssh(path, word))
    got = of_endpoint(resolve(word, config=path), usual)
    for fields in (wanted, got):
        for key in ("identity_files", "known_hosts"):
            names = cast("Sequence[str]", fields[key])
            fields[key] = [os.path.abspath(name) for name in names if name.lower() not in NO_FILES]  # noqa: PTH100  # as ssh makes a path absolute: by its text
    return {key: (wanted[key], got[key]) for key in wanted if wanted[key] != got[key]}


@pytest.fixture(scope="module")
def usual() -> dict[str, list[str]]:
    return said_by_ssh(Path("/dev/null"), "x")


def prepare(folder: Path, text: str) -> Path:
    included = folder / "inc.d"
    included.mkdir()
    for name, content in INCLUDED.items():
        (included / name).write_text(content)
        (included / name).chmod(0o600)
    config = folder / "config"
    config.write_bytes(text.replace("{dir}", str(folder)).replace("${{", "${").replace("}}", "}").encode())
    return config


@needs_ssh
@pytest.mark.parametrize("name", CASES)
def test_ssh_says_the_same(
    name: str, tmp_path: Path, usual: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMATUNE_TEST", "/from/environment")
    text, asked = CASES[name]
    config = prepare(tmp_path, text)
    assert {word: differences(config, word, usual) for word in asked.split()} == {word: {} for word in asked.split()}


def config(folder: Path, text: str) -> Path:
    path = folder / "ssh_config"
    path.write_text(text)
    return path


def test_jump_hosts_have_settings_of_their_own(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "Host j1\n HostName 10.0.0.1\n User jump\n ProxyJump first:2200\nHost j2\n Port 2222\n ProxyJump never\n"
        " UserKnownHostsFile /k2\nHost web*\n ProxyJump j1,other@j2\n",
    )
    jumps = resolve("web1", config=path).jumps
    # As `ssh -J` does it: the first of a chain is reached by its own ProxyJump, the others through the chain alone.
    assert [(jump.hostname, jump.port) for jump in jumps] == [("first", 2200), ("10.0.0.1", 22), ("j2", 2222)]
    assert [jump.user for jump in jumps][1:] == ["jump", "other"]
    assert jumps[2].known_hosts[0] == "/k2"
    assert all(jump.jumps == () for jump in jumps)


def test_a_jump_that_leads_back_to_itself_is_said(tmp_path: Path) -> None:
    path = config(tmp_path, "Host *\n ProxyJump bastion\n")
    with pytest.raises(SshConfigError, match="leads back to itself"):
        resolve("web1", config=path)


def test_tokens_of_a_jump_and_of_a_key(tmp_path: Path) -> None:
    text = "Host a\n HostName a.lan\n ProxyJump %r@gate-%n:2222\n User me\n IdentityFile /k/%h/%n/%r/%p\n"
    path = config(tmp_path, text)
    endpoint = resolve("a", config=path)
    assert (endpoint.jumps[0].hostname, endpoint.jumps[0].user) == ("gate-a", "me")
    assert endpoint.identity_files == ("/k/a.lan/a/me/22",)


@pytest.mark.parametrize("said", ["no", "off", "false", "ask", "yes"])
def test_only_accept_new_takes_new_keys(said: str, tmp_path: Path) -> None:
    path = config(tmp_path, f"StrictHostKeyChecking {said}\nUserKnownHostsFile /dev/null\n")
    endpoint = resolve("a", config=path)
    assert endpoint.strict == "strict"
    unchecked = said not in ("ask", "yes")
    assert (endpoint.known_hosts[0] != "/dev/null") == unchecked
    assert bool(endpoint.notes) == unchecked
    assert resolve("a", config=path, host_keys="accept-new").strict == "accept-new"


def test_host_keys_given_outright_win_for_jump_hosts_too(tmp_path: Path) -> None:
    path = config(tmp_path, "StrictHostKeyChecking accept-new\nHost a\n ProxyJump b\n")
    assert resolve("a", config=path).jumps[0].strict == "accept-new"
    endpoint = resolve("a", config=path, host_keys="strict")
    assert (endpoint.strict, endpoint.jumps[0].strict) == ("strict", "strict")


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("ProxyCommand nc %h %p\n", "ProxyCommand"),
        ("RevokedHostKeys /r\n", "RevokedHostKeys"),
        ("CertificateFile /c\n", "CertificateFile"),
        ("CanonicalizeHostname yes\n", "CanonicalizeHostname"),
        ("PreferredAuthentications gssapi-with-mic\n", "no method but gssapi-with-mic"),
        ("PubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", "no method but"),
        ("Host a\n ProxyJump j\nHost j\n ProxyCommand x\n", "ProxyCommand of jump host j"),
    ],
)
def test_what_only_openssh_can_honour_is_said(text: str, phrase: str, tmp_path: Path) -> None:
    assert [each for each in resolve("a", config=config(tmp_path, text)).unsupported if phrase in each]


def test_a_command_that_gives_keys_has_arguments(tmp_path: Path) -> None:
    path = config(tmp_path, "Host special\n KnownHostsCommand /usr/local/bin/khc %I %H %t # all of it\n")
    assert resolve("special", config=path).unsupported == ("KnownHostsCommand",)
    assert resolve("other", config=path).unsupported == ()


@pytest.mark.parametrize(("said", "bits"), [("", 1024), ("RequiredRSASize 3072\n", 3072), ("Port 1\n", 1024)])
def test_the_length_of_rsa_keys(said: str, bits: int, tmp_path: Path) -> None:
    assert resolve("a", config=config(tmp_path, said)).rsa_bits == bits


def test_match_exec_runs_nothing_and_is_said_where_it_decides(tmp_path: Path) -> None:
    path = config(tmp_path, f'Match host a exec "touch {tmp_path}/ran"\n Port 5\nMatch exec false user no\n Port 6\n')
    assert [each.partition(" (")[0] for each in resolve("a", config=path).unsupported] == ["Match exec"]
    assert resolve("b", config=path).unsupported == ()
    assert not (tmp_path / "ran").exists()


def test_a_command_line_comes_before_the_files(tmp_path: Path) -> None:
    path = config(tmp_path, "Host a\n Port 1\n User x\n IdentityFile /f\n ProxyJump j\n HostName h\n")
    options = {"proxyjump": "none", "connecttimeout": "7", "userknownhostsfile": '/a "/b c"', "identityfile": ("/o p",)}
    given = {"user": "me", "identity_file": "/g", "alias": "web 1", "options": options}
    endpoint = resolve("a:2222", given, path)
    assert (endpoint.alias, endpoint.hostname, endpoint.port, endpoint.user) == ("web 1", "h", 2222, "me")
    assert endpoint.identity_files == ("/g", "/o p", "/f")
    assert endpoint.known_hosts[:2] == ("/a", "/b c")
    assert (endpoint.jumps, endpoint.connect_timeout_s) == ((), 7.0)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Port x\n", ":1: not a port"),
        ("\nHost a\nPort 1 2\n", ":3: port takes one argument"),
        ("User\n", ":1: "),
        ('User "a\n', ":1: a quote that does not end"),
        ("Match all host a\n", ":1: Match all"),
        ("StrictHostKeyChecking maybe\n", ":1: stricthostkeychecking"),
        ("ConnectTimeout soon\n", ":1: not a time"),
        ("Compression 1\n", ":1: compression"),
        (
            "Host b\n\tUserKnowHostsFile /k\n",
            ":2: userknowhostsfile: no keyword of ssh_config: take it out, or name it",
        ),
        ("IgnoreUnknown Zork\nZork 1\nZorks 1\n", ":3: zorks: no keyword"),
        ("Host other\n IgnoreUnknown Zork\n Zork 1\n", ":3: zork: no keyword of ssh_config, and no IgnoreUnknown"),
        ("Host other\n BatchMode maybe\n", ":2: batchmode: not yes or no: 'maybe'"),
        ("LogLevel loud\n", ":1: loglevel: 'loud' is none of quiet"),
        ("RekeyLimit 1\n", ":1: rekeylimit: "),
        ("Ciphers aes128-ctr,foo\n", ":1: ciphers: Bad SSH2 cipher spec 'aes128-ctr,foo'"),
        ("Host other\n LocalForward 1\n", ":2: localforward: "),
        ("SendEnv A=b\n", ":1: sendenv: no name of a variable"),
        ("Match colour red\n", ":1: Match: "),
        ("Host\n", ":1: Host lacks a name"),
        ("ProxyCommand x 'y\n", ":1: a quote that does not end"),
        ("Match !!all\n", ":1: Match !!all needs an argument"),
        ("Match !!all x\n", ":1: Match '!!all': ssh knows no such criterion"),
        ("Match !!final\n", ":1: Match !!final needs an argument"),
        ("Match !!host x\n", ":1: Match '!!host': ssh knows no such criterion"),
        ("Match ! all\n", ":1: Match '!': ssh knows no such criterion"),
        ("Match all all\n", ":1: Match all stands alone"),
        ("ServerAliveInterval 3600w\n", ":1: not a time: '3600w' is more than 2147483647 seconds"),
        ("ServerAliveInterval 2147483648\n", ":1: not a time"),
        ("ServerAliveInterval 1s2147483647\n", ":1: not a time"),
        ("Host other\n ServerAliveInterval 3551w\n", ":2: not a time"),
        ("ConnectTimeout 99999999999\n", ":1: not a time"),
        ("ConnectTimeout 35000000w\n", ":1: not a time"),
        ("ConnectTimeout 9223372036854775808\n", ":1: not a time"),
        ("ConnectTimeout -1\n", ":1: not a time"),
        ("ConnectTimeout 1\u0661\n", ":1: not a time"),
        ("ForwardX11Timeout 3600w\n", ":1: not a time"),
        (f"ConnectTimeout {'1' * 3000}x\n", ":1: not a time"),
        (f"ConnectTimeout {'1' * 30}\n", ":1: not a time"),
        ("ConnectTimeout -01\n", ":1: not a time"),
        (f"UserKnownHostsFile{' /k' * 33}\n", ":1: userknownhostsfile: more than 32 files"),
        (f"Host b\n GlobalKnownHostsFile{' /k' * 33}\n", ":2: globalknownhostsfile: more than 32 files"),
        ("chec\u212ahostip yes\n", ":1: chec"),
        ('"AddKeysToAgent" = yes\n', ":1: addkeystoagent: unsupported option"),
        ("Host other\n AddKeysToAgent maybe\n", ":2: addkeystoagent: unsupported option"),
    ],
)
def test_a_bad_line_is_named(text: str, where: str, tmp_path: Path) -> None:
    path = config(tmp_path, text)
    with pytest.raises(SshConfigError) as raised:
        resolve("b", config=path)
    assert where in str(raised.value)
    assert shutil.which("ssh") is None or not taken_by_ssh(path)


@needs_ssh
@pytest.mark.parametrize(
    "text",
    [
        "Match !all\n",
        "Match canonical !all\n",
        "Match !final all\n",
        "ServerAliveInterval 2147483647\n",
        "ServerAliveInterval 1s2147483646\n",
        "ServerAliveInterval 3550w\n",
        "ConnectTimeout +5\n",
        'ConnectTimeout "1m 5"\n',
        "ConnectTimeout -0\n",
        f"ConnectTimeout {'0' * 30}10\n",
        f"UserKnownHostsFile{' /k' * 32}\nUserKnownHostsFile{' /k' * 33}\n",
        f"Host other\n GlobalKnownHostsFile{' /k' * 33}\n",
    ],
)
def test_a_line_that_looks_bad_is_taken_where_ssh_takes_it(text: str, tmp_path: Path) -> None:
    path = config(tmp_path, text)
    assert (taken(path), taken_by_ssh(path)) == (True, True)


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Put another ssh in the place of this machine's, None for none."""
    (folder / "bin").mkdir()
    if text is not None:
        (folder / "bin/ssh").write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}" + (os.pathsep + os.environ["PATH"] if text else ""))
    asked.refused.cache_clear()


def test_a_keyword_that_only_the_ssh_here_knows_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "cat >/dev/null; exit 0")
    path = config(tmp_path, "Host a\n Quantum 7\n User me\nMatch entangled yes\n Port 5\n")
    assert resolve("a", config=path).unsupported == (f"quantum ({path}:2)", f"Match entangled ({path}:4)")
    assert resolve("a", config=path).sure is False
    assert resolve("a", {"options": {"spin": "up"}}, "none").unsupported == ("the option spin",)


@needs_ssh
def test_a_keyword_that_only_the_table_here_knows_may_be_ignored(tmp_path: Path) -> None:
    # One that the ssh here does not know: Apple's, or Red Hat's.
    names = ("UseKeychain", "RSAMinSize")
    foreign = next(word for word in names if "Bad configuration" in str(asked.refused((f"{word} 1024",))))
    head = f"IgnoreUnknown X,{foreign}\n"
    for text in (
        f"{head}{foreign} yes\n",
        f"Host b\n{head}Host *\n{foreign} yes\n",
        f"{head}Host other\n{foreign} yes\nAFSTokenPassing no\nSmartcardDevice 0\nUser x\n",
        f"{foreign} yes\n",
        f"{foreign} yes\n{head}",
        f"Host other\n{head}{foreign} yes\n",
        f"IgnoreUnknown {foreign}x\n{foreign} yes\n",
        "IgnoreUnknown RekeyLimit\nRekeyLimit 1\n",
        "IgnoreUnknown RekeyLimit\nRekeyLimit 1G\n",
    ):
        path = config(tmp_path, text)
        assert taken(path) == taken_by_ssh(path), text
    lines = {"ignoreunknown": "X,usekeychain", "usekeychain": "yes", "x": "1"}
    assert resolve("b", {"options": lines}, "none").sure
    with pytest.raises(SshConfigError, match="the option usekeychain"):
        resolve("b", {"options": {"usekeychain": "yes", "ignoreunknown": "X,usekeychain"}}, "none")


def taken(path: Path) -> bool:
    try:
        resolve("b", config=path)
    except SshConfigError:
        return False
    return True


def taken_by_ssh(path: Path) -> bool:
    return subprocess.run(["ssh", "-G", "-F", path, "b"], capture_output=True, timeout=60, check=False).returncode == 0


def test_without_an_ssh_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, None)
    good = config(tmp_path, "Ciphers +new-cipher\nRekeyLimit x\nUser me\n")
    assert resolve("a", config=good).user == "me"
    with pytest.raises(SshConfigError, match=":1: quantum: no keyword of ssh_config"):
        resolve("a", config=config(tmp_path, "Quantum 7\n"))
    with pytest.raises(SshConfigError, match="the option quantum of a: no keyword"):
        resolve("a", {"options": {"quantum": "7"}}, "none")


@needs_ssh
def test_an_option_that_ssh_refuses_is_refused() -> None:
    for options in ({"ciphers": "foo"}, {"zork": "1"}, {"batchmode": "maybe"}, {"setenv": "A=b\nProxyCommand x"}):
        with pytest.raises(SshConfigError, match=next(iter(options))):
            resolve("a", {"options": options}, "none")
    assert resolve("a", {"options": {"ciphers": "aes128-ctr", "rekeylimit": "1G"}}, "none").sure


@needs_ssh
def test_no_doubtful_line_runs_a_command(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = config(tmp_path, f'Match exec "touch {ran}"\n RekeyLimit 1G\nKnownHostsCommand /usr/bin/touch {ran}\n')
    assert resolve("a", config=path).unsupported
    assert not ran.exists()


# How a file, or an option, could begin a block of its own where ssh is asked about single lines.
BEGINNINGS = (
    "Match", "match", " MATCH", "\t Match", '"Match"', 'Ma"tch"', "=Match", " = Match", '"" Match', "\r Match",
    "Quantum 1\nMatch", "Quantum 1\rMatch", "Quantum 1\0Match", "RekeyLimit 1G\nMatch", "RekeyLimit 1G\0\nMatch",
    "Quantum=Match", "Match all\nMatch", "Host *\nMatch", 'Match colour "red" \nMatch', "Match colour red",
    'Match colour "red"', 'Match "colour red"', 'Match "colour" "red"', 'Match colour "red\\"', 'Match "colour" all',
    "Match colour=red", "Match colour=all", "Match ! all", "Match !colour red", 'Match "originalhost * exec"',
    "Match host *", 'Match host "*"', "Match originalhost *", "Match !originalhost x", "Match user=*", "Match",
    "Match localuser * colour red", "Match final", "Match canonical !colour red", "Match colour red #",
    f"Match originalhost {asked.NOBODY}", f"Match !originalhost {asked.NOBODY}", "M\u212aatch", "Match\f",
)  # fmt: skip


@needs_ssh
@pytest.mark.parametrize("form", ["file", "option", "line"])
@pytest.mark.parametrize("sign", [" ", "="])
def test_nothing_that_ssh_is_asked_runs_a_command(sign: str, form: str, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "config"
    for beginning in BEGINNINGS:
        for command in (f'"touch {ran}"', f"touch${{IFS}}{ran}", f'"touch {ran}'):
            text = f"{beginning}{sign}exec {command}"
            if form == "line":
                asked.refused((text, f"Quantum {text}"))
            else:
                path.write_text(f"{text}\n RekeyLimit 1G\n")
                word, _, rest = text.partition(" ")
                options = {word: rest, text: "", "quantum": text, "setenv": f"A=b {text}"}
                for key, value in options.items() if form == "option" else [("", "")]:
                    with suppress(SshConfigError):
                        resolve("a", {"options": {key: value}} if key else {}, "none" if key else path)
            assert not ran.exists(), text


@pytest.mark.parametrize("word", ["match", "Match", '"match"', "=match", "host", "Include", ' In"clude"'])
def test_an_option_begins_no_block(word: str, tmp_path: Path) -> None:
    ran, included = tmp_path / "ran", tmp_path / "included"
    included.write_text(f'Match exec "touch {ran}"\n')
    value = {"h": "*", "i": str(included)}.get(word.strip(' "=')[0].lower(), f'exec "touch {ran}"')
    with pytest.raises(SshConfigError, match="ssh takes no Host, Match or Include on its command line"):
        resolve("a", {"options": {word: value}}, "none")
    assert not ran.exists()


@pytest.mark.parametrize("word", ["", "-oProxyCommand=x", "u@-x", "@a", "-l@a", "a b", "a:0", "a:99999", "a\x1b[0m"])
def test_a_word_that_is_no_host(word: str) -> None:
    with pytest.raises(SshConfigError):
        resolve(word, config="none")


def test_an_included_file_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    included = tmp_path / "open"
    included.write_text("ProxyJump evil\n")
    included.chmod(0o666)
    with pytest.raises(SshConfigError, match="others may write"):
        resolve("a", config=config(tmp_path, f"Include {included}\n"))


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "ssh_config"
    path.write_text(f"Include {path}\n")
    path.chmod(0o600)
    with pytest.raises(SshConfigError, match="nested"):
        resolve("a", config=path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = config(tmp_path, "Port 1\n")
    assert resolve("a", config=path).port == 1
    path.write_text("Port 2222\n")
    assert resolve("a", config=path).port == 2222


def test_ten_thousand_hosts_with_a_block_each(tmp_path: Path) -> None:
    path = config(tmp_path, "".join(f"Host h{n}\n HostName 10.0.0.{n % 250}\n Port {n + 1}\n" for n in range(10_000)))
    assert [resolve(f"h{n}", config=path).port for n in range(0, 10_000, 10)] == list(range(1, 10_001, 10))


def test_the_word_goes_on_to_the_ssh_program_for_jump_hosts_too(tmp_path: Path) -> None:
    path = config(tmp_path, "Host web\n HostName 10.0.0.7\n HostKeyAlias w\n ProxyJump ops@gate:2200\n")
    end = resolve("nina@web:2222", config=path)
    assert (end.ssh_word, end.hostname, end.alias) == ("web", "10.0.0.7", "nina@web:2222")
    assert [jump.ssh_word for jump in end.jumps] == ["gate"]
