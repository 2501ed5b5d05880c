"""A login that does not get to the collector, and a collector that hangs: told apart, by both transports."""

from __future__ import annotations

import fcntl
import pwd
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from fleet.sshd import Sshd, addresses
from fleet.test_pool_sshd import endpoint

from numatune.core.collecting.snapshot import MAGIC
from numatune.core.profile import builtin
from numatune.fleet import pool
from numatune.fleet.events import Done
from numatune.fleet.work import Work
from numatune.report.audits.failures import kind
from numatune.transport.become import Become, starter
from numatune.transport.capture import Capture
from numatune.transport.endpoint import Target
from numatune.transport.limits import Deadline, Limits

JUDGE = Work("judge", builtin("inference-latency"), date(2026, 11, 24))
MANY = 12

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="flock is missing: install util-linux")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock that sessions wait for; they end when it is let go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def audited(server: Sshd, transport: str, total_s: float) -> list[Done]:
    names = addresses(MANY, network=88)
    server.known(names)
    targets = [Target(endpoint(server, f"h{number}", name)) for number, name in enumerate(names)]
    events = pool.run(targets, JUDGE, forks=MANY, limits=Limits(total_s=total_s), transport=transport)
    return [event for event in events if isinstance(event, Done)]


def messages(done: list[Done]) -> set[str]:
    """Return the kinds of failures, without each host's own words and seconds, and without what a busy machine adds."""
    assert {(event.failure or {}).get("phase") for event in done} == {"timeout"}
    said = (kind((event.failure or {})["message"], [event.alias]) for event in done)
    return {re.sub(r" \((the second|but this).*", "", message) for message in said}


def bashrc(server: Sshd, lock: Path) -> None:
    """Let every login wait for a lock, and hold it for a moment."""
    if not pwd.getpwnam(server.user).pw_shell.endswith("bash"):
        pytest.skip(f"the login shell of {server.user} is not bash, which reads ~/.bashrc under sshd")
    (server.login / ".bashrc").write_text(f"exec 9>>{lock}; flock 9; sleep 0.02; exec 9>&-\n")


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_a_login_shell_that_waits_is_named(tmp_path: Path, transport: str) -> None:
    with Sshd(tmp_path / "sshd") as server, held(tmp_path / "lock"):
        bashrc(server, tmp_path / "lock")
        said = messages(audited(server, transport, 6.0))
    assert not [message for message in said if "the collector began" in message]
    assert (  # on a busy machine some host may not get so far
        f"the login shell of {server.user} did not start the collector within … s (nothing came);"
        " look what its start-up files wait for, with `ssh HOST true`" in said
    )


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_logins_that_wait_for_each_other_are_reached(tmp_path: Path, transport: str) -> None:
    with Sshd(tmp_path / "sshd") as server:
        bashrc(server, tmp_path / "lock")
        done = audited(server, transport, 60.0)
    assert [event.failure for event in done] == [None] * MANY


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_a_collector_that_hangs_is_told_from_it(tmp_path: Path, transport: str) -> None:
    lock = tmp_path / "lock"
    force = f"echo Welcome; echo {MAGIC}; echo @states; echo f /etc/fstab; exec flock {lock} true"
    hung = (
        "the collector began after … s and hung at or after @states, not done within … s;"
        " look whether the host is overloaded or a file system of it hangs"
    )
    with Sshd(tmp_path / "sshd", force=force) as server, held(lock):
        # A busy machine may not get as far as that in the first limits.
        for total_s in (6.0, 20.0, 60.0):
            said = messages(audited(server, transport, total_s))
            if hung in said:
                break
    assert hung in said


# --- the words


def late(*pieces: bytes, who: str = "the login shell of ann") -> str:
    capture = Capture(1 << 20, Deadline(time.monotonic(), 60.0))
    capture.starter, capture.hide = who, lambda text: text.replace("swordfish", "****")
    for piece in pieces:
        capture.feed(piece)
    return capture.late().message


def test_what_a_login_prints_is_not_the_collectors() -> None:
    magic = MAGIC.encode()
    assert "(nothing came)" in late()
    assert "(what came is not the collector's)" in late(b"Welcome to numatune-snapshot 1\n" * 9000)
    begun = late(b"Hi\n" + magic[:4], magic[4:] + b"\n@states\n@command lscpu 0\n")
    assert "hung at or after @command lscpu 0," in begun
    assert "hung at or after @command ****," in late(magic + b"\n@command swordfish\n")
    assert "hung at or after @states," in late(magic + b"\n@states\n@command swordfi")
    assert "hung at or after @states 2J," in late(magic + b"\n@states\x1b2J\n")
    assert "did not start" in late(b"x" * (64 << 10) + b"\n" + magic + b"\n@end\n")


def test_sudo_is_named_where_it_stands_between() -> None:
    assert starter(None, "ann") == "the login shell of ann"
    assert starter(Become("sudo", "ann"), "ann") == "the login shell of ann"
    assert starter(Become("sudo", "root"), "ann") == "the login shell of ann, or sudo,"
    assert starter(None, "") == "the login shell"
