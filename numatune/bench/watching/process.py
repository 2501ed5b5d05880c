"""What the threads of watched processes did: faults, switches, time on a CPU and waiting for one, migrations.

Totals are sums of growth, so they never fall: a thread that ended keeps what it had. Two things keep a sample cheap:
the files stay open, and a thread whose schedstat did not change has not run, so nothing else of it is read. A thread
that came and went between two samples is missed, except for its page faults, which its process keeps.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Optional

from .. import counted
from ..cpus import parse_cpu_list
from ..errors import BenchError, reason
from ..host import plain_name
from ..open_files import allow_many_files
from ..parsers import NO_ACCOUNTS, WITHOUT_ACCOUNTS, parse_schedstat, sched_number

FAULTS, SWITCHES = counted.of(counted.FAULTS), counted.of(counted.SWITCHES)
TIMES = counted.of(counted.SCHEDSTAT)
(MIGRATIONS,) = counted.of(counted.MIGRATIONS)
NAMES = (*FAULTS, *SWITCHES, MIGRATIONS, *TIMES)

NEEDS_ROOT = "needs root, or the user that it runs as"
_STATUS = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
_SCHED = ("nr_voluntary_switches", "nr_involuntary_switches", counted.BY_NAME[MIGRATIONS].field)
_BYTES = 8192
_GONE = (errno.ENOENT, errno.ESRCH)


class _Thread:
    """One thread: its open files, the raw schedstat of its last reading, and the numbers of that reading."""

    __slots__ = ("detail", "files", "folder", "last", "times")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files: dict[str, int] = {}
        self.last = b""
        self.times = (0, 0)
        self.detail: Sequence[int] = (0, 0, 0)


class _Process:
    """One process: `born` says that a thread not yet seen counts from its start, since it started while watched."""

    def __init__(self, folder: str, stat: int, born: bool) -> None:
        self.folder, self.stat, self.born = folder, stat, born
        self.threads: dict[str, _Thread] = {}
        self.faults = (0, 0)


class Processes:
    """Reads all threads of some processes; `totals` grow from 0, and `unavailable` says what cannot be read and why."""

    def __init__(self, proc: str = "/proc", since_ticks: int = 0) -> None:
        """`since_ticks`: processes that started at that time since boot, or later, count from their start."""
        self.totals = dict.fromkeys(NAMES, 0)
        self.unavailable: dict[str, str] = {}
        self.allowed: set[int] = set()
        self.last_cpus: set[int] = set()
        self.most_threads = self.threads = 0
        self.comms: dict[int, str] = {}
        self.follow_cpus = False
        self._sched = True
        self._proc, self._since = proc, since_ticks
        self._processes: dict[int, _Process] = {}
        self._first = True
        allow_many_files()

    def read(self, pids: Iterable[int]) -> int:
        """Take one sample; how many of the processes are alive."""
        wanted = set(pids)
        for pid in set(self._processes) - wanted:
            self._forget(self._processes.pop(pid))
        alive = 0
        self.threads = 0
        self.last_cpus = set()
        for pid in wanted:
            process = self._processes.get(pid) or self._open(pid)
            if process is None:
                continue
            living = self._read_process(process)
            if living is None:
                self._forget(self._processes.pop(pid))
            alive += bool(living)
        self.most_threads = max(self.most_threads, self.threads)
        if self._first and self.totals["cpu_time_ns"] == 0:
            self._find_accounting()
        self._first = False
        return alive

    def close(self) -> None:
        """Close what is open; the totals stay."""
        for process in self._processes.values():
            self._forget(process)
        self._processes = {}

    def _open(self, pid: int) -> Optional[_Process]:
        folder, stat = f"{self._proc}/{pid}", -1
        try:
            stat = os.open(f"{folder}/stat", os.O_RDONLY | os.O_CLOEXEC)
            fields = _stat_fields(os.pread(stat, _BYTES, 0))
        except OSError as error:
            if stat >= 0:
                os.close(stat)
            self._note(error, f"{self._proc}/PID/stat", NAMES)
            return None
        process = _Process(folder, stat, not self._first and int(fields[19]) >= self._since)
        if not process.born:
            process.faults = (int(fields[7]), int(fields[9]))
        self._processes[pid] = process
        with suppress(OSError), open(f"{folder}/comm", "rb") as file:
            self.comms[pid] = plain_name(file.read())
        return process

    def _read_process(self, process: _Process) -> Optional[bool]:
        """Read it and its threads; None if it is gone, False if it is dead and only waits to be waited for."""
        try:
            fields = _stat_fields(os.pread(process.stat, _BYTES, 0))
            names = os.listdir(f"{process.folder}/task")
        except OSError as error:
            self._note(error, f"{self._proc}/PID/task", NAMES)
            return None
        now = (int(fields[7]), int(fields[9]))
        self._add(FAULTS, process.faults, now)
        process.faults = now
        if fields[0] in (b"Z", b"X") and int(fields[17]) <= 1:
            return False
        known = process.threads
        for name in set(known).difference(names):
            self._close(known.pop(name))
        for name in names:
            thread = known.get(name)
            fresh = thread is None
            if thread is None:
                thread = _Thread(f"{process.folder}/task/{name}")
            if self._read_thread(thread, fresh and not process.born):
                known[name] = thread
            else:  # a fresh one that ended at once may have files open as well
                self._close(known.pop(name, thread))
        process.born = True  # a thread that is new in a process which was seen before started since then
        self.threads += len(known)
        return True

    def _read_thread(self, thread: _Thread, baseline: bool) -> bool:
        """Add what the thread did since its last reading, or only note where it stands; False if it is gone."""
        raw = self._text(thread, "schedstat", TIMES)
        if raw is None:
            return False
        fresh = not thread.last
        if raw == thread.last and raw != WITHOUT_ACCOUNTS:
            return True
        thread.last = raw or WITHOUT_ACCOUNTS
        if fresh:
            self._note_allowed(thread)
        if raw:
            times = parse_schedstat(raw)
            if not baseline:
                self._add(TIMES, thread.times, times)
            thread.times = times
        detail = self._details(thread)
        if not baseline:
            self._add((*SWITCHES, MIGRATIONS), thread.detail, detail)
        thread.detail = detail
        if self.follow_cpus:
            stat = self._text(thread, "stat", ())
            if stat:
                self.last_cpus.add(int(_stat_fields(stat)[36]))
        return True

    def _details(self, thread: _Thread) -> Sequence[int]:
        """Voluntary and involuntary switches and migrations; 0 for what cannot be read."""
        if self._sched:
            text = self._text(thread, "sched", (MIGRATIONS,))
            if text is None:
                return thread.detail
            found = [sched_number(text, key) for key in _SCHED]
            if text and None not in found:
                return [number or 0 for number in found]
            self._sched = False  # a kernel has it for all threads or for none
            self.unavailable.setdefault(MIGRATIONS, f"{self._proc}/PID/task/TID/sched: this kernel does not count them")
        text = self._text(thread, "status", SWITCHES)
        return thread.detail if not text else [*(sched_number(text, key) or 0 for key in _STATUS), 0]

    def _text(self, thread: _Thread, name: str, counters: Sequence[str]) -> Optional[bytes]:
        """The raw content of a file of a thread; None if the thread is gone, empty if the file cannot be read."""
        path = f"{thread.folder}/{name}"
        try:
            handle = thread.files.get(name, -1)
            if handle >= 0:
                return os.pread(handle, _BYTES, 0)
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            thread.files[name] = handle
            return os.pread(handle, _BYTES, 0)
        except OSError as error:
            self._refuse_limit(error)
            if error.errno in _GONE and not (error.errno == errno.ENOENT and os.path.exists(thread.folder)):
                return None
            self._note(error, f"{self._proc}/PID/task/TID/{name}", counters)
            return b""

    def _note_allowed(self, thread: _Thread) -> None:
        with suppress(OSError), open(f"{thread.folder}/status", "rb") as file:
            _before, _key, after = file.read().partition(b"\nCpus_allowed_list:")
            self.allowed.update(parse_cpu_list(after.split(b"\n", 1)[0].decode("ascii", "replace")))

    def _refuse_limit(self, error: OSError) -> None:
        if error.errno == errno.EMFILE:
            raise BenchError(
                f"{self.most_threads or self.threads} threads need more open files than this process may have; raise "
                "`ulimit -n`"
            ) from error

    def _note(self, error: OSError, path: str, counters: Sequence[str]) -> None:
        self._refuse_limit(error)
        if error.errno == errno.ESRCH or (error.errno == errno.ENOENT and "TID" not in path):
            return  # the process is gone
        why = f"{path}: {reason(error)}"
        if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
            why = f"{path}: {NEEDS_ROOT}"
        elif error.errno == errno.ENOENT:
            why = f"{path}: this kernel does not have it"
        for name in counters:
            self.unavailable.setdefault(name, why)

    def _find_accounting(self) -> None:
        """A kernel whose scheduler keeps no accounts shows zeros for every thread."""
        threads = [thread for process in self._processes.values() for thread in process.threads.values()]
        if threads and all(thread.last == WITHOUT_ACCOUNTS for thread in threads):
            for name in TIMES:
                self.unavailable.setdefault(name, NO_ACCOUNTS)

    def _add(self, names: Sequence[str], before: Sequence[int], now: Sequence[int]) -> None:
        for name, earlier, later in zip(names, before, now):
            if later > earlier:
                self.totals[name] += later - earlier

    def _forget(self, process: _Process) -> None:
        os.close(process.stat)
        for thread in process.threads.values():
            self._close(thread)

    @staticmethod
    def _close(thread: _Thread) -> None:
        for handle in thread.files.values():
            os.close(handle)


def _stat_fields(text: bytes) -> list[bytes]:
    """The fields of a stat file from the third (the state) on: the name before may hold spaces and parentheses."""
    return text[text.rindex(b")") + 2 :].split()
