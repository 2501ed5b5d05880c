"""The mark of a run that was cut: what an audit says of it, and of what stands in its place and is none."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from numatune.core.audit import judge
from numatune.core.collecting.collector import script
from numatune.core.collecting.snapshot import parse_stream
from numatune.core.model import RUN_UNKNOWN, Reading, Snapshot, State
from numatune.core.profile import builtin
from numatune.core.undo import run_mark, runs
from numatune.core.undo.run_mark import Mark, MarkError, begin, dump, load
from numatune.transport.captured.replay import from_root
from plugins.module_utils.core.undo.run_mark import MarkError as TargetsMarkError
from plugins.module_utils.run_mark import read
from plugins.module_utils.tree import Tree

BEGAN, DRAINED, AT = "2026-11-24T10:00:00Z", "2026-11-24T09:00:00Z", "2026-11-24T10:20:00Z"
CUT = Mark("tune", BEGAN, drained=BEGAN, done=("numa_balancing", "cpu_governor"))
WAITS = Mark("tune", BEGAN, drained=DRAINED, ended="pending_reboot", at=AT)
MARKS = {
    "cut": CUT,
    "cut, without a hook": Mark("tune", BEGAN),
    "waits": WAITS,
    "not qualified": Mark("qualify", BEGAN, drained=BEGAN, ended="failed", at=AT),
}


def marked(text: str, journal: dict[str, str] | None = None) -> Snapshot:
    files = {run_mark.PATH: text, **{f"{runs.FOLDER}/{name}": text for name, text in (journal or {}).items()}}
    return Snapshot(files, dirs=frozenset({"/var/lib/numatune", runs.FOLDER}))


def status(snapshot: Snapshot, **options: Any) -> str:
    """The audit's status where no setting is asked for."""
    profile = builtin("inference-latency")
    return judge(snapshot, type(profile)(**{**vars(profile), "settings": {}}), date(2026, 11, 24), **options).status


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert load(dump(mark)) == mark
    assert runs.mark(marked(dump(mark))) == mark


def test_a_run_that_was_cut_is_named_with_what_it_did_and_what_is_out_of_service() -> None:
    (note,) = runs.notes(marked(dump(CUT)))
    assert f"a run of tune.yml was interrupted, unless it is still under way: it began at {BEGAN}" in note
    assert "changed numa_balancing, cpu_governor; the host is out of service since" in note
    assert (
        "run playbooks/tune.yml, which finishes it, or playbooks/revert.yml, which undoes all that numatune changed on "
        "this host" in note
    )
    (note,) = runs.notes(marked(dump(MARKS["cut, without a hook"])))
    assert "changed nothing yet; run playbooks/tune.yml" in note
    assert "service" not in note


def test_a_host_that_a_run_left_out_of_service_is_named() -> None:
    (note,) = runs.notes(marked(dump(WAITS)))
    assert f"this host is out of service since {DRAINED}: tune.yml ended there with pending_reboot ({AT})" in note
    assert "after the reboot run playbooks/tune.yml again" in note
    (note,) = runs.notes(marked(dump(MARKS["not qualified"])))
    assert "run playbooks/qualify.yml again" in note


def test_a_cut_inside_a_role_is_named_beside_the_run() -> None:
    role, run = runs.notes(marked(dump(CUT), {"0003.json": ' "state": "recorded"\n'}))
    assert "generation 3" in role
    assert "a run of tune.yml" in run


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_such_a_host_is_not_ok(mark: Mark) -> None:
    assert status(marked(dump(mark))) == "findings"
    assert status(Snapshot({})) == "ok"


def test_the_run_that_asks_is_no_finding_of_its_own() -> None:
    assert runs.notes(marked(dump(CUT)), under_way=True) == ()
    assert status(marked(dump(CUT)), under_way=True) == "ok"


GOOD = json.loads(dump(CUT))
ODD = {
    "empty": "",
    "cut": dump(CUT)[:60],
    "no object": "[]\n",
    "another version": json.dumps({**GOOD, "schema": "numatune/run/9"}),
    "a key too many": json.dumps({**GOOD, "more": 1}),
    "a key too few": json.dumps({key: value for key, value in GOOD.items() if key != "done"}),
    "no time": json.dumps({**GOOD, "began": "yesterday"}),
    "a number for a time": json.dumps({**GOOD, "drained": 7}),
    "no playbook": json.dumps({**GOOD, "playbook": ["tune"]}),
    "an escape sequence": json.dumps({**GOOD, "done": ["\x1b[2J"]}),
    "an end without a time": json.dumps({**GOOD, "ended": "failed"}),
    "an end of what serves": json.dumps({**GOOD, "drained": None, "ended": "failed", "at": AT}),
    "long": dump(CUT) + " " * run_mark.LIMIT,
    "deep": "[" * 3000,
    "a long number": json.dumps(GOOD).replace(f'"{BEGAN}"', "9" * 4000, 1)[:4000],
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_numatune_did_not_write_is_one_line_and_never_ok(text: str) -> None:
    with pytest.raises(MarkError):
        load(text)
    (note,) = runs.notes(marked(text))
    assert note.startswith(f"{run_mark.PATH} is not what numatune writes")
    assert note.isprintable()
    assert status(marked(text)) == "incomplete"


def test_a_directory_in_its_place_is_odd() -> None:
    snapshot = Snapshot({}, dirs=frozenset({"/var/lib/numatune", runs.FOLDER, run_mark.PATH}))
    assert "it is a directory" in runs.notes(snapshot)[0]
    assert status(snapshot) == "incomplete"


def test_one_that_cannot_be_read_is_said() -> None:
    broken = {run_mark.PATH: Reading(run_mark.PATH, State.ERROR, detail="Input/output error")}
    snapshot = Snapshot({}, broken, dirs=frozenset({"/var/lib/numatune", runs.FOLDER}))
    (note,) = runs.notes(snapshot)
    assert note == (
        "whether a run of tune or a revert was interrupted is not known: "
        f"reading {run_mark.PATH} failed: Input/output error"
    )
    assert status(snapshot) == "incomplete"


ROOT = "; run the audit as root (--become over SSH)"


def test_of_a_folder_that_may_not_be_looked_into_nothing_is_known() -> None:
    closed = {"/var/lib/numatune": Reading("/var/lib/numatune", State.DENIED)}
    snapshot = Snapshot({}, closed, dirs=frozenset({"/proc", "/sys"}))
    (note,) = runs.notes(snapshot)
    assert note == f"{RUN_UNKNOWN}: needs root to read /var/lib/numatune/journal{ROOT}"
    assert status(snapshot) == "ok"


def test_a_mark_that_is_there_and_may_not_be_read_says_that_a_run_did_not_end() -> None:
    closed = {run_mark.PATH: Reading(run_mark.PATH, State.DENIED)}
    snapshot = Snapshot({}, closed, dirs=frozenset({"/var/lib/numatune", runs.FOLDER}))
    (note,) = runs.notes(snapshot)
    assert note == (
        "a run of a playbook was interrupted, is under way or left this host out of service: "
        f"needs root to read {run_mark.PATH}, which says what to do"
    )
    assert status(snapshot) == "findings"
    assert (runs.notes(snapshot, under_way=True), status(snapshot, under_way=True)) == ((), "ok")


@pytest.mark.parametrize(("state", "comes_to"), [(State.DENIED, "ok"), (State.ERROR, "incomplete")])
def test_a_generation_that_cannot_be_read_is_not_one_that_ended(state: State, comes_to: str) -> None:
    path = f"{runs.FOLDER}/0001.json"
    snapshot = Snapshot({}, {path: Reading(path, state)}, dirs=frozenset({"/var/lib/numatune", runs.FOLDER}))
    assert runs.notes(snapshot)[0].startswith(RUN_UNKNOWN)
    assert status(snapshot) == comes_to


@pytest.mark.parametrize("kind", ["pipe", "dangling"])
def test_what_is_no_file_in_its_place_is_odd_for_the_audit_and_for_tune(tmp_path: Path, kind: str) -> None:
    """By the script, from a tree and by the modules, none of which waits for a writer."""
    folder = tmp_path / "var/lib/numatune"
    (folder / "journal").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    if kind == "pipe":
        os.mkfifo(folder / "run.json")
    else:
        (folder / "run.json").symlink_to("nowhere")
    made = script().replace("/var/lib/numatune", str(folder))
    done = subprocess.run(["sh", "-s"], input=made, capture_output=True, text=True, check=True)
    live = parse_stream(done.stdout.replace(str(folder), "/var/lib/numatune"))
    for snapshot in (live, from_root(tmp_path)):
        (note,) = runs.notes(snapshot)
        assert note.startswith(f"{run_mark.PATH} is not what numatune writes (it is no plain file)")
        assert status(snapshot) == "incomplete"
    with pytest.raises(TargetsMarkError, match="it is no plain file"):
        read(Tree(str(tmp_path)))


def test_a_run_that_begins_knows_since_when_the_host_is_out_of_service() -> None:
    assert begin("tune", None, True, AT) == Mark("tune", AT, drained=AT)
    assert begin("tune", None, False, AT) == Mark("tune", AT)
    assert begin("tune", WAITS, True, AT) == Mark("tune", AT, drained=DRAINED)
    # What was done in a run that was cut is not forgotten; that of one which ended is.
    assert begin("qualify", CUT, False, AT) == Mark("qualify", AT, drained=BEGAN, done=CUT.done)
    assert begin("tune", replace(WAITS, done=CUT.done), True, AT) == Mark("tune", AT, drained=DRAINED)


def test_an_odd_mark_makes_a_host_with_findings_incomplete() -> None:
    profile, day = builtin("inference-latency"), date(2026, 11, 24)
    files = {"/proc/sys/kernel/numa_balancing": "1\n"}
    found = judge(Snapshot({**files}, dirs=frozenset({"/proc", "/sys"})), profile, day, require=())
    assert found.status == "findings"
    odd = Snapshot({**files, run_mark.PATH: "half"}, dirs=frozenset({"/proc", "/sys", "/var/lib/numatune"}))
    assert judge(odd, profile, day, require=()).status == "incomplete"
