"""The journal's format and the way back, on values; no file is read or written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from numatune.core.change import Change
from numatune.core.undo.journal import (
    ABSENT,
    Entry,
    Generation,
    JournalError,
    Seen,
    complete,
    file_name,
    parents,
    paths_to_record,
    record,
    settle,
    undone_effects,
)
from numatune.core.undo.journal_file import dump, load
from numatune.core.undo.recipe import recipe
from numatune.core.undo.revert import Reversal, begin, mark, open_generations, paths, plan_back

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
        (dump(tuned()).replace("journal/3", "journal/9"), "'numatune/journal/9' is not"),
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
    second = tuned(2, conf=file("new\n"), running="3\n")
    way = plan_back([second, tuned(1, conf=file("old\n"))], after(), BOOT)
    assert [(action.path, action.then.content) for action in way.actions] == [(CONF, b"old\n"), (VALUE, b"1\n")]


def test_what_somebody_changed_between_two_generations_stays() -> None:
    way = plan_back([tuned(1, conf=file("old\n")), tuned(2, conf=file("between\n"))], after(), BOOT)
    assert steps(way) == [("runtime", VALUE)]
    assert "changed by somebody between generations 1 and 2" in way.conflicts[0]


MENU, BLOCK, ENTRY, UNIT = "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/boot/loader/entries/a-1.conf", "x.service"


def one(kind: str, path: str, before: Seen, then: Seen, number: int = 1) -> Generation:
    """Return a completed generation of one change."""
    return Generation(number, "completed", BOOT, "", (Entry("kernel_arguments", kind, path, before, then),))


def test_a_menu_is_put_back_only_where_nothing_came_between() -> None:
    first = one("menu", MENU, file("a"), file("b"))
    assert steps(plan_back([first], {MENU: file("b")}, BOOT)) == [("write", MENU)]
    assert steps(plan_back([first], {MENU: file("other kernels")}, BOOT)) == [("menu", MENU)]
    second = one("menu", MENU, file("other kernels"), file("c"), 2)
    assert steps(plan_back([first, second], {MENU: file("c")}, BOOT)) == [("menu", MENU)]
    assert steps(plan_back([first, one("menu", MENU, file("b"), file("c"), 2)], {MENU: file("c")}, BOOT)) == [
        ("write", MENU)
    ]


def test_the_entry_of_one_boot_is_no_conflict_and_other_variables_are() -> None:
    armed = one("once", f"{BLOCK}:next_entry", ABSENT, value("trial"))
    assert steps(plan_back([armed], {f"{BLOCK}:next_entry": value("trial")}, BOOT)) == [("once", f"{BLOCK}:next_entry")]
    assert plan_back([armed], {f"{BLOCK}:next_entry": value("mine")}, BOOT).conflicts == ()
    options = one("once", f"{BLOCK}:kernelopts", value("ro"), value("ro isolcpus=2"))
    way = plan_back([options], {f"{BLOCK}:kernelopts": value("ro isolcpus=2 audit=1")}, BOOT)
    assert steps(way) == []
    assert "kernelopts was changed by somebody" in way.conflicts[0]


def test_the_mark_of_a_trial_that_was_armed_before_does_not_come_back() -> None:
    path = f"{BLOCK}:numatune_trial"
    disarmed = one("once", path, value("a-trial"), ABSENT)
    assert steps(plan_back([disarmed], {path: ABSENT}, BOOT)) == []
    # A later trial's mark goes: with the old one in its place, the trial that is armed anew would count as tried.
    rearmed = one("once", path, value("a-trial"), value("another"))
    (action,) = plan_back([rearmed], {path: value("another")}, BOOT).actions
    assert (action.kind, action.path, action.then) == ("once", path, ABSENT)


def test_the_entry_of_a_kernel_that_is_gone_is_no_conflict() -> None:
    way = plan_back([one("file", ENTRY, file("a"), file("b"))], {ENTRY: ABSENT}, BOOT)
    assert (steps(way), way.conflicts) == ([], ())
    assert "went with its kernel" in way.notes[0]
    assert ENTRY in way.done


@pytest.mark.parametrize(
    ("before", "then", "now", "step"),
    [
        ("active", "active", "active", [("write", CONF), ("service", UNIT)]),
        ("active", "active", "inactive", [("write", CONF)]),
        ("active", "inactive", "inactive", [("write", CONF), ("service", UNIT)]),
        ("inactive", "active", "active", [("write", CONF), ("service", UNIT)]),
        ("inactive", "active", "inactive", [("write", CONF)]),
    ],
)
def test_a_service_reads_its_files_again_and_one_that_somebody_stopped_stays(
    before: str, then: str, now: str, step: list[tuple[str, str]]
) -> None:
    entries = (
        Entry("irqbalance", "file", CONF, file("a"), file("b")),
        Entry("irqbalance", "service", UNIT, value(before), value(then)),
    )
    generation = Generation(1, "completed", BOOT, "", entries)
    way = plan_back([generation], {CONF: file("b"), UNIT: value(now)}, BOOT)
    assert steps(way) == step
    # A revert that was cut after the files: the daemon still reads them again.
    cut = plan_back([generation], {CONF: file("a"), UNIT: value(now)}, BOOT)
    assert steps(cut) == step[1:]


def test_an_interrupt_may_be_narrowed_down_while_the_run_completes() -> None:
    change = Change("irq_affinity", "runtime", "/proc/irq/25/smp_affinity_list", "0,2\n", "1\n", "")
    recorded = record(1, [change], {change.path: value("1\n")}, BOOT, "")
    closed = complete(recorded, {change.path: value("2\n")}, "")
    assert closed.entries[0].after == value("2\n")


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


def test_a_revert_that_was_cut_is_closed_with_what_it_came_to() -> None:
    entries = (
        Entry("irqbalance", "file", CONF, file("a"), file("b")),
        Entry("irqbalance", "service", UNIT, value("active"), value("active")),
        Entry("irqbalance", "menu", MENU, file("old menu"), file("new menu")),
    )
    cut = begin(Generation(1, "completed", BOOT, "", entries, completed="then"))
    now = {CONF: file("a"), UNIT: value("active"), MENU: file("new menu")}
    back = plan_back([cut], now, BOOT).back
    assert back == {CONF}
    # The daemon and the menu may not have seen the file that is back.
    assert [entry.kind for entry in undone_effects(cut, now, back)] == ["service", "menu"]
    closed = settle(cut, now, "now", back)
    assert (closed.state, closed.completed) == ("completed", "then")
    assert [entry.back for entry in closed.entries] == [True, False, False]
    whole = {**now, MENU: file("old menu")}
    assert [entry.kind for entry in undone_effects(cut, whole, plan_back([cut], whole, BOOT).back)] == ["service"]
    half = {**whole, CONF: file("b")}
    assert [entry.kind for entry in undone_effects(cut, half, plan_back([cut], half, BOOT).back)] == ["service", "menu"]


def test_a_generation_is_over_only_when_the_revert_says_so() -> None:
    under_way = mark(begin(tuned()), {VALUE}, "now", over=False)
    assert under_way.state == "reverting"
    assert mark(under_way, (), "now").state == "completed"
    assert mark(under_way, {CONF}, "now", over=False).state == "reverted"
    assert load(dump(under_way), "/j/0001.json") == under_way


@pytest.mark.parametrize("schema", ["numatune/journal/1", "numatune/journal/2"])
def test_an_older_journal_is_read(schema: str) -> None:
    assert load(dump(tuned()).replace("numatune/journal/3", schema), "/j/0001.json") == tuned()


def test_the_file_holds_what_its_documentation_says() -> None:
    data = json.loads(dump(tuned()))
    assert data["schema"] == "numatune/journal/3"
    assert set(data["entries"][0]) == {"setting", "kind", "path", "before", "after", "back"}
    assert file_name(12345) == "12345.json"


def test_the_recipe_quotes_what_it_prints() -> None:
    change = replace(CHANGES[0], path="/etc/it's.conf")
    generation = record(1, [change], {"/etc": Seen("directory"), "/etc/it's.conf": ABSENT}, BOOT, "now")
    assert "rm -f -- \"$ROOT\"'/etc/it'\"'\"'s.conf'" in recipe(generation)
