"""The journal's format and the way back, on values; no file is read or written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from numatune.core.journal import (
    ABSENT,
    Generation,
    JournalError,
    Seen,
    complete,
    dump,
    file_name,
    load,
    parents,
    paths_to_record,
    record,
)
from numatune.core.model import Change
from numatune.core.recipe import recipe
from numatune.core.revert import Reversal, mark, open_generations, paths, plan_back

BOOT, LATER_BOOT = "boot-1", "boot-2"
CONF, VALUE, FOLDER = "/etc/sysctl.d/99-x.conf", "/proc/sys/kernel/numa_balancing", "/etc/sysctl.d"
CHANGES = [
    Change("numa_balancing", "file", CONF, "new\n", None, "", "0644"),
    Change("numa_balancing", "runtime", VALUE, "0\n", "1\n", ""),
]


def file(content: str, mode: str = "0644") -> Seen:
    return Seen("file", content=content.encode(), mode=mode, uid=0, gid=0)


def value(text: str) -> Seen:
    return Seen("file", content=text.encode())


def tuned(
    number: int = 1, boot: str = BOOT, conf: Seen = ABSENT, running: str = "1\n", made: bool = False
) -> Generation:
    """Return a completed generation over what was there."""
    seen = {"/etc": Seen("directory"), FOLDER: ABSENT if made else Seen("directory"), CONF: conf, VALUE: value(running)}
    recorded = record(number, CHANGES, seen, boot, "2026-11-01T00:00:00Z")
    return complete(recorded, after(), "2026-11-01T00:00:01Z")


def after(**other: Seen) -> dict[str, Seen]:
    """Return what stands right after tuning, but for what a test changes."""
    now = {FOLDER: Seen("directory", names=("99-x.conf",)), CONF: file("new\n"), VALUE: value("0\n")}
    return {**now, **{{"conf": CONF, "value": VALUE, "folder": FOLDER}[key]: seen for key, seen in other.items()}}


def steps(way: Reversal) -> list[tuple[str, str]]:
    return [(action.kind, action.path) for action in way.actions]


def test_parents_leave_out_the_root() -> None:
    assert parents("/etc/x/y") == ["/etc", "/etc/x"]
    assert parents("/x") == []


def test_recording_asks_for_the_parents_of_files_only() -> None:
    assert paths_to_record(CHANGES) == [
        ("directory", "/etc"),
        ("directory", FOLDER),
        ("file", CONF),
        ("runtime", VALUE),
    ]


def test_a_generation_survives_its_file() -> None:
    generation = tuned(
        conf=Seen("file", content=b"\x00\xffold", mode="4640", uid=3, gid=4, label="u:r:t:s0"), made=True
    )
    assert load(dump(generation), "/j/0001.json") == generation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        (dump(tuned())[:-40], "damaged"),
        (dump(tuned()).replace("journal/2", "journal/9"), "'numatune/journal/9' is not"),
        (dump(tuned()).replace('"generation": 1', '"generation": 2'), "generation 2"),
        (dump(tuned()).replace('"generation": 1', '"generation": true'), "damaged"),
        (dump(tuned()).replace('"completed",', '"done",'), "'done' is none of"),
        (dump(tuned()).replace(CONF, "/etc/../root/x"), "path"),
        (dump(tuned()).replace(CONF, "etc/x"), "path"),
        (dump(tuned(conf=file("old\n"))).replace("b2xkCg==", "b2xk!g=="), "damaged"),
        (dump(tuned(conf=file("old\n"))).replace("b2xkCg==", "b2xkZQo="), "sha256"),
        (dump(tuned(conf=file("old\n"))).replace('"content": "b2xkCg==",', ""), "no content"),
        (dump(tuned()).replace('"mode": "0644"', '"mode": "rw"'), "damaged"),
        (dump(tuned()).replace('"before"', '"former"'), "damaged"),
    ],
)
def test_a_damaged_journal_is_one_line(text: str, words: str) -> None:
    with pytest.raises(JournalError) as caught:
        load(text, "/j/0001.json")
    assert words in str(caught.value)
    assert "/j/0001.json" in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_completing_refuses_what_was_not_planned() -> None:
    recorded = replace(tuned(), state="recorded")
    with pytest.raises(JournalError, match="numa_balancing is not what was just written"):
        complete(recorded, after(value=value("1\n")), "later")
    with pytest.raises(JournalError, match=r"99-x\.conf is not what"):
        complete(recorded, after(conf=file("other\n")), "later")


def test_what_did_not_exist_is_removed_and_the_value_put_back() -> None:
    way = plan_back([tuned()], after(), BOOT)
    assert steps(way) == [("remove", CONF), ("runtime", VALUE)]
    assert way.done == {CONF, VALUE}
    assert not way.conflicts


def test_a_file_that_existed_is_written_with_its_mode_and_owner() -> None:
    old = Seen("file", content=b"old", mode="0600", uid=5, gid=6, label="u:r:t:s0")
    (action, _) = plan_back([tuned(conf=old)], after(), BOOT).actions
    assert (action.kind, action.then) == ("write", old)


def test_a_directory_that_was_made_goes_last_and_only_when_empty() -> None:
    way = plan_back([tuned(made=True)], after(), BOOT)
    assert steps(way) == [("remove", CONF), ("runtime", VALUE), ("rmdir", FOLDER)]
    full = plan_back([tuned(made=True)], after(folder=Seen("directory", names=("99-x.conf", "a.conf"))), BOOT)
    assert steps(full) == [("remove", CONF), ("runtime", VALUE)]
    assert full.notes == (f"{FOLDER} was made by numatune and stays: it holds a.conf",)
    assert FOLDER in full.done


def test_nested_directories_go_from_the_inside() -> None:
    nothing = {"/etc": ABSENT, FOLDER: ABSENT, CONF: ABSENT}
    recorded = record(1, CHANGES[:1], nothing, BOOT, "")
    now = {"/etc": Seen("directory", names=("sysctl.d",)), **after()}
    assert steps(plan_back([recorded], now, BOOT)) == [("remove", CONF), ("rmdir", FOLDER), ("rmdir", "/etc")]


@pytest.mark.parametrize(
    "here", [file("edited\n"), file("new\n", mode="0600"), Seen("other"), Seen("directory", names=("x",))]
)
def test_what_somebody_changed_stays(here: Seen) -> None:
    way = plan_back([tuned(made=True)], after(conf=here), BOOT)
    assert steps(way) == [("runtime", VALUE)]
    (line,) = way.conflicts
    assert line.startswith(f"{CONF} was changed by somebody after numatune wrote it")
    assert "\n" not in line
    assert way.done == {VALUE}, "the directory waits for the file in it"


def test_what_somebody_removed_stays_removed_unless_that_is_the_way_back() -> None:
    assert "was removed by somebody" in plan_back([tuned(conf=file("old\n"))], after(conf=ABSENT), BOOT).conflicts[0]
    way = plan_back([tuned()], after(conf=ABSENT), BOOT)
    assert steps(way) == [("runtime", VALUE)]
    assert CONF in way.done


def test_a_value_that_somebody_changed_stays() -> None:
    way = plan_back([tuned()], after(value=value("2\n")), BOOT)
    assert steps(way) == [("remove", CONF)]
    assert "holds '2', not the '0'" in way.conflicts[0]


def test_a_value_of_an_earlier_boot_is_not_put_back() -> None:
    way = plan_back([tuned()], after(), LATER_BOOT)
    assert steps(way) == [("remove", CONF)]
    assert way.notes == (f"{VALUE} stay as tuned until the next boot: what was there is of an earlier boot",)
    assert VALUE in way.done


def test_a_value_whose_file_is_gone_is_no_conflict() -> None:
    way = plan_back([tuned()], after(value=ABSENT), BOOT)
    assert not way.conflicts
    assert "not there any more" in way.notes[0]


def test_several_generations_lead_to_before_the_first() -> None:
    second = tuned(2, conf=file("between\n"), running="3\n")
    way = plan_back([second, tuned(1, conf=file("old\n"))], after(), BOOT)
    assert [(action.path, action.then.content) for action in way.actions] == [(CONF, b"old\n"), (VALUE, b"1\n")]


def test_later_generations_alone_can_be_undone() -> None:
    generations = [tuned(1), tuned(2, conf=file("between\n"), running="3\n")]
    way = plan_back(generations, after(), BOOT, first=2)
    assert [(action.path, action.then.content) for action in way.actions] == [(CONF, b"between\n"), (VALUE, b"3\n")]


def test_only_this_boots_generations_count_for_values() -> None:
    way = plan_back([tuned(1, running="7\n"), tuned(2, boot=LATER_BOOT, running="1\n")], after(), LATER_BOOT)
    assert [action.then.content for action in way.actions if action.kind == "runtime"] == [b"1\n"]


@pytest.mark.parametrize("written", [False, True])
def test_an_interrupted_run_is_undone_wherever_it_stopped(written: bool) -> None:
    recorded = record(
        1,
        CHANGES,
        {"/etc": Seen("directory"), FOLDER: Seen("directory"), CONF: file("old\n"), VALUE: value("1\n")},
        BOOT,
        "",
    )
    now = after() if written else after(conf=file("old\n"), value=value("1\n"))
    way = plan_back([recorded], now, BOOT)
    assert steps(way) == ([("write", CONF), ("runtime", VALUE)] if written else [])
    assert way.done == {CONF, VALUE}


def test_what_is_back_is_not_looked_at_again() -> None:
    half = mark(tuned(), {VALUE}, "now")
    assert half.state == "completed"
    assert paths([half]) == [("file", CONF)]
    assert steps(plan_back([half], after(), BOOT)) == [("remove", CONF)]
    whole = mark(half, {CONF}, "now")
    assert (whole.state, whole.reverted) == ("reverted", "now")
    assert open_generations([whole]) == []


def test_the_file_holds_what_its_documentation_says() -> None:
    data = json.loads(dump(tuned()))
    assert data["schema"] == "numatune/journal/2"
    assert set(data["entries"][0]) == {"setting", "kind", "path", "before", "after", "back"}
    assert file_name(12345) == "12345.json"


def test_the_recipe_quotes_what_it_prints() -> None:
    change = replace(CHANGES[0], path="/etc/it's.conf")
    generation = record(1, [change], {"/etc": Seen("directory"), "/etc/it's.conf": ABSENT}, BOOT, "now")
    assert "rm -f -- \"$ROOT\"'/etc/it'\"'\"'s.conf'" in recipe(generation)
