"""Random known_hosts files: ssh and both transports meet one real sshd; neither trusts it where ssh does not."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fleet.differential import seeds
from fleet.sshd import Sshd, make_key

from numatune.transport import openssh, ssh
from numatune.transport.endpoint import HostKeys, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.key_lines import written
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.ssh_config import resolve

USUAL = 45
HOST = "127.8.0.1"
LIMITS = Limits(connect_s=20, banner_s=60, kex_s=60, auth_s=60, total_s=120)
JUNK = (b"\0", b"\r", b"\x0b", b"\x0c", b"\t", b" ", b"\r ", b" \0", b"#", b"=", b",", b"\xff", b"\0x", b"-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server with keys of three types, to which nobody can log in: its host key is all that is asked about."""
    folder = tmp_path_factory.mktemp("keys")
    with Sshd(folder, host_key_types=("ed25519", "rsa", "ecdsa"), log_level="ERROR") as one:
        yield one


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Keys of other servers."""
    folder = tmp_path_factory.mktemp("foreign")
    paths = [make_key(folder / kind, kind) for kind in ("ed25519", "rsa", "ecdsa")]
    return [" ".join(Path(f"{path}.pub").read_text().split()[:2]) for path in paths]


class Case:
    """One random setting: its files, its policy, and what of ssh_config goes with it."""

    def __init__(self, seed: int, server: Sshd, foreign: list[str]) -> None:
        self.rng = rng = random.Random(seed)
        self.port = server.port
        self.said: dict[str, str] = {}
        own = list(server.host_keys.values())
        self.keys = own + foreign + [rng.choice(own)] * rng.choice((0, 6))
        self.policy: HostKeys = rng.choice(("strict", "strict", "accept-new"))
        self.alias = rng.choice(("", "", "", "Alias", HOST))
        self.files = [self._file() for _ in range(rng.choice((1, 1, 2)))]
        self.lines = [
            *([f"HostKeyAlias {self.alias}"] if self.alias else []),
            *rng.choice(([], [], [], ["RequiredRSASize 3072"], ["HostKeyAlgorithms rsa-sha2-512,ssh-ed25519"])),
            *rng.choice(([], [], ["HashKnownHosts yes"], ["HashKnownHosts no"])),
        ]

    def _file(self) -> bytes:
        end = self.rng.choice((b"\n", b"\n", b"\r\n"))
        return b"".join(self._spoilt(self._line()) + end for _ in range(self.rng.randint(0, 5)))

    def _line(self) -> bytes:
        rng = self.rng
        marker = rng.choice(
            (b"",) * 6 + (b"@revoked ", b"@revoked\t", b"@cert-authority ", b"@revoked @revoked ", b"@x ")
        )
        kind, blob = rng.choice(self.keys).encode().split()
        kind = rng.choice((kind,) * 8 + (b"rsa-sha2-512", b"ssh-rsa", b"ED25519", b"1024"))
        comment = rng.choice((b"", b" me@here", b"\tx", b" # x"))
        return marker + self._names() + rng.choice((b" ", b" ", b"\t", b"  ")) + kind + b" " + blob + comment

    def _name(self) -> bytes:
        at = f"[{HOST}]:{self.port}"
        plain = (at, at, HOST, self.alias or at, "else", f"[else]:{self.port}", at.upper())
        return self.rng.choice(plain).encode()

    def _names(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.3:
            name = self._name().decode().lower()
            return written(name, "x", b"x", hashlib.sha1(rng.randbytes(4)).digest()).split()[0]
        patterns = (b"*", b"127.8.*", b"[127.8.0.?]:*", b"?lias", b"*.lan", b"!*", b"!else", b"*1*", b"", b"x" * 1030)
        made = [rng.choice((self._name(), self._name(), rng.choice(patterns))) for _ in range(rng.randint(1, 3))]
        return b",".join(rng.choice((b"", b"", b"", b"", b"!")) + each for each in made)

    def _spoilt(self, line: bytes) -> bytes:
        rng = self.rng
        if rng.random() < 0.6:
            return line
        place = rng.choice((0, len(line), rng.randrange(len(line) + 1), (line.find(b" ") + 1) or 0))
        cut = rng.choice((0, 0, 0, 1, 5))
        return line[:place] + rng.choice(JUNK) + line[place + cut :]

    def config(self, folder: Path, who: str) -> Path:
        """Write the files for one of those who are compared: accept-new adds to them."""
        folder = folder / who
        folder.mkdir(parents=True)
        for number, data in enumerate(self.files):
            (folder / f"known{number}").write_bytes(data)
        path = folder / "config"
        lines = [
            f"Port {self.port}",
            "User nobody-at-all",
            f"UserKnownHostsFile {folder}/known0",
            f"GlobalKnownHostsFile {folder}/known1",
            "IdentityFile none",
            "IdentityAgent none",
            *self.lines,
        ]
        path.write_text("".join(line + "\n" for line in lines))
        return path


def by_ssh(case: Case, config: Path) -> bool:
    """Return whether ssh trusts the host: then it is its user that is refused."""
    said = {"strict": "yes", "accept-new": "accept-new"}[case.policy]
    options = ["-F", str(config), "-o", f"StrictHostKeyChecking={said}", "-o", "BatchMode=yes"]
    told = subprocess.run(
        ["ssh", *options, HOST, "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    ).stderr
    refused = "Host key verification failed" in told or "Invalid key length" in told
    assert refused != ("Permission denied (" in told), told
    return not refused


def by_us(case: Case, config: Path, transport: str) -> bool:
    """Return the same of a transport."""
    end = resolve(HOST, config=config, host_keys=case.policy)
    try:
        if transport == "openssh":
            openssh.collect(Target(end), "true\n", LIMITS)
        else:
            ssh.collect(Target(end), "true\n", LIMITS, KnownHosts)
    except Failure as failure:
        if failure.phase not in ("auth", "hostkey", "kex"):
            raise AssertionError(failure) from None
        case.said[transport] = failure.message
        return failure.phase == "auth"
    raise AssertionError("nobody can log in there")


def judged(case: Case, folder: Path) -> dict[str, bool]:
    """Return who trusts the host: "ssh", "paramiko", "openssh"."""
    return {
        "ssh": by_ssh(case, case.config(folder, "ssh")),
        **{way: by_us(case, case.config(folder, way), way) for way in ("paramiko", "openssh")},
    }


@pytest.mark.skipif(shutil.which("ssh") is None, reason="the ssh binary is not here to compare with")
def test_no_host_is_trusted_that_ssh_refuses(server: Sshd, foreign: list[str], tmp_path: Path) -> None:
    count: Counter[str] = Counter()
    wrong: list[str] = []

    def one(seed: int) -> tuple[int, Case, dict[str, bool]]:
        case = Case(seed, server, foreign)
        folder = tmp_path / str(seed)
        told = judged(case, folder)
        shutil.rmtree(folder)
        return seed, case, told

    with ThreadPoolExecutor(2) as pool:
        for seed, case, told in pool.map(one, seeds(USUAL)):
            count["trusted" if told["ssh"] else "refused"] += 1
            what = f"NUMATUNE_SEED={seed}: {told}, {case.said}, {case.policy}, {case.lines}, {case.files}"
            # Stricter on purpose, with revoked keys: behind a tab, and for the name without its port, of which ssh
            # warns before it takes the key as a new one.
            differ = [way for way in ("paramiko", "openssh") if told[way] != told["ssh"]]
            stricter = told["ssh"] and all("revoked" in case.said[way] for way in differ)
            count["stricter"] += bool(differ) and stricter
            if differ and not stricter:
                wrong.append(what)
    sys.stdout.write(f"{dict(count)}\n")
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:10]])
    if sum(count.values()) >= USUAL:
        assert count["trusted"]
        assert count["refused"]


def test_a_long_modulus_is_wanted_of_the_hosts_key(server: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    blob = server.host_keys["rsa"]
    known.write_text(f"[{HOST}]:{server.port} {blob}\n")
    for bits, trusted in ((2048, True), (2049, False)):
        config = tmp_path / f"config{bits}"
        config.write_text(
            f"Port {server.port}\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\nIdentityFile none\n"
            f"IdentityAgent none\nUser nobody-at-all\nRequiredRSASize {bits}\n"
        )
        case = Case(1, server, [blob])
        case.policy = "strict"
        got = {"ssh": by_ssh(case, config), **{way: by_us(case, config, way) for way in ("paramiko", "openssh")}}
        assert got == dict.fromkeys(got, trusted)
