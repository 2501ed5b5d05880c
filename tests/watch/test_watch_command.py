"""`numatune watch` on real processes that the test starts and drives, and how wrong input ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watch.tree import Process, Thread, Tree

from numatune.bench.errors import BenchError
from numatune.bench.watching import windows as windows_module
from numatune.bench.watching.latency_log import LatencyLog
from numatune.bench.watching.process import Processes
from numatune.bench.watching.stop import Stop, stopped_by_signals
from numatune.bench.watching.watch import Request, record
from numatune.bench.watching.windows import Windows
from numatune.cli.watch import Status, state_of

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from numatune.cli import main; sys.exit(main())"
PAGES = 3000

# A service of two threads: for each line that it gets, it answers a request and logs how long that took.
SERVICE = """
import mmap, sys, threading, time
log = open(sys.argv[1], "a", buffering=1)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    word = line.strip()
    if word == "fault":
        memory = mmap.mmap(-1, PAGES * 4096)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            try:
                memory.madvise(mmap.MADV_NOHUGEPAGE)
            except OSError:
                pass
        for place in range(0, PAGES * 4096, 4096):
            memory[place] = 1
        memory.close()
    log.write("nonsense\\n" if word == "nonsense" else f"{(time.perf_counter() - start) * 1e3 + 1:.3f}\\n")
    print("done", flush=True)
""".replace("PAGES", str(PAGES))


class Service:
    """The process, and a way to have it do something and know when it is done."""

    def __init__(self, log: Path) -> None:
        self.log = log
        log.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        self._answer()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path / "latency.log")
    yield one
    if one.process.poll() is None:
        one.end()


def start(*words: str) -> tuple[subprocess.Popen[str], str]:
    """Start `numatune watch …`; it, and its first line, which comes when it begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "watch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    return process, process.stderr.readline()


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_lost_terminal_write_what_there_is(
    service: Service, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "w.json"
    words = ("--interval", "0.05", "--latency-log", str(service.log), "-o", str(file))
    watch, line = start("--pid", str(service.pid), *words)
    assert line.startswith(f"numatune: watching process {service.pid} (python")
    assert "2 threads) every 0.05 s, until Ctrl-C" in line
    for word in ("x", "x", "nonsense", "fault", "x"):
        service.do(word)
    watch.send_signal(number)
    code, out, err = finish(watch)
    assert code == 0, err
    found = json.loads(file.read_text())
    assert (found["schema"], found["ended"], found["partial"]) == ("numatune/watch/1", "interrupted", False)
    counters = found["windows"]["counters"]
    # The first sample lies between the line and the first word; what came after it is all there.
    assert PAGES <= sum(counters["minor_faults"]) < PAGES + 1000
    assert sum(counters["cpu_time_ns"]) > 0
    assert sum(counters["voluntary_switches"]) + sum(counters["involuntary_switches"]) > 0
    sizes = {len(values) for values in counters.values()}
    assert sizes == {len(found["windows"]["length_ns"])} == {len(found["windows"]["start_offset_ns"])}
    assert len(found["requests"]) == 4
    assert all(end > 0 and latency >= 1_000_000 for end, latency in found["requests"])
    assert found["latency_log"]["malformed"] == 1
    assert found["target"]["most_threads"] == 2
    assert 0 < found["watching"]["share"] < 1
    assert set(found["counter_strides"]) >= {"interrupts"}
    assert "are taken as milliseconds; --latency-unit names another unit" in err
    for words_of_report in (
        "4 requests: p50",
        "taken as milliseconds",
        "1 of 5 lines are no request",
        "'nonsense'",
        "Watching used",
        str(file),
    ):
        assert words_of_report in out


def test_it_ends_with_the_process_and_says_so(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    watch, _line = start("--pid", str(service.pid), "--interval", "60", "--duration", "600", "-o", str(file))
    service.do("fault")
    service.end()
    code, out, _err = finish(watch)
    assert code == 3  # ten minutes were asked for
    found = json.loads(file.read_text())
    assert (found["ended"], found["partial"], found["requests"], found["latency_log"]) == (
        "process-ended", True, [], None,
    )  # fmt: skip
    assert "it ended, and watching with it" in " ".join(out.split())
    assert "no latency was given (--latency-log)" in out


def test_a_duration_ends_it_and_json_is_one_object(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    words = ("--interval", "0.1", "--duration", "0.35", "--format", "json", "-o", str(file))
    watch, _line = start("--pid", str(service.pid), *words)
    code, out, _err = finish(watch)
    shown = json.loads(out)
    assert (code, shown["schema"], shown["partial"]) == (0, "numatune/watch-summary/1", False)
    assert (shown["requests"], shown["attribution"], shown["ended"]) == (None, None, "duration")
    lengths = json.loads(file.read_text())["windows"]["length_ns"]
    assert 0.35e9 <= sum(lengths) < 30e9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pid", "4000000"), "there is no such process"),
        (("--unit", "/no/such/group"), "there is no control group"),
        (("--pid", "SELF", "--interval", "0.01"), "--interval 0.01: from 0.02 to 60 seconds"),
        (("--pid", "SELF", "--interval", "nan"), "--interval nan: from 0.02 to 60 seconds"),
        (("--pid", "SELF", "--duration", "0.1"), "from one interval (0.25 s)"),
        (("--pid", "SELF", "--latency-log", "/absent.log"), "--latency-log /absent.log: No such file"),
        (("--pid", "SELF", "--latency-log", "/"), "not a regular file"),
        (("--pid", "SELF", "--unit", "x"), "not allowed with argument"),
        ((), "--pid --unit is required"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    from numatune.cli import main

    own = tuple(str(os.getpid()) if word == "SELF" else word for word in words)
    assert main(["watch", *own, "-o", str(tmp_path / "w.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_read_ends_it_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not after ten minutes, with "no request was logged meanwhile"."""
    from numatune.cli import main

    log, file = tmp_path / "l.log", tmp_path / "w.json"
    log.write_text("GET /foo 200 12ms\n" * 3)
    words = ["--pid", str(os.getpid()), "--latency-log", str(log), "--duration", "86400", "-o", str(file)]
    assert main(["watch", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "neither a number nor a JSON object" in err
    assert not file.exists()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (
            _Terminal,
            ["\r2 s of 600 s: no request so far\x1b[K", "\r3 s of 600 s: 3 requests, p50 5 ms, slowest 9 ms\x1b[K"],
        ),
        (io.StringIO, ["numatune: 70 s of 600 s: 3 requests, p50 5 ms, slowest 9 ms\n"]),
    ],
)
def test_a_watch_shows_that_requests_arrive(
    stream: type[io.StringIO], shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.delenv("TERM", raising=False)
    (tmp_path / "log").touch()
    log, clock = LatencyLog(str(tmp_path / "log")), [0.0]
    status = Status(600.0, lambda: clock[0])
    for second, lines in ((0.5, ""), (2.0, ""), (2.5, "5\n9\n"), (3.0, "4\n"), (70.0, "")):
        with (tmp_path / "log").open("a") as file:
            file.write(lines)
        log.read(1, 0)
        clock[0] = second
        status.look(second, log)
        if second == 3.0 and stream is _Terminal:
            break
    log.close()
    assert isinstance(sys.stderr, io.StringIO)
    assert sys.stderr.getvalue() == "".join(shown)
    assert state_of(7.2, None, None) == "7 s: no latencies without --latency-log"


def test_a_file_that_cannot_be_written_is_refused_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from numatune.cli import main

    assert main(["watch", "--pid", str(os.getpid()), "-o", str(tmp_path / "no" / "w.json")]) == 2
    assert "does not exist" in capsys.readouterr().err


class Said:
    """Collects the lines for the person, and sets an event at the first."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.first = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.first.set()


def watch_in_thread(request: Request, said: Said) -> tuple[threading.Thread, Stop, list[dict[str, Any]]]:
    stop, results = Stop(), []
    thread = threading.Thread(target=lambda: results.append(record(request, stop, said, lambda _name: None)))
    thread.start()
    said.first.wait(30)
    return thread, stop, results


def test_a_unit_from_start_to_end(tmp_path: Path) -> None:
    """Its processes come and go; it ends when none is left."""
    tree = Tree(tmp_path)
    group = "sys/fs/cgroup/system.slice/serve.service/cgroup.procs"
    tree.put(group, "10\n")
    tree.show(10, Process(minor=5, threads={10: Thread(cpu_ns=100, allowed="0")}))
    said = Said()
    thread, stop, results = watch_in_thread(Request(unit="serve", interval=0.02, roots=tree.roots), said)
    tree.put(group, "")
    thread.join(30)
    stop.close()
    assert results
    found = results[0]
    assert (found["ended"], found["partial"]) == ("process-ended", False)
    assert found["target"] == {
        "kind": "unit",
        "name": "serve.service",
        "pid": None,
        "processes": [{"pid": 10, "comm": "serve"}],
        "most_threads": 1,
        "cpus": "0",
        "pinned": True,
    }
    assert said.lines[0].startswith("watching serve.service (1 process, 1 thread) every 0.02 s")
    # What this tree does not have is named, each counter with a reason.
    assert {"interrupts", "idle_exits", "quota_throttled", "steal_ns", "numa_hint_faults"} <= set(
        found["counters_unavailable"]
    )
    assert not set(found["counters_unavailable"]) & set(found["windows"]["counters"])


def test_dear_samples_make_the_interval_longer_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "SHARE_LIMIT", 1e-7)
    tree = Tree(tmp_path)
    tree.show(10, Process(threads={10: Thread(cpu_ns=100)}))
    stretched = threading.Event()
    said = Said()

    def say(line: str) -> None:
        said(line)
        if "from now on" in line:
            stretched.set()

    stop, results = Stop(), []
    request = Request(pid=10, interval=0.02, roots=tree.roots)
    thread = threading.Thread(target=lambda: results.append(record(request, stop, say)))
    thread.start()
    assert stretched.wait(30)
    stop.now()
    thread.join(30)
    stop.close()
    change = results[0]["watching"]["stretched"][0]
    assert (change["from_s"], change["to_s"]) == (0.02, 60.0)
    assert results[0]["ended"] == "interrupted"


def test_a_lost_terminal_ends_nothing_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stop()
    try:
        with stopped_by_signals(stop):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        stop.close()


def test_a_watch_that_runs_out_of_open_files_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path)
    tree.show(10, Process(threads={10: Thread(cpu_ns=100)}))
    real, samples = Processes.read, []

    def read(self: Processes, pids: list[int]) -> int:
        samples.append(1)
        if len(samples) > 4:
            raise BenchError("9,999 threads need more open files than this process may have; raise `ulimit -n`")
        return real(self, pids)

    monkeypatch.setattr(Processes, "read", read)
    said, stop = Said(), Stop()
    found = record(Request(pid=10, interval=0.02, roots=tree.roots), stop, said)
    stop.close()
    assert (found["ended"], found["partial"], len(found["windows"]["length_ns"])) == ("files", True, 2)
    assert "raise `ulimit -n`; what was counted until now is kept" in said.lines[-1]


def test_a_busy_latency_log_is_no_reason_to_sample_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a line costs is the same however rarely it is read, so a longer interval would save nothing."""
    asked: list[int] = []
    busy = 20_000_000  # ns, ten times what a sample of the tree takes
    tree = Tree(tmp_path)
    tree.show(10, Process(threads={10: Thread(cpu_ns=100)}))
    (tmp_path / "latency.log").touch()

    def work(*_words: object) -> None:
        end = time.thread_time_ns() + busy
        while time.thread_time_ns() < end:
            pass

    real = windows_module.Windows.too_dear

    def note(windows: Windows, cost: int, interval: float) -> float | None:
        asked.append(cost)
        return real(windows, cost, interval)

    monkeypatch.setattr(LatencyLog, "read", work)
    monkeypatch.setattr(windows_module.Windows, "too_dear", note)
    request = Request(pid=10, interval=0.02, duration=0.2, latency_log=str(tmp_path / "latency.log"), roots=tree.roots)
    stop = Stop()
    record(request, stop, Said())
    stop.close()
    assert asked
    assert min(asked) < busy
