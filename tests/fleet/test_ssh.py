"""The transport by paramiko against real sshds and against servers that lie, flood, stall and pry."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from fleet.canned import Canned
from fleet.sshd import Sshd, make_key
from paramiko.message import Message

from numatune.core.collecting.collector import script
from numatune.transport.endpoint import Endpoint, Secrets, Target
from numatune.transport.failure import Failure
from numatune.transport.host_keys.known_hosts import KnownHosts
from numatune.transport.limits import Limits
from numatune.transport.ssh import Gateways, collect

SECRET = "correct-horse-battery"
QUICK = Limits(resolve_s=2, connect_s=2, banner_s=3, kex_s=5, auth_s=4, channel_s=3, total_s=10, output_bytes=1 << 20)


def known(files: tuple[str, ...]) -> KnownHosts:
    return KnownHosts(files)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def end(sshd: Sshd, tmp_path: Path) -> Endpoint:
    """One host of the ordinary server."""
    file = sshd.known(["127.9.0.1"], tmp_path / "known_hosts")
    return Endpoint(
        alias="web1",
        hostname="127.9.0.1",
        port=sshd.port,
        user=sshd.user,
        identity_files=(str(sshd.key),),
        known_hosts=(str(file),),
    )


def got(end: Endpoint, text: str = "echo hello\n", limits: Limits = QUICK, **secrets: str) -> str:
    return collect(Target(end, Secrets(**secrets)), text, limits, known)


def failed(end: Endpoint, text: str = "echo hello\n", limits: Limits = QUICK, **secrets: str) -> Failure:
    """What collect raises, which took no longer than its limits and says nothing unprintable or secret."""
    started = time.monotonic()
    with pytest.raises(Failure) as caught:
        got(end, text, limits, **secrets)
    assert time.monotonic() - started < limits.total_s + 1
    failure = caught.value
    assert failure.message.isprintable()
    assert SECRET not in str(failure)
    return failure


def canned(server: Canned, tmp_path: Path, **changes: Any) -> Endpoint:
    file = tmp_path / "canned_hosts"
    file.write_text(server.known_line)
    key = tmp_path / "id_canned"
    if not key.exists():
        make_key(key)
    end = Endpoint(
        alias="odd",
        hostname="127.0.0.1",
        port=server.port,
        user="someone",
        identity_files=(str(key),),
        known_hosts=(str(file),),
    )
    return replace(end, **changes)


def echo(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    channel.sendall(b"hello\n")
    channel.send_exit_status(0)
    channel.close()


# --- what works ---


def test_the_collectors_stream_comes_whole(end: Endpoint) -> None:
    stream = got(end, script(), replace(QUICK, output_bytes=16 << 20, total_s=40))
    assert stream.startswith("numatune-snapshot 1\n")
    assert stream.endswith("@end\n")


def test_what_a_login_prints_before_the_stream_is_left_out(end: Endpoint) -> None:
    noisy = "echo 'Welcome!'\nprintf 'numatune-snapshot 1\\n@end\\n'\n"
    assert got(end, noisy) == "numatune-snapshot 1\n@end\n"


def test_a_script_larger_than_the_window_and_output_of_many_packets(end: Endpoint) -> None:
    big = "#" * 3_000_000 + "\nhead -c 900000 /dev/zero | tr '\\0' x\n"
    assert len(got(end, big)) == 900000


def test_threads_share_everything(end: Endpoint) -> None:
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(got(end))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["hello\n"] * 12


# --- host keys ---


def test_an_unknown_key_is_refused_before_anything_is_offered(tmp_path: Path) -> None:
    with Canned(password=SECRET, allowed="password") as server:
        end = canned(server, tmp_path)
        Path(end.known_hosts[0]).write_text("")
        failure = failed(end, password=SECRET)
    assert failure.phase == "hostkey"
    assert "ssh-keyscan" in failure.message
    assert server.seen == []


def test_a_changed_key_is_refused_before_anything_is_offered_and_accept_new_does_not_help(tmp_path: Path) -> None:
    with Canned(password=SECRET, allowed="password") as server:
        end = canned(server, tmp_path, strict="accept-new")
        other = paramiko.RSAKey.generate(2048)
        Path(end.known_hosts[0]).write_text(f"[127.0.0.1]:{server.port} ssh-rsa {other.get_base64()}\n")
        failure = failed(end, password=SECRET)
    assert failure.phase == "hostkey"
    assert "ssh-keygen -R" in failure.message
    assert server.seen == []


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    with Canned() as server:
        end = canned(server, tmp_path)
        Path(end.known_hosts[0]).write_text(f"{server.known_line}@revoked * ssh-rsa {server.key.get_base64()}\n")
        assert "@revoked" in failed(end).message
    assert server.seen == []


def test_accept_new_records_the_key_once_and_holds_it_to_it(end: Endpoint, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.write_text("")
    end = replace(end, known_hosts=(str(fresh),), strict="accept-new")
    assert got(end) == "hello\n"
    assert len(fresh.read_text().splitlines()) == 1
    assert got(replace(end, strict="strict")) == "hello\n"


def test_the_key_type_on_file_is_asked_for(end: Endpoint, sshd: Sshd, tmp_path: Path) -> None:
    only = tmp_path / "only_rsa"
    only.write_text(f"[127.9.0.1]:{sshd.port} {sshd.host_keys['rsa']}\n")
    assert got(replace(end, known_hosts=(str(only),))) == "hello\n"


# --- logging in ---


def test_a_wrong_key_is_named_with_what_the_server_allows(end: Endpoint, tmp_path: Path) -> None:
    key = make_key(tmp_path / "wrong")
    failure = failed(replace(end, identity_files=(str(key),)))
    assert failure.phase == "auth"
    assert str(key) in failure.message
    assert "allows publickey" in failure.message
    assert not failure.retry


def test_no_key_at_all(end: Endpoint) -> None:
    failure = failed(replace(end, identity_files=()))
    assert failure.phase == "auth"
    assert "name a key" in failure.message


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_encrypted_keys_open_with_the_passphrase_only(end: Endpoint, sshd: Sshd, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / f"locked_{kind}", kind, passphrase=SECRET)
    before = sshd.authorized_keys.read_text()
    sshd.authorized_keys.write_text(before + Path(f"{key}.pub").read_text())
    try:
        end = replace(end, identity_files=(str(key),))
        assert got(end, key_passphrase=SECRET) == "hello\n"
        assert "is encrypted" in failed(end).message
        assert "cannot be used" in failed(end, key_passphrase="no").message
    finally:
        sshd.authorized_keys.write_text(before)


def test_a_key_without_a_comment(end: Endpoint, sshd: Sshd, tmp_path: Path) -> None:
    # paramiko alone reads an ECDSA key of 256 bits without a comment as empty.
    key = make_key(tmp_path / "bare", "ecdsa")
    before = sshd.authorized_keys.read_text()
    sshd.authorized_keys.write_text(before + Path(f"{key}.pub").read_text())
    try:
        assert got(replace(end, identity_files=(str(key),))) == "hello\n"
    finally:
        sshd.authorized_keys.write_text(before)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent with eight keys that fit nowhere; yields its folder."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    for number in range(8):
        add(make_key(tmp_path / f"other{number}"))
    yield tmp_path
    process.terminate()
    process.wait(10)


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=10, env=os.environ)


def test_a_key_file_comes_before_a_crowded_agents(end: Endpoint, agent: Path) -> None:
    assert got(end) == "hello\n"


def test_the_agents_copy_of_a_named_key_comes_first(end: Endpoint, sshd: Sshd, agent: Path) -> None:
    add(sshd.key)
    named = agent / "named"  # its private half is in the agent alone
    Path(f"{named}.pub").write_text(Path(f"{sshd.key}.pub").read_text())
    assert got(replace(end, identity_files=(str(named),), identity_agent=str(agent / "agent"))) == "hello\n"


def test_a_crowded_agent_without_the_key_says_so(end: Endpoint, agent: Path) -> None:
    failure = failed(replace(end, identity_files=()))
    assert failure.phase == "auth"
    assert "(agent)" in failure.message


def test_identities_only_and_no_agent_leave_the_agent_alone(end: Endpoint, agent: Path) -> None:
    for changes in ({"identities_only": True}, {"use_agent": False}):
        assert "(agent)" not in failed(replace(end, identity_files=(), **changes)).message  # type: ignore[arg-type]  # fields by name


def test_an_agent_that_does_not_answer_is_left(end: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "deaf"))
        monkeypatch.setattr("numatune.transport.agent._LIST_S", 0.2)
        assert got(end) == "hello\n"


def test_passwords_by_both_methods(tmp_path: Path) -> None:
    for allowed in ("password", "keyboard-interactive"):
        with Canned(password=SECRET, allowed=allowed, on_exec=echo) as server:
            end = canned(server, tmp_path, identity_files=())
            assert got(end, password=SECRET) == "hello\n"
            wrong = failed(end, password="wrong-horse")
            assert wrong.phase == "auth"
            assert allowed in wrong.message
            assert "wrong-horse" not in wrong.message


@pytest.mark.parametrize(
    ("prompts", "again"),
    [
        ([("?\x1b[2J", False)] * 1000, False),
        ([("OTP:", False)], True),
        ([("visible", True)], False),
        ([], True),
    ],
)
def test_prompts_that_no_password_answers(tmp_path: Path, prompts: list[Any], again: bool) -> None:
    server = Canned(password="x", allowed="keyboard-interactive", prompts=tuple(prompts), again=again)
    with server:
        failure = failed(canned(server, tmp_path, identity_files=()), password=SECRET)
    assert failure.phase == "auth"
    answers = [answer for kind, answer in server.seen if kind == "answers"]
    assert len(answers) <= 6
    assert sum(SECRET in answer for answer in answers) <= 1


# --- servers that are slow, endless or broken ---


def serve_once(reply: bytes) -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(reply)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return listener, int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("reply", "phase", "retry", "said"),
    [
        (b"", "banner", True, "MaxStartups"),
        (b"Exceeded MaxStartups\r\n", "banner", True, "MaxStartups limit"),
        (b"Not allowed at this time\r\n", "banner", False, "PerSourcePenalties"),
        (b"SSH-1.5-old\r\n", "banner", False, "SSH-1.5-old"),
        (b"220 mail \x1b]0;owned\x07 ready\r\n" * 60, "banner", False, "not an SSH server"),
        (b"x" * 100_000, "banner", False, "protocol"),
        (b"SSH-2.0-\xff\xfe\r\n", "banner", False, "not an SSH server"),
        (b"SSH-2.0-odd\r\n\x7f\xff\xff\xfc" + b"\x01" * 60, "kex", False, "packet of"),
        (b"SSH-2.0-odd\r\n" + b"\x00" * 64, "kex", False, ""),
        (b"SSH-2.0-odd\r\n", "kex", True, "closed"),
    ],
)
def test_what_answers_is_no_working_server(end: Endpoint, reply: bytes, phase: str, retry: bool, said: str) -> None:
    listener, port = serve_once(reply)
    with listener:
        failure = failed(replace(end, hostname="127.0.0.1", port=port))
    assert (failure.phase, failure.retry) == (phase, retry), failure
    assert said in failure.message


def test_refused_and_unknown_names(end: Endpoint) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        refused = failed(replace(end, hostname="127.0.0.1", port=held.getsockname()[1]))
    assert (refused.phase, refused.retry) == ("tcp", False)
    assert failed(replace(end, hostname="no-such-host.invalid")).phase == "resolve"
    assert failed(replace(end, hostname="bad..name\x1b[2J")).phase == "resolve"


def test_a_resolver_that_hangs_is_left_behind(end: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*arguments: Any) -> list[Any]:
        if arguments[5] & socket.AI_NUMERICHOST:
            raise socket.gaierror(-2, "not a number")
        release.wait(20)
        return []

    monkeypatch.setattr("numatune.transport.ssh.connect.socket.getaddrinfo", hang)
    failure = failed(replace(end, hostname="slow.example"), limits=replace(QUICK, resolve_s=0.3, total_s=2))
    release.set()
    assert failure.phase == "resolve"


def flood_ignore(transport: paramiko.Transport) -> None:
    while transport.is_active():
        transport.send_ignore(200)


def raw(transport: paramiko.Transport, *parts: Any) -> None:
    message = Message()
    message.add_byte(bytes([parts[0]]))
    for part in parts[1:]:
        if isinstance(part, bool):
            message.add_boolean(part)
        elif isinstance(part, int):
            message.add_int(part)
        else:
            message.add_string(part)
    transport._send_message(message)


@pytest.mark.parametrize(("cap", "phase"), [(1 << 16, "auth"), (1 << 40, "timeout")])
def test_packets_without_end_before_authentication(tmp_path: Path, cap: int, phase: str) -> None:
    with Canned(after_kex=flood_ignore, hangs=True) as server:
        limits = replace(QUICK, auth_s=1, output_bytes=cap)
        assert failed(canned(server, tmp_path), limits=limits).phase == phase


def test_banners_and_disconnects_with_escapes(tmp_path: Path) -> None:
    def disconnect(transport: paramiko.Transport) -> None:
        raw(transport, 1, 11, "bye \x1b]0;owned\x07\r\nnow", "")

    # It hangs in the login: the disconnect must not come after that.
    with Canned(banner="\x1b[2Jread this", after_kex=disconnect, hangs=True) as server:
        failure = failed(canned(server, tmp_path))
    assert failure.phase == "auth"
    assert "bye" in failure.message


def test_messages_out_of_order(tmp_path: Path) -> None:
    for parts in ((21,), (94, 0, "data"), (91, 0, 0, 100, 100), (31, "a", "b", "c"), (60, "x", "y"), (52,), (99, 0)):

        def send(transport: paramiko.Transport, parts: tuple[Any, ...] = parts) -> None:
            for _ in range(3):
                raw(transport, *parts)

        with Canned(after_kex=send, on_exec=echo) as server, contextlib.suppress(Failure):
            assert got(canned(server, tmp_path)) == "hello\n", parts


def test_channels_that_a_server_opens_are_refused(tmp_path: Path) -> None:
    answers: list[int] = []

    def pry(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        # A client's answer to each: 92, refused.
        handled = threading.Event()

        def refused(message: Message) -> None:
            answers.append(message.get_int())
            if len(answers) == 4:
                handled.set()

        transport._handler_table[92] = refused
        raw(transport, 90, "auth-agent@openssh.com", 7, 100000, 1000)
        raw(transport, 90, "x11", 8, 100000, 1000, "1.2.3.4", 6000)
        raw(transport, 90, "forwarded-tcpip", 9, 100000, 1000, "1.2.3.4", 22, "5.6.7.8", 22)
        raw(transport, 90, "session", 10, 100000, 1000)
        handled.wait(5)
        echo(transport, channel)

    with Canned(on_exec=pry) as server:
        assert got(canned(server, tmp_path)) == "hello\n"
    assert sorted(answers) == [7, 8, 9, 10]


@pytest.mark.parametrize("text", ["exec yes\n", "exec yes >&2\n", "head -c 9000000 /dev/zero\n"])
def test_output_without_end(end: Endpoint, text: str) -> None:
    assert failed(end, text).phase == "output"


def test_data_beyond_the_window(tmp_path: Path) -> None:
    def pour(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        while transport.is_active():
            raw(transport, 94, channel.remote_chanid, b"z" * 30000)

    with Canned(on_exec=pour) as server:
        assert failed(canned(server, tmp_path)).phase == "output"


@pytest.mark.parametrize("text", ["while :; do echo x; sleep 0.1; done\n", "sleep 60\n", "exec 1>&- 2>&-; sleep 60\n"])
def test_output_that_drips_or_never_ends(end: Endpoint, text: str) -> None:
    failure = failed(end, text, replace(QUICK, total_s=1))
    assert failure.phase == "timeout"


def test_a_giant_line_of_invalid_bytes_is_text(end: Endpoint) -> None:
    text = got(end, "head -c 500000 /dev/zero | tr '\\0' '\\377'; echo\n", replace(QUICK, output_bytes=4 << 20))
    assert len(text) >= 500001
    assert text.isascii()


# --- commands that do not run ---


def test_scripts_that_end_badly(end: Endpoint) -> None:
    failure = failed(end, "printf 'a\\033]0;owned\\007\\377 b\\n' >&2; exit 3\n")
    assert failure.phase == "exec"
    assert "status 3" in failure.message
    assert failed(end, "exec no-such-program-at-all\n").phase == "exec"
    assert "SIGKILL" in failed(end, "kill -9 $$\n").message


def test_a_forced_command_or_a_shell_that_refuses(tmp_path: Path, sshd: Sshd) -> None:
    for force, word in (("/bin/echo This account is not available.", "forced command"), ("/bin/false", "status 1")):
        with Sshd(tmp_path / word.replace(" ", ""), force=force, keys_of=sshd, wide=False) as server:
            end = Endpoint(
                alias="f",
                hostname="127.0.0.1",
                port=server.port,
                user=server.user,
                identity_files=(str(server.key),),
                known_hosts=(str(server.known_hosts),),
            )
            failure = failed(end, script())
        assert failure.phase == "exec"
        assert word in failure.message


def test_channels_and_commands_that_are_refused(tmp_path: Path) -> None:
    with Canned(channel=paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED) as server:
        assert failed(canned(server, tmp_path)).phase == "exec"
    with Canned(executes=False) as server:
        failure = failed(canned(server, tmp_path))
        assert failure.phase == "exec"
        assert "runs no commands" in failure.message


def test_a_peer_with_nothing_in_common_says_what_is_missing(tmp_path: Path) -> None:
    with Canned() as server:
        failure = failed(canned(server, tmp_path, kex=("ecdh-sha2-nistp521",)), limits=replace(QUICK, total_s=2))
        assert failure.phase != "kex"  # it knows that one
        end = canned(server, tmp_path, ciphers=("aes256-ctr",))  # paramiko 3.4 knows no GCM
        server.disabled = {"ciphers": ["aes256-ctr"]}
        failure = failed(end)
    assert failure.phase == "kex"
    assert "ciphers" in failure.message
    assert "--transport openssh" in failure.message


# --- jump hosts ---


def through(end: Endpoint, sshd: Sshd, *addresses: str) -> Endpoint:
    jumps = tuple(replace(end, alias=f"jump{number}", hostname=address) for number, address in enumerate(addresses))
    with Path(end.known_hosts[0]).open("a") as file:
        file.writelines(sshd.known_lines(addresses))
    return replace(end, jumps=jumps)


def test_hosts_behind_a_chain_of_jumps_share_its_connections(end: Endpoint, sshd: Sshd) -> None:
    gateways = Gateways()
    end = through(end, sshd, "127.9.1.1", "127.9.1.2")
    before = sshd.log.read_text().count("Accepted publickey")
    try:
        for _ in range(3):
            assert collect(Target(end), "echo hello\n", QUICK, known, gateways) == "hello\n"
        assert sshd.log.read_text().count("Accepted publickey") - before == 5
    finally:
        gateways.close()


def test_a_jump_host_with_a_wrong_key_is_never_passed(end: Endpoint, sshd: Sshd, tmp_path: Path) -> None:
    jump = replace(end, alias="bastion", hostname="127.9.1.3")  # not on file
    failure = failed(replace(end, jumps=(jump,)))
    assert failure.phase == "hostkey"
    assert "bastion" in failure.message


def test_a_dead_jump_host_is_asked_once(end: Endpoint, sshd: Sshd) -> None:
    gateways = Gateways()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        jump = replace(end, alias="bastion", hostname="127.0.0.1", port=held.getsockname()[1])
        for _ in range(3):
            with pytest.raises(Failure) as caught:
                collect(Target(replace(end, jumps=(jump,))), "echo\n", QUICK, known, gateways)
            assert (caught.value.phase, "bastion" in caught.value.message) == ("tcp", True)
    gateways.close()


def test_what_a_jump_host_cannot_reach(end: Endpoint, sshd: Sshd) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        behind = through(end, sshd, "127.9.1.1")
        failure = failed(replace(behind, hostname="127.0.0.1", port=held.getsockname()[1]))
    assert failure.phase == "tcp"
    assert "jump0" in failure.message


# --- secrets ---


def test_no_secret_is_logged_or_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Canned(password="other", allowed="password,keyboard-interactive") as server:
        target = Target(canned(server, tmp_path, identity_files=()), Secrets(password=SECRET))
        with pytest.raises(Failure) as caught:
            collect(target, "echo\n", QUICK, known)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert SECRET not in repr(seen)
        seen = seen.__cause__
    assert SECRET not in caplog.text
    assert SECRET not in repr(target)
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert SECRET.encode() not in cmdline.read_bytes()
        except OSError:
            continue


def test_fabrics_own_files_change_nothing(end: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another program's configuration says of every host is not what the inventory said of this one."""
    monkeypatch.chdir(tmp_path)
    for folder, prefix in ((tmp_path, "."), (tmp_path, "")):
        for program in ("fabric", "invoke"):
            (folder / f"{prefix}{program}.yaml").write_text(
                "user: nobody-here\nport: 1\ngateway: 127.0.0.9\nconnect_kwargs: {compress: true, key_filename: none}\n"
                "timeouts: {connect: 1}\nauthentication: {strategy_class: none}\nload_ssh_configs: true\n"
            )
    monkeypatch.setenv("INVOKE_USER", "nobody-here")
    monkeypatch.setenv("FABRIC_AUTHENTICATION_STRATEGY_CLASS", "none")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n User nobody-here\n Port 1\n HostName 127.0.0.9\n")
    assert got(end) == "hello\n"
