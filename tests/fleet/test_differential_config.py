"""Random ssh_config files: each field of an endpoint is what `ssh -G` says, and what ssh refuses is refused."""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fleet.differential import seeds, some
from fleet.test_ssh_config import differences, said_by_ssh

from numatune.transport.ssh_config import SshConfigError, resolve

USUAL = 250
WORDS = ("a", "b", "web1", "WEB2", "10.0.0.1", "me@a", "a.lan", "127.1", "root@web1")
PATTERNS = ("a", "b", "web*", "web?", "!web1", "*", "*.lan", "A", "10.*", "!*.lan", "127.0.0.1", "web1,a", "c")
NAMES = ("%h.lan", "a", "b.lan", "10.0.0.2", "%h", "UPPER.lan", "%n", "127.2", "::1", "%%x", "a%h")
PATHS = (
    "~/.ssh/k",
    "/k/%h/%r",
    "%d/k",
    "${NUMATUNE_TEST}/k",
    "/k/a b",
    "none",
    "NONE",
    "k",
    "/k/%%",
    "/k/%p-%n",
    "~/%k",
    "/k/%C",
)
MATCHES = (
    "all", "host web*", "user me", "originalhost a", "localuser nobody", "!host a", "final", "canonical",
    "final host *.lan", "host a,b user me", "exec false", 'exec "true"', "user me,root host=a", "host", "foo bar",
    "all host a", "tagged x", "sessiontype shell", 'host "a" user me', "host a#b", "!all", "exec",
)  # fmt: skip
# keyword -> arguments, the good ones first.
LINES: dict[str, tuple[str, ...]] = {
    "Port": ("22", "2222", "ssh", "0", "65536", "x", "22 23", "-1", "+7", "007"),
    "User": ("me", "root", '"a b"', "a b", "", "me#x", "me # x"),
    "HostName": NAMES,
    "IdentityFile": PATHS[:9],
    "UserKnownHostsFile": (*PATHS, "/a /b", '"/a b" /c', "/dev/null"),
    "GlobalKnownHostsFile": ("/g", "/g /h", "none", "/dev/null", "~/g"),
    "HostKeyAlias": ("Alias", "al%%ias", "alias two"),
    "StrictHostKeyChecking": ("yes", "ask", "accept-new", "TRUE", "maybe", "Yes"),
    "HashKnownHosts": ("yes", "no", "YES", "1", "true"),
    "IdentitiesOnly": ("yes", "no", "on"),
    "IdentityAgent": ("none", "~/s", "SSH_AUTH_SOCK", "/a/%u"),
    "Compression": ("yes", "no", "false", "9", "delayed"),
    "AddressFamily": ("inet", "inet6", "any", "ANY", "ipv4"),
    "ConnectTimeout": ("5", "1m", "1m30s", "none", "-1", "1x", "0", "1h5", "NONE"),
    "ServerAliveInterval": ("5", "1h", "x", "0"),
    "ServerAliveCountMax": ("3", "+3", "x", "-1", "3.5", "1k"),
    "RequiredRSASize": ("2048", "0", "x"),
    "ProxyJump": ("j", "u@j:22", "none", "j,k", "[::1]:22", "ssh://u@j:24", "u@@j", "", "j:0", "j # x", "%h-gate"),
    "ProxyCommand": ("nc %h %p", "none", "", "x # y"),
    "KnownHostsCommand": ("/x %I %H", "/x", "none", ""),
    "Ciphers": ("aes128-ctr", "+aes128-cbc", "-aes*", "^aes256-ctr", "foo", "aes128-ctr,foo", "aes128-ctr aes256-ctr"),
    "KexAlgorithms": ("curve25519-sha256", "+diffie-hellman-group14-sha1", "-ecdh*", "foo"),
    "HostKeyAlgorithms": ("ssh-ed25519", "rsa-sha2-512,ssh-ed25519", "-ssh-*", "foo"),
    "MACs": ("hmac-sha2-256", "foo", "^hmac-sha2-512"),
    # What says nothing about a connection, but can be wrong.
    "SendEnv": ("LANG LC_*", "-X", "", "A=b"),
    "SetEnv": ("A=b", "A=b C=d", "A"),
    "LogLevel": ("INFO", "debug3", "loud"),
    "ForwardAgent": ("yes", "no", "~/s", "a b"),
    "LocalForward": ("80 a:80", "127.0.0.1:80 a:80", "x", "80"),
    "DynamicForward": ("1080", "a:1080", "x"),
    "RekeyLimit": ("1G 1h", "default none", "x", "1"),
    "IPQoS": ("af21 cs1", "lowdelay", "bogus", "0x10"),
    "ControlMaster": ("auto", "yes", "sometimes"),
    "ControlPersist": ("yes", "10m", "x", "0"),
    "ControlPath": ("none", "~/.ssh/%C", "a b"),
    "EscapeChar": ("none", "~", "^]", "abc"),
    "AddKeysToAgent": ("yes", "ask", "1h", "confirm 5m", "maybe"),
    "RequestTTY": ("force", "auto", "never"),
    "SessionType": ("none", "default", "shell"),
    "UpdateHostKeys": ("ask", "yes", "often"),
    "CanonicalDomains": ("lan", "a b", ""),
    "CanonicalizeMaxDots": ("1", "2", "x"),
    "NumberOfPasswordPrompts": ("1", "2", "x"),
    "ForwardX11Timeout": ("1h", "0", "x"),
    "PermitRemoteOpen": ("any", "a:22", "x:y:z"),
    "PubkeyAcceptedAlgorithms": ("+ssh-rsa", "ssh-ed25519", "foo"),
    "FingerprintHash": ("md5", "sha256", "crc"),
    "BatchMode": ("no", "false", "sure"),
    "LocalCommand": ("x y", "z", ""),
    "TunnelDevice": ("any:any", "1:2", "x"),
    "SyslogFacility": ("USER", "AUTH", "x"),
    "IgnoreUnknown": ("Zork", "Zork,Frob*", "*"),
    "Zork": ("1", ""),
    "Frobnicate": ("yes",),
    "Protocol": ("2", "1 2", ""),
    "RSAAuthentication": ("yes", "no", "x y"),
    "ChallengeResponseAuthentication": ("no", "yes", "x"),
    "GSSAPIKeyExchange": ("no", "yes", "x"),
    "Match": MATCHES,
    "Include": ("{dir}/more", "{dir}/more {dir}/absent", "absent-by-far", "", '"{dir}/more"', "{dir}/mor?"),
}  # fmt: skip
SPOILERS = (" ", "\t", "#", '"', "'", "\\", "=", "\r", "\f", "\0", "%", "$", "\x0b", "\xa0", ",")


def text(rng: random.Random, bad: float, depth: int = 0) -> str:
    """Return one file; `bad` is the share of arguments that may be wrong and of lines that are spoilt."""
    lines = []
    for _ in range(rng.randint(1, 9)):
        if rng.random() < 0.25:
            named = rng.random() < 0.6
            lines.append("Host " + " ".join(some(rng, PATTERNS)) if named else "Match " + rng.choice(MATCHES[:13]))
            continue
        keyword = rng.choice([*list(LINES)[:24], *LINES])
        if depth and keyword == "Include":
            continue
        arguments = LINES[keyword]
        argument = rng.choice(arguments if rng.random() < bad else arguments[:2])
        spelled = rng.choice((keyword, keyword, keyword.lower(), keyword.upper(), f'"{keyword}"'))
        between = rng.choice((" ", " ", " ", "\t", "=", " = ", "  ", " =", "= "))
        line = rng.choice(("", "  ", "\t")) + spelled + between + argument + rng.choice(("", "", "", " ", "\r", " # x"))
        if rng.random() < bad / 4:
            place = rng.randrange(len(line) + 1)
            line = line[:place] + rng.choice(SPOILERS) + line[place:]
        lines.append(line)
    return "\n".join(lines) + "\n"


def compared(seed: int, folder: Path, usual: dict[str, list[str]]) -> tuple[str, str]:
    """Return what became of one file: a word to count by, and a line on what differs, "" for nothing."""
    rng = random.Random(seed)
    folder = folder / str(seed)
    folder.mkdir()
    bad = rng.choice((0.0, 0.0, 0.1, 0.3))
    more = folder / "more"
    more.write_bytes(text(rng, bad, 1).encode("latin-1"))
    more.chmod(0o600)
    path = folder / "config"
    path.write_bytes(text(rng, bad).replace("{dir}", str(folder)).encode("latin-1"))
    word = rng.choice(WORDS)
    what = f"NUMATUNE_SEED={seed}: {word}: {path.read_bytes()!r} {more.read_bytes()!r}: "
    try:
        said = said_by_ssh(path, word)
    except Exception as error:
        said, refused = None, getattr(error, "stderr", str(error))
    try:
        end = resolve(word, config=path)
    except SshConfigError as error:
        if said is not None and "leads back to itself" in str(error):
            return "jumps without end", ""  # of which ssh -G says nothing
        return ("refused by both", "") if said is None else ("refused here alone", f"{what}{error}")
    if said is None:
        return "taken here alone", f"{what}{refused}"
    if not end.sure:
        return "left to ssh", ""
    found = differences(path, word, usual)
    return ("differ", f"{what}{found}") if found else ("equal", "")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="the ssh binary is not here to compare with")
def test_random_files_mean_what_ssh_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMATUNE_TEST", "/from/environment")
    (tmp_path / "empty").touch()
    usual = said_by_ssh(tmp_path / "empty", "x")
    count: Counter[str] = Counter()
    wrong = []
    with ThreadPoolExecutor(2) as pool:
        for verdict, what in pool.map(lambda seed: compared(seed, tmp_path, usual), seeds(USUAL)):
            count[verdict] += 1
            if what:
                wrong.append(f"{verdict}: {what}")
    sys.stdout.write(f"{dict(count)}\n")
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:40]])
    if count.total() >= USUAL:
        assert min(count["equal"], count["refused by both"], count["left to ssh"]) > 0
