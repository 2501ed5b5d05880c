"""The kit's builder for one file of each CPU, on a made-up setting and on each of the catalogue's: of 8 CPUs, 4 serve.

A setting of `PerCpu` needs its file, its line in the catalogue, and what is its own below (`WRONG`) and in
tests/transaction/test_values.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from synthetic import CPU, Link, Tree, host

from numatune.core import catalogue
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.kit import boot_service
from numatune.core.kit.per_cpu import PerCpu
from numatune.core.kit.starts import always, argument, first
from numatune.core.kit.value import setting_of
from numatune.core.machine.agents import Agent, Agents
from numatune.core.model import Finding, Reading, State
from numatune.core.setting import Setting
from numatune.core.wanted import Profile

FILE = "power/energy_perf_bias"
ITEM = setting_of(
    PerCpu(
        "cpu_governor",  # a name whose data file is collected
        FILE,
        "0",
        first(argument("made_up", {"on": "0"}.get), always("6")),
        harm="it is slow",
        absent="no CPU has it",
        agents=Agents("the bias", (Agent("tlp.service"),)),
    ),
    title="Made up",
    why="",
    remedy="",
    references=(),
)
# What the file of each CPU shows that is not wanted.
WRONG: dict[str, str] = {
    # "setting": "value",
}
KIT = [item for item in catalogue.SETTINGS if isinstance(item.value, PerCpu)]
each = pytest.mark.parametrize("item", [ITEM, *KIT], ids=lambda item: "made up" if item is ITEM else item.name)
CONF = boot_service.conf(ITEM.name)
SERVING = (1, 3, 5, 7)
STANDS: dict[str, str] = {
    boot_service.SCRIPT_PATH[1:]: boot_service.SCRIPT,
    boot_service.UNIT_PATH[1:]: boot_service.UNIT_TEXT,
    **{path[1:]: Link(boot_service.UNIT_PATH) for path in boot_service.LINK_PATHS},
}


def line(cpus: str, value: str = "0", item: Setting = ITEM) -> dict[str, str]:
    return {**STANDS, boot_service.conf(item.name)[1:]: f"cpus {cpus} {item.value.file} {value}\n"}


def of(
    values: Mapping[int, str | None],
    files: Mapping[str, str] | None = None,
    denied: tuple[str, ...] = (),
    commands: Mapping[str, str] | None = None,
    captured: bool = False,
    expected: int | None = None,
    item: Setting = ITEM,
) -> Host:
    found = collect(Tree({**host(8), **(files or {})}), complete=not captured)
    shown = {f"/{CPU}/cpu{cpu}/{item.value.file}": f"{text}\n" for cpu, text in values.items() if text is not None}
    said = {name: Reading(name, State.PRESENT, text) for name, text in (commands or {}).items()}
    problems = {path: Reading(path, State.DENIED) for path in denied}
    kept = {path: text for path, text in {**found.files, **shown}.items() if path not in problems}
    options: Any = {} if expected is None else {item.name: {"expected": expected}}
    snapshot = replace(found, files=kept, problems={**found.problems, **problems}, commands=said)
    return Host(snapshot, Profile("p", (item.name,), options=options))


def check(one: Host, status: str, words: str = "", item: Setting = ITEM) -> Finding:
    finding = item.judge(one)
    assert (finding.status.value, words in finding.reason) == (status, True), finding
    return finding


def all_at(value: str) -> dict[int, str | None]:
    return dict.fromkeys(range(8), value)


MENU = {"boot/grub/grub.cfg": "set default=0\nmenuentry 'x' {\n linux /vmlinuz-6.1.0-synthetic made_up=on\n}\n"}


def test_every_setting_of_the_builder_has_its_wrong_value() -> None:
    assert set(WRONG) == {item.name for item in KIT}


@each
def test_each_setting_is_judged_planned_and_refused(item: Setting) -> None:
    wanted, wrong = item.value.wanted, WRONG.get(item.name, "6")
    kept, conf = line("1,3,5,7", wanted, item), boot_service.conf(item.name)

    def at(value: str, files: Mapping[str, str] | None = None, **more: Any) -> Host:
        return of(all_at(value), files, item=item, **more)

    check(at(wanted, kept), "ok", f"{conf} keeps it", item)
    check(at(wrong, kept), "pending_reboot", "but not now", item)
    check(at(wanted, line("1,3,5,7", wrong, item)), "lost_at_reboot", f"comes up with {wrong}", item)
    check(at(wanted, kept, denied=(conf,)), "unknown", "needs root", item)
    check(of({}, item=item), "not_applicable", item.value.absent, item)
    option = item.options["expected"]
    check(at(wrong, line("1,3,5,7", wrong, item), expected=option.kind(wrong)), "ok", item=item)
    assert item.changes is not None
    bare = at(wrong)
    changes, conflicts = item.changes(bare, item.judge(bare))
    assert ([change.path for change in changes][:1], conflicts) == ([conf], ())
    now = [change for change in changes if change.kind == "runtime"]
    assert [change.path for change in now] == [f"/{CPU}/cpu{cpu}/{item.value.file}" for cpu in SERVING]
    assert {(change.content, change.before) for change in now} == {(f"{wanted}\n", f"{wrong}\n")}
    for agent in item.agents.units:
        starts = f"Id={agent.unit}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        fought = at(wrong, commands={"units": starts})
        changes, conflicts = item.changes(fought, item.judge(fought))
        assert not changes
        assert [f"--now {agent.unit}`" in conflict.message for conflict in conflicts] == [True]


def test_what_is_right_now_and_at_every_boot_is_ok() -> None:
    check(of(all_at("0"), line("1,3,5,7")), "ok", f"0 now, and {CONF} keeps it")
    check(of(all_at("0"), MENU), "ok", "the next kernel starts with it")
    # CPUs that keep house count for nothing.
    check(of({**all_at("6"), **dict.fromkeys(SERVING, "0")}, line("0-7")), "ok")
    check(of(all_at("4"), line("1,3,5,7", "4"), expected=4), "ok")


def test_what_is_not_is_told_by_cpu() -> None:
    finding = check(of({**all_at("0"), 3: "6"}), "wrong", "it is slow")
    assert [group.as_dict() for group in finding.values] == [
        {"cpus": "1,5,7", "value": "0"},
        {"cpus": "3", "value": "6"},
    ]
    assert finding.evidence[0].path == f"/{CPU}/cpu3/{FILE}"
    check(of(all_at("6"), line("1,3,5,7")), "pending_reboot", "but not now")
    check(of(all_at("6"), MENU), "pending_reboot", "the next kernel starts right")
    check(of(all_at("0")), "lost_at_reboot", "nothing persists it; the next boot comes up with 6")
    check(of(all_at("0"), line("1,3,5,7", "4")), "lost_at_reboot", "comes up with 4")
    check(of(all_at("0"), line("1,3,5")), "lost_at_reboot")
    masked = {"etc/systemd/system/numatune-apply.service": Link("/dev/null")}
    check(of(all_at("0"), {**line("1,3,5,7"), **masked}), "lost_at_reboot")


def test_what_was_not_read_is_unknown() -> None:
    check(of({**all_at("0"), 3: None}, line("1,3,5,7"), captured=True), "unknown")
    check(of({**all_at("0"), 3: "x"}, line("1,3,5,7")), "unknown", "CPU 3 shows no value")
    check(of(all_at("0"), line("1,3,5,7"), denied=(CONF,)), "unknown", "needs root")
    check(of({}, captured=True), "unknown", "not in the captured tree")
    check(of({**all_at("0"), 3: None}, line("1,3,5,7")), "unknown", "names a file that CPU 3 lacks")
    tlp = {"units": "Id=tlp.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"}
    finding = check(of(all_at("0"), line("1,3,5,7"), commands=tlp), "unknown", "tlp.service starts at boot")
    assert "`systemctl disable --now tlp.service`" in finding.remedy
    finding = check(of(all_at("6"), line("1,3,5,7"), commands=tlp), "wrong", "tlp.service starts at boot")
    assert "`systemctl disable --now tlp.service`" in finding.remedy
    unseen = of(all_at("0"), {**MENU, "etc/systemd/system/x": ""}, captured=True)
    check(unseen, "unknown", "whether tlp.service starts at boot is not in the captured tree")
    off = {"units": tlp["units"].replace("enabled", "disabled")}
    check(of(all_at("0"), {**MENU, "etc/systemd/system/x": ""}, captured=True, commands=off), "ok")
    check(of({}), "not_applicable", "no CPU has it")


def planned(one: Host) -> tuple[list[str], list[str]]:
    assert ITEM.changes is not None
    changes, conflicts = ITEM.changes(one, ITEM.judge(one))
    for change in changes:
        if change.kind == "runtime":
            assert (change.content, change.before) == ("0\n", "6\n")
    return [item.path for item in changes], [item.message for item in conflicts]


def test_the_service_and_each_value_that_is_wrong_are_planned() -> None:
    paths, conflicts = planned(of({**all_at("6"), 3: "0"}))
    assert not conflicts
    assert paths[:2] == [CONF, boot_service.SCRIPT_PATH]
    assert paths[-3:] == [f"/{CPU}/cpu{cpu}/{FILE}" for cpu in (1, 5, 7)]
    assert planned(of(all_at("0"), line("1,3,5,7"))) == ([], [])
    assert planned(of(all_at("6"), line("1,3,5,7")))[0] == [f"/{CPU}/cpu{cpu}/{FILE}" for cpu in SERVING]
    assert planned(of({})) == ([], [])


@pytest.mark.parametrize("stands", ["agent", "masked"])
def test_what_would_undo_it_is_a_conflict(stands: str) -> None:
    tlp = {"units": "Id=tlp.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"}
    masked = {"etc/systemd/system/numatune-apply.service": Link("/dev/null")}
    one = of(all_at("6"), commands=tlp) if stands == "agent" else of(all_at("6"), masked)
    paths, (message,) = planned(one)
    assert not paths
    assert ("systemctl disable --now tlp.service" if stands == "agent" else "is masked") in message
