"""What a person reads of one host: no line that reads like a mistake, no "ok" that hides what is not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest
from synthetic import Tree, host

from numatune.core.audit import judge
from numatune.core.change import Change, Conflict, Left, Plan
from numatune.core.collecting.replay import collect
from numatune.core.model import RUN_UNKNOWN, Finding, HostReport, Severity, Snapshot, Status, Waiver
from numatune.core.plan import make_plan
from numatune.core.profile import builtin, from_mapping
from numatune.core.report_lines import brief, plan_headline, summary, would
from numatune.core.wording import plan_spelled, report_spelled, spelled
from numatune.report.audits import fleet, text
from numatune.report.audits.hosts import Judged
from numatune.report.layout import Style

TODAY = date(2026, 1, 1)


def snapshot(files: Mapping[str, str]) -> Snapshot:
    return collect(Tree(files), complete=True)


FACTS = {
    "kernel": "6.1",
    "virtualization": "none",
    "topology": {"online": "0-3", "nodes": {"0": {"cpus": "0-3", "memory_kib": 1}}},
}


def finding(status: Status, runtime: str | None = "0", expected: str = "0", **more: object) -> Finding:
    made = Finding("numa_balancing", status, Severity.INFO, runtime=runtime, expected=expected, reason="why")
    return replace(made, remedy="do it", **more)  # fields by name


def shown(*findings: Finding, status: str = "ok", width: int = 100) -> str:
    return "".join(text.audit([Judged("db1", HostReport(status, FACTS, findings, ()))], Style(False, width)))


def test_ok_is_never_said_alone_of_a_host_that_is_not_wholly_known() -> None:
    unknown = finding(Status.UNKNOWN)
    assert shown(unknown, finding(Status.OK)).startswith("db1: ok as far as known (1 of 2 not known) — ")
    assert shown(finding(Status.OK)).startswith("db1: ok — ")
    assert shown(unknown, status="incomplete").startswith("db1: incomplete — ")
    notes = (f"{RUN_UNKNOWN}: needs root to read /var/lib/numatune/journal",)
    cut = HostReport("ok", FACTS, (finding(Status.OK),), notes)
    assert next(text.audit([Judged("db1", cut)])).startswith(
        "db1: ok as far as known (whether a run was cut there not known) — "
    )
    both = replace(cut, findings=(unknown,))
    assert "ok as far as known (1 of 1, whether a run was cut there not known)" in next(text.audit([Judged("d", both)]))
    summary = {"hosts": 14, "ok": 14, "findings": 0, "incomplete": 0, "unreachable": 0, "not_judged": 0}
    line = fleet.overview(fleet.Overview(summary, 14, unsure=9)).splitlines()[0]
    assert line == "14 hosts: 14 ok (9 of them as far as known), 0 findings, 0 incomplete, 0 unreachable"
    one = {"hosts": 1, "ok": 0, "findings": 0, "incomplete": 0, "unreachable": 0, "not_judged": 1}
    assert fleet.totals(one) == "1 host: 0 ok, 0 findings, 0 incomplete, 0 unreachable, 1 not judged"


def test_ok_is_never_said_alone_of_a_host_on_which_something_is_wrong() -> None:
    wrong, unknown, right = finding(Status.WRONG, "1"), finding(Status.UNKNOWN), finding(Status.OK)
    assert shown(wrong, right).startswith("db1: ok but for 1 of 2 settings (info) — ")
    both = shown(wrong, unknown, right, replace(wrong, severity=Severity.WARNING))
    assert both.startswith("db1: ok but for 2 of 4 settings (warning and info), as far as known (1 of 4 not known) — ")
    assert shown(wrong, status="findings").startswith("db1: findings — ")


def test_a_plan_says_what_is_not_known_and_counts_in_grammar() -> None:
    unknown = Left("ksm", Status.UNKNOWN, "why", "")
    assert plan_headline(Plan()) == "tune.yml would change nothing"
    assert plan_headline(Plan(left=(Left("ksm", Status.WRONG, "why", ""),))) == "tune.yml would change nothing"
    known = "tune.yml would change nothing that is known to be needed; "
    assert plan_headline(Plan(left=(unknown,))) == f"{known}1 setting not known"
    assert plan_headline(Plan(left=(unknown, unknown))) == f"{known}2 settings not known"
    refused = Plan(conflicts=(Conflict("ksm", "", 0, "", "why"),), left=(unknown,))
    assert plan_headline(refused) == "tune.yml would change nothing; 1 setting not known"
    now = Change("ksm", "file", "/x", "", None, "")
    later = replace(now, needs_reboot=True)
    assert plan_headline(Plan((later,))).endswith("would make 1 change; it takes effect at a reboot")
    assert plan_headline(Plan((now, later))).endswith("would make 2 changes; 1 of them takes effect at a reboot")
    assert plan_headline(Plan((later, later))).endswith("2 of them take effect at a reboot")


def test_by_hand_is_said_of_what_was_not_read() -> None:
    files = {**host(4, 1, 1, arguments="numa_balancing=disable", sysctl={})}
    direct = {path: text for path, text in files.items() if not path.startswith("boot/")}
    remedies = [item.remedy for item in judge(snapshot(direct), builtin("inference-latency"), TODAY).findings]
    assert not any("could not read" in remedy for remedy in remedies)
    assert any("look at the arguments that its kernel is started with" in remedy for remedy in remedies)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status.UNKNOWN, "numa_balancing = 0 now, as wanted; not known after a reboot  [info]"),
        (Status.LOST_AT_REBOOT, "numa_balancing = 0 now, not after a reboot  [info]"),
    ],
)
def test_a_right_value_is_not_said_to_be_wanted_instead_of_itself(status: Status, said: str) -> None:
    assert said in shown(finding(status))


def test_a_waived_setting_shows_its_value_and_whose_word_it_is() -> None:
    waiver = Waiver("numa_balancing", "me", "old kernel", "2026-06-30")
    said = shown(finding(Status.WAIVED, "1", waiver=waiver))
    assert "numa_balancing = 1, want 0" in said
    assert "waived by me until 2026-06-30: old kernel" in said
    assert "numa_balancing = ?, want 0  [info]\n" in shown(finding(Status.WAIVED, None, waiver=waiver))
    assert "numa_balancing = 0 now, as wanted  [info]\n" in shown(finding(Status.WAIVED, "0", waiver=waiver))


def test_a_waiver_that_ended_is_said_first() -> None:
    waiver = {"setting": "numa_balancing", "owner": "me", "reason": "later", "expires": "2020-01-31"}
    profile = from_mapping({"waivers": [waiver]})
    found = judge(snapshot(host(4, 1, 1, numa_balancing="1", sysctl={})), profile, TODAY).findings[0]
    assert found.reason.startswith("waived by me until 2020-01-31, which has passed; ")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_line_fits_into_the_width(width: int) -> None:
    profile = builtin("inference-latency")
    for made in (host(2, 1, 1), host(8, 2, 1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4)):
        found = snapshot(made)
        lines = "".join(text.audit([Judged("db1", judge(found, profile, TODAY))], Style(False, width))).split("\n")
        planned = Judged("db1", plan=make_plan(found, profile, TODAY))
        lines += "".join(text.plan([planned], Style(False, width))).split("\n")
        away = Judged("db2", error={"phase": "auth", "message": "the host takes none of the keys offered; " * 9})
        lines += "".join(text.audit([away], Style(False, width))).split("\n")
        # A path is never broken, so that it can be copied.
        assert [line for line in lines if len(line) > width and len(line.split()) > 3] == []


def test_colour_changes_no_place_where_a_line_breaks() -> None:
    profile = builtin("inference-latency")
    judged = [Judged("db1", judge(snapshot(host(2, 1, 1, numa_balancing="1", sysctl={})), profile, TODAY))]
    coloured = "".join(text.audit(judged, Style(True, 60)))
    plain = "".join(text.audit(judged, Style(False, 60)))
    assert "\x1b[" in coloured
    for code in ("31", "32", "33", "35", "36", "2", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


@pytest.mark.parametrize(
    "made", [host(2, 1, 1), host(8, 2, 1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4)]
)
def test_the_module_and_the_command_line_say_one_thing_in_the_same_words(made: Mapping[str, str]) -> None:
    """Each line of the module's summary stands in the command line's report, but for what that lists one by one."""
    profile, found = builtin("inference-latency"), snapshot(made)
    report, plan = judge(found, profile, TODAY), make_plan(found, profile, TODAY)
    told = "".join([*text.audit([Judged("db1", report)]), *text.plan([Judged("db1", plan=plan)])])
    named = ("ok: ", "waived: ", "not applicable: ", "left to you ")
    lines = [line for line in summary(report, plan) if not line.startswith(named)]
    assert len(lines) > len([one for one in report.findings if one.bad])
    assert [line for line in lines if _bare(line) not in _bare(told)] == []
    listed = " ".join(line for line in summary(report, plan) if line.startswith(named[:3]))
    assert all(one.setting in listed for one in report.findings if not one.bad)


def test_what_tune_shows_before_names_each_setting_that_is_not_right_once() -> None:
    profile = builtin("inference-latency")
    found = snapshot(host(8, 2, 1, numa_balancing="1", sysctl={}, governor="schedutil", irqs=4))
    report, plan = judge(found, profile, TODAY), make_plan(found, profile, TODAY)
    lines = brief(report, plan)
    assert len(lines) <= 6
    assert "wrong: numa_balancing, cpu_governor, cpu_idle, irq_affinity" in lines
    assert plan_headline(plan) in lines
    assert lines[-1].startswith("audit.yml says why, and what is left to you: ")
    assert not [line for line in would(plan)[1:] if line in lines]
    refused = replace(plan, conflicts=(Conflict("ksm", "", 0, "", "ksmtuned runs"),))
    assert "refused, ksm: ksmtuned runs" in brief(report, refused)
    right = replace(report, findings=tuple(item for item in report.findings if not item.bad))
    assert brief(right, Plan()) == [lines[0], "tune.yml would change nothing"]


def _bare(line: str) -> str:
    return re.sub(r"[\s:]", "", line)


def test_what_tune_leaves_is_not_to_be_mended_by_tune() -> None:
    """Where a setting is unknown and nothing is planned, the plan says how to know."""
    files = {path: body for path, body in host(4, 1, 1).items() if "sysctl" not in path}
    plan = make_plan(replace(snapshot(files), complete=False), builtin("inference-latency"), TODAY)
    unknown = [item for item in plan.left if item.status is Status.UNKNOWN]
    assert unknown
    assert [item for item in unknown if "tune.yml" in item.remedy] == []


COMMAND = "`ansible-playbook -i hosts.yml numatune.latency.{}`"


def test_remedies_and_notes_name_the_playbook_as_it_is_typed() -> None:
    assert spelled("run playbooks/tune.yml, or: sysctl", COMMAND) == (
        "run `ansible-playbook -i hosts.yml numatune.latency.tune`, or: sysctl"
    )
    assert spelled("run playbooks/tune.yml", "") == "run playbooks/tune.yml"
    assert spelled("run playbooks/tune.yml --tags ksm, or: write", COMMAND) == (
        "run `ansible-playbook -i hosts.yml numatune.latency.tune --tags ksm`, or: write"
    )
    assert spelled("run playbooks/tune.yml -e tune_kernel_arguments_retry=true", COMMAND) == (
        "run `ansible-playbook -i hosts.yml numatune.latency.tune -e tune_kernel_arguments_retry=true`"
    )
    report = HostReport(
        "findings",
        FACTS,
        (replace(finding(Status.WRONG), remedy="run playbooks/tune.yml"),),
        ("or playbooks/revert.yml",),
    )
    made = report_spelled(report, COMMAND)
    assert made.findings[0].remedy == "run `ansible-playbook -i hosts.yml numatune.latency.tune`"
    assert made.notes == ("or `ansible-playbook -i hosts.yml numatune.latency.revert`",)
    plan = Plan(left=(Left("numa_balancing", Status.WRONG, "why", "run playbooks/tune.yml"),))
    assert plan_spelled(plan, COMMAND).left[0].remedy == made.findings[0].remedy
