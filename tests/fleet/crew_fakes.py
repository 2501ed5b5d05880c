"""Transports that behave as badly as a host or a library can; an alias says how: "0012-hang" hangs."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import Any

from numatune.core.collecting.snapshot import MAGIC
from numatune.transport.endpoint import Endpoint, Secrets, Target
from numatune.transport.failure import Failure
from numatune.transport.limits import Limits
from numatune.transport.output_memory import Place

STREAM = f"{MAGIC}\n@end\n"
PASSWORD = "swordfish-71"


def endpoint(alias: str, *jumps: str, hostname: str | None = None) -> Endpoint:
    """Return where a host is; `jumps` name its gateways."""
    return Endpoint(alias, hostname or alias, user="somebody", jumps=tuple(endpoint(jump) for jump in jumps))


def target(alias: str, *jumps: str, hostname: str | None = None) -> Target:
    """Return a target with a password."""
    return Target(endpoint(alias, *jumps, hostname=hostname), Secrets(password=PASSWORD))


def targets(*behaviours: str) -> list[Target]:
    """Return one target for each behaviour, "0000-ok" and so on."""
    return [target(f"{number:04}-{behaviour}") for number, behaviour in enumerate(behaviours)]


def sleep_through() -> None:
    """Stop this process as a whole for a second: what a starved machine does to a run, by a signal."""
    waker = subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    waker.wait()


class Fake:
    """Does what the alias says. The class itself is an opener."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Answer, fail, hang or worse."""
        assert script.startswith("#")
        assert limits.total_s > 0
        alias = target.endpoint.alias
        self.tries[alias] = self.tries.get(alias, 0) + 1
        made = getattr(self, "_" + alias.partition("-")[2].partition("-")[0])(alias)
        return str(made)

    def close(self) -> None:
        """Nothing to let go of."""

    def _ok(self, alias: str) -> str:
        return STREAM

    def _refused(self, alias: str) -> str:
        raise Failure("tcp", "connection refused: is sshd running?")

    def _dropped(self, alias: str) -> str:
        raise Failure("banner", "the server closed the connection", retry=True)

    def _flaky(self, alias: str) -> str:
        return STREAM if self.tries[alias] > 1 else self._dropped(alias)

    def _garbage(self, alias: str) -> str:
        return "\x1b[2Jnot a snapshot"

    def _lines(self, alias: str) -> str:
        return f"{MAGIC}\n@states\n" + "\n" * 500_000 + "@end\n"

    def _large(self, alias: str) -> str:
        noise = os.urandom(4 << 20).hex()
        return f"{MAGIC}\n@command noise 0\n| {noise}\n@end\n"

    def _exits(self, alias: str) -> str:
        raise SystemExit(PASSWORD)

    def _interrupts(self, alias: str) -> str:
        raise KeyboardInterrupt

    def _memory(self, alias: str) -> str:
        raise MemoryError

    def _bug(self, alias: str) -> str:
        raise ValueError(f"cannot log in with {PASSWORD}")

    def _hang(self, alias: str) -> str:
        threading.Event().wait()
        raise AssertionError

    def _program(self, alias: str) -> str:
        # A program that does not end with its standard input.
        subprocess.run(["sleep", "600"], check=True)
        raise AssertionError

    def _slow(self, alias: str) -> str:
        time.sleep(0.2)
        return STREAM

    def _holds(self, alias: str) -> str:
        # The regular expression engine never lets go of the interpreter, and this takes it for ages.
        re.match(r"(a|a)*$", "a" * 64 + "b")
        raise AssertionError

    def _killed(self, alias: str) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


# Both a forked worker and one of multiprocessing's server can have what this context makes.
_SHARED = multiprocessing.get_context("forkserver")


class Counting:
    """An opener of a transport that counts, over all workers, how many hosts are in flight through each gateway."""

    def __init__(self, gateways: Iterable[str]) -> None:
        self.gateways = list(gateways)
        self.now: Any = _SHARED.Array("i", len(self.gateways))
        self.most: Any = _SHARED.Array("i", len(self.gateways))
        self.pids: Any = _SHARED.Array("i", len(self.gateways))
        self.started: Any = _SHARED.Value("i", 0)

    def __call__(self) -> Counting:
        return self

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Take a moment, counted."""
        with self.started.get_lock():
            self.started.value += 1
        names = [jump.hostname for jump in target.endpoint.jumps] or ["direct"]
        places = [self.gateways.index(name) for name in names]
        for place in places:
            with self.now.get_lock():
                self.now[place] += 1
                self.most[place] = max(self.most[place], self.now[place])
                self.pids[place] = os.getpid() if self.pids[place] in (0, os.getpid()) else -1
        time.sleep(0.004)
        for place in places:
            with self.now.get_lock():
                self.now[place] -= 1
        return STREAM

    def close(self) -> None:
        """Nothing to let go of."""
