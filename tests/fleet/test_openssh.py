"""The transport by the ssh program, against the real one and servers of our own: streams, failures, secrets, end."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet.sshd import Sshd, descendants, free_port, known_name, make_key

from numatune.core.collecting.collector import script
from numatune.core.collecting.snapshot import MAGIC, parse_stream
from numatune.transport.endpoint import Become, Endpoint, Secrets, Target
from numatune.transport.failure import PHASES, Failure
from numatune.transport.limits import Limits
from numatune.transport.openssh import arguments, askpass, collect, messages
from numatune.transport.ssh_config import resolve

LIMITS = Limits(connect_s=3, banner_s=6, kex_s=10, auth_s=10, channel_s=10, total_s=30)
NONE = Secrets()
SCRIPT = f"printf '%s\\n' '{MAGIC}' @end\n"
STREAM = f"{MAGIC}\n@end\n"


def args(server: Sshd, *further: str) -> tuple[str, ...]:
    """Return the words that keep the developer's own ssh settings out."""
    return (
        *("-F", "none", "-o", f"UserKnownHostsFile={server.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
        *further,
    )


def endpoint(server: Sshd, *further: str, **fields: Any) -> Endpoint:
    base = Endpoint(
        alias="a",
        hostname="127.0.0.1",
        port=server.port,
        user=server.user,
        identity_files=(str(server.key),),
        identities_only=True,
        use_agent=False,
        ssh_args=args(server, *further),
    )
    return replace(base, **fields)


def failure(end: Endpoint, limits: Limits = LIMITS, secrets: Secrets = NONE, text: str = SCRIPT) -> Failure:
    with pytest.raises(Failure) as caught:
        collect(Target(end, secrets), text, limits)
    assert descendants(os.getpid()) == [] or not ours()
    assert caught.value.message.isprintable()
    return caught.value


def ours() -> list[int]:
    """Return the ssh processes (zombies too) below this one."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name in ("ssh", "askpass"):
            found.append(pid)
    return found


def test_the_collector_runs(sshd: Sshd) -> None:
    stream = collect(Target(endpoint(sshd)), script(), LIMITS)
    assert stream.startswith(MAGIC)
    assert parse_stream(stream).complete
    assert not ours()


def test_the_users_configuration_is_read(sshd: Sshd, tmp_path: Path) -> None:
    # A Host block by the word that was given, with a ProxyCommand: what the other transport cannot do.
    config = tmp_path / "config"
    config.write_text(
        f"Host some-name\n HostName 127.0.0.1\n HostKeyAlias 127.0.0.1\n UserKnownHostsFile {tmp_path / 'known'}\n"
        f" ProxyCommand ssh {' '.join(sshd.ssh()[1:])} -W %h:%p 127.0.0.1\n RemoteCommand false\n RequestTTY force\n"
        " ForwardAgent yes\n StrictHostKeyChecking no\n LogLevel QUIET\n SessionType none\n"
    )
    sshd.known(["127.0.0.1"], tmp_path / "known", 22)
    end = endpoint(sshd, ssh_word="some-name", hostname="127.0.0.1", ssh_config=str(config), ssh_args=())
    assert collect(Target(end), SCRIPT, LIMITS) == STREAM


def test_an_unknown_key_is_recorded_only_when_asked(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    words = ("-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null")
    off = (*words, "-o", "StrictHostKeyChecking=no")
    assert failure(endpoint(sshd, ssh_args=off)).phase == "hostkey"
    assert not known.exists()
    assert collect(Target(endpoint(sshd, ssh_args=words, strict="accept-new")), SCRIPT, LIMITS) == STREAM
    assert known_name("127.0.0.1", sshd.port) in known.read_text()


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None, backlog: int = 8) -> Iterator[int]:
    """Listen on a port of 127.0.0.1 and hand each connection to `serve`, None: accept none."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:

        def loop() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_serve, args=(serve, accepted), daemon=True).start()

        if serve is not None:
            threading.Thread(target=loop, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _serve(serve: Callable[[socket.socket], None] | None, accepted: socket.socket) -> None:
    assert serve is not None
    with accepted:
        try:
            serve(accepted)
        except OSError:
            return


def drip(accepted: socket.socket) -> None:
    """Send a line that never ends, a byte at a time, until the client hangs up."""
    while True:
        accepted.sendall(b"x")
        accepted.settimeout(0.3)
        try:
            if not accepted.recv(100):
                return
        except TimeoutError:
            continue


def silent_after_banner(accepted: socket.socket) -> None:
    accepted.sendall(b"SSH-2.0-x\r\n")
    while accepted.recv(4096):
        pass


def web(accepted: socket.socket) -> None:
    accepted.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" + b"<p>\x1b[31m\r\n" * 2000)
    accepted.recv(4096)


SERVERS: dict[str, tuple[Callable[[socket.socket], None], str, bool]] = {
    "drips its banner": (drip, "banner", False),
    "says nothing after its banner": (silent_after_banner, "timeout", False),
    "is a web server": (web, "banner", False),
    "drops everyone": (lambda accepted: None, "banner", True),
}


@pytest.mark.parametrize(("serve", "phase", "retry"), SERVERS.values(), ids=SERVERS)
def test_a_server_that(sshd: Sshd, serve: Callable[[socket.socket], None], phase: str, retry: bool) -> None:
    limits = replace(LIMITS, banner_s=1, kex_s=1)
    with listening(serve) as port:
        began = time.monotonic()
        found = failure(endpoint(sshd, port=port), limits)
    assert (found.phase, found.retry) == (phase, retry), found
    assert time.monotonic() - began < 8


def test_a_port_that_refuses(sshd: Sshd) -> None:
    found = failure(endpoint(sshd, port=free_port()))
    assert found.phase == "tcp"
    assert "refused" in found.message


def test_a_black_hole_costs_the_connect_limit(sshd: Sshd) -> None:
    # A backlog that is full: its further SYNs are dropped.
    with listening(None, backlog=0) as port, socket.create_connection(("127.0.0.1", port)):
        began = time.monotonic()
        found = failure(endpoint(sshd, port=port), replace(LIMITS, connect_s=1))
    assert found.phase == "tcp"
    assert time.monotonic() - began < 6


def test_a_name_without_an_address(sshd: Sshd) -> None:
    found = failure(endpoint(sshd, hostname="no-such-host.invalid"))
    assert found.phase == "resolve"
    assert "no-such-host.invalid" in found.message


def keys_of(server: Sshd, tmp_path: Path, mark: str = "") -> str:
    """Write a known_hosts file with another key for the server (`mark` "") or with its own ones marked."""
    known = tmp_path / "known"
    name = known_name("127.0.0.1", server.port)
    own = list(server.host_keys.values())
    make_key(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    known.write_text("".join(f"{mark} {name} {key}\n".lstrip() for key in (own if mark else [other])))
    return str(known)


@pytest.mark.parametrize(("mark", "said"), [("", "is not the one"), ("@revoked", "revoked")])
@pytest.mark.parametrize("strict", ["strict", "accept-new"])
def test_a_changed_or_revoked_key(sshd: Sshd, tmp_path: Path, mark: str, said: str, strict: str) -> None:
    known = keys_of(sshd, tmp_path, mark)
    before = Path(known).read_text()
    words = ("-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null")
    found = failure(endpoint(sshd, ssh_args=words, strict=strict))
    assert found.phase == "hostkey"
    assert said in found.message
    assert Path(known).read_text() == before
    if not mark:
        assert f"at {known}:1" in found.message
        assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in found.message


def test_no_key_exchange_in_common(sshd: Sshd, tmp_path: Path) -> None:
    with Sshd(tmp_path / "old", wide=False, lines=["KexAlgorithms ecdh-sha2-nistp521"], keys_of=sshd) as old:
        found = failure(endpoint(old, "-o", "KexAlgorithms=curve25519-sha256"))
    assert found.phase == "kex"
    assert "ecdh-sha2-nistp521" in found.message


def test_a_key_that_does_not_fit(sshd: Sshd, tmp_path: Path) -> None:
    found = failure(endpoint(sshd, identity_files=(str(make_key(tmp_path / "wrong")),)))
    assert found.phase == "auth"
    assert "publickey" in found.message


@pytest.mark.parametrize("hop", ["refused", "cannot reach", "unknown key", "no such name"])
def test_a_jump_host_that_fails(sshd: Sshd, tmp_path: Path, hop: str) -> None:
    config = tmp_path / "config"
    port = free_port() if hop == "refused" else sshd.port
    known = "/dev/null" if hop == "unknown key" else sshd.known_hosts
    name = "no-such-host.invalid" if hop == "no such name" else "127.0.0.1"
    config.write_text(
        f"Host jump\n HostName {name}\n Port {port}\n IdentityFile {sshd.key}\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {known}\n GlobalKnownHostsFile /dev/null\n"
        f"Host 127.0.0.9\n ProxyJump jump\n UserKnownHostsFile {sshd.known_hosts}\n"
    )
    target = free_port() if hop == "cannot reach" else sshd.port
    found = failure(endpoint(sshd, hostname="127.0.0.9", port=target, ssh_config=str(config), ssh_args=()))
    wanted = {"refused": "tcp", "cannot reach": "tcp", "unknown key": "hostkey", "no such name": "resolve"}
    assert found.phase == wanted[hop], found
    assert "jump host" in found.message


def test_a_jump_host_that_works(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    sshd.known(["127.0.0.1", "127.0.0.9"], tmp_path / "known")
    config.write_text(
        f"Host *\n UserKnownHostsFile {tmp_path / 'known'}\n IdentityFile {sshd.key}\n IdentitiesOnly yes\n"
        f"Host 127.0.0.9\n ProxyJump 127.0.0.1:{sshd.port}\n"
    )
    end = endpoint(sshd, hostname="127.0.0.9", ssh_config=str(config), ssh_args=())
    assert collect(Target(end), SCRIPT, LIMITS) == STREAM


@pytest.mark.parametrize("strict", ["strict", "accept-new"])
def test_a_jump_host_that_is_not_known_is_passed_by_no_rule_of_ssh_config(
    sshd: Sshd, tmp_path: Path, strict: Any
) -> None:
    config, fresh = tmp_path / "config", tmp_path / "fresh"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {sshd.key}\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {fresh}\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking no\n"
        f"Host 127.0.0.9\n ProxyJump jump\n UserKnownHostsFile {sshd.known_hosts}\nHost *\n"
        " StrictHostKeyChecking no\n"
    )
    config.chmod(0o664)  # ssh takes the file of -F as it is
    sshd.known(["127.0.0.1", "127.0.0.9"], tmp_path / "known")
    end = endpoint(
        sshd,
        hostname="127.0.0.9",
        ssh_config=str(config),
        ssh_args=(),
        known_hosts=(str(tmp_path / "known"), str(tmp_path / "not % there")),
        jumps=(Endpoint("jump", "127.0.0.1", sshd.port, strict=strict),),
        strict=strict,
    )
    if strict == "accept-new":
        assert collect(Target(end), SCRIPT, LIMITS) == STREAM
        assert known_name("127.0.0.1", sshd.port) in fresh.read_text()
        end = replace(end, jumps=())  # of a jump host that only ssh finds, nobody said that new keys may be taken
        fresh.write_text("")
    found = failure(end)
    assert (found.phase, "jump host" in found.message) == ("hostkey", True)
    assert not fresh.exists() or fresh.read_text() == ""


def test_the_words_of_the_user_without_the_file(tmp_path: Path) -> None:
    end = Endpoint("a", "h", ssh_config="/etc/one", ssh_args=("-vF", "two", "-4", "-o", "Compression=yes", "-v"))
    assert arguments.further_words(end) == ("two", ["-v", "-4", "-o", "Compression=yes", "-v"])
    assert arguments.further_words(replace(end, ssh_args=("-Fx", "-iF"))) == ("x", ["-iF"])
    assert arguments.words(end, LIMITS, False, "x", "/our/own").count("-F") == 1


def test_a_host_that_repeats_the_password_is_quoted_without_it(sshd: Sshd, tmp_path: Path) -> None:
    force = "read word; printf '\\n%s\\n' \"sudo: what is $word?\" >&2; exit 1"
    prompt = f"printf '[sudo] password for x: ' >&2; {force}"
    with Sshd(tmp_path / "parrot", wide=False, keys_of=sshd, force=prompt) as parrot:
        end = endpoint(parrot, become=Become(user="somebody"))
        found = failure(end, secrets=Secrets(become_password="horse  battery"))
    assert (found.phase, "horse" in found.message, "***" in found.message) == ("become", False, True), found


ENDINGS = {
    "fails": ("echo no; echo \x1b[31mwhy >&2; exit 3\n", "exec", "status 3; it said: [31mwhy"),
    "is another program": ("echo hello\n", "exec", "something else"),
    "prints without end": ("yes\n", "output", "more than"),
    "writes errors without end": ("yes >&2\n", "output", "standard error"),
    "hangs": (f"echo '{MAGIC}'; exec sleep 60\n", "timeout", "hung at or after numatune-snapshot 1"),
    "ends as ssh's own errors do": ("echo 'x: Permission denied (publickey).' >&2; exit 255\n", "exec", "ended"),
}


@pytest.mark.parametrize(("text", "phase", "said"), ENDINGS.values(), ids=ENDINGS)
def test_a_script_that(sshd: Sshd, text: str, phase: str, said: str) -> None:
    # Where a limit has to pass, a short one does on a machine that has time; a busy one may not get that far in it.
    for total_s in (2, 8, 30) if phase == "timeout" else (30,):
        limits = replace(LIMITS, total_s=total_s, output_bytes=1 << 18)
        found = failure(endpoint(sshd), limits, text=f"{text}# {MAGIC}\n")
        if said in found.message:
            break
    assert found.phase == phase, found
    assert said in found.message


def test_a_chatty_login_is_cut_off(sshd: Sshd, tmp_path: Path) -> None:
    with Sshd(tmp_path / "chatty", wide=False, keys_of=sshd, force='echo welcome; eval "$SSH_ORIGINAL_COMMAND"') as one:
        assert collect(Target(endpoint(one)), SCRIPT, LIMITS) == STREAM


# --- secrets ---

SECRET = "pass 'w\"ord\\ $x`"


def test_a_key_with_a_passphrase_and_no_process_that_shows_it(sshd: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "locked", passphrase=SECRET)
    with sshd.authorized_keys.open("a") as file:
        file.write((tmp_path / "locked.pub").read_text())
    seen: list[bytes] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for pid in descendants(os.getpid()):
                for name in ("cmdline", "environ"):
                    try:
                        seen.append(Path(f"/proc/{pid}/{name}").read_bytes())
                    except OSError:
                        continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        end = endpoint(sshd, identity_files=(str(key),))
        assert collect(Target(end, Secrets(key_passphrase=SECRET)), SCRIPT, LIMITS) == STREAM
        wrong = failure(end, secrets=Secrets(key_passphrase="wrong"))
        none = failure(end)
    finally:
        over.set()
        watcher.join()
    assert any(b"askpass" in words for words in seen)
    assert not any(SECRET.encode() in words for words in seen)
    assert (wrong.phase, none.phase) == ("auth", "auth")
    assert "passphrase" in wrong.message


def test_who_is_told_what() -> None:
    end = Endpoint("a", "10.0.0.1", user="ops", ssh_word="Web1", jumps=(Endpoint("j", "jump", user="ops"),))
    secrets = Secrets(password="word", key_passphrase="phrase")
    wanted = {
        "ops@web1's password: ": "word",
        "(ops@10.0.0.1) Password: ": "word",
        "Enter passphrase for key '/home/ops/.ssh/id': ": "phrase",
        "ops@jump's password: ": None,
        "(ops@jump) Enter passphrase for key '/x': ": None,
        "(ops@jump) ops@web1's password: ": None,
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? ": None,
        "": None,
    }
    assert {question: askpass.Answers(end, secrets).to(question, 7, 7) for question in wanted} == wanted
    once = askpass.Answers(end, secrets)
    assert [once.to("ops@web1's password: ", 7, 7) for _ in range(2)] == ["word", None]


def test_the_way_to_a_jump_host_is_told_no_password_whatever_it_asks() -> None:
    # Before OpenSSH 8.5 a server's prompt was shown as it is.
    end = Endpoint("a", "10.0.0.1", user="ops", identity_files=("/home/ops/.ssh/id",))
    answers = askpass.Answers(end, Secrets(password="word", key_passphrase="phrase"))
    assert answers.to("ops@10.0.0.1's password: ", 8, 7) is None
    assert answers.to("(ops@10.0.0.1) Password: ", 8, 7) is None
    assert answers.to("Enter passphrase for key '/home/ops/.ssh/id': ", 8, 7) == "phrase"
    assert answers.to("Enter passphrase for key 'mine, please': ", 7, 7) is None
    assert answers.to("ops@10.0.0.1's password: ", 7, 7) == "word"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sshd can look passwords up")
def test_a_password_by_the_helper(sshd: Sshd, tmp_path: Path) -> None:
    # This machine's users are not touched: the server asks, and refuses whatever comes.
    lines = ["PasswordAuthentication yes", "PermitRootLogin yes", "AuthenticationMethods password"]
    with Sshd(tmp_path / "words", wide=False, keys_of=sshd, lines=lines) as server:
        found = failure(endpoint(server), secrets=Secrets(password=SECRET))
        assert "Failed password" in server.log.read_text()
    assert (found.phase, "password" in found.message) == ("auth", True)


# --- sudo ---

SUDO = """#!/bin/sh
# Stands for sudo: asks on standard error, reads one line, runs what follows `--`.
while [ "$1" != -- ]; do case $1 in -p) prompt=$2; shift;; -n) printf 'sudo: a password is required\\n' >&2; exit 1;;
esac; shift; done; shift
tries=0
while :; do
  printf '%s' "$prompt" >&2
  IFS= read -r word || exit 1
  [ "$word" = "right word" ] && exec "$@"
  tries=$((tries + 1)); [ $tries = 3 ] && exit 1
  echo 'Sorry, try again.' >&2
done
"""


@pytest.fixture(scope="module")
def escalating(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sudo")
    (folder / "bin").mkdir()
    (folder / "bin/sudo").write_text(SUDO)
    (folder / "bin/sudo").chmod(0o755)
    force = f'PATH={folder}/bin:$PATH; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    with Sshd(folder / "server", wide=False, keys_of=sshd, force=force) as server:
        yield server


@pytest.mark.parametrize(
    ("password", "said"), [("right word", None), ("wrong", "the password is wrong"), (None, "wants a password")]
)
def test_sudo(escalating: Sshd, password: str | None, said: str | None) -> None:
    end = endpoint(escalating, become=Become(user="somebody"))
    secrets = Secrets(become_password=password)
    if said is None:
        assert collect(Target(end, secrets), SCRIPT, LIMITS) == STREAM
        return
    found = failure(end, secrets=secrets)
    assert found.phase == "become"
    assert said in found.message


# --- its words and its end ---


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a\nb", "", "a;b", "$(x)"])
def test_a_host_that_could_be_something_else_is_refused(host: str) -> None:
    with pytest.raises(Failure) as caught:
        arguments.words(Endpoint("a", host), LIMITS, False, "x")
    assert caught.value.phase == "resolve"


@pytest.mark.parametrize("further", [("-f",), ("-vN",), ("-L", "1:a:2"), ("host",), ("--",), ("-o",), ("-vW", "a:1")])
def test_words_that_would_do_something_else_are_refused(further: tuple[str, ...]) -> None:
    with pytest.raises(Failure):
        arguments.words(Endpoint("a", "h", ssh_args=further), LIMITS, False, "x")


def test_the_table_names_phases() -> None:
    assert {meaning.phase for meaning in messages.MEANINGS} <= set(PHASES)


@pytest.mark.skipif(not pwd.getpwuid(os.geteuid()).pw_shell, reason="no shell")
def test_ctrl_c_leaves_no_process(sshd: Sshd, tmp_path: Path) -> None:
    # In a process of its own, with a jump host, stopped while the script runs.
    config, mark = tmp_path / "config", tmp_path / "runs"
    sshd.known(["127.0.0.1", "127.0.0.9"], tmp_path / "known")
    config.write_text(
        f"Host *\n UserKnownHostsFile {tmp_path / 'known'}\n IdentityFile {sshd.key}\n IdentitiesOnly yes\n"
        f"Host 127.0.0.9\n ProxyJump 127.0.0.1:{sshd.port}\n"
    )
    end = endpoint(sshd, hostname="127.0.0.9", ssh_config=str(config), ssh_args=())
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from numatune.transport.endpoint import *\nfrom numatune.transport.limits import Limits\n"
        "from numatune.transport.openssh import collect\n"
        f"collect(Target({end!r}), 'echo x >{mark}; exec sleep 60', Limits())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        wait(mark.exists)
        children = descendants(process.pid)
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert b"KeyboardInterrupt" in errors
        wait(lambda: all(gone(pid) for pid in children))
    finally:
        process.kill()
        process.wait()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_banner_that_looks_like_a_prompt_is_told_nothing(escalating: Sshd, tmp_path: Path) -> None:
    # sudo asks for nothing here: a password that was sent all the same would be a line of the script.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sudo").write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    (tmp_path / "bin/sudo").chmod(0o755)
    (tmp_path / "banner").write_text("Authorised use only.\nPassword:\n")
    force = f'PATH={tmp_path}/bin:$PATH; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
    lines = [f"Banner {tmp_path / 'banner'}"]
    told = tmp_path / "told"
    with Sshd(tmp_path / "server", wide=False, keys_of=escalating, force=force, lines=lines) as server:
        end = endpoint(server, become=Become(user="somebody"))
        assert collect(Target(end, Secrets(become_password=f"touch {told}")), SCRIPT, LIMITS) == STREAM
    assert not told.exists()


@pytest.mark.parametrize("kind", ["localhost", "127.0.0.1"])
def test_this_machine_is_no_exception(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    config = tmp_path / "config"
    config.write_text("NoHostAuthenticationForLocalhost yes\nStrictHostKeyChecking no\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    end = endpoint(sshd, hostname=kind, ssh_config=str(config), ssh_args=(), known_hosts=(str(empty),))
    assert failure(end).phase == "hostkey"
    assert empty.read_text() == ""


@pytest.mark.parametrize("given", [True, False])
def test_a_host_block_of_the_word_applies(sshd: Sshd, tmp_path: Path, given: bool) -> None:
    # As the fleet resolves it: HostKeyAlias of another host's key must be what refuses it.
    path = tmp_path / "config"
    sshd.known(["right"], tmp_path / "known", 22)
    block = (
        f"Host one\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n IdentityFile {sshd.key}\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {tmp_path / 'known'}\n GlobalKnownHostsFile /dev/null\n"
        f" HostKeyAlias {'right' if given else 'wrong'}\n"
    )
    path.write_text(block)
    end = resolve("one", config=path)
    if given:
        assert collect(Target(end), SCRIPT, LIMITS) == STREAM
    else:
        assert failure(end).phase == "hostkey"


def test_no_check_and_no_file_are_read_as_the_usual_files(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n")
    end = resolve("one", config=path)
    words = arguments.words(end, LIMITS, False, "x")
    assert "StrictHostKeyChecking=yes" in words
    (files,) = (word for word in words if word.startswith("UserKnownHostsFile="))
    assert "/.ssh/known_hosts" in files
    assert "/dev/null" not in files
