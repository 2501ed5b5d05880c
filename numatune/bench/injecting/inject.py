"""Injection: disturb a run on purpose, in a way whose cause is known, to see whether attribution names it.

The disturbance comes in bursts, often enough that 300 inferences (of 50 ms or more) see eight and rare enough that most
see none: a disturbance that never ends would be the rule and no spike. Whatever ends the measured process ends the
injection too, and what it changed is put back. An injected run is labelled, and decides nothing.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Callable

from ..cpus import first_of_each_core
from ..errors import BenchError, reason
from . import guardian
from .child import Child

KINDS: tuple[str, ...] = ("hog", "fork", "sigstop", "faults-elsewhere", "numa-balancing")
"""hog: another task on a serving CPU. fork: copy-on-write faults. sigstop: the process waits. faults-elsewhere: the
negative control, faults of this process that no inference waits for. numa-balancing: the kernel's own, host-wide."""

KNOB = "/proc/sys/kernel/numa_balancing"
PERIOD_SECONDS = 0.8
HOG_SECONDS = 0.06
"""Of CPU time. Half of it was 14 % of an inference on one thread, which on a noisy host is what makes a spike."""
STOP_SECONDS = (0.03, 0.05)
FORKS = 8
"""Forks in one burst. One makes 1,800 faults, 3 % of an FP32 inference and no spike; four made 5,000 and 18 %, which on
a noisy host is none either."""
FORK_PERIOD_SECONDS = 1.9
"""Forks take long themselves, so that a burst reaches into two or three inferences: every 0.8 s, most would see one."""

PAGES = 500

Label = dict[str, Any]


def check(kind: str, agreed: bool, knob: str = KNOB) -> None:
    """Refuse an injection that cannot be made here, before anything is measured: BenchError with one line.

    `agreed` is whether the user said --yes-change-this-host, without which no setting of the host is touched.
    """
    if kind not in KINDS:
        raise BenchError(f"--inject {kind}: there is no such injection; take one of {', '.join(KINDS)}")
    if kind == "sigstop" and _job_of_a_shell():
        raise BenchError(
            "--inject sigstop: the shell of this terminal would take the stopped benchmark for suspended and put it in "
            "the background; run it inside a shell of its own: sh -c 'numatune bench …; exit $?'"
        )
    if kind != "numa-balancing":
        return
    if not agreed:
        raise BenchError(
            "--inject numa-balancing switches kernel.numa_balancing of the whole host on while it measures, and then "
            "back; add --yes-change-this-host to agree"
        )
    if not os.path.exists(knob):
        raise BenchError(f"--inject numa-balancing: {knob} is missing: this kernel has no NUMA balancing to switch")
    if os.geteuid() != 0:
        raise BenchError("--inject numa-balancing needs root: run it with sudo, or take another injection")
    if not os.access(knob, os.W_OK):
        raise BenchError(f"--inject numa-balancing: {knob} is read-only here; run it on the host, outside a container")


@contextmanager
def injecting(kind: str, cpus: Sequence[int], knob: str = KNOB) -> Iterator[Label]:
    """Disturb the process from here on until the block ends; `cpus` are the serving CPUs, the caller's first.

    Gives the label of the run, for the result's environment: kind, period_s (None where the kernel sets the pace),
    bursts (None likewise; counted when the block has ended) and detail, a sentence. BenchError where it cannot start,
    and where a setting could not be put back.
    """
    period = FORK_PERIOD_SECONDS if kind == "fork" else PERIOD_SECONDS
    label: Label = {"kind": kind, "bursts": 0, "period_s": period, "detail": ""}
    if kind not in KINDS:
        raise ValueError(f"no injection {kind!r}")  # what is left at the end below changes the host
    away = _elsewhere(cpus)
    chosen: AbstractContextManager[None]
    if kind == "hog":
        label["detail"] = f"another process takes {HOG_SECONDS * 1e3:.0f} ms of CPU {cpus[-1]} at a time"
        chosen = _by_process(label, "hog", cpus[-1:], str(HOG_SECONDS), str(PERIOD_SECONDS))
    elif kind == "sigstop":
        low, high = STOP_SECONDS
        label["detail"] = f"another process stops this one for {low * 1e3:.0f} to {high * 1e3:.0f} ms at a time"
        words = (str(os.getpid()), str(low), str(high), str(PERIOD_SECONDS))
        chosen = _by_process(label, "stopper", away, *words)
    elif kind == "fork":
        label["detail"] = f"a helper thread forks {FORKS} children at a time, which end at once"
        chosen = _by_thread(label, away, fork_burst)
    elif kind == "faults-elsewhere":
        label["detail"] = f"a helper thread touches {PAGES} fresh pages at a time, of memory that no inference uses"
        chosen = _touching(label, away)
    else:
        label.update(bursts=None, period_s=None)
        chosen = _balancing(label, away, knob)
    with chosen:
        yield label


@contextmanager
def _by_process(label: Label, role: str, cpus: Sequence[int], *words: str) -> Iterator[None]:
    child = Child(role, cpus, *words)
    try:
        yield
    finally:
        label["bursts"] = child.end().count(guardian.BURST)
        if child.failed:
            label["detail"] += "; that process was ended before the run was over"


@contextmanager
def _by_thread(label: Label, cpus: Sequence[int], burst: Callable[[], None]) -> Iterator[None]:
    done = threading.Event()

    def work() -> None:
        os.sched_setaffinity(0, cpus)  # of this thread alone, which starts with the pin of the one that made it
        for gap in guardian.gaps(label["period_s"], label["kind"]):
            if done.wait(gap):
                return
            try:
                burst()
            except OSError as error:
                label["detail"] += f"; it ended early: {reason(error)}"
                return
            label["bursts"] += 1

    thread = threading.Thread(target=work, name="injection", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def fork_burst() -> None:
    """Fork, one after the other, children that end at once: after each, the first write to any page is a fault.

    Waiting for each spreads them out, so that there are new writes between them. While a fork copies the tables of
    pages, a thread that faults waits for it: the disturbance is faults and waits.
    """
    for _ in range(FORKS):
        child = os.fork()
        while child == 0:
            os.kill(os.getpid(), signal.SIGKILL)  # the only end that runs nothing of this process in its copy
        os.waitpid(child, 0)


@contextmanager
def _touching(label: Label, cpus: Sequence[int]) -> Iterator[None]:
    length = PAGES * mmap.PAGESIZE
    with mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with suppress(AttributeError, OSError):  # a kernel without huge pages has none to forbid
            memory.madvise(mmap.MADV_NOHUGEPAGE)  # one fault a page, not one in all
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        start = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(start)

        def touch() -> None:
            # Through ctypes both, which lets go of the interpreter: an inference that ends must not wait for it.
            madvise(address, length, mmap.MADV_DONTNEED)
            ctypes.memset(address, 1, length)

        try:
            with _by_thread(label, cpus, touch):
                yield
        finally:
            del start  # the memory cannot be unmapped while it is looked at


@contextmanager
def _balancing(label: Label, cpus: Sequence[int], knob: str) -> Iterator[None]:
    try:
        was = guardian.read_knob(knob)
    except OSError as error:
        raise BenchError(f"cannot read {knob}: {reason(error)}") from error
    guard = Child("guard", cpus, knob, was)
    try:
        _switch_on(knob)
        label["detail"] = f"kernel.numa_balancing was {was} and is {guardian.OURS} during the run"
        yield
    finally:
        said = guard.end()
        # A guard that was killed says nothing: then this process puts the value back.
        outcome = json.loads(said) if said else guardian.put_back(knob, was)
        if "failed" in outcome:
            raise BenchError(
                "COULD NOT RESTORE kernel.numa_balancing ({}): run sysctl kernel.numa_balancing={}".format(
                    outcome["failed"], was
                )
            )
        if "foreign" in outcome:
            label["detail"] += "; someone else set it to {} meanwhile, and it was left there".format(outcome["foreign"])


def _switch_on(knob: str) -> None:
    try:
        guardian.write_knob(knob, guardian.OURS)
        found = guardian.read_knob(knob)
    except OSError as error:
        raise BenchError(f"cannot write {knob}: {reason(error)}") from error
    if found != guardian.OURS:
        raise BenchError(f"{knob} reads {found} after {guardian.OURS} was written: this host does not take it")


def _elsewhere(cpus: Sequence[int]) -> list[int]:
    """CPUs for what must not disturb by being there: of those that this process may use, cores that do not serve.

    Where all serve, all of them. The caller is pinned by now, so its other threads say what the process may use.
    """
    allowed: set[int] = set()
    for name in os.listdir("/proc/self/task"):
        try:
            allowed |= os.sched_getaffinity(int(name))
        except OSError:
            continue  # it ended while we looked
    serving = set(cpus)
    cores = len(first_of_each_core(cpus))
    outside = [cpu for cpu in sorted(allowed - serving) if len(first_of_each_core([*cpus, cpu])) > cores]
    return outside or sorted(allowed - serving) or sorted(allowed)


def _job_of_a_shell() -> bool:
    """Whether a shell with job control waits for this very process: it leads the foreground group of a terminal."""
    pid = os.getpid()
    if os.getpgrp() != pid or os.getsid(0) == pid:
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == pid
    finally:
        os.close(terminal)
