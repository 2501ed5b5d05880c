"""Injection on this very process or a small one of its own: each kind disturbs as it says, and puts everything back.

No setting of the host is touched: NUMA balancing is switched in a file that stands in for the kernel's.
"""

from __future__ import annotations

import json
import mmap
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.conftest import ROOT

from numatune.bench import recorder
from numatune.bench.errors import BenchError
from numatune.bench.injecting import guardian, inject
from numatune.bench.placing import pinning

CPU = min(os.sched_getaffinity(0))

# An injection in a process of its own, which says when it is under way and what its label was, and waits to be told.
PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from numatune.bench.injecting import inject
inject.PERIOD_SECONDS = inject.FORK_PERIOD_SECONDS = 0.05
inject.STOP_SECONDS = tuple(json.loads(sys.argv[4]))
with inject.injecting(sys.argv[2], [int(sys.argv[5])], sys.argv[3]) as label:
    print("under way", flush=True)
    if sys.stdin.readline() == "fail\\n":
        raise RuntimeError("on purpose")
print(json.dumps(label), flush=True)
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject, "PERIOD_SECONDS", 0.05)
    monkeypatch.setattr(inject, "FORK_PERIOD_SECONDS", 0.05)


THERE: set[int] = set()
"""Children of this process that earlier tests left, such as the tracker that multiprocessing starts once for all."""


@pytest.fixture(autouse=True)
def _there() -> None:
    THERE.clear()
    THERE.update(children(os.getpid()))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A process that stays stopped fails its test; nothing else here takes seconds."""

    def give_up(*_what: Any) -> None:
        raise TimeoutError("what the test waits for did not come")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def knob(tmp_path: Path) -> Path:
    """A file in place of the kernel's switch, which is off."""
    path = tmp_path / "numa_balancing"
    path.write_text("0\n")
    return path


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start PROGRAM with an injection and wait until it is under way."""
    started: list[subprocess.Popen[str]] = []

    def start(kind: str, knob: Path = tmp_path / "none", stop: tuple[float, float] = (0.03, 0.05)) -> Any:
        words = [str(ROOT), kind, str(knob), json.dumps(stop), str(CPU)]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n", process.communicate()[1]
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`, without those that were there before the test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and int(path.parent.name) not in THERE:
            found.append(int(path.parent.name))
    return found


def wait_for_end(handle: int) -> None:
    """Wait until the process of a pidfd has ended."""
    assert select.select([handle], [], [], 60)[0], "it did not end"
    os.close(handle)


def run_delay() -> int:
    text = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
    return int(text.split()[1])


def minor_faults(who: int = resource.RUSAGE_SELF) -> int:
    return resource.getrusage(who).ru_minflt


class TestRefusals:
    """What cannot be injected here is refused with one line, before anything is measured."""

    @pytest.mark.parametrize("kind", ["hog", "fork", "faults-elsewhere"])
    def test_what_changes_no_setting_needs_no_flag(self, kind: str) -> None:
        inject.check(kind, agreed=False)

    def test_an_unknown_kind_lists_those_there_are(self) -> None:
        with pytest.raises(BenchError, match=r"take one of hog, fork, sigstop, faults-elsewhere, numa-balancing$"):
            inject.check("hogs", agreed=True)

    def test_an_empty_kind_is_no_way_round_the_flag(self, knob: Path) -> None:
        """As from a variable that was not set: it must not reach the one injection that changes the host."""
        with pytest.raises(BenchError, match="there is no such injection"):
            recorder.check(recorder.Request(inject=""))
        with pytest.raises(ValueError, match="no injection ''"), inject.injecting("", [CPU], str(knob)):
            pass
        assert knob.read_text() == "0\n"

    def test_the_host_is_not_changed_without_the_flag(self, knob: Path) -> None:
        with pytest.raises(BenchError, match="add --yes-change-this-host"):
            inject.check("numa-balancing", False, str(knob))

    def test_the_flag_alone_does_not_do_without_root(self, knob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(BenchError, match="needs root"):
            inject.check("numa-balancing", True, str(knob))

    def test_a_kernel_without_the_knob_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="this kernel has no NUMA balancing to switch"):
            inject.check("numa-balancing", True, str(tmp_path / "none"))

    def test_a_read_only_knob_is_refused(self, knob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "access", lambda *_words: False)
        with pytest.raises(BenchError, match="is read-only here"):
            inject.check("numa-balancing", True, str(knob))

    @pytest.mark.parametrize(("leads_a_group", "refused"), [(True, True), (False, False)])
    def test_sigstop_is_refused_where_a_shell_would_suspend_the_job(self, leads_a_group: bool, refused: bool) -> None:
        """A terminal whose session leader starts a job as an interactive shell does, or as a script does."""
        shell, terminal = pty.fork()
        if shell == 0:  # in here nothing may reach pytest's own code again
            status = 2
            try:
                job = os.fork()
                if job == 0:
                    if leads_a_group:
                        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                        os.setpgid(0, 0)
                        os.tcsetpgrp(0, os.getpid())
                    try:
                        inject.check("sigstop", agreed=False)
                        status = 0
                    except BenchError:
                        status = 1
                    os._exit(status)
                status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1])
        os.close(terminal)
        assert ended == int(refused)


def test_a_hog_makes_a_thread_on_its_cpu_wait() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPU})
    try:
        with inject.injecting("hog", [CPU]) as label:
            (hog,) = children(os.getpid())
            assert os.sched_getaffinity(hog) == {CPU}
            delay = run_delay()
            while run_delay() - delay < 30e6:  # 30 ms: a spinning thread alone on its CPU never gets there
                pass
    finally:
        os.sched_setaffinity(0, before)
    assert label["kind"] == "hog"
    assert label["bursts"] >= 1
    assert label["period_s"] == 0.05
    assert not children(os.getpid())


def test_a_hog_takes_the_last_serving_cpu() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with inject.injecting("hog", cpus):
        (hog,) = children(os.getpid())
        assert os.sched_getaffinity(hog) == {cpus[-1]}


def test_fork_makes_the_next_writes_fault() -> None:
    pages = 1000
    with mmap.mmap(-1, pages * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)

        def write() -> int:
            before = minor_faults(resource.RUSAGE_THREAD)
            for page in range(pages):
                memory[page * mmap.PAGESIZE] = 1
            return minor_faults(resource.RUSAGE_THREAD) - before

        write()
        assert write() < pages // 10
        with inject.injecting("fork", [CPU]) as label:
            while write() < pages // 2:
                pass
    assert label["bursts"] >= 1
    assert not children(os.getpid())


def test_faults_elsewhere_are_those_of_the_process_but_not_of_its_other_threads() -> None:
    with inject.injecting("faults-elsewhere", [CPU]) as label:
        process, thread = minor_faults(), minor_faults(resource.RUSAGE_THREAD)
        while minor_faults() - process < 3 * inject.PAGES:
            pass
        assert minor_faults(resource.RUSAGE_THREAD) - thread < inject.PAGES // 10
    assert label["bursts"] >= 2


@pytest.mark.parametrize("kind", ["fork", "faults-elsewhere"])
def test_the_helper_thread_keeps_off_the_serving_cpus(kind: str) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU here")
    with pinning.idle_helper(), pinning.pinned_caller(CPU), inject.injecting(kind, [CPU]):
        (helper,) = [thread for thread in threading.enumerate() if thread.name == "injection"]
        assert helper.native_id is not None
        while CPU in os.sched_getaffinity(helper.native_id):
            pass  # to leave the pin that it inherited is its first act


class TestSigstop:
    """The measured process stops and goes on, whoever is killed meanwhile."""

    def test_it_stops_and_goes_on_and_nothing_is_left(self, begin: Callable[..., Any]) -> None:
        process = begin("sigstop")
        (watcher,) = children(process.pid)
        handle = os.pidfd_open(watcher)
        for _ in range(2):
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
        out, err = process.communicate("end\n", timeout=60)
        label = json.loads(out)
        assert process.returncode == 0, err
        assert label["bursts"] >= 2
        assert "ended before" not in label["detail"]
        wait_for_end(handle)

    def test_it_goes_on_when_the_stopper_is_killed_in_mid_stop(self, begin: Callable[..., Any]) -> None:
        process = begin("sigstop", stop=(3600.0, 3600.0))
        (watcher,) = children(process.pid)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        (stopper,) = children(watcher)
        os.kill(stopper, signal.SIGKILL)
        assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
        out, err = process.communicate("end\n", timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["bursts"] == 0

    def test_it_goes_on_when_the_watcher_is_killed_in_mid_stop(self, begin: Callable[..., Any]) -> None:
        process = begin("sigstop", stop=(0.3, 0.3))
        (watcher,) = children(process.pid)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        (stopper,) = children(watcher)
        handle = os.pidfd_open(stopper)
        os.kill(watcher, signal.SIGKILL)
        assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
        wait_for_end(handle)  # by itself: without its watcher it stops nothing any more
        out, err = process.communicate("end\n", timeout=60)
        assert process.returncode == 0, err
        assert "ended before the run was over" in json.loads(out)["detail"]

    def test_the_signals_of_a_terminal_do_not_end_the_stopper_in_mid_stop(self, begin: Callable[..., Any]) -> None:
        process = begin("sigstop", stop=(0.3, 0.3))
        (watcher,) = children(process.pid)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        (stopper,) = children(watcher)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(stopper, number)
            os.kill(watcher, number)
        assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
        out, _err = process.communicate("end\n", timeout=60)
        assert "ended before" not in json.loads(out)["detail"]

    def test_both_end_with_the_measured_process(self, begin: Callable[..., Any]) -> None:
        process = begin("sigstop")
        (watcher,) = children(process.pid)
        handles = [os.pidfd_open(pid) for pid in (watcher, *children(watcher))]
        assert len(handles) == 2
        process.kill()
        for handle in handles:
            wait_for_end(handle)

    def test_it_works_without_process_handles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Linux before 5.3: a stop is sent only while the pipe shows that the process is still the same one."""
        sent: list[tuple[int, int]] = []
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(os, "kill", lambda *words: sent.append(words))
        reading, writing = os.pipe()
        monkeypatch.setattr(guardian, "_INPUT", reading)
        send = guardian._sender(12345)
        send(signal.SIGSTOP)
        os.close(writing)
        send(signal.SIGSTOP)  # too late
        send(signal.SIGCONT)
        os.close(reading)
        assert sent == [(12345, signal.SIGSTOP), (12345, signal.SIGCONT)]


class TestBalancing:
    """The switch is on while the block runs and has its old value afterwards, however that comes about."""

    @pytest.mark.parametrize("was", ["0", "2"])
    def test_it_is_on_within_and_as_before_after(self, knob: Path, was: str) -> None:
        knob.write_text(was + "\n")
        with inject.injecting("numa-balancing", [CPU], str(knob)) as label:
            assert knob.read_text() == "1\n"
        assert knob.read_text() == f"{was}\n"
        assert label["detail"] == f"kernel.numa_balancing was {was} and is 1 during the run"
        assert label["bursts"] is label["period_s"] is None
        assert not children(os.getpid())

    def test_an_exception_restores(self, knob: Path, begin: Callable[..., Any]) -> None:
        process = begin("numa-balancing", knob)
        assert knob.read_text() == "1\n"
        assert "on purpose" in process.communicate("fail\n", timeout=60)[1]
        assert knob.read_text() == "0\n"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
    def test_a_signal_to_the_process_restores(
        self, knob: Path, begin: Callable[..., Any], number: signal.Signals
    ) -> None:
        process = begin("numa-balancing", knob)
        assert knob.read_text() == "1\n"
        (guard,) = children(process.pid)
        handle = os.pidfd_open(guard)
        process.send_signal(number)
        wait_for_end(handle)
        assert knob.read_text() == "0\n"

    def test_the_guard_outlives_what_is_sent_to_all(self, knob: Path, begin: Callable[..., Any]) -> None:
        """A service manager's stop goes to every process of the unit; the guard must not be the first to go."""
        process = begin("numa-balancing", knob)
        (guard,) = children(process.pid)
        assert os.getsid(guard) == guard
        handle = os.pidfd_open(guard)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(guard, number)
        assert not select.select([handle], [], [], 0)[0]
        process.kill()
        wait_for_end(handle)
        assert knob.read_text() == "0\n"

    def test_a_killed_guard_leaves_the_restoring_to_the_process(self, knob: Path) -> None:
        with inject.injecting("numa-balancing", [CPU], str(knob)):
            (guard,) = children(os.getpid())
            os.kill(guard, signal.SIGKILL)
        assert knob.read_text() == "0\n"

    def test_what_someone_else_set_meanwhile_stays(self, knob: Path) -> None:
        with inject.injecting("numa-balancing", [CPU], str(knob)) as label:
            knob.write_text("2\n")
        assert knob.read_text() == "2\n"
        assert label["detail"].endswith("someone else set it to 2 meanwhile, and it was left there")

    def test_what_cannot_be_restored_says_how_to_do_it_by_hand(self, knob: Path) -> None:
        expected = r"COULD NOT RESTORE .*No such file.*run sysctl kernel\.numa_balancing=0$"
        with pytest.raises(BenchError, match=expected), inject.injecting("numa-balancing", [CPU], str(knob)):
            knob.unlink()
        assert not knob.exists()

    def test_a_value_that_the_kernel_does_not_take_is_refused(
        self, knob: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guardian, "write_knob", lambda *_words: None)
        with (
            pytest.raises(BenchError, match="reads 0 after 1 was written"),
            inject.injecting("numa-balancing", [CPU], str(knob)),
        ):
            pytest.fail("the block ran")
        assert not children(os.getpid())

    def test_a_knob_that_went_away_is_one_line(self, tmp_path: Path) -> None:
        with (
            pytest.raises(BenchError, match=r"cannot read .*No such file"),
            inject.injecting("numa-balancing", [CPU], str(tmp_path / "none")),
        ):
            pytest.fail("the block ran")


def test_a_child_holds_no_file_of_the_measured_process(knob: Path) -> None:
    """Not even one that is made to be inherited: an open counter would count on, and a pipe would not end."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with inject.injecting("hog", [CPU]):
        os.close(writing)
        assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_python_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with (
        pytest.raises(BenchError, match="cannot start /nonexistent/python for the injection: No such file"),
        inject.injecting("hog", [CPU]),
    ):
        pytest.fail("the block ran")


def test_a_child_that_dies_at_once_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BenchError, match="ended at once, with status 1"), inject.injecting("hog", [CPU]):
        pytest.fail("the block ran")


def test_it_works_from_a_zipped_recorder(tmp_path: Path) -> None:
    archive = tmp_path / "recorder.pyz"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.write(ROOT / "numatune/__init__.py", "numatune/__init__.py")
        for path in (ROOT / "numatune/bench").rglob("*.py"):
            bundle.write(path, path.relative_to(ROOT))
    knob = tmp_path / "knob"
    knob.write_text("0\n")
    words = [str(archive), "numa-balancing", str(knob), "[0, 0]", str(CPU)]
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, input="end\n", capture_output=True, text=True, check=True, cwd="/")
    assert "was 0 and is 1" in done.stdout
    assert knob.read_text() == "0\n"
