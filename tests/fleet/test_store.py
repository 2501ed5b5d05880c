"""The store: what it keeps, what it refuses, and that a run's results outlive it."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from numatune.core.model import RUN_UNKNOWN
from numatune.store import audits, schema
from numatune.store.audits import Store
from numatune.store.earlier import read
from numatune.store.errors import StoreError
from numatune.store.rows import Row, RunFacts

FACTS = RunFacts("audit", "1.0", "inference-latency", "warning", (), "2026-01-01T00:00:00Z", 3)
BAD = ("wrong", "unknown")


def document(name: str, runtime: str | None = "1", status: str = "wrong", **more: object) -> bytes:
    found = {
        "setting": "numa_balancing",
        "status": status,
        "severity": "critical",
        "runtime": runtime,
        "expected": "0",
    }
    return json.dumps({"name": name, "error": None, "status": "findings", "findings": [found], **more}).encode()


def judged(place: int, name: str, **how: object) -> Row:
    return Row(place, name, "findings", document=document(name, **how))  # type: ignore[arg-type] # the callers' words


def failed(place: int, name: str, phase: str = "auth", kind: str = "denied") -> Row:
    return Row(place, name, "unreachable", phase, f"{name}: {kind}", kind)


def filled(path: Path | None, rows: list[Row], partial: bool = False) -> tuple[Store, int]:
    store = Store(path)
    run = store.begin(FACTS)
    for row in rows:
        store.add(run, row)
    store.finish(run, "2026-01-01T00:01:00Z", partial)
    return store, run


def test_hosts_come_back_in_the_order_of_the_inventory(tmp_path: Path) -> None:
    rows = [judged(place, f"db{place}") for place in range(450)]
    store, run = filled(tmp_path / "s", rows[::-1])
    assert list(store.hosts(run)) == rows
    assert store.summary(run) == {
        "hosts": 450,
        "ok": 0,
        "findings": 450,
        "incomplete": 0,
        "unreachable": 0,
        "not_judged": 0,
    }


def test_equal_failures_and_findings_are_one_group(tmp_path: Path) -> None:
    rows = [failed(0, "a"), failed(1, "b"), failed(2, "c", "tcp", "refused"), *(failed(n, f"d{n}") for n in (3, 4))]
    rows += [judged(5, "e"), judged(6, "f"), judged(7, "g", runtime="2"), judged(8, "h", status="ok", runtime="0")]
    store, run = filled(tmp_path / "s", rows)
    assert store.failures(run) == [(("auth", "denied"), 4, ("a", "b", "d3")), (("tcp", "refused"), 1, ("c",))]
    assert store.findings(run, BAD) == [
        (("numa_balancing", "wrong", "critical", "1", "0"), 2, ("e", "f")),
        (("numa_balancing", "wrong", "critical", "2", "0"), 1, ("g",)),
    ]


def test_hosts_that_are_ok_as_far_as_known_are_counted_once() -> None:
    def ok(place: int, status: str, *notes: str) -> Row:
        return Row(place, f"h{place}", "ok", document=document("h", status=status, notes=notes))

    cut = f"{RUN_UNKNOWN}: needs root"
    rows = [ok(0, "ok"), ok(1, "unknown"), ok(2, "ok", cut), ok(3, "unknown", cut), ok(4, "ok", "another note")]
    rows.append(judged(5, "findings", notes=[cut]))
    store, run = filled(None, rows)
    assert store.unsure(run) == 3


def test_the_file_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = schema.default_path({"XDG_STATE_HOME": str(tmp_path / "state")})
        filled(path, [])
    finally:
        os.umask(before)
    assert path == tmp_path / "state/numatune/history.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert schema.default_path({"HOME": "/home/x", "XDG_STATE_HOME": "relative"}).is_relative_to("/home/x/.local/state")


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign, newer, text = tmp_path / "foreign", tmp_path / "newer", tmp_path / "text"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE mine (x)")
    filled(newer, [])[0].__exit__()
    with sqlite3.connect(newer) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    text.write_text("hello, this is a text that is longer than the head of a database\n" * 20)
    (tmp_path / "folder").mkdir()
    for path, word in (
        (foreign, "another program"),
        (newer, "newer numatune"),
        (text, "no SQLite"),
        (tmp_path / "folder", "Is a directory"),
        (text / "below", "Not a directory"),
    ):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(StoreError, match=word) as caught:
            Store(path)
        assert "\n" not in str(caught.value)
        assert (path.read_bytes() if path.is_file() else b"") == before


def test_hostile_texts_are_stored(tmp_path: Path) -> None:
    name = "'; DROP TABLE hosts; --\x1b[2J\udcff"
    rows = [judged(0, name, runtime="\ud800" + "x" * 100_000), failed(1, "b", kind="\udcfe\0")]
    store, run = filled(tmp_path / "s", rows)
    (first, second) = store.hosts(run)
    assert first.name.startswith("'; DROP TABLE hosts")
    assert first.document == rows[0].document
    assert len(store.findings(run, BAD)[0].what[3]) < 1000
    assert second.kind == "\\udcfe\0"


KILLED = """
import sys, time
sys.path[:0] = sys.argv[2:]
from numatune.store.audits import Store
from pathlib import Path
import test_store
store = Store(Path(sys.argv[1]))
run = store.begin(test_store.FACTS)
for place in range(250):
    store.add(run, test_store.judged(place, f"db{place}"))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_run_keeps_what_was_written_and_the_next_one_goes_on(tmp_path: Path) -> None:
    here = Path(__file__)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "s"), str(here.parents[2]), str(here.parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.kill()
    store, run = filled(tmp_path / "s", [failed(0, "db0")])
    assert run == 2
    assert store.summary(1)["hosts"] == 200
    assert store.summary(2)["unreachable"] == 1


FULL = """
import resource, signal, sys
sys.path[:0] = sys.argv[2:]
from numatune.store.audits import Store
from pathlib import Path
import os, test_store
store = Store(Path(sys.argv[1]))
run = store.begin(test_store.FACTS)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = lambda: os.urandom(3000).hex()
for place in range(600):
    if place == 300:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    store.add(run, test_store.judged(place, f"db{place}", noise=noise()))
store.finish(run, "2026-01-01T00:01:00Z", False)
assert [row.place for row in store.hosts(run)] == list(range(600))
assert all(row.document for row in store.hosts(run))
assert store.findings(run, test_store.BAD)[0].hosts == 600
store.prune()
print(store.trouble)
"""


def test_a_full_disk_loses_nothing_of_this_run(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk, in another process: it cannot be lifted again."""
    here = Path(__file__)
    words = [sys.executable, "-c", FULL, str(tmp_path / "s"), str(here.parents[2]), str(here.parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 's'}: this run is not kept there: ")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    # The file is still a store.
    assert filled(tmp_path / "s", [])[0].trouble is None


def test_two_runs_write_at_the_same_time(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "s"), Store(tmp_path / "s")
    first, second = one.begin(FACTS), two.begin(FACTS)
    for place in range(500):
        one.add(first, judged(place, f"a{place}"))
        two.add(second, judged(place, f"b{place}", runtime=str(place % 7)))
    reading = one.hosts(first)
    next(reading)
    # A reader that stands still (a pager) holds up nobody.
    two.finish(second, "2026-01-01T00:01:00Z", False)
    one.finish(first, "2026-01-01T00:01:00Z", False)
    assert (one.trouble, two.trouble) == (None, None)
    assert one.summary(first)["hosts"] == two.summary(second)["hosts"] == 500
    assert sum(group.hosts for group in one.findings(second, BAD)) == 500


def test_old_runs_go_and_old_documents_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "KEEP_RUNS", 4)
    monkeypatch.setattr(audits, "KEEP_DOCUMENTS", 2)
    for number in range(1, 8):
        store, run = filled(tmp_path / "s", [judged(0, "a", runtime=str(number))])
        store.prune()
        assert run == number
    kept = {run: [row.document is not None for row in store.hosts(run)] for run in range(1, 8)}
    assert kept == {1: [], 2: [], 3: [], 4: [False], 5: [False], 6: [True], 7: [True]}
    with sqlite3.connect(tmp_path / "s") as db:
        assert db.execute("SELECT count(*) FROM verdicts").fetchone() == (4,)
    # A judgement without its document cannot be taken over: that host is asked again.
    assert read(tmp_path / "s", "audit", ["a"]).wants("a") is False
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("UPDATE hosts SET document = NULL")
    assert read(tmp_path / "s", "audit", ["a"]).wants("a") is True


def report(path: Path, hosts: list[object], **head: object) -> Path:
    value = {"hosts": hosts, "schema": "numatune/audit/1", "profile": "p", "started": "then", **head}
    path.write_text(json.dumps(value, indent=2, sort_keys=True))
    return path


def test_an_earlier_report_is_read_whatever_its_spaces_and_order(tmp_path: Path) -> None:
    error = {"phase": "tcp", "message": "refused"}
    hosts = [json.loads(document("a", filler="x" * 2_000_000)), {"name": "b", "status": "unreachable", "error": error}]
    misfit = {"name": "e", "status": "not_judged", "error": {"phase": "profile", "message": "16-19 do not exist"}}
    earlier = read(report(tmp_path / "r.json", [*hosts, json.loads(document("d")), misfit]), "audit", [])
    assert [earlier.wants(name) for name in ("a", "b", "c", "d", "e")] == [False, True, True, False, True]
    assert list(earlier.rows())[-1].status == "not_judged"
    assert (earlier.profile, earlier.started, earlier.fail_on) == ("p", "then", None)
    rows = list(earlier.rows())
    assert json.loads(rows[0].document or b"") == hosts[0]
    assert (rows[1].phase, rows[1].message) == ("tcp", "refused")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "\0", "[" * 100_000, '{"schema": "numatune/bench/1"}', '{"hosts": [1]}'),
        '{"schema": "numatune/audit/1", "hosts": [',
        '{"hosts": [{"name": 5}]}',
        '{"hosts": [{"name": "a", "status": "fine"}]}',
    ],
)
def test_what_is_no_earlier_run_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(text)
    with pytest.raises(StoreError) as caught:
        read(path, "audit", ["a"])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_newest_run_of_these_hosts_is_gone_on_from(tmp_path: Path) -> None:
    filled(tmp_path / "s", [judged(0, "a"), failed(1, "b")])
    filled(tmp_path / "s", [judged(0, "others")])
    earlier = read(tmp_path / "s", "audit", ["b", "c"])
    assert [earlier.wants(name) for name in ("a", "b", "c")] == [False, True, True]
    with pytest.raises(StoreError, match="no plan of any of these"):
        read(tmp_path / "s", "plan", ["a"])
    with pytest.raises(StoreError, match="no audit of any of these"):
        read(tmp_path / "s", "audit", ["z"])
