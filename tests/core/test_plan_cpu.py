"""What `tune` plans for governors and idle states: nothing twice, nothing over somebody else's word."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from core.test_settings import (
    PREFERENCE,
    RIGHT,
    SERVING,
    Case,
    built,
    freq,
    idle_states,
    judged,
    kept,
    line,
    qos,
    snapshot,
    unit,
)
from synthetic import CPU, Link, Tree, write

from numatune.core import catalogue, ours
from numatune.core.change import Change, Plan
from numatune.core.collecting.replay import collect
from numatune.core.kit import boot_service
from numatune.core.kit.tmpfiles_d import writes_at_boot
from numatune.core.machine import agents
from numatune.core.model import Status
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping

CONF = boot_service.conf("cpu_governor")
SERVICE_FILES = [CONF, boot_service.SCRIPT_PATH, boot_service.UNIT_PATH, *boot_service.LINK_PATHS]
IDLE_FILE = "/etc/tmpfiles.d/zz-numatune-idle.conf"
SYSTEMD = {"units": "Id=irqbalance.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"}


def planned(setting: str, case: Case) -> Plan:
    options = case.profile.get("settings", {})
    others: dict[str, Any] = {name: False for name in catalogue.names() if name != setting}
    profile = from_mapping({**case.profile, "settings": {**others, **options}})
    return make_plan(snapshot(case), profile, date(2026, 11, 23))


def applied(case: Case, changes: tuple[Change, ...]) -> Case:
    """Return the host on which the changes were made."""
    files: dict[str, str | None] = {}
    for change in changes:
        if change.kind in ("file", "runtime"):
            files[change.path[1:]] = change.content
        elif change.kind == "link":
            files[change.path[1:]] = None if change.content is None else Link(change.content)
    return replace(case, files={**case.files, **files})


def paths(plan: Plan, kind: str) -> list[str]:
    return [change.path for change in plan.changes if change.kind == kind]


def converges(setting: str, case: Case) -> Plan:
    """Apply what is planned: then the host is ok, and nothing is left to do."""
    plan = planned(setting, case)
    assert plan.changes
    assert not plan.conflicts
    after = applied(case, plan.changes)
    finding = judged(setting, after)
    assert (finding.status, finding.reason) == (Status.OK, finding.reason)
    assert planned(setting, after) == Plan()
    return plan


SLOW: Mapping[str, Any] = {"governor": "powersave"}
HWP: Mapping[str, Any] = {**SLOW, "driver": "intel_pstate"}
BALANCED = {freq(cpu, PREFERENCE): "balance_performance\n" for cpu in range(8)}
AFTER = {"settings": {"cpu_governor": {"tuned": "after"}}}
PASSIVE = {freq(cpu, PREFERENCE): "performance\n" for cpu in SERVING}


def test_a_modules_governor_is_set_now_and_by_the_boot_service() -> None:
    plan = converges("cpu_governor", Case("", made=SLOW, commands=SYSTEMD))
    assert paths(plan, "file") + paths(plan, "link") == SERVICE_FILES
    assert paths(plan, "runtime") == ["/" + freq(cpu) for cpu in SERVING]
    assert {(change.before, change.content) for change in plan.changes if change.kind == "runtime"} == {
        ("powersave\n", "performance\n")
    }
    conf = next(change for change in plan.changes if change.path == CONF)
    assert conf.content == ours.HEADER + "cpus 1,3,5,7 cpufreq/scaling_governor performance\n"
    assert (plan.changes[-1].kind, plan.changes[-1].path) == ("service", ours.UNIT)


def test_a_preference_is_written_after_its_governor() -> None:
    plan = converges("cpu_governor", Case("", made=HWP, files=BALANCED))
    written = paths(plan, "runtime")
    for cpu in SERVING:
        assert written.index("/" + freq(cpu)) < written.index("/" + freq(cpu, PREFERENCE))
    conf = next(change for change in plan.changes if change.path == CONF)
    assert (conf.content or "").splitlines()[1:] == [
        "cpus 1,3,5,7 cpufreq/scaling_governor performance",
        "cpus 1,3,5,7 cpufreq/energy_performance_preference performance",
    ]


def test_another_governor_says_nothing_of_the_preference() -> None:
    wanted = {"settings": {"cpu_governor": {"expected": "schedutil"}}}
    plan = converges("cpu_governor", Case("", made=HWP, files=BALANCED, profile=wanted))
    assert paths(plan, "runtime") == ["/" + freq(cpu) for cpu in SERVING]
    assert all(PREFERENCE not in (change.content or "") for change in plan.changes if change.path == CONF)


RUNTIME_ALONE = {
    "the kernel's default": Case("", made=SLOW, files=built("performance")),
    "a built-in driver and tmpfiles.d": Case("", made=HWP, files=RIGHT),
    "cpupower": Case(
        "", made=SLOW, files={"etc/default/cpupower": "governor=performance\n"}, commands=unit("cpupower")
    ),
}


@pytest.mark.parametrize("case", RUNTIME_ALONE.values(), ids=RUNTIME_ALONE)
def test_what_others_persist_is_only_set_now(case: Case) -> None:
    plan = converges("cpu_governor", case)
    assert [change.path for change in plan.changes] == ["/" + freq(cpu) for cpu in SERVING]


PERSISTED_ALONE = {
    "a slower default": Case("", files=built("schedutil")),
    "a module's driver and tmpfiles.d": Case("", files=RIGHT),
    "a default that is not known": Case(""),
    "a preference of its own": Case("", made={"driver": "intel_cpufreq"}, files={**built("performance"), **PASSIVE}),
}


@pytest.mark.parametrize("case", PERSISTED_ALONE.values(), ids=PERSISTED_ALONE)
def test_what_runs_right_is_only_persisted(case: Case) -> None:
    plan = converges("cpu_governor", case)
    assert [change.path for change in plan.changes] == SERVICE_FILES


def tuned_host(case: Case) -> Case:
    """Return the host as the governor's plan leaves it."""
    return applied(case, planned("cpu_governor", case).changes)


def test_the_boot_service_is_the_evidence() -> None:
    finding = judged("cpu_governor", tuned_host(Case("", made=SLOW)))
    assert f"{CONF}:2" in [item.path for item in finding.evidence]


SET = "etc/numatune/apply.d/cpu_governor.conf"
# What is changed on a tuned host, the status it gives, and the files that the next run mends.
SPOILT = {
    "one CPU is not covered": (
        {SET: "cpus 1,3,5 cpufreq/scaling_governor performance\n", **built("schedutil")},
        "lost_at_reboot",
        [CONF],
    ),
    "another governor": ({SET: "cpus 1-7 cpufreq/scaling_governor powersave\n"}, "lost_at_reboot", [CONF]),
    "the last line counts": (
        {SET: "cpus 1-7 cpufreq/scaling_governor performance\ncpus 3 cpufreq/scaling_governor powersave\n"},
        "lost_at_reboot",
        [CONF],
    ),
    "no list": ({SET: "cpus x cpufreq/scaling_governor performance\n", **built("schedutil")}, "lost_at_reboot", [CONF]),
    "no script": ({boot_service.SCRIPT_PATH[1:]: None}, "unknown", [boot_service.SCRIPT_PATH]),
    "an older script": ({boot_service.SCRIPT_PATH[1:]: "#!/bin/sh\n"}, "unknown", [boot_service.SCRIPT_PATH]),
    "disabled": ({boot_service.LINK_PATH[1:]: None, **built("schedutil")}, "lost_at_reboot", [boot_service.LINK_PATH]),
    "more than is needed": ({SET: "cpus 0-7 cpufreq/scaling_governor performance\n"}, "ok", []),
    "comments": ({SET: "# x\n\ncpus 1-5,7 cpufreq/scaling_governor performance # x\n"}, "unknown", [CONF]),
}


@pytest.mark.parametrize(("files", "status", "mended"), SPOILT.values(), ids=SPOILT)
def test_the_boot_service_counts_where_it_will_do_all(
    files: Mapping[str, str | None], status: str, mended: list[str]
) -> None:
    case = tuned_host(Case("", made=SLOW))
    case = replace(case, files={**case.files, **files})
    assert judged("cpu_governor", case).status.value == status
    assert [change.path for change in planned("cpu_governor", case).changes] == mended
    if mended:
        converges("cpu_governor", case)


def test_a_preference_of_its_own_must_be_covered_too() -> None:
    case = tuned_host(PERSISTED_ALONE["a preference of its own"])
    assert judged("cpu_governor", case).status is Status.OK
    spoilt = {SET: "cpus 1-7 cpufreq/scaling_governor performance\n"}
    assert judged("cpu_governor", replace(case, files={**case.files, **spoilt})).status is Status.UNKNOWN


def test_the_boot_service_wins_over_what_comes_before_it() -> None:
    case = tuned_host(Case("", made=SLOW))
    later = {"etc/tmpfiles.d/zz.conf": line("powersave"), "etc/default/cpupower": "governor=powersave\n"}
    case = replace(case, files={**case.files, **later}, commands=unit("cpupower"))
    assert judged("cpu_governor", case).status is Status.OK


def test_cpus_without_a_governor_are_not_waited_for() -> None:
    case = Case("", made=SLOW, files={f"{CPU}/cpu5/cpufreq": None, **built("schedutil")})
    plan = planned("cpu_governor", case)
    conf = next(change for change in plan.changes if change.path == CONF)
    assert "cpus 1,3,7 " in (conf.content or "")
    after = applied(case, plan.changes)
    assert judged("cpu_governor", after).status is Status.UNKNOWN
    assert not planned("cpu_governor", after).changes


GOVERNOR_CONFLICTS = {
    "TuneD": (
        Case("", made=SLOW, files={"etc/tuned/active_profile": "balanced\n"}, commands=unit("tuned")),
        [("/etc/tuned/active_profile", 1)],
        "tuned.service runs now and starts at boot and sets the governor by profile balanced",
    ),
    "TuneD, stopped": (Case("", made=SLOW, commands=unit("tuned", "inactive")), [("", 0)], "tuned.service starts at"),
    "TuneD, seen in a tree": (
        Case("", made=SLOW, files={"etc/systemd/system/multi-user.target.wants/tuned.service": "x"}),
        [("/etc/systemd/system/multi-user.target.wants/tuned.service", 0)],
        "systemctl disable --now tuned.service",
    ),
    "power-profiles-daemon": (
        Case("", made=SLOW, commands=unit("power-profiles-daemon", "inactive", "disabled")),
        [("", 0)],
        "`systemctl mask --now power-profiles-daemon.service`",
    ),
    "masked until the next boot": (
        Case("", made=SLOW, commands=unit("power-profiles-daemon", "inactive", "masked-runtime", "masked")),
        [("", 0)],
        "is not masked, so D-Bus may start it",
    ),
    "tuned-ppd, with TuneD after us": (
        Case("", made=SLOW, commands=unit("tuned-ppd", "inactive", "static"), profile=AFTER),
        [("", 0)],
        "is not masked, so D-Bus may start it",
    ),
    "a bus name in a tree": (
        Case(
            "",
            made=SLOW,
            files={
                "usr/share/dbus-1/system-services/net.hadess.PowerProfiles.service": "[D-BUS Service]\n"
                "Name=net.hadess.PowerProfiles\nSystemdService=tuned-ppd.service\n"
            },
        ),
        [("", 0)],
        "tuned-ppd.service is not masked",
    ),
    "TLP": (Case("", made=SLOW, commands=unit("tlp")), [("", 0)], "tlp.service runs now and starts at boot"),
    "auto-cpufreq": (Case("", made=SLOW, commands=unit("auto-cpufreq")), [("", 0)], "auto-cpufreq.service"),
    "saptune": (Case("", made=SLOW, commands=unit("saptune")), [("", 0)], "saptune.service"),
    "sapconf": (Case("", made=SLOW, commands=unit("sapconf", enabled="disabled")), [("", 0)], "runs now and sets"),
    "ondemand": (Case("", made=SLOW, commands=unit("ondemand", "inactive")), [("", 0)], "ondemand.service"),
    "cpupower": (
        Case("", made=SLOW, files={"etc/default/cpupower": "# x\ngovernor=ondemand\n"}, commands=unit("cpupower")),
        [("/etc/default/cpupower", 2)],
        "cpupower.service sets ondemand at boot (/etc/default/cpupower line 2): make it performance",
    ),
    "cpufrequtils by its own default": (
        Case("", made=SLOW, commands=unit("cpufrequtils")),
        [("", 0)],
        "cpufrequtils.service sets ondemand at boot (its own default)",
    ),
    "tmpfiles.d": (
        Case("", made=SLOW, files={"etc/tmpfiles.d/a.conf": "# x\n" + line("powersave")}),
        [("/etc/tmpfiles.d/a.conf", 2)],
        "/etc/tmpfiles.d/a.conf line 2 sets powersave at boot",
    ),
    "tmpfiles.d, two lines": (
        Case("", made=SLOW, files={"etc/tmpfiles.d/a.conf": "".join(line("x", "/" + freq(cpu)) for cpu in (1, 3))}),
        [("/etc/tmpfiles.d/a.conf", 1), ("/etc/tmpfiles.d/a.conf", 2)],
        "sets x at boot",
    ),
    "not offered": (
        Case("", made=SLOW, files={freq(3, "scaling_available_governors"): "schedutil powersave\n"}),
        [("/" + freq(3, "scaling_available_governors"), 1)],
        "acpi-cpufreq offers CPU 3 no performance, only schedutil, powersave",
    ),
}


@pytest.mark.parametrize(("case", "where", "words"), GOVERNOR_CONFLICTS.values(), ids=GOVERNOR_CONFLICTS)
def test_whoever_sets_the_governor_too_is_named_before_any_change(
    case: Case, where: list[tuple[str, int]], words: str
) -> None:
    plan = planned("cpu_governor", case)
    assert not plan.changes
    assert [(conflict.path, conflict.line) for conflict in plan.conflicts] == where
    assert words in plan.conflicts[0].message
    assert all("then run again" in conflict.message for conflict in plan.conflicts)
    assert "\n" not in "".join(conflict.message for conflict in plan.conflicts)


@pytest.mark.parametrize(
    ("driver", "expected", "todo"),
    [
        ("acpi-cpufreq", "ondemand", "load its module (modprobe cpufreq_ondemand), or name another one"),
        ("acpi-cpufreq", "schedutil", ": name another one"),
        ("intel_pstate", "ondemand", ": name another one"),
    ],
)
def test_a_module_is_named_where_there_is_one(driver: str, expected: str, todo: str) -> None:
    offered = {freq(cpu, "scaling_available_governors"): "performance powersave\n" for cpu in range(8)}
    profile = {"settings": {"cpu_governor": {"expected": expected}}}
    plan = planned("cpu_governor", Case("", made={"driver": driver}, files=offered, profile=profile))
    assert f"only performance, powersave: {todo.removeprefix(': ')}" in plan.conflicts[0].message


NO_CONFLICTS = {
    "TuneD is only installed": Case("", made=SLOW, commands=unit("tuned", "inactive", "disabled")),
    "power-profiles-daemon is masked": Case(
        "", made=SLOW, commands=unit("power-profiles-daemon", "inactive", "masked", "masked")
    ),
    "power-profiles-daemon is not there": Case(
        "", made=SLOW, commands=unit("power-profiles-daemon", "inactive", "", "not-found")
    ),
    "masked in a tree": Case(
        "",
        made=SLOW,
        files={
            "usr/share/dbus-1/system-services/net.hadess.PowerProfiles.service": "SystemdService=tuned-ppd.service\n",
            "etc/systemd/system/tuned-ppd.service": Link("/dev/null"),
        },
    ),
    "cpupower agrees": Case("", made=SLOW, files={"etc/default/cpupower": "x=y\n"}, commands=unit("cpupower")),
    "nothing says what is offered": Case(
        "", made=SLOW, files={freq(cpu, "scaling_available_governors"): None for cpu in range(8)}
    ),
    "tmpfiles.d slows housekeeping": Case(
        "", made=SLOW, files={"etc/tmpfiles.d/a.conf": line("powersave", "/" + freq(2))}
    ),
}


@pytest.mark.parametrize("case", NO_CONFLICTS.values(), ids=NO_CONFLICTS)
def test_what_sets_no_other_governor_is_no_conflict(case: Case) -> None:
    converges("cpu_governor", case)


def test_tuned_keeps_the_rest_where_the_profile_says_so() -> None:
    case = Case("", made=SLOW, files={"etc/tuned/active_profile": "balanced\n"}, commands=unit("tuned"), profile=AFTER)
    plan = converges("cpu_governor", case)
    assert paths(plan, "service") == [ours.UNIT]
    # Without that word the same host is not known to stay, and is refused.
    same = replace(applied(case, plan.changes), profile={})
    assert "tuned.service starts at boot and decides by profile balanced" in judged("cpu_governor", same).reason
    assert planned("cpu_governor", same).conflicts


def test_after_tuned_holds_only_with_the_boot_service() -> None:
    case = Case("", files=built("performance"), commands=unit("tuned"), profile=AFTER)
    assert judged("cpu_governor", case).status is Status.UNKNOWN
    assert [change.path for change in converges("cpu_governor", case).changes][:5] == SERVICE_FILES


THROUGHPUT = "usr/lib/tuned/throughput-performance/tuned.conf"
STOCK = """[main]
summary=Broadly applicable tuning

[cpu]
governor=performance
energy_perf_bias=performance

[sysctl.thunderx]
type=sysctl
uname_regex=aarch64

[disk]
readahead=>4096
"""
ACTIVE = "etc/tuned/active_profile"
RHEL = {ACTIVE: "throughput-performance\n", THROUGHPUT: STOCK}


def including(profile: str, text: str, name: str = "etc/tuned/site/tuned.conf") -> dict[str, str]:
    return {**RHEL, ACTIVE: "site\n", name: f"[main]\ninclude={profile}\n{text}"}


HELD = {
    "RHEL's default": (RHEL, f"/{THROUGHPUT}:5"),
    "included": (including("throughput-performance", "[sysctl]\nx=1\n"), f"/{THROUGHPUT}:5"),
    "one of several includes": (
        {**including("none , throughput-performance", ""), "usr/lib/tuned/none/tuned.conf": "[cpu]\ngovernor=x\n"},
        f"/{THROUGHPUT}:5",
    ),
    "of two active ones": ({**RHEL, ACTIVE: "x throughput-performance\n", "etc/tuned/x/tuned.conf": ""}, ""),
    "loaded last": (
        {
            ACTIVE: "x\n",
            "etc/tuned/x/tuned.conf": "",
            "etc/tuned/post_loaded_profile": "y\n",
            "etc/tuned/y/tuned.conf": STOCK,
        },
        "/etc/tuned/y/tuned.conf:5",
    ),
    "a newer TuneD's folder": (
        {ACTIVE: "throughput-performance\n", "usr/lib/tuned/profiles/throughput-performance/tuned.conf": STOCK},
        "",
    ),
    "the administrator's": (
        including("site", "", "etc/tuned/site/tuned.conf") | {"usr/lib/tuned/site/tuned.conf": STOCK},
        "/usr/lib/tuned/site/tuned.conf:5",
    ),
    "the first that there is": (
        {ACTIVE: "x\n", "etc/tuned/x/tuned.conf": "[cpu]\ngovernor=turbo | performance|powersave\n"},
        "",
    ),
    "an included one is outdone": (
        {**including("x", "[cpu]\ngovernor=performance\n"), "etc/tuned/x/tuned.conf": "[cpu]\ngovernor=powersave\n"},
        "/etc/tuned/site/tuned.conf:4",
    ),
    "an included limit is replaced": (
        {
            **including("x", "[cpu]\nreplace=1\ngovernor=performance\n"),
            "etc/tuned/x/tuned.conf": "[cpu]\ndevices=cpu0\n",
        },
        "",
    ),
}


@pytest.mark.parametrize(("files", "where"), HELD.values(), ids=HELD)
def test_tuned_holds_the_governor_that_is_wanted(files: Mapping[str, str], where: str) -> None:
    case = Case("", files=files, commands=unit("tuned"))
    finding = judged("cpu_governor", case)
    assert (finding.status, finding.reason) == (Status.OK, "performance now, and at the next boot; TuneD holds it")
    assert finding.persisted == "performance"
    assert where in [item.path for item in finding.evidence] or not where
    assert planned("cpu_governor", case) == Plan()


def test_what_tuned_holds_is_only_set_now() -> None:
    case = Case("", made=SLOW, files=RHEL, commands=unit("tuned"))
    assert judged("cpu_governor", case).status is Status.PENDING_REBOOT
    plan = converges("cpu_governor", case)
    assert [change.path for change in plan.changes] == ["/" + freq(cpu) for cpu in SERVING]


NOT_HELD: dict[str, Case] = {
    "stopped": Case("", files=RHEL, commands=unit("tuned", "inactive")),
    "a list with a slower one first": Case(
        "", files={ACTIVE: "x\n", "etc/tuned/x/tuned.conf": "[cpu]\ngovernor=schedutil|performance\n"}
    ),
    "a variable": Case("", files={ACTIVE: "x\n", "etc/tuned/x/tuned.conf": "[cpu]\ngovernor=${f:x}\n"}),
    "an include by a function": Case("", files=including("${f:virt_check:a:throughput-performance}", "")),
    "an include that is not there": Case("", files=including("throughput-performance,nowhere", "")),
    "included too deep": Case(
        "",
        files={
            ACTIVE: "p0\n",
            **{f"etc/tuned/p{n}/tuned.conf": f"[main]\ninclude=p{n + 1}\n" for n in range(12)},
            "etc/tuned/p12/tuned.conf": STOCK,
        },
    ),
    "a damaged profile": Case("", files={**RHEL, THROUGHPUT: STOCK + "[cpu]\nx\n"}),
    "some CPUs": Case("", files={**RHEL, THROUGHPUT: STOCK + "[cpu]\ndevices=cpu1\n"}),
    "switched off": Case("", files={**RHEL, THROUGHPUT: STOCK + "[cpu]\nenabled=0\n"}),
    "dropped": Case("", files=including("throughput-performance", "[cpu]\ndrop=x, governor\n")),
    "replaced": Case("", files=including("throughput-performance", "[cpu]\nreplace=True\nx=1\n")),
    "two that say it": Case("", files={**RHEL, THROUGHPUT: STOCK + "[a]\ntype=cpu\ngovernor=powersave\n"}),
    "other folders": Case(
        "", files={**RHEL, "etc/tuned/tuned-main.conf": "profile_dirs = /usr/lib/tuned,/srv/tuned\n"}
    ),
    "folders without it": Case("", files={**RHEL, "etc/tuned/tuned-main.conf": "profile_dirs = /etc/tuned\n"}),
    "a preference of its own": Case("", made={"driver": "intel_cpufreq"}, files={**RHEL, **PASSIVE}),
    "no profile": Case(""),
}


@pytest.mark.parametrize("case", NOT_HELD.values(), ids=NOT_HELD)
def test_a_tuned_that_may_set_another_is_a_conflict(case: Case) -> None:
    case = replace(case, commands=case.commands or unit("tuned"))
    finding = judged("cpu_governor", case)
    assert finding.status is Status.UNKNOWN
    assert "tuned.service starts at boot and decides" in finding.reason
    assert [conflict.setting for conflict in planned("cpu_governor", case).conflicts] == ["cpu_governor"]


def test_who_changes_tuneds_profile_is_still_a_conflict() -> None:
    both = {"units": f"{unit('tuned')['units']}\n{unit('tuned-ppd', 'inactive', 'static')['units']}"}
    case = Case("", files=RHEL, commands=both)
    assert judged("cpu_governor", case).status is Status.UNKNOWN
    assert ["tuned-ppd.service" in item.message for item in planned("cpu_governor", case).conflicts] == [True]


def test_another_service_beside_tuned_may_be_the_last() -> None:
    both = {"units": f"{unit('tuned')['units']}\n{unit('cpupower')['units']}"}
    case = Case("", files={**RHEL, "etc/default/cpupower": "governor=ondemand\n"}, commands=both)
    finding = judged("cpu_governor", case)
    assert (finding.status, finding.persisted) == (Status.UNKNOWN, "ondemand")
    assert [(item.path, item.line) for item in planned("cpu_governor", case).conflicts] == [
        ("/etc/default/cpupower", 1)
    ]


def test_a_cpu_that_is_gone_is_taken_out_of_the_list() -> None:
    case = tuned_host(Case("", made=SLOW))
    wider = {
        **built("performance"),
        SET: "cpus 1,3,5,7 cpufreq/scaling_governor performance\ncpus 9 cpufreq/scaling_governor performance\n",
    }
    case = replace(case, files={**case.files, **wider})
    finding = judged("cpu_governor", case)
    assert (finding.status, "names a file that CPU 9 lacks" in finding.reason) == (Status.UNKNOWN, True)
    plan = converges("cpu_governor", case)
    assert [change.path for change in plan.changes] == [CONF]


def test_a_preference_that_is_gone_is_taken_out_too() -> None:
    case = tuned_host(Case("", made=HWP, files=BALANCED))
    case = replace(case, files={**case.files, **{freq(cpu, PREFERENCE): None for cpu in range(8)}})
    assert judged("cpu_governor", case).status is Status.UNKNOWN
    assert [change.path for change in converges("cpu_governor", case).changes] == [CONF]


def test_an_unordered_service_is_not_outdone() -> None:
    case = tuned_host(Case("", made=SLOW))
    case = replace(case, commands=unit("cpufrequtils"))
    known = "cpufrequtils.service" in boot_service.UNIT_TEXT
    assert judged("cpu_governor", case).status is (Status.OK if known else Status.UNKNOWN)


def test_saptune_writes_numa_balancing_too() -> None:
    shown = snapshot(Case("", commands=unit("saptune")))
    own = catalogue.setting("numa_balancing").agents
    (conflict,) = agents.conflicts(shown, "numa_balancing", own)
    assert conflict.setting == "numa_balancing"
    assert "sets kernel.numa_balancing: `systemctl disable --now saptune.service`" in conflict.message
    assert not agents.conflicts(shown, "numa_balancing", own, ("saptune.service",))
    assert not agents.conflicts(snapshot(Case("", commands=unit("tuned"))), "numa_balancing", own)


def request(cpu: int) -> str:
    return f"/{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us"


def idle_text(value: str) -> str:
    return ours.HEADER + "".join(line(value, request(cpu)) for cpu in SERVING)


def test_deep_cpus_are_capped_now_and_at_every_boot() -> None:
    plan = converges("cpu_idle", Case(""))
    assert [change.path for change in plan.changes] == [IDLE_FILE, *map(request, SERVING)]
    assert (plan.changes[0].content, plan.changes[0].mode, plan.changes[0].before) == (idle_text("2"), "0644", None)
    assert {(change.before, change.content) for change in plan.changes[1:]} == {("0\n", "2\n")}


def test_a_cap_of_zero_is_not_written_as_no_request() -> None:
    plan = converges("cpu_idle", Case("", profile={"settings": {"cpu_idle": {"max_exit_latency_us": 0}}}))
    assert plan.changes[0].content == idle_text("n/a")
    assert {change.content for change in plan.changes[1:]} == {"n/a\n"}


IDLE_PLANS = {
    "a lower request stays": (Case("", files=qos("1", (1, 3))), [IDLE_FILE, request(5), request(7)]),
    "persisted, not running": (Case("", files=kept("1")), [request(cpu) for cpu in SERVING]),
    "running, not persisted": (Case("", files=qos("2")), [IDLE_FILE]),
    "by argument": (Case("", made={"arguments": "intel_idle.max_cstate=1"}), [request(cpu) for cpu in SERVING]),
    "deep states are off until the next boot": (Case("", made={"idle_disabled": ("C1E", "C6")}), [IDLE_FILE]),
    "a process holds a request": (
        Case("", commands={"cpu_dma_latency": "0\n"}),
        [IDLE_FILE, *map(request, SERVING)],
    ),
    "an earlier pattern is outdone": (
        Case("", files={**qos("2"), "etc/tmpfiles.d/a.conf": line("0", f"/{CPU}/cpu*/power/pm_qos_resume_latency_us")}),
        [IDLE_FILE],
    ),
    "a later line for the same path is ignored": (
        Case("", files={**qos("2"), "etc/tmpfiles.d/zzz.conf": line("0", request(3))}),
        [IDLE_FILE],
    ),
    "ours, of another cap": (Case("", files={**qos("2"), IDLE_FILE[1:]: idle_text("70")}), [IDLE_FILE]),
}


@pytest.mark.parametrize(("case", "changes"), IDLE_PLANS.values(), ids=IDLE_PLANS)
def test_only_what_is_too_deep_is_capped(case: Case, changes: list[str]) -> None:
    assert [change.path for change in converges("cpu_idle", case).changes] == changes


IDLE_CONFLICTS = {
    "somebody else's file of that name": (
        Case("", files={IDLE_FILE[1:]: "# mine\n"}),
        [(IDLE_FILE, 1)],
        "is not numatune's",
    ),
    "masked": (Case("", files={IDLE_FILE[1:]: Link("/dev/null")}), [(IDLE_FILE, 1)], "is not numatune's"),
    "a pattern in a later file": (
        Case("", files={"usr/lib/tmpfiles.d/zzz.conf": "# x\n" + line("0", request(1)[:-1] + "*")}),
        [("/usr/lib/tmpfiles.d/zzz.conf", 2)],
        f"would win over {IDLE_FILE}",
    ),
    # systemd-tmpfiles ignores the second line for one path.
    "the same path in an earlier file": (
        Case("", files={"etc/tmpfiles.d/a.conf": line("70", request(3))}),
        [("/etc/tmpfiles.d/a.conf", 1)],
        "remove 'w ",
    ),
}


@pytest.mark.parametrize(("case", "where", "words"), IDLE_CONFLICTS.values(), ids=IDLE_CONFLICTS)
def test_a_line_that_would_win_is_named_before_any_change(case: Case, where: list[tuple[str, int]], words: str) -> None:
    plan = planned("cpu_idle", case)
    assert not plan.changes
    assert [(conflict.path, conflict.line) for conflict in plan.conflicts] == where
    assert words in plan.conflicts[0].message


def test_tuned_in_the_same_slot_is_a_conflict() -> None:
    for value, cap in (("100", "2"), ("cstate.name:C1|2", "2"), ("0", "2"), ("$x", "2")):
        text = f"[cpu]\npm_qos_resume_latency_us={value}\n"
        files = {ACTIVE: "x\n", "etc/tuned/x/tuned.conf": text}
        for commands in (unit("tuned"), unit("tuned", "inactive"), unit("tuned", enabled="disabled")):
            plan = planned("cpu_idle", Case("", files=files, commands=commands))
            assert not plan.changes
            assert [(item.path, item.line) for item in plan.conflicts] == [("/etc/tuned/x/tuned.conf", 2)]
            assert f"make that {cap} or take it out" in plan.conflicts[0].message
            # The governor's option to write after TuneD does not reach what tmpfiles.d writes before it.
            after = replace(Case("", files=files, commands=commands), profile=AFTER)
            assert planned("cpu_idle", after).conflicts


def test_tuned_within_the_cap_is_left_to_it() -> None:
    files = {ACTIVE: "x\n", "etc/tuned/x/tuned.conf": "[cpu]\npm_qos_resume_latency_us=1\n"}
    plan = converges("cpu_idle", Case("", files=files, commands=unit("tuned")))
    assert [change.path for change in plan.changes] == [request(cpu) for cpu in SERVING]
    off = Case("", files={**files, "etc/tuned/x/tuned.conf": "[cpu]\npm_qos_resume_latency_us=none\n"})
    assert IDLE_FILE in paths(converges("cpu_idle", replace(off, commands=unit("tuned"))), "file")
    idle = replace(off, files={**files, "etc/tuned/x/tuned.conf": "[cpu]\npm_qos_resume_latency_us=9\n"})
    assert not planned("cpu_idle", replace(idle, commands=unit("tuned", "inactive", "disabled"))).conflicts


@pytest.mark.parametrize(("asked", "written"), [(None, "1\n"), (0, "n/a\n")])
def test_no_latency_at_all_is_asked_for_by_name_alone(asked: int | None, written: str) -> None:
    """A CPU that polls in its first state would spin for ever: nothing but the profile's own word asks for that."""
    profile = {"settings": {"cpu_idle": {"max_exit_latency_us": asked}}} if asked is not None else {}
    case = Case("", files=idle_states(("WFI", 0), ("cpu-sleep-0", 500)), profile=profile)
    assert {change.content for change in converges("cpu_idle", case).changes[1:]} == {written}


POLLING = {
    "POWER's snooze": (("snooze", 0), ("CEDE", 10)),
    "an old kernel's C0": (("C0", 0), ("C1", 10)),
    "a polling state that takes time": (("snooze", 1), ("CEDE", 10)),
    "a name that nobody knows": (("IDLE0", 0), ("IDLE1", 10)),
}


@pytest.mark.parametrize("states", POLLING.values(), ids=POLLING)
def test_a_state_that_polls_is_never_all_that_is_left(states: tuple[tuple[str, int], ...]) -> None:
    case = Case("", files=idle_states(*states))
    assert judged("cpu_idle", case).expected == "at most 10 us exit latency"
    assert judged("cpu_idle", case).runtime == f"{states[1][0]} (10 us)"
    (conflict,) = planned("cpu_idle", replace(case, profile=WANT_5)).conflicts
    assert "spin for ever" in conflict.message
    assert "to 10 or more" in conflict.message
    assert not planned("cpu_idle", replace(case, profile=WANT_5)).changes


WANT_5 = {"settings": {"cpu_idle": {"max_exit_latency_us": 5}}}


ORDERS = {
    "one path, two files": {"10.conf": line("one", "/sys/x/a"), "20.conf": line("two", "/sys/x/a")},
    "one path, written otherwise": {"10.conf": line("one", "/sys//x/a"), "20.conf": line("two", "/sys/x/a")},
    "a pattern, then its path": {"10.conf": line("one", "/sys/x/*"), "20.conf": line("two", "/sys/x/a")},
    "a path, then a pattern": {"10.conf": line("one", "/sys/x/a"), "20.conf": line("two", "/sys/x/*")},
    "a path between": {
        "10.conf": line("one", "/sys/x/a"),
        "20.conf": line("two", "/sys/x/*"),
        "30.conf": line("six", "/sys//x/a"),
    },
}


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="needs systemd-tmpfiles, which writes below --root")
@pytest.mark.parametrize("files", ORDERS.values(), ids=ORDERS)
def test_lines_win_as_systemd_applies_them(files: Mapping[str, str], tmp_path: Path) -> None:
    tree = {f"etc/tmpfiles.d/{name}": text for name, text in files.items()}
    write({**tree, "sys/x/a": ""}, tmp_path)
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}"], check=False, capture_output=True)
    last, _ = writes_at_boot(collect(Tree(tree), complete=True), {0: ("/sys/x/a",)})
    assert last[0].value == (tmp_path / "sys/x/a").read_text().strip() != ""


def test_a_state_that_no_request_forbids_is_not_asked_away_twice() -> None:
    wait = {f"{CPU}/cpu{cpu}/cpuidle/state0/{part}": text for cpu in SERVING for part, text in WAIT.items()}
    case = Case("", files=wait, profile={"settings": {"cpu_idle": {"max_exit_latency_us": 0}}})
    plan = planned("cpu_idle", case)
    assert len(plan.changes) == 1 + len(SERVING)
    assert not planned("cpu_idle", applied(case, plan.changes)).changes


WAIT = {"name": "WFI\n", "latency": "1\n"}
LEFT = {
    "no request to write": Case("", files={request(cpu)[1:]: None for cpu in SERVING}),
    "requests are closed": Case("", files=kept("2"), denied=tuple(map(request, SERVING))),
    "nothing is known": Case("", files={f"{CPU}/cpu{cpu}/cpuidle": None for cpu in range(8)}, captured=True),
}


@pytest.mark.parametrize("case", LEFT.values(), ids=LEFT)
def test_what_cannot_be_capped_is_left_to_a_person(case: Case) -> None:
    plan = planned("cpu_idle", case)
    assert not plan.changes
    assert not plan.conflicts
    assert [item.setting for item in plan.left] == ["cpu_idle"]


def test_one_cpu_without_a_request_is_left_and_nothing_is_written_twice() -> None:
    case = Case("", files={request(5)[1:]: None})
    plan = planned("cpu_idle", case)
    assert [change.path for change in plan.changes] == [IDLE_FILE, request(1), request(3), request(7)]
    assert request(5) not in (plan.changes[0].content or "")
    assert not planned("cpu_idle", applied(case, plan.changes)).changes
