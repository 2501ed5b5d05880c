"""The index of known_hosts gives OpenSSH's verdicts, says what it did not read, and never mixes two writers' lines."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import pickle
import re
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from numatune.transport.failure import Failure
from numatune.transport.host_keys import key_patterns
from numatune.transport.host_keys.key_lines import Line, written
from numatune.transport.host_keys.key_patterns import Patterns, fits, in_patterns
from numatune.transport.host_keys.known_hosts import KnownHosts

KEYGEN = shutil.which("ssh-keygen")
HOST, PORT = "127.0.7.1", 42222


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def key(kind: str, seed: str) -> bytes:
    """Return a public blob that ssh-keygen takes for a key."""
    body = hashlib.sha256(seed.encode()).digest()
    if kind == "ssh-rsa":
        return string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0\x80" + body * 8)
    return string(kind.encode()) + string(body) + (string(body) if kind.startswith("ecdsa") else b"")


def line(hosts: str, blob: bytes) -> str:
    kind = blob[4 : 4 + struct.unpack(">I", blob[:4])[0]].decode()
    return f"{hosts} {kind} {base64.b64encode(blob).decode()}"


def hashed(name: str, blob: bytes, kind: str = "ssh-ed25519") -> str:
    salt = hashlib.sha1(name.encode() + blob).digest()
    return written(name, kind, blob, salt).decode().rstrip("\n")


def index(folder: Path, *lines: str, end: str = "\n") -> KnownHosts:
    path = folder / "known_hosts"
    path.write_bytes("".join(each + end for each in lines).encode())
    return KnownHosts((str(path),))


ED, OTHER, RSA = key("ssh-ed25519", "a"), key("ssh-ed25519", "b"), key("ssh-rsa", "c")
AT = f"[{HOST}]:{PORT}"
B64 = base64.b64encode(ED).decode()

# What OpenSSH 9.2 did with a server on port 42222 that showed ED, being strict; name -> (lines, verdict).
SEEN: dict[str, tuple[tuple[str, ...], str]] = {
    "with-port": ((line(AT, ED),), "ok"),
    "without-port": ((line(HOST, ED),), "ok"),
    "another-without-port": ((line(HOST, OTHER),), "unknown"),
    "another-with-port-right-without": ((line(AT, OTHER), line(HOST, ED)), "changed"),
    "another-and-the-right-one": ((line(AT, OTHER), line(AT, ED)), "ok"),
    "another-type": ((line(AT, RSA),), "changed"),
    "revoked-by-pattern": ((f"@revoked {line('*', ED)}", line(AT, ED)), "revoked"),
    "revoked-after": ((line(AT, ED), f"@revoked {line('*', ED)}"), "revoked"),
    "revoked-alone": ((f"@revoked {line(AT, ED)}",), "revoked"),
    "revoked-is-another": ((f"@revoked {line('*', OTHER)}", line(AT, ED)), "ok"),
    "revoked-elsewhere": ((f"@revoked {line('else', ED)}", line(AT, ED)), "ok"),
    "authority-and-key": ((f"@cert-authority {line('*', OTHER)}", line(AT, ED)), "ok"),
    "authority-is-no-key": ((f"@cert-authority {line('*', ED)}",), "unknown"),
    "pattern-with-port": ((line("[127.0.*]:42222", ED),), "ok"),
    "pattern-of-all": ((line("*", ED),), "ok"),
    "pattern-of-one-sign": ((line("127.0.7.?", ED),), "ok"),
    "pattern-dot-is-a-dot": ((line("127*0?7.11", ED),), "unknown"),
    "negation-then-plain-name": ((line(f"*,!{AT}", ED),), "ok"),
    "negation-of-both": ((line("*,!*127.0.7.1*", ED),), "unknown"),
    "type-is-another": ((f"{AT} ssh-rsa {B64}",), "unknown"),
    "junk-after-key": ((f"{AT} ssh-ed25519 {B64}==== x",), "unknown"),
    "blanks-and-tabs": ((f" \t{AT}\tssh-ed25519\t \t{B64}\tcomment here",), "ok"),
    "two-markers": ((f"@revoked @revoked {line('*', ED)}", line(AT, ED)), "ok"),
    "marker-unknown": ((f"@foo {line(AT, ED)}",), "unknown"),
    "empty-names": ((line(f",{AT},,", ED),), "ok"),
    "comments": (("", "# x", f"#{line(AT, ED)}"), "unknown"),
    "hashed-with-port": ((hashed(AT, ED),), "ok"),
    "hashed-without-port": ((hashed(HOST, ED),), "ok"),
    "hashed-another": ((hashed(AT, OTHER),), "changed"),
    "hashed-of-another-host": ((hashed("else", ED),), "unknown"),
    "hashed-right-and-revoked": ((hashed(AT, ED), f"@revoked {hashed(AT, ED)}"), "revoked"),
    "list-with-address": ((line(f"web1,{AT}", ED),), "ok"),
    "upper-case-in-file": ((line(AT.upper(), ED),), "ok"),
    "nothing": ((), "unknown"),
    "hash-with-more-behind": ((f"{hashed(AT, ED).split()[0]},x ssh-ed25519 {B64}",), "unknown"),
    "hash-with-junk-inside": ((hashed(AT, ED).replace("|1|", "|1|-"),), "unknown"),
    "revoked-before-a-nul": ((f"@revoked * ssh-ed25519 {B64}\0x", line(AT, ED)), "revoked"),
    "revoked-with-a-return-inside": ((f"@revoked * ssh-ed25519 {B64[:9]}\r{B64[9:]}\r", line(AT, ED)), "revoked"),
    "nothing-behind-a-nul": ((f"# x\0{line(AT, ED)}", f"{AT}\0,x ssh-ed25519 {B64}"), "unknown"),
    "a-return-is-no-blank": ((f"{AT}\rssh-ed25519 {B64}",), "unknown"),
    "another-that-is-cut-off": ((f"{AT} ssh-ed25519 {base64.b64encode(OTHER[:-3]).decode()}",), "unknown"),
    "a-name-too-long": ((f"{AT},{'x' * 1023} ssh-ed25519 {B64}",), "unknown"),
    "a-name-just-short-enough": ((f"{AT},{'x' * 1022} ssh-ed25519 {B64}",), "ok"),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_verdicts_are_those_of_ssh(name: str, end: str, tmp_path: Path) -> None:
    lines, verdict = SEEN[name]
    assert index(tmp_path, *lines, end=end).check(HOST, PORT, "ssh-ed25519", ED) == verdict


def test_stricter_than_ssh_a_key_revoked_for_the_name_is_revoked_on_all_ports(tmp_path: Path) -> None:
    known = index(tmp_path, f"@revoked {line(HOST, ED)}", line(AT, ED))
    assert known.check(HOST, PORT, "ssh-ed25519", ED) == "revoked"


@pytest.mark.parametrize("kind", ["rsa-sha2-256", "rsa-sha2-512"])
def test_a_signatures_name_is_taken_for_its_keys_type(kind: str, tmp_path: Path) -> None:
    known = index(tmp_path, f"@revoked * {kind} {base64.b64encode(RSA).decode()}", line(AT, RSA))
    assert known.check(HOST, PORT, "ssh-rsa", RSA) == "revoked"


@pytest.mark.parametrize(
    "part", ["*.lan", "w*", "*eb*", "w*b?.*", "web1.lan", "*", "?*?", "", "*b?.*a*", "??", "*.", "x*n"]
)
@pytest.mark.parametrize("name", ["web1.lan", "web", "x.lan", "b", "wb1.a", "lan", "w*b"])
def test_patterns_are_found_as_they_fit(part: str, name: str) -> None:
    wanted = bool(re.fullmatch(re.escape(part).replace(r"\*", ".*").replace(r"\?", "."), name))
    assert fits(name.encode(), part.encode()) == wanted
    patterns = Patterns()
    for hosts in (f"else,{part}", f"{part},!w*", "!*", f"!x*,,{part}"):
        patterns.add(Line("", hosts.encode(), "", hosts.encode()))
    found = [each.hosts.decode() for each in patterns.of(name.encode())]
    listed = [(f"else,{part}", True), (f"{part},!w*", name[0] != "w"), (f"!x*,,{part}", name[0] != "x")]
    assert found == [hosts for hosts, applies in listed if wanted and applies]


def test_unknown_hosts_are_not_compared_with_every_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = ("*.site{}.lan,10.9.{}.*", "web{}-*", "*x{}y*", "!a*,*z?{}*")
    lines = [line(forms[n % 4].format(n, n), key("ssh-ed25519", str(n % 9))) for n in range(20_000)]
    known = index(tmp_path, *lines)
    compared: list[bytes] = []

    def counted(name: bytes, hosts: bytes) -> bool:
        compared.append(hosts)
        return in_patterns(name, hosts)

    monkeypatch.setattr(key_patterns, "in_patterns", counted)
    assert known.key_types("web5-1", 22) == ("ssh-ed25519",)
    assert len(compared) == 1
    assert known.check("unknown.example.org", 22, "ssh-ed25519", RSA) == "unknown"
    assert known.key_types("unknown.example.org", 22) == ()
    assert len(compared) == 1


@pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not here to compare with")
@pytest.mark.parametrize("name", ["web1", "db.lan", "bad.lan", "10.0.0.7", "[web1]:2222", "x", "webb1", "a,b", "h1"])
def test_ssh_keygen_finds_the_same_lines(name: str, tmp_path: Path) -> None:
    hosts = [
        "web1",
        "Web1,10.0.0.7",
        "*.lan,!bad.lan",
        "!bad.lan,*.lan",
        "[web1]:2222",
        "[web*]:*",
        "w?b1",
        "web",
        "*,!web1",
    ]
    keys = {f"{n}": key("ssh-ed25519", f"{n}") for n in range(12)}
    lines = [line(each, keys[str(n)]) for n, each in enumerate(hosts)]
    lines += [hashed("h1", keys["9"]), hashed("[web1]:2222", keys["10"]), hashed("web1", keys["11"])]
    known = index(tmp_path, *lines)
    assert KEYGEN is not None
    told = subprocess.run(
        [KEYGEN, "-F", name, "-f", known.files[0]], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    ).stdout
    found = {words.split()[2] for words in told.splitlines() if not words.startswith("#")}
    plain, _, port = name.removeprefix("[").partition("]:")
    other = key("ssh-ed25519", "new")
    ours = {
        base64.b64encode(blob).decode()
        for blob in keys.values()
        # Without the name alone, which `ssh-keygen -F` does not look for.
        if known.check(plain, int(port or 22), "ssh-ed25519", blob) == "ok"
        and (not port or base64.b64encode(blob).decode() in found)
    }
    assert ours == found
    assert known.check(plain, int(port or 22), "ssh-ed25519", other) == ("changed" if found else "unknown")


def test_key_types_put_what_is_on_file_first(tmp_path: Path) -> None:
    ecdsa = key("ecdsa-sha2-nistp256", "e")
    known = index(
        tmp_path,
        line("rsa", RSA),
        line("both", RSA),
        line("both", ED),
        hashed("hidden", ecdsa, "ecdsa-sha2-nistp256"),
        hashed("hidden2", ED),
        line("[rsa]:2222", ecdsa),
        f"@revoked {line('gone', ED)}",
    )
    assert known.key_types("rsa", 22) == ("ssh-rsa",)
    assert known.key_types("both", 22)[0] == "ssh-ed25519"
    assert known.key_types("hidden", 22) == ("ecdsa-sha2-nistp256",)
    assert known.key_types("hidden2", 22) == ("ssh-ed25519",)
    assert known.key_types("rsa", 2222) == ("ecdsa-sha2-nistp256",)
    assert known.key_types("both", 2222) == ()
    assert known.key_types("gone", 22) == ()


def test_several_files_count_alike(tmp_path: Path) -> None:
    user, system = tmp_path / "user", tmp_path / "system"
    user.write_text(line("a", OTHER) + "\n")
    system.write_text(line("a", ED) + "\n" + f"@revoked {line('a', OTHER)}\n")
    known = KnownHosts((str(user), str(tmp_path / "absent"), str(system)))
    assert known.check("a", 22, "ssh-ed25519", ED) == "ok"
    assert known.check("a", 22, "ssh-ed25519", OTHER) == "revoked"
    assert known.notes == ()


def test_notes_name_file_and_line(tmp_path: Path) -> None:
    known = index(
        tmp_path,
        line("a", ED),
        "b ssh-ed25519 %%%%",
        "c 1024 65537 1234567890",
        "lonely",
        f"@cert-authority {line('*', ED)}",
        *["d ssh-ed25519 ####"] * 8,
        "|1|short|bad= ssh-ed25519 " + B64,
    )
    assert known.check("a", 22, "ssh-ed25519", ED) == "ok"
    told = "\n".join(known.notes)
    path = known.files[0]
    assert f"{path}: lines 2, 6, 7, 8, 9 and 4 more: skipped: bad base64" in told
    assert f"{path}: line 3: skipped: a key of SSH protocol 1" in told
    assert f"{path}: line 4: skipped: no key" in told
    assert f"{path}: line 5: @cert-authority is not used" in told
    assert f"{path}: line 14: skipped: bad base64 in the hash of a name" in told


@pytest.mark.parametrize("what", ["folder", "fifo", "mode"])
def test_a_file_that_cannot_be_read_is_said_and_no_new_key_is_taken(what: str, tmp_path: Path) -> None:
    path = tmp_path / "unread"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.write_text(line("a", OTHER))
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user reads every file")
    known = KnownHosts((str(tmp_path / "own"), str(path)))
    assert known.check("a", 22, "ssh-ed25519", ED) == "unknown"
    assert known.notes[0].startswith(f"needs to read {path}")
    with pytest.raises(Failure, match="no new key is accepted"):
        known.add("a", 22, "ssh-ed25519", ED)
    assert not (tmp_path / "own").exists()


def test_a_new_key_is_put_on_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    known = KnownHosts((str(path),))
    known.add("Web1", 2222, "ssh-ed25519", ED)
    known.add("web1", 2222, "ssh-ed25519", ED)
    known.add("web2", 22, "ssh-ed25519", ED, hashed=True)
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    lines = path.read_text().splitlines()
    assert lines[0] == line("[web1]:2222", ED)
    assert [each[:3] for each in lines[1:]] == ["|1|"]
    assert "web2" not in lines[1]
    for each in (known, KnownHosts(known.files)):
        assert each.check("web1", 2222, "ssh-ed25519", ED) == "ok"
        assert each.check("web2", 22, "ssh-ed25519", ED) == "ok"
        assert each.check("web2", 22, "ssh-ed25519", OTHER) == "changed"


def test_a_line_without_an_end_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("a", ED))
    KnownHosts((str(path),)).add("b", 22, "ssh-ed25519", OTHER)
    assert path.read_text().splitlines() == [line("a", ED), line("b", OTHER)]


def test_a_key_that_another_process_put_on_file_meanwhile_counts(tmp_path: Path) -> None:
    known = index(tmp_path, line("z", ED))
    assert known.check("a", 22, "ssh-ed25519", ED) == "unknown"
    KnownHosts(known.files).add("a", 22, "ssh-ed25519", OTHER)
    with pytest.raises(Failure, match="changed"):
        known.add("a", 22, "ssh-ed25519", ED)
    # As `ssh-keygen -R` does it: another file in its place, without the host.
    other = tmp_path / "other"
    other.write_text(line("z", ED) + "\n")
    other.replace(known.files[0])
    known.add("a", 22, "ssh-ed25519", ED)
    assert Path(known.files[0]).read_text().splitlines() == [line("z", ED), line("a", ED)]


def test_a_changed_key_is_never_added(tmp_path: Path) -> None:
    known = index(tmp_path, line("a", ED), f"@revoked {line('*', OTHER)}")
    before = Path(known.files[0]).read_bytes()
    for name, blob in (("a", RSA), ("b", OTHER)):
        with pytest.raises(Failure):
            known.add(name, 22, "ssh-ed25519", blob)
    assert Path(known.files[0]).read_bytes() == before


def test_nowhere_to_write_is_remembered_by_the_process_alone() -> None:
    known = KnownHosts(("/dev/null", "/dev/null"))
    known.add("a", 22, "ssh-ed25519", ED)
    assert known.check("a", 22, "ssh-ed25519", OTHER) == "changed"


def _add_many(path: str, first: int) -> None:
    known = KnownHosts((path,))
    for n in range(first, first + 50):
        known.add(f"host{n}", 22, "ssh-ed25519", key("ssh-ed25519", str(n)), hashed=n % 2 == 0)
        known.add("shared", 22, "ssh-ed25519", ED)


def test_processes_and_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "known_hosts")
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=_add_many, args=(path, n * 100)) for n in range(3)]
    threads = [threading.Thread(target=_add_many, args=(path, 1000 + n * 100)) for n in range(3)]
    for process in processes:
        process.start()
    for thread in threads:
        thread.start()
    for process in processes:
        process.join()
    for thread in threads:
        thread.join()
    known = KnownHosts((path,))
    assert known.notes == ()
    assert len(Path(path).read_text().splitlines()) == 6 * 50 + 1
    firsts = [*(n * 100 for n in range(3)), *(1000 + n * 100 for n in range(3))]
    for first in firsts:
        for n in range(first, first + 50):
            assert known.check(f"host{n}", 22, "ssh-ed25519", key("ssh-ed25519", str(n))) == "ok"


def test_it_travels_between_processes(tmp_path: Path) -> None:
    known = pickle.loads(pickle.dumps(index(tmp_path, line("a", ED))))
    assert known.check("a", 22, "ssh-ed25519", ED) == "ok"


def test_ten_thousand_lines_are_read_and_asked_quickly(tmp_path: Path) -> None:
    blobs = [key("ssh-ed25519", str(n)) for n in range(10_000)]
    known = index(tmp_path, *(hashed(f"h{n}", blob) for n, blob in enumerate(blobs)))
    begun = time.process_time()
    for n in range(0, 10_000, 5):
        assert known.key_types(f"h{n}", 22) == ("ssh-ed25519",)
        assert known.check(f"h{n}", 22, "ssh-ed25519", blobs[n]) == "ok"
    # A pass over the lines for each host would take 16 s; this is 0.1 s.
    assert time.process_time() - begun < 2


def test_where_a_key_is_contradicted(tmp_path: Path) -> None:
    known = index(
        tmp_path, "# mine", line("*.else", OTHER), hashed(AT, OTHER), line(AT, RSA), f"@revoked\t{line('*', ED)}"
    )
    path = tmp_path / "known_hosts"
    assert known.where(HOST, PORT, key("ssh-ed25519", "c")) == (f"{path}:4", f"{path}:3")
    # Behind a tab too, which OpenSSH takes for no marker at all.
    assert known.check(HOST, PORT, "ssh-ed25519", ED) == "revoked"
    assert known.where(HOST, PORT, ED) == (f"{path}:5",)
    assert known.where("web9", 22, OTHER) == ()


def test_lines_that_were_added_are_counted_on(tmp_path: Path) -> None:
    known = index(tmp_path, line("first", ED))
    path = tmp_path / "known_hosts"
    path.write_text(path.read_text().rstrip("\n"))  # the last line need not have an end
    known.add("second", 22, "ssh-ed25519", ED)
    with path.open("a") as file:
        file.write(f"# by hand\n{line('third', ED)}\n")
    known.add("fourth", 22, "ssh-ed25519", ED)
    for number, name in ((1, "first"), (2, "second"), (4, "third"), (5, "fourth")):
        assert known.where(name, 22, OTHER) == (f"{path}:{number}",)
        assert path.read_text().splitlines()[number - 1].startswith(name)


@pytest.mark.parametrize("name", ["*", "a,b", "!a", "|1|x", "@revoked", "a b", "a\nb", "#a", ""])
def test_a_name_that_would_stand_for_others_is_not_put_on_file(name: str, tmp_path: Path) -> None:
    known = index(tmp_path)
    with pytest.raises(Failure):
        known.add(name, 22, "ssh-ed25519", ED)
    assert (tmp_path / "known_hosts").read_text() == ""


def test_a_key_of_cloned_hosts_is_right_for_those_on_file_alone(tmp_path: Path) -> None:
    lines = (
        line("web1", ED),
        line("web2,web3", ED),
        line("*.lab,!old.lab", ED),
        hashed("web4", ED),
        line("web5", OTHER),
    )
    known = index(tmp_path, *lines)
    for name in ("web1", "WEB2", "web3", "a.lab", "web4"):
        assert known.check(name, 22, "ssh-ed25519", ED) == "ok", name
        assert known.check(name, 22, "ssh-ed25519", OTHER) == "changed", name
    assert known.check("web5", 22, "ssh-ed25519", ED) == "changed"
    for name in ("web6", "old.lab", "web"):
        assert known.check(name, 22, "ssh-ed25519", ED) == "unknown", name
