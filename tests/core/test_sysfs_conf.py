"""Debian's sysfsutils as one more who sets values at boot: what its files come to, and when they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
from synthetic import CPU, Tree, host

from numatune.core import catalogue
from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.kit import boot_service
from numatune.core.model import Finding, Reading, Snapshot, State
from numatune.core.parsers.sysfs_conf import applied
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping

THP = "kernel/mm/transparent_hugepage/enabled"
CONF, FOLDER = "etc/sysfs.conf", "etc/sysfs.d"
TMP = "etc/tmpfiles.d/a.conf"

# The script of sysfsutils 2.1.1-4 printed the same of each: its sed, then `read -r attribute value more`.
LINES = {
    "plain": ("a/b = c", [("/sys/a/b", "c")]),
    "tight": ("a/b=c", [("/sys/a/b", "c")]),
    "blanks and a comment": ("\t a/b \t=  c  # why", [("/sys/a/b", "c")]),
    "without a sign": ("a/b c", [("/sys/a/b", "c")]),
    "a leading slash": ("/a/b = c", [("/sys/a/b", "c")]),
    "two signs": ("a = b=c", [("/sys/a", "b=c")]),
    "a mode, an owner": ("mode a/b = 0600\nowner a/b = root\nx = y", [("/sys/x", "y")]),
    "an attribute called mode": ("mode = 5", [("/sys/mode", "5")]),
    "comments and nothing": ("# a = b\n\n  \t\nx = y", [("/sys/x", "y")]),
    "no last line feed": ("a = b\nx = y", [("/sys/a", "b"), ("/sys/x", "y")]),
    "two words end it": ("a = b\nx = y z\nc = d", [("/sys/a", "b")]),
    "no value ends it": ("a =\nc = d", []),
    "one word ends it": ("a\nc = d", []),
}


@pytest.mark.parametrize(("text", "found"), LINES.values(), ids=LINES)
def test_a_line_is_what_the_script_makes_of_it(text: str, found: list[tuple[str, str]]) -> None:
    assert [(write.pattern, write.value) for write in applied(f"/{CONF}", text).writes] == found
    assert applied(f"/{CONF}", text).ended == (("a =" in text and not found) or " z" in text or text.startswith("a\n"))


@dataclass(frozen=True)
class Case:
    """A host, and how its service is known: "generated" with a runlevel's link, "" for not asked."""

    files: Mapping[str, str] = field(default_factory=dict)
    state: str = "generated"
    made: Mapping[str, Any] = field(default_factory=dict)
    captured: bool = False


def snapshot(case: Case) -> Snapshot:
    files = {**host(**{"cpus": 8, **case.made}), f"sys/{THP}": "always [madvise] never\n", f"{FOLDER}/x": ""}
    if case.state == "generated":
        files["etc/rc3.d/S01sysfsutils"] = "#!/bin/sh\n"
    found = collect(Tree({**files, **case.files}), complete=not case.captured)
    asked = (
        f"Id=sysfsutils.service\nLoadState=loaded\nActiveState=active\nUnitFileState={case.state.partition(',')[0]}\n"
    )
    commands = {"units": Reading("units", State.PRESENT, asked)} if case.state else {}
    return replace(found, commands={**commands, "cpu_dma_latency": Reading("x", State.PRESENT, "2000000000\n")})


def judged(name: str, case: Case) -> Finding:
    return catalogue.setting(name).judge(Host(snapshot(case), from_mapping({})))


def plan(name: str, case: Case) -> Plan:
    return make_plan(snapshot(case), from_mapping({}), date(2027, 1, 1), [name])


def test_its_word_comes_after_that_of_tmpfiles() -> None:
    right = {TMP: f"w /sys/{THP} - - - - madvise\n"}
    assert judged("transparent_hugepage", Case(right)).status.value == "ok"
    found = judged("transparent_hugepage", Case({**right, CONF: f"{THP} = always\n"}))
    assert (found.status.value, found.masked_by and found.masked_by.path) == ("masked", f"/{CONF}")
    # In the order of the names, after sysfs.conf.
    later = {CONF: f"{THP} = always\n", f"{FOLDER}/b.conf": f"{THP} = madvise\n"}
    assert judged("transparent_hugepage", Case(later)).status.value == "ok"
    assert judged("transparent_hugepage", Case({**later, f"{FOLDER}/c.conf": f"{THP}=always\n"})).status.value != "ok"
    ended = {CONF: f"{THP} = madvise\nx = y z\n", f"{FOLDER}/b.conf": f"{THP} = always\n"}
    assert judged("transparent_hugepage", Case(ended)).status.value == "ok"


@pytest.mark.parametrize("state", ["masked", "disabled", "generated, of no runlevel"])
def test_it_does_not_count_where_it_does_not_start(state: str) -> None:
    files = {TMP: f"w /sys/{THP} - - - - madvise\n", CONF: f"{THP} = always\n"}
    assert judged("transparent_hugepage", Case(files, state)).status.value == "ok"


def test_it_keeps_a_value_also_where_nothing_applies_tmpfiles() -> None:
    files = {CONF: f"{THP} = madvise\n", TMP: f"w /sys/{THP} - - - - always\n"}
    mask = {"etc/systemd/system/systemd-tmpfiles-setup.service": ""}
    assert judged("transparent_hugepage", Case({**files, **mask})).status.value == "ok"


def test_a_tree_that_does_not_tell_whether_it_starts_is_not_ok() -> None:
    config = {"boot/config-6.1.0-synthetic": "CONFIG_TRANSPARENT_HUGEPAGE_MADVISE=y\n"}
    tree = {**config, **{f"{folder}/tmpfiles.d/x": "" for folder in ("etc", "usr/local/lib", "usr/lib")}}
    tree |= {"etc/tuned/active_profile": "\n", CONF: f"{THP} = madvise\n"}
    assert judged("transparent_hugepage", Case(tree, "", captured=True)).status.value == "ok"
    found = judged("transparent_hugepage", Case({**tree, CONF: f"{THP} = always\n"}, "", captured=True))
    assert found.status.value == "unknown"
    assert "whether sysfsutils.service starts at boot is not in the captured tree" in found.reason


def test_a_plan_names_the_line_that_would_win() -> None:
    found = plan(
        "transparent_hugepage", Case({CONF: f"# x\n{THP} = always\n", f"sys/{THP}": "[always] madvise never\n"})
    )
    (conflict,) = found.conflicts
    assert (conflict.path, conflict.line) == (f"/{CONF}", 2)
    assert "would win over /etc/tmpfiles.d/zz-numatune-transparent-hugepage.conf" in conflict.message


GOVERNOR = f"{CPU.removeprefix('sys/')}/cpu*/cpufreq/scaling_governor"


def test_the_governor_is_set_after_it_by_ours_and_before_it_by_tmpfiles() -> None:
    slow = {CONF: f"{GOVERNOR} = powersave\n"}
    assert judged("cpu_governor", Case(slow)).status.value == "lost_at_reboot"
    assert judged("cpu_governor", Case({CONF: f"{GOVERNOR} = performance\n"})).status.value == "ok"
    assert boot_service.UNIT_TEXT.count("sysfsutils.service") == 1
    (conflict,) = plan("cpu_governor", Case(slow, made={"governor": "powersave"})).conflicts
    assert conflict.path == f"/{CONF}"
    assert "sets powersave at boot: remove" in conflict.message


def test_an_idle_request_that_it_makes_counts() -> None:
    made = {"idle_disabled": ("C1E", "C6")}
    request = f"{CPU.removeprefix('sys/')}/cpu*/power/pm_qos_resume_latency_us"
    assert judged("cpu_idle", Case({CONF: f"{request} = 1\n"}, made=made)).status.value == "ok"
    assert judged("cpu_idle", Case({CONF: f"{request} = 500\n"}, made=made)).status.value == "lost_at_reboot"
