"""One ssh process: its input sent, its output captured, its phases timed, and its end, with that of its children."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..capture import Capture
from ..delay import run_delay
from ..failure import Failure
from ..limits import Deadline, Limits
from .askpass import Askpass
from .messages import is_own, milestone

_PIECE = 64 << 10
_ERRORS_KEPT = 16 << 10
_LONGEST_LINE = 2000
_GENTLE_S = 0.3
# Starting a program and reading its configuration is counted with the resolver.
_START_S = 3.0


class Ssh:
    """A running ssh; to be used as a context, at whose end neither it nor a child of it is left.

    `phase` is that of the last milestone, `output` takes standard output, `lines` are what stands on standard error but
    for ssh's notices; `before_session` of them came before the command was asked for. `entry` is the host's name in
    known_hosts. Raises Failure("timeout"|"output"|…) from whatever waits.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        limits: Limits,
        total: Deadline,
        output: Capture,
        askpass: Askpass | None,
    ) -> None:
        self.phase = "resolve"
        self.entry = "HOST"
        self.output = output
        self.lines: list[str] = []
        self.before_session = 0
        self._kept = 0
        self._tail = b""
        self._error_bytes = 0
        self._limits = limits
        self._total = total
        self._deadline = total.within(limits.resolve_s + _START_S)
        self._askpass = askpass
        self._input = memoryview(b"")
        self._ends = False
        # In the caller's process group: a worker that is killed with its group takes ssh with it.
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                bufsize=0,
            )
        except FileNotFoundError:
            raise Failure("exec", "there is no `ssh` program here: install OpenSSH's client") from None
        except OSError as error:
            raise Failure("exec", f"ssh could not be started: {error.strerror}") from None
        if askpass is not None:
            askpass.ssh = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in, self._out, self._err = self._process.stdin, self._process.stdout, self._process.stderr
        self._open = {self._out.fileno(): self._out, self._err.fileno(): self._err}
        os.set_blocking(self._in.fileno(), False)
        output.waited_s = self._waited

    def __enter__(self) -> Ssh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    # --- what it is told ---

    def send(self, data: bytes) -> None:
        """Let it send this; it goes out while something is waited for."""
        self._input = memoryview(bytes(self._input) + data)

    def end_input(self) -> None:
        """Close its input once all is sent."""
        self._ends = True
        self._close_input()

    def until(self, done: Callable[[], bool]) -> None:
        """Read until `done()` or until it has closed its output."""
        while self._open and not done():
            self._step()

    def finish(self) -> int:
        """Read to the end and return its exit status; negative for a signal."""
        self.until(lambda: False)
        try:
            return self._process.wait(max(0.1, self._deadline.left()))
        except subprocess.TimeoutExpired:
            raise self._late() from None

    @property
    def over(self) -> bool:
        """Whether it has closed its output."""
        return not self._open

    def begin(self, phase: str, seconds: float) -> None:
        """Begin a phase of the caller's, with a limit of its own."""
        self.phase = phase
        self._deadline = self._total.within(seconds)

    def rest(self) -> None:
        """Let what follows take all the time that is left."""
        self.phase, self._deadline = "output", self._total

    def error_text(self, after: int = 0) -> str:
        """Return what stands on standard error but for ssh's notices, the unfinished line included; not cleaned.

        `after` leaves out so many lines.
        """
        tail = self._tail.decode("utf-8", "replace")
        return "\n".join([*self.lines[after:], "" if is_own(tail) else tail])

    # --- waiting ---

    def _step(self) -> None:
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        if self._input and not self._in.closed:
            poll.register(self._in.fileno(), select.POLLOUT)
        if self._askpass is not None:
            poll.register(self._askpass.descriptor, select.POLLIN)
        left = self._deadline.left()
        ready = poll.poll(1000 * left + 1) if left else []
        if not ready and self._deadline.passed():
            raise self._late()
        for descriptor, _ in ready:
            if self._askpass is not None and descriptor == self._askpass.descriptor:
                self._askpass.serve()
            elif descriptor in self._open:
                self._read(descriptor)
            else:
                self._write()

    def _read(self, descriptor: int) -> None:
        data = os.read(descriptor, _PIECE)
        if not data:
            self._open.pop(descriptor)
        elif descriptor == self._out.fileno():
            self.output.feed(data)
        else:
            self._errors(data)
            # A host that only writes there does not end a poll.
            if self._deadline.passed():
                raise self._late()

    def _errors(self, data: bytes) -> None:
        self._error_bytes += len(data)
        if self._error_bytes > self.output.limit:
            raise Failure("output", "the host does not stop writing to standard error; look at what its login prints")
        *lines, tail = (self._tail + data).split(b"\n")
        for line in lines:
            self._line(line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r"))
        self._tail = tail[:_LONGEST_LINE]

    def _line(self, line: str) -> None:
        phase = milestone(line)
        if phase is not None and self.phase not in ("become", "output"):
            self._enter(phase)
        elif self._kept + len(line) <= _ERRORS_KEPT and line.strip() and not is_own(line):
            self.lines.append(line)
            self._kept += len(line) + 1

    def _enter(self, phase: str) -> None:
        # The children that go through jump hosts write no notices: what comes until the version line is one phase.
        if self.phase == "proxy" and phase in ("tcp", "banner"):
            return
        if phase in ("hostkey",) or (phase == "auth" and self.phase == "auth"):
            self.phase = phase
            return
        limits = self._limits
        self.phase = phase
        if phase == "output":
            self.before_session = len(self.lines)
        seconds = {
            "tcp": limits.connect_s,
            "banner": limits.banner_s,
            "kex": limits.kex_s,
            "auth": limits.auth_s,
            "exec": limits.channel_s,
            "proxy": limits.connect_s + limits.banner_s + limits.kex_s + limits.auth_s,
        }
        self._deadline = self._total.within(seconds[phase]) if phase in seconds else self._total

    def _write(self) -> None:
        try:
            sent = os.write(self._in.fileno(), self._input[:_PIECE])
        except BlockingIOError:
            return
        except OSError:
            # It has ended, or the other side has closed; its output says why.
            sent = len(self._input)
            self._ends = True
        self._input = self._input[sent:]
        self._close_input()

    def _close_input(self) -> None:
        if self._ends and not self._input and not self._in.closed:
            with suppress(OSError):
                self._in.close()

    def _late(self) -> Failure:
        if self.phase == "output":
            return self.output.late()
        seconds = self._deadline.seconds
        if self._total.passed():
            what = f"not done within the {self._total.seconds:.0f} s for a host; it stopped at {self.phase}"
            return Failure("timeout", what, late=True, waited_s=self._waited())
        phase, what = _LATE.get(self.phase, ("timeout", f"{self.phase} did not end"))
        what += f" within {seconds:.1f} s; is the host overloaded or filtered?"
        return Failure(phase, what, late=True, waited_s=self._waited())

    def _waited(self) -> float:
        """Return the seconds for which ssh, or a proxy of its, was ready to run here and got no CPU."""
        return max(run_delay(str(pid)) for pid in (self._process.pid, *_descendants(self._process.pid)))

    # --- its end ---

    def end(self) -> None:
        """End it and its children if they run, and reap it."""
        children = _held(_descendants(self._process.pid)) if self._process.returncode is None else []
        try:
            if self._process.poll() is None:
                # On SIGTERM ssh ends its proxy itself.
                self._process.terminate()
                try:
                    self._process.wait(_GENTLE_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        finally:
            for descriptor in children:
                with suppress(OSError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                os.close(descriptor)
            for stream in (self._in, self._out, self._err):
                with suppress(OSError):
                    stream.close()


_LATE = {
    "resolve": ("resolve", "ssh found no address"),
    "tcp": ("tcp", "no answer to the connection"),
    "banner": ("banner", "no SSH version line came"),
    "proxy": ("timeout", "the jump host or proxy command gave no connection"),
    "kex": ("timeout", "the key exchange did not end"),
    "hostkey": ("timeout", "the key exchange did not end"),
    "auth": ("timeout", "authentication did not end"),
    "become": ("timeout", "the login shell did not start sudo, or sudo did not answer,"),
    "exec": ("timeout", "no session was opened"),
}


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _held(pids: Sequence[int]) -> list[int]:
    """Return descriptors of the processes: a signal through them never reaches another process with that number."""
    held = []
    for pid in pids:
        with suppress(OSError):
            held.append(os.pidfd_open(pid))
    return held
