"""The kit's builders: cases that run for every setting of a kind, on made-up hosts of 8 CPUs.

A setting of `Value` needs its file, its line in the catalogue, and what is its own below (`OWN`) and in
tests/transaction/test_values.py (`WRONG`); tests/core/test_kit_per_cpu.py has the cases of `PerCpu`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
from synthetic import Link, Tree, host

from numatune.core import catalogue
from numatune.core.audit import judge_host
from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.kit.sysctl_d import SysctlD
from numatune.core.kit.tmpfiles_d import TmpfilesD
from numatune.core.kit.value import Value
from numatune.core.model import Finding, Reading, Snapshot, State
from numatune.core.parsers import sysctl, tmpfiles
from numatune.core.parsers.choices import shown_after
from numatune.core.plan import plan_host
from numatune.core.profile import from_mapping
from numatune.core.setting import Setting

TODAY = date(2027, 1, 1)
GRUB = "boot/grub/grub.cfg"
CONFIG = "boot/config-6.1.0-synthetic"
KIT = [item for item in catalogue.SETTINGS if isinstance(item.value, Value)]
SYSCTLS = [item for item in KIT if isinstance(item.value.keeper, SysctlD)]
TMPFILES = [item for item in KIT if isinstance(item.value.keeper, TmpfilesD)]
REPORTED = [item for item in KIT if item.value.keeper is None]


@dataclass(frozen=True)
class Own:
    """What a setting's kernel file shows: a value that is not wanted, and how (a choice, where it shows one).

    `bare` is what a host has where nothing is configured, and `starts` the value that its next kernel starts with.
    """

    wrong: str
    shape: str = ""
    starts: str = ""
    bare: Mapping[str, str] = field(default_factory=dict)
    right: tuple[str, ...] = ()


_ENABLED = "[always] madvise never\n"
_DEFRAG = "[always] defer defer+madvise madvise never\n"
_ALWAYS = {CONFIG: "CONFIG_TRANSPARENT_HUGEPAGE_ALWAYS=y\n"}
OWN = {
    "numa_balancing": Own("1", starts="1"),
    "timer_migration": Own("1", starts="1"),
    "swappiness": Own("60", starts="60", right=("0", "1", "10")),
    "transparent_hugepage": Own("always", _ENABLED, "always", _ALWAYS, ("never",)),
    "transparent_hugepage_defrag": Own("always", _DEFRAG, "madvise", right=("defer+madvise", "defer", "never")),
    "ksm": Own("1", starts="0", right=("2",)),
    "mitigations": Own("off"),
}


def test_every_setting_of_a_builder_has_its_cases() -> None:
    assert set(OWN) == {item.name for item in KIT}
    assert SYSCTLS
    assert TMPFILES
    assert len(SYSCTLS) + len(TMPFILES) + len(REPORTED) == len(KIT)


@dataclass(frozen=True)
class Case:
    """The status, with words of its reason; "{…}" stands for what is the setting's own."""

    status: str
    words: str = ""
    running: str = "{wanted}"
    files: Mapping[str, str | None] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    captured: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict)


def names(item: Setting) -> dict[str, str]:
    own = OWN[item.name]
    keeper = item.value.keeper
    return {
        "wanted": item.value.wanted,
        "wrong": own.wrong,
        "path": item.value.path,
        "key": getattr(keeper, "key", ""),
        "ours": getattr(keeper, "drop_in", ""),
        "sysctl": getattr(keeper, "key", "vm.x"),
        "pattern": getattr(keeper, "key", "x.x")[:-2] + "*",
        "glob": item.value.path[:-2] + "*",
    }


def filled(text: str, item: Setting) -> str:
    for name, value in names(item).items():
        text = text.replace("{" + name + "}", value)
    return text


def shown(item: Setting, value: str) -> str:
    return shown_after(OWN[item.name].shape or "x\n", f"{value}\n") or f"{value}\n"


def snapshot(item: Setting, case: Case) -> Snapshot:
    files: dict[str, str] = host(8, numa_balancing=None, sysctl={})
    running = filled(case.running, item)
    files.update({**OWN[item.name].bare, item.value.path[1:]: shown(item, running)})
    for path, text in case.files.items():
        name = filled(path, item).lstrip("/")
        if text is None:
            files.pop(name, None)
        else:
            files[name] = text if isinstance(text, Link) else filled(text, item)
    found = collect(Tree(files), complete=not case.captured)
    commands = {name: Reading(name, State.PRESENT, text) for name, text in case.commands.items()}
    problems = {filled(path, item): Reading(filled(path, item), State.DENIED) for path in case.denied}
    kept = {path: text for path, text in found.files.items() if path not in problems}
    return replace(found, files=kept, problems={**found.problems, **problems}, commands=commands)


def of(item: Setting, case: Case) -> Host:
    return Host(snapshot(item, case), from_mapping(case.profile))


def check(item: Setting, case: Case) -> Finding:
    finding = item.judge(of(item, case))
    assert (finding.setting, finding.status.value, finding.reason) == (item.name, case.status, finding.reason)
    assert filled(case.words, item) in finding.reason
    assert finding.remedy or finding.status.value in ("ok", "unknown", "not_applicable")
    return finding


def both(item: Setting, case: Case) -> Plan:
    one = of(item, case)
    return plan_host(one, judge_host(one, TODAY).findings, [item.name])


LINE = "{key} = {wanted}\n"
BAD = "{key} = {wrong}\n"
NULL = Link("/dev/null")


def menu(arguments: str) -> dict[str, str]:
    return {GRUB: f"set default=0\nmenuentry 'x' {{\n linux /boot/vmlinuz-6.1.0-synthetic ro {arguments}\n}}\n"}


def unit(name: str, **more: str) -> dict[str, str]:
    pairs = {"Id": name, "LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", **more}
    return {"units": "".join(f"{key}={value}\n" for key, value in pairs.items())}


def tuned(text: str, **more: str) -> dict[str, str]:
    return {"etc/tuned/active_profile": "site\n", "etc/tuned/site/tuned.conf": text, **more}


TUNED = unit("tuned.service")
MASKED: dict[str, str | None] = {"etc/systemd/system/systemd-sysctl.service": NULL}
SYSCTL_CASES = {
    "ok": Case("ok", "/etc/sysctl.d/a.conf keeps it", files={"etc/sysctl.d/a.conf": LINE}),
    "ok, a comment after the value": Case("ok", files={"etc/sysctl.d/a.conf": "{key} = {wanted} # why\n"}),
    "ok, a key with slashes": Case("ok", files={"etc/sysctl.d/a.conf": "-{key} = {wanted}\n"}),
    "ok, by argument": Case("ok", "the next kernel starts with it", files=menu("sysctl.{key}={wanted}")),
    "ok, a later file repairs": Case("ok", files={"etc/sysctl.d/1.conf": BAD, "etc/sysctl.d/2.conf": LINE}),
    "ok, the vendor's file is hidden": Case("ok", files={"etc/sysctl.d/5.conf": LINE, "usr/lib/sysctl.d/5.conf": BAD}),
    "ok, the vendor's file is masked": Case(
        "ok",
        files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.d/5.conf": NULL, "usr/lib/sysctl.d/5.conf": BAD},
    ),
    "ok, a pattern does not reach a named key": Case(
        "ok", files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.d/9.conf": "{pattern} = {wrong}\n"}
    ),
    "ok, systemd does not read sysctl.conf": Case(
        "ok",
        "/etc/sysctl.conf line 1 sets {wrong} where procps applies it last",
        files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.conf": BAD, "run/systemd/system/x": ""},
    ),
    "ok, TuneD holds it": Case(
        "ok",
        "TuneD (/etc/tuned/site/tuned.conf line 2) keeps it",
        files=tuned("[sysctl]\n{key}={wanted}\n"),
        commands=TUNED,
    ),
    "lost": Case("lost_at_reboot", "no file persists it; the next kernel starts with {wrong}"),
    "lost, a file says so": Case("lost_at_reboot", "a.conf line 1 sets {wrong}", files={"etc/sysctl.d/a.conf": BAD}),
    "lost, by argument": Case("lost_at_reboot", files=menu("sysctl.{key}={wrong}")),
    "lost, by a pattern": Case("lost_at_reboot", files={"etc/sysctl.d/9.conf": "{pattern} = {wrong}\n"}),
    "lost, a named key beats a pattern": Case(
        "lost_at_reboot",
        "1.conf line 1 sets {wrong}",
        files={"etc/sysctl.d/1.conf": BAD, "etc/sysctl.d/9.conf": "{pattern} = {wanted}\n"},
    ),
    "lost, a file without the suffix": Case("lost_at_reboot", files={"etc/sysctl.d/a.conf.bak": LINE}),
    "lost, nothing applies the file": Case(
        "lost_at_reboot", "is masked", files={"etc/sysctl.d/a.conf": LINE, **MASKED}
    ),
    "lost, TuneD sets another": Case(
        "lost_at_reboot", "tuned.conf line 2 sets {wrong}", files=tuned("[sysctl]\n{key}={wrong}\n"), commands=TUNED
    ),
    "wrong": Case("wrong", running="{wrong}"),
    "wrong, files closed": Case("wrong", "/etc/sysctl.d", "{wrong}", denied=("/etc/sysctl.d",)),
    "masked": Case(
        "masked",
        "/etc/sysctl.d/9.conf line 2 wins over the file that says {wanted}",
        files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.d/9.conf": "#\n" + BAD},
    ),
    "masked, running wrong": Case(
        "masked", running="{wrong}", files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.d/9.conf": BAD}
    ),
    "masked, by the vendor": Case("masked", files={"etc/sysctl.d/1.conf": LINE, "usr/lib/sysctl.d/5.conf": BAD}),
    "masked, by sysctl.conf": Case("masked", files={"etc/sysctl.d/1.conf": LINE, "etc/sysctl.conf": BAD}),
    "pending": Case("pending_reboot", "but not now", "{wrong}", {"etc/sysctl.d/1.conf": LINE}),
    "pending, by argument": Case("pending_reboot", "on disk", "{wrong}", menu("sysctl.{key}={wanted}")),
    "unknown, no value": Case(
        "unknown", "needs root to read {path}", files={"etc/sysctl.d/a.conf": LINE}, denied=("{path}",)
    ),
    "unknown, no number": Case("unknown", "not a number", "x", {"etc/sysctl.d/a.conf": LINE}),
    "unknown, files closed": Case("unknown", "needs root to read /etc/sysctl.d", denied=("/etc/sysctl.d",)),
    "unknown, one file closed": Case("unknown", files={"etc/sysctl.d/a.conf": LINE}, denied=("/etc/sysctl.d/a.conf",)),
    "wrong, next boot closed": Case("wrong", running="{wrong}", denied=(f"/{GRUB}",)),
    "unknown, no boot": Case("unknown", "started from outside", files={GRUB: None}),
    "unknown, captured": Case("unknown", "not in the captured tree", files={"{path}": None}, captured=True),
    "unknown, TuneD's profile was not read": Case(
        "unknown", "was not read whole", files={"etc/tuned/active_profile": "gone\n"}, commands=TUNED
    ),
    "not applicable": Case("not_applicable", files={"{path}": None}),
}
RIGHT_LINE = "w {path} - - - - {wanted}\n"
WRONG_LINE = "w {path} - - - - {wrong}\n"
TMP = "etc/tmpfiles.d/"
OFF: dict[str, str | None] = {"etc/systemd/system/systemd-tmpfiles-setup.service": NULL}
TMPFILES_CASES = {
    "ok": Case("ok", "/etc/tmpfiles.d/a.conf keeps it", files={TMP + "a.conf": RIGHT_LINE}),
    "ok, by a pattern": Case("ok", files={TMP + "a.conf": "w {glob} - - - - {wanted}\n"}),
    "ok, the vendor's file is hidden": Case(
        "ok", files={TMP + "a.conf": RIGHT_LINE, "usr/lib/tmpfiles.d/a.conf": WRONG_LINE}
    ),
    "ok, of two lines for one path the first": Case("ok", files={TMP + "a.conf": RIGHT_LINE + WRONG_LINE}),
    "ok, TuneD holds it": Case(
        "ok",
        "TuneD (/etc/tuned/site/tuned.conf line 2) keeps it",
        files=tuned("[sysfs]\n{path}={wanted}\n"),
        commands=TUNED,
    ),
    "lost, a file says so": Case(
        "lost_at_reboot", "a.conf line 1 sets {wrong} at the next boot", files={TMP + "a.conf": WRONG_LINE}
    ),
    "lost, TuneD sets another": Case(
        "lost_at_reboot",
        "tuned.conf line 2 sets {wrong}",
        files={TMP + "a.conf": RIGHT_LINE, **tuned("[sysfs]\n{glob}={wrong}\n")},
        commands=TUNED,
    ),
    "masked": Case(
        "masked",
        "/etc/tmpfiles.d/b.conf line 1 wins over the file that says {wanted}",
        files={TMP + "a.conf": RIGHT_LINE, TMP + "b.conf": "w {glob} - - - - {wrong}\n"},
    ),
    "pending": Case("pending_reboot", "but not now", "{wrong}", {TMP + "a.conf": RIGHT_LINE}),
    "wrong": Case("wrong", running="{wrong}", files={TMP + "a.conf": WRONG_LINE}),
    "unknown, no value": Case(
        "unknown", "needs root to read {path}", files={TMP + "a.conf": RIGHT_LINE}, denied=("{path}",)
    ),
    "unknown, no such value": Case("unknown", files={"{path}": "\n", TMP + "a.conf": RIGHT_LINE}),
    "unknown, files closed": Case("unknown", "needs root to read /etc/tmpfiles.d", denied=("/etc/tmpfiles.d",)),
    "unknown, captured": Case("unknown", "not in the captured tree", files={"{path}": None}, captured=True),
    "unknown, TuneD's profile was not read": Case(
        "unknown", "was not read whole", files={"etc/tuned/active_profile": "gone\n"}, commands=TUNED
    ),
    "unknown, TuneD chooses its profile": Case(
        "unknown",
        "chooses a profile anew",
        files=tuned("[sysfs]\n{path}={wanted}\n", **{"etc/tuned/profile_mode": "auto\n"}),
        commands=TUNED,
    ),
    "not applicable": Case("not_applicable", files={"{path}": None}),
}


@pytest.mark.parametrize("case", SYSCTL_CASES.values(), ids=SYSCTL_CASES)
@pytest.mark.parametrize("item", SYSCTLS, ids=lambda item: item.name)
def test_a_sysctl_is_judged(item: Setting, case: Case) -> None:
    check(item, case)


@pytest.mark.parametrize("case", TMPFILES_CASES.values(), ids=TMPFILES_CASES)
@pytest.mark.parametrize("item", TMPFILES, ids=lambda item: item.name)
def test_a_kernel_file_of_tmpfiles_d_is_judged(item: Setting, case: Case) -> None:
    check(item, case)


@pytest.mark.parametrize("item", REPORTED, ids=lambda item: item.name)
def test_what_is_reported_only_is_never_changed(item: Setting) -> None:
    check(item, Case("not_applicable", files={"{path}": None}))
    for case in (Case(""), Case("", running="{wrong}")):
        plan = both(item, case)
        assert (plan.changes, plan.conflicts, item.changes) == ((), (), None)
    if item.value.shows is None:
        wrong = item.judge(of(item, Case("", running="{wrong}")))
        assert (wrong.status.value in ("wrong", "pending_reboot"), wrong.runtime) == (True, OWN[item.name].wrong)
        assert f"`numatune explain {item.name}`" in wrong.remedy
        assert item.judge(of(item, Case("", denied=("{path}",)))).status.value != "ok"
        for value in OWN[item.name].right:
            assert item.judge(of(item, Case("", running=value))).status.value != "wrong"


@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_what_the_next_kernel_starts_with_decides_where_nothing_is_configured(item: Setting) -> None:
    starts = OWN[item.name].starts
    finding = item.judge(of(item, Case("")))
    assert finding.next_boot == starts
    assert finding.status.value == ("lost_at_reboot" if starts == OWN[item.name].wrong else "ok")


@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_each_value_that_is_right_is_ok_and_what_a_profile_expects_is_taken_as_it_is(item: Setting) -> None:
    kept = {"etc/sysctl.d/a.conf": LINE, TMP + "a.conf": RIGHT_LINE}
    for value in OWN[item.name].right:
        assert check(item, Case("ok", running=value, files=kept)).runtime == value
    option = item.options.get("expected")
    if option is None:
        return
    wrong = OWN[item.name].wrong
    profile = {"settings": {item.name: {"expected": option.kind(wrong)}}}
    kept = {"etc/sysctl.d/a.conf": BAD, TMP + "a.conf": WRONG_LINE}
    check(item, Case("ok", running=wrong, files=kept, profile=profile))
    asked = both(item, Case("", running="{wanted}", files=OWN[item.name].bare, profile=profile))
    assert all(wrong in change.content for change in asked.changes)
    assert [change.path for change in asked.changes][-1:] == [item.value.path]


PLANS = {
    "nothing": (Case("", files={"etc/sysctl.d/a.conf": LINE, TMP + "a.conf": RIGHT_LINE}), [], []),
    "both": (Case("", running="{wrong}"), ["{ours}", "{path}"], []),
    "runtime alone": (
        Case("", running="{wrong}", files={"etc/sysctl.d/a.conf": LINE, TMP + "a.conf": RIGHT_LINE}),
        ["{path}"],
        [],
    ),
    "file alone": (
        Case("", files={**menu("sysctl.{key}={wrong}"), TMP + "a.conf": "w {glob} - - - - {wrong}\n"}),
        ["{ours}"],
        [],
    ),
    "a later pattern loses": (
        Case("", running="{wrong}", files={"etc/sysctl.d/99-zzz.conf": "{pattern} = {wrong}\n"}),
        ["{ours}", "{path}"],
        [],
    ),
    "an earlier file is outdone": (
        Case("", files={"etc/sysctl.d/5.conf": BAD, TMP + "5.conf": "w {glob} - - - - {wrong}\n"}),
        ["{ours}"],
        [],
    ),
    "a line for the same path counts before ours": (
        Case("", files={"etc/sysctl.d/99-zzz.conf": BAD, TMP + "a.conf": WRONG_LINE}),
        [],
        [("/etc/sysctl.d/99-zzz.conf", "/etc/tmpfiles.d/a.conf")],
    ),
    "a later file wins": (
        Case("", files={"etc/sysctl.d/99-zzz.conf": BAD, TMP + "zzz.conf": "w {glob} - - - - {wrong}\n"}),
        [],
        [("/etc/sysctl.d/99-zzz.conf", "/etc/tmpfiles.d/zzz.conf")],
    ),
    "somebody else's file of that name": (
        Case("", running="{wrong}", files={"{ours}": "# mine\n"}),
        [],
        [("{ours}", "{ours}")],
    ),
    "a link of that name": (Case("", running="{wrong}", files={"{ours}": NULL}), [], [("{ours}", "{ours}")]),
    "nothing would apply the file": (
        Case("", running="{wrong}", files={**MASKED, **OFF}),
        [],
        [tuple(f"/{path}" for path in (*MASKED, *OFF))],
    ),
    "TuneD sets another": (
        Case(
            "",
            running="{wrong}",
            files=tuned("[sysctl]\n{sysctl}={wrong}\n[sysfs]\n{path}={wrong}\n")
            | {"etc/tuned/tuned-main.conf": "reapply_sysctl = 0\n"},
            commands=TUNED,
        ),
        [],
        [("/etc/tuned/site/tuned.conf", "/etc/tuned/site/tuned.conf")],
    ),
    "no value to write": (Case("", denied=("{path}",)), [], []),
}


@pytest.mark.parametrize(("case", "changes", "conflicts"), PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_a_value_is_planned_or_refused(
    item: Setting, case: Case, changes: list[str], conflicts: list[tuple[str, str]]
) -> None:
    plan = both(item, case)
    assert [change.path for change in plan.changes] == [filled(path, item) for path in changes]
    here = 0 if item in SYSCTLS else 1
    assert [conflict.path for conflict in plan.conflicts] == [filled(paths[here], item) for paths in conflicts]
    for change in plan.changes:
        assert change.content.endswith(f"{item.value.wanted}\n")
        assert change.before != f"{item.value.wanted}\n"
        if change.kind == "runtime":
            assert change.before.strip() == OWN[item.name].wrong


@pytest.mark.parametrize("item", SYSCTLS, ids=lambda item: item.name)
def test_a_conflict_names_the_line_that_would_win(item: Setting) -> None:
    for path in ("/etc/sysctl.d/99-zzz.conf", "/etc/sysctl.conf"):
        (conflict,) = both(item, Case("", files={path: "# mine\n" + BAD})).conflicts
        assert (conflict.path, conflict.line, conflict.text) == (path, 2, filled(BAD, item).strip())
        assert "remove" in conflict.message


@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_an_agent_that_a_setting_names_is_asked(item: Setting) -> None:
    for agent in item.agents.units:
        assert check(item, Case("unknown", commands=unit(agent.unit))).reason
        refused = both(item, Case("", running="{wrong}", commands=unit(agent.unit, UnitFileState="disabled")))
        assert not refused.changes
        assert [f"systemctl disable --now {agent.unit}" in one.message for one in refused.conflicts] == [True]


OPAQUE = "[variables]\nx=${f:exec:made:up}\n[sysctl]\n{sysctl}=${x}\n[sysfs]\n{path}=${x}\n"
SETS_WRONG = "[sysctl]\n{sysctl}={wrong}\n[sysfs]\n{path}={wrong}\n"
SETS_RIGHT = "[sysctl]\n{sysctl}={wanted}\n[sysfs]\n{path}={wanted}\n"
LAST = {"etc/tuned/tuned-main.conf": "reapply_sysctl = 0\n"}
CHOOSES = {"etc/tuned/profile_mode": "auto\n"}
UNDONE = {
    "another value": tuned(SETS_WRONG, **LAST),
    "a value that is not known": tuned(OPAQUE, **LAST),
    "another value, in a profile that it chose": tuned(SETS_WRONG, **LAST, **CHOOSES),
    "the value, in a profile that it chose": tuned(SETS_RIGHT, **LAST, **CHOOSES),
}


@pytest.mark.parametrize("files", UNDONE.values(), ids=UNDONE)
@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_nothing_is_placed_that_tuned_may_undo_and_the_remedy_says_what_to_do_first(
    item: Setting, files: dict[str, str]
) -> None:
    case = Case("wrong", running="{wrong}", files=files, commands=TUNED)
    plan = both(item, case)
    assert not plan.changes
    (conflict,) = plan.conflicts
    assert conflict.path == "/etc/tuned/site/tuned.conf"
    assert ("profile_mode auto" in conflict.message) == ("etc/tuned/profile_mode" in files)
    assert check(item, case).remedy == conflict.message
    # What TuneD may set keeps a right value from being known, or spoils it; the remedy is the same.
    later = item.judge(of(item, replace(case, running="{wanted}")))
    assert (later.status.value in ("unknown", "lost_at_reboot"), later.remedy) == (True, conflict.message)


@pytest.mark.parametrize("item", SYSCTLS, ids=lambda item: item.name)
def test_a_file_is_placed_where_tuned_applies_the_files_again(item: Setting) -> None:
    plan = both(item, Case("", running="{wrong}", files=tuned(OPAQUE, **CHOOSES), commands=TUNED))
    assert not plan.conflicts
    assert plan.changes[0].path == item.value.keeper.drop_in


@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_where_an_agent_sets_it_the_remedy_is_to_end_that_first(item: Setting) -> None:
    for agent in item.agents.units:
        for case in (
            Case("unknown", commands=unit(agent.unit)),
            Case("wrong", running="{wrong}", commands=unit(agent.unit)),
            Case(
                "wrong",
                running="{wrong}",
                files={"etc/sysctl.d/a.conf": BAD, TMP + "a.conf": WRONG_LINE},
                commands=unit(agent.unit, UnitFileState="disabled"),
            ),
        ):
            remedy = check(item, case).remedy
            assert f"`systemctl disable --now {agent.unit}`" in remedy
            assert "look by hand" not in remedy
        # What it may spoil is not what another file spoils.
        masked = {"etc/sysctl.d/1.conf": LINE, "etc/sysctl.d/9.conf": BAD}
        masked |= {TMP + "a.conf": RIGHT_LINE, TMP + "b.conf": "w {glob} - - - - {wrong}\n"}
        finding = check(item, Case("unknown", files=masked, commands=unit(agent.unit)))
        assert finding.masked_by is None
        stuck = {"etc/sysctl.d/a.conf": LINE, TMP + "a.conf": RIGHT_LINE, **MASKED, **OFF}
        said = item.value.persisted(of(item, Case("", files=stuck, commands=unit(agent.unit))))
        assert (said.masked, said.remedy) == (False, "")


# The folders are captured, and none of their files says anything.
APART = {f"{folder[1:]}/x.conf": "" for folder in (*sysctl.PERSISTENT, *tmpfiles.DIRECTORIES)}


@pytest.mark.parametrize("item", [*SYSCTLS, *TMPFILES], ids=lambda item: item.name)
def test_a_captured_tree_proves_nothing_right_that_an_agent_or_tuned_may_spoil(item: Setting) -> None:
    """What was not captured is not absent; where systemd was asked, the same tree is ok."""
    starts = OWN[item.name].starts != OWN[item.name].wrong
    kept = {**APART, "usr/lib/sysctl.d/a.conf": LINE, TMP + "a.conf": RIGHT_LINE}
    seen = {"etc/systemd/system/x": "", "proc/x": "", "sys/x": "", "etc/sysfs.conf": "", "etc/sysfs.d/x": ""}
    names = ["tuned.service", *(agent.unit for agent in item.agents.units)]
    for files in (kept, {**OWN[item.name].bare, **APART} if starts else kept):
        bare = Case("unknown", files={**seen, **files}, captured=True)
        for name in names:
            others = "\n".join(
                unit(other, UnitFileState="disabled", ActiveState="inactive")["units"]
                for other in names
                if other != name
            )
            check(item, replace(bare, words=f"whether {name} starts at boot", commands={"units": others}))
        everyone = "\n".join(unit(other, UnitFileState="disabled", ActiveState="inactive")["units"] for other in names)
        check(item, replace(bare, status="ok", commands={"units": everyone}))
    # A file that TuneD applies again after its profile, and a profile that is seen to leave the value alone, do.
    others = "\n".join(unit(n, UnitFileState="disabled", ActiveState="inactive")["units"] for n in names[1:])
    leaves = {**seen, **kept, **tuned("[main]\nsummary=none\n")}
    check(item, Case("ok", files=leaves, captured=True, commands={"units": others}))
    # What is seen to be wrong stays so.
    spoiled = {**seen, "etc/sysctl.d/a.conf": BAD, TMP + "a.conf": WRONG_LINE}
    check(item, Case("lost_at_reboot", files=spoiled, captured=True))


@pytest.mark.parametrize("item", SYSCTLS, ids=lambda item: item.name)
def test_of_both_spellings_of_a_sysctl_argument_the_last_valid_word_counts(item: Setting) -> None:
    dots, slashes = item.value.keeper.key, item.value.keeper.key.replace(".", "/")
    for one, other in ((dots, slashes), (slashes, dots)):
        last = menu(f"sysctl.{one}={{wrong}} sysctl.{other}={{wanted}}")
        check(item, Case("ok", files=last))
        check(item, Case("ok", files=menu(f"sysctl.{one}={{wanted}} sysctl.{other}=x sysctl.{other}=")))
        check(item, Case("lost_at_reboot", files=menu(f"sysctl.{one}={{wanted}} sysctl.{other}={{wrong}}")))


def test_what_is_tuned_where_it_is_named_is_not_planned_by_default() -> None:
    for item in KIT:
        one = of(item, Case("", running="{wrong}"))
        finding = item.judge(one)
        plan = plan_host(one, [finding])
        assert bool(plan.changes) == item.by_default
        assert bool(plan.left) == (finding.bad and not item.by_default)


# Their own.
SMALL: list[tuple[int, str, str]] = [
    (480 << 10, "ok", ""),
    (512 << 10, "unknown", "less than 512 MiB starts without them"),
    (560 << 10, "lost_at_reboot", "starts with always"),
]


@pytest.mark.parametrize(("kib", "status", "why"), SMALL)
def test_a_kernel_with_little_memory_starts_without_huge_pages(kib: int, status: str, why: str) -> None:
    """hugepage_init() clears all flags below 512 MiB, whatever the argument said before."""
    item = catalogue.setting("transparent_hugepage")
    memory = {"sys/devices/system/node/node0/meminfo": f"Node 0 MemTotal:  {kib} kB\n"}
    other = {"sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:  0 kB\n"}
    files = {**menu("transparent_hugepage=always"), **memory, **other}
    check(
        item, Case(status, why, files={**files, "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]"})
    )
    defrag = catalogue.setting("transparent_hugepage_defrag")
    old = {**files, GRUB: files[GRUB].replace("6.1.0-synthetic", "4.5.0")}
    check(defrag, Case("ok" if status == "ok" else "unknown", files=old))


def test_tuned_leaves_huge_pages_alone_where_the_kernel_was_told() -> None:
    item = catalogue.setting("transparent_hugepage")
    sets = tuned("[vm]\ntransparent_hugepages=always\n")
    check(item, Case("lost_at_reboot", files=sets, commands=TUNED))
    check(item, Case("ok", files={**sets, **menu("transparent_hugepage=madvise")}, commands=TUNED))
    check(item, Case("lost_at_reboot", "starts with always", files=menu("transparent_hugepage=always")))
    other = catalogue.setting("transparent_hugepage_defrag")
    check(other, Case("lost_at_reboot", files=tuned("[vm]\ntransparent_hugepage.defrag=always\n"), commands=TUNED))


def test_the_default_of_an_old_kernel_is_not_taken_for_todays() -> None:
    old = {GRUB: menu("")[GRUB].replace("6.1.0-synthetic", "3.10.0-1160"), "proc/sys/kernel/osrelease": "3.10.0-1160\n"}
    check(catalogue.setting("transparent_hugepage_defrag"), Case("unknown", "before 4.6", files=old))
    image = menu("")[GRUB].replace("vmlinuz-6.1.0-synthetic", "vmlinuz")
    nameless = {GRUB: image, "proc/sys/kernel/osrelease": "own\n"}
    check(catalogue.setting("transparent_hugepage_defrag"), Case("unknown", "release is not known", files=nameless))
    unbuilt = {CONFIG: "CONFIG_NUMA=y\n"}
    check(catalogue.setting("transparent_hugepage"), Case("unknown", "names none of its options", files=unbuilt))


VULNERABLE = "sys/devices/system/cpu/vulnerabilities/"
REPORTS = {
    "ok": Case("ok", "mitigated, at a cost for each entry into the kernel: spectre_v2; vulnerable: mds"),
    "ok, all off": Case("ok", "off now", files={"proc/cmdline": "mitigations=off", **menu("mitigations=off")}),
    "ok, by who may attack": Case(
        "ok",
        "auto,no_guest_host now",
        files={"proc/cmdline": "mitigations=auto,no_guest_host", **menu("mitigations=auto,no_guest_host")},
    ),
    "lost": Case("lost_at_reboot", "the next kernel starts with off", files=menu("mitigations=off")),
    "lost, they come back": Case("lost_at_reboot", "starts with auto", files={"proc/cmdline": "mitigations=off"}),
    "wrong, another is expected": Case("wrong", profile={"settings": {"mitigations": {"expected": "auto,nosmt"}}}),
    "unknown, no boot": Case("unknown", files={GRUB: None}),
    "unknown, not read": Case("unknown", denied=("/proc/cmdline",)),
    "unknown, not read, and the next boot has others": Case(
        "unknown",
        "the running kernel's mitigations: needs root to read /proc/cmdline",
        files=menu("mitigations=off"),
        denied=("/proc/cmdline",),
    ),
    "lost, not read, and another is expected": Case(
        "lost_at_reboot",
        files=menu("mitigations=off"),
        denied=("/proc/cmdline",),
        profile={"settings": {"mitigations": {"expected": "auto"}}},
    ),
    "lost, single ones": Case(
        "lost_at_reboot",
        "starts with auto nospectre_v1 pti=off spectre_v2=off",
        files=menu("nopti spectre_v2=off nospectre_v1"),
    ),
    "lost, single ones come back": Case("lost_at_reboot", files={"proc/cmdline": "mds=off", **menu("")}),
    "ok, the same ones by other names": Case(
        "ok",
        "auto pti=off spectre_v2=off now",
        files={"proc/cmdline": "nopti nospectre_v2", **menu("spectre_v2=off pti=on pti=off")},
    ),
    "ok, single ones are expected": Case(
        "ok",
        files={"proc/cmdline": "nopti ro", **menu("nopti")},
        profile={"settings": {"mitigations": {"expected": "auto pti=off"}}},
    ),
    "wrong, single ones are not expected": Case(
        "wrong",
        files={"proc/cmdline": "nopti", **menu("nopti")},
        profile={"settings": {"mitigations": {"expected": "auto"}}},
    ),
    "lost, two that contradict": Case("lost_at_reboot", "auto nopti pti=on", files=menu("nopti pti=on")),
    "unknown, a word that is none": Case(
        "unknown", files={"proc/cmdline": "mitigations=some", **menu("mitigations=some")}
    ),
    "not applicable": Case("not_applicable", files={f"{VULNERABLE}spectre_v2": None}),
}


@pytest.mark.parametrize("case", REPORTS.values(), ids=REPORTS)
def test_mitigations_are_reported_and_never_changed(case: Case) -> None:
    item = catalogue.setting("mitigations")
    made = {f"{VULNERABLE}spectre_v2": "Mitigation: IBRS\n", f"{VULNERABLE}mds": "Vulnerable\n"}
    made[f"{VULNERABLE}l1tf"] = "Not affected\n"
    case = replace(case, files={**made, **case.files})
    check(item, case)
    plan = both(item, case)
    assert (plan.changes, plan.conflicts) == ((), ())
    assert item.changes is None
