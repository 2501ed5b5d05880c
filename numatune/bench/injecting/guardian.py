"""Programs of the child processes that injection starts; `child` runs each in a Python of its own.

Each of them ends when its standard input does: the measured process holds the other end, and the kernel closes it
however that process ends, SIGKILL included. Each writes READY once it is set up and a BURST for each burst, bytes
that wait in the pipe while the measured process is stopped or dead.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Callable, Optional

from ..cpus import parse_cpu_list

READY, BURST = b"R", b"."
OURS = "1"
"""What injection writes to kernel.numa_balancing."""

_INPUT, _OUTPUT = 0, 1
_LONGEST_BURST = 10
"""A hog that does not get its CPU gives up its burst after this many times its length."""

Send = Callable[[int], None]


def main(role: str, cpus: str, *words: str) -> None:
    """Run one program; it may run on `cpus` only, and takes nothing from the terminal or from open files."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:  # the folder itself, closed by now
                continue
    # Ctrl-C, a closed terminal and a service manager's stop reach the whole group: the measured process ends by them,
    # and these processes then by their input, once they have put everything back.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.sched_setaffinity(0, set(parse_cpu_list(cpus)))
    programs: dict[str, Callable[..., None]] = {"hog": hog, "stopper": stopper, "guard": guard}
    programs[role](*words)


def gaps(period: float, seed: str) -> Iterator[float]:
    """Seconds between bursts, for ever: jittered, so that they cannot march in step with the inferences."""
    dice = random.Random(seed)
    while True:
        yield period * dice.uniform(0.6, 1.4)


def hog(busy: str, period: str) -> None:
    """Take `busy` seconds of CPU time every `period` seconds or so."""
    os.write(_OUTPUT, READY)
    length = float(busy)
    for gap in gaps(float(period), "hog"):
        if _over(gap, (_INPUT,)):
            return
        end, latest = time.thread_time() + length, time.monotonic() + _LONGEST_BURST * length
        while time.thread_time() < end and time.monotonic() < latest:
            pass
        _say(BURST)


def stopper(target: str, shortest: str, longest: str, period: str) -> None:
    """Stop the process `target` for a moment every `period` seconds or so, and see that it never stays stopped.

    A second process does the stopping and this one waits for its end: whichever of the two is killed, the other one
    lets the measured process go on, and no further stop follows.
    """
    pid = int(target)
    send = _sender(pid)
    watched, lifeline = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        _stop_in_bursts(send, (float(shortest), float(longest)), float(period), watched)
        return
    os.close(watched)
    os.waitpid(child, 0)
    send(signal.SIGCONT)


def _stop_in_bursts(send: Send, length: tuple[float, float], period: float, watched: int) -> None:
    dice = random.Random("length")
    os.write(_OUTPUT, READY)
    for gap in gaps(period, "sigstop"):
        if _over(gap, (_INPUT, watched)):
            return
        try:
            send(signal.SIGSTOP)
            time.sleep(dice.uniform(*length))
        finally:
            send(signal.SIGCONT)
        _say(BURST)


def guard(knob: str, was: str) -> None:
    """Wait for the end of the input, put `was` back in `knob`, and report what came of it as one line of JSON."""
    os.setsid()  # what is sent to the session of the measured process is not for this one
    os.write(_OUTPUT, READY)
    while not _over(None, (_INPUT,)):
        pass
    _say(json.dumps(put_back(knob, was)).encode())


def put_back(knob: str, was: str) -> dict[str, Any]:
    """Restore a value that injection replaced by OURS: {"restored": value}, {"foreign": value} or {"failed": why}.

    What is restored is read back. A value that is neither is somebody else's decision of the meantime, and stays.
    """
    try:
        found = read_knob(knob)
        if found not in (OURS, was):
            return {"foreign": found}
        if found != was:
            write_knob(knob, was)
            found = read_knob(knob)
    except OSError as error:
        return {"failed": error.strerror or type(error).__name__}
    return {"restored": found} if found == was else {"failed": f"it reads {found} after {was} was written"}


def read_knob(knob: str) -> str:
    with open(knob) as file:
        return file.read().strip()


def write_knob(knob: str, value: str) -> None:
    """One write to what is there: the kernel takes each write as a whole value, and a missing file is not made."""
    descriptor = os.open(knob, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode() + b"\n")
    finally:
        os.close(descriptor)


def _over(seconds: Optional[float], descriptors: Sequence[int]) -> bool:
    """Whether one of these pipes has ended, looked at for so many seconds (None: until then); nothing is ever sent."""
    return bool(select.select(descriptors, (), (), seconds)[0])


def _say(what: bytes) -> None:
    with suppress(OSError):  # the measured process may be gone, and then nobody counts any more
        os.write(_OUTPUT, what)


def _sender(pid: int) -> Send:
    """A function that sends a signal to this process's parent, and to no later process of the same number."""
    try:
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, 0)
    except (AttributeError, OSError):  # Linux before 5.3, or a filter of system calls

        def by_number(number: int) -> None:
            # A stop must hit the right process. To let one go on that was not stopped changes nothing.
            if number != signal.SIGSTOP or not _over(0, (_INPUT,)):
                os.kill(pid, number)

        return by_number
    if os.getppid() != pid:  # it died before the handle was opened, and the number may be another's
        os.close(handle)
        raise ProcessLookupError(pid)

    def by_handle(number: int) -> None:
        signal.pidfd_send_signal(handle, number)

    return by_handle


if __name__ == "__main__":
    main(*sys.argv[1:])
