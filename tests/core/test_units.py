"""What applies a file at boot is part of what is persisted: units masked, replaced, conditioned away, failed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from synthetic import CPU, Link, Tree, host, write

from numatune.core import catalogue, ours
from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.collecting.snapshot import Snapshot
from numatune.core.host import Host
from numatune.core.kit import boot_service
from numatune.core.machine import units
from numatune.core.machine.units import SYSCTL, TMPFILES, applier
from numatune.core.model import Finding, Reading, State
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping
from numatune.core.status import Plane

ETC = "etc/systemd/system"
VENDOR = "usr/lib/systemd/system"
NULL = Link("/dev/null")


def says(unit: str, **pairs: str) -> str:
    return "".join(f"{key}={value}\n" for key, value in {"Id": unit, "LoadState": "loaded", **pairs}.items())


@dataclass(frozen=True)
class Case:
    """What stands on disk and what systemd says of systemd-sysctl, and whether it applies its files at boot."""

    plane: Plane
    words: str = ""
    files: Mapping[str, str | None] = field(default_factory=dict)
    units: str = ""
    arguments: str | None = None
    captured: bool = False
    remedy: str = ""
    init: str = ""


RUNS, NOT, UNKNOWN = Plane.RIGHT, Plane.NONE, Plane.UNREAD
GONE: dict[str, str | None] = {f"{VENDOR}/{SYSCTL}": None, f"{VENDOR}/sysinit.target.wants/{SYSCTL}": None}
CONDITION = "[Unit]\nConditionPathExists=/nonexistent\n"
DROP_IN = f"{ETC}/{SYSCTL}.d/x.conf"
CASES = {
    "static, as it comes": Case(RUNS),
    "active now": Case(RUNS, units=says(SYSCTL, ActiveState="active", UnitFileState="static")),
    "masked by a link": Case(
        NOT, f"masked (/{ETC}/{SYSCTL})", {f"{ETC}/{SYSCTL}": NULL}, remedy=f"systemctl unmask {SYSCTL}"
    ),
    "masked by an empty file": Case(NOT, "masked", {f"{ETC}/{SYSCTL}": ""}),
    "masked by the vendor": Case(NOT, "masked", {f"{VENDOR}/{SYSCTL}": NULL}),
    "masked, systemd says": Case(NOT, "masked", units=says(SYSCTL, LoadState="masked", UnitFileState="masked")),
    "masked, a reload is missing": Case(
        NOT, "masked", {f"{ETC}/{SYSCTL}": NULL}, says(SYSCTL, ActiveState="active", UnitFileState="static")
    ),
    "masked for this boot alone": Case(
        RUNS,
        "",
        {f"run/systemd/system/{SYSCTL}": NULL},
        says(SYSCTL, LoadState="masked", UnitFileState="masked-runtime"),
    ),
    "masked by a kernel argument": Case(NOT, f"systemd.mask={SYSCTL}", arguments=f"ro systemd.mask={SYSCTL}"),
    "another is masked by one": Case(RUNS, arguments="systemd.mask=x.service"),
    "replaced": Case(
        UNKNOWN, "stands for the system's own", {f"{ETC}/{SYSCTL}": "[Service]\n"}, remedy=f"systemctl revert {SYSCTL}"
    ),
    "conditioned": Case(
        UNKNOWN,
        f"/{DROP_IN} line 2 (ConditionPathExists=/nonexistent)",
        {DROP_IN: CONDITION},
        remedy=f"out of /{DROP_IN}",
    ),
    "conditioned away in this boot": Case(
        NOT, "kept systemd-sysctl.service from running", {DROP_IN: CONDITION}, says(SYSCTL, ConditionResult="no")
    ),
    "conditioned, active since before": Case(
        UNKNOWN, "decides", {DROP_IN: CONDITION}, says(SYSCTL, ConditionResult="yes", ActiveState="active")
    ),
    "an assertion": Case(UNKNOWN, "AssertPathExists", {DROP_IN: "[Unit]\nAssertPathExists=/x\n"}),
    "another command": Case(UNKNOWN, "ExecStart=/bin/true", {DROP_IN: "[Service]\nExecStart=\nExecStart=/bin/true\n"}),
    "conditions taken back": Case(RUNS, files={DROP_IN: "[Unit]\nConditionPathExists=\n"}),
    "a drop-in about else": Case(RUNS, files={DROP_IN: "[Service]\nTimeoutSec=5\n"}),
    "a comment": Case(RUNS, files={DROP_IN: "# ConditionPathExists=/x\n"}),
    "a comment with a form feed": Case(RUNS, files={DROP_IN: "# x\fConditionPathExists=/x\n"}),
    "a drop-in that is masked": Case(
        RUNS, files={f"{VENDOR}/{SYSCTL}.d/x.conf": CONDITION, f"{ETC}/{SYSCTL}.d/x.conf": NULL}
    ),
    "a drop-in of the vendor's": Case(UNKNOWN, "decides", {f"{VENDOR}/{SYSCTL}.d/x.conf": CONDITION}),
    "a drop-in of every service": Case(UNKNOWN, "decides", {f"{ETC}/service.d/x.conf": CONDITION}),
    "a drop-in of its family": Case(UNKNOWN, "decides", {f"{ETC}/systemd-.service.d/x.conf": CONDITION}),
    "a drop-in of another family": Case(RUNS, files={f"{ETC}/systemd-tmpfiles-.service.d/x.conf": CONDITION}),
    "a drop-in of another suffix": Case(RUNS, files={f"{ETC}/{SYSCTL}.d/x.conf.bak": CONDITION}),
    "failed": Case(UNKNOWN, "failed in this boot", units=says(SYSCTL, ActiveState="failed"), remedy="journalctl"),
    "nothing wants it": Case(NOT, "no link in sysinit.target.wants", {f"{VENDOR}/sysinit.target.wants/{SYSCTL}": None}),
    "nothing wants it, systemd says": Case(NOT, "no link", GONE, says(SYSCTL, WantedBy="")),
    "wanted, systemd says": Case(RUNS, "", GONE, says(SYSCTL, WantedBy="sysinit.target")),
    "wanted by a link of its own": Case(
        RUNS,
        files={
            f"{VENDOR}/sysinit.target.wants/{SYSCTL}": None,
            f"{ETC}/sysinit.target.wants/{SYSCTL}": Link(f"/{VENDOR}/{SYSCTL}"),
        },
    ),
    "no systemd, procps' script": Case(RUNS, files={**GONE, "etc/rcS.d/S08procps": Link("../init.d/procps")}),
    "no systemd, OpenRC": Case(RUNS, files={**GONE, "etc/runlevels/boot/sysctl": Link("/etc/init.d/sysctl")}),
    "no systemd, asked alive": Case(RUNS, files=GONE, init="/etc/rcS.d/S08procps\n"),
    "no systemd, nothing": Case(UNKNOWN, "nothing is seen that applies it", GONE),
    "a tree with neither": Case(UNKNOWN, "not in the captured tree", GONE, captured=True),
    "a tree without /etc/systemd": Case(UNKNOWN, "not in the captured tree", captured=True),
    "a tree with both": Case(RUNS, files={f"{ETC}/x": ""}, captured=True),
}


def snapshot(files: Mapping[str, str | None], shown: str = "", captured: bool = False, **made: Any) -> Snapshot:
    merged: dict[str, str | None] = {**host(8, **made), **files}
    found = collect(Tree({path: text for path, text in merged.items() if text is not None}), complete=not captured)
    commands = {"cpu_dma_latency": Reading("cpu_dma_latency", State.PRESENT, "2000000000\n")}
    if shown:
        commands["units"] = Reading("units", State.PRESENT, shown)
    return Snapshot(found.files, found.problems, found.links, found.dirs, commands, found.complete)


@pytest.mark.parametrize("name", CASES)
def test_the_service_that_applies_a_file(name: str) -> None:
    case = CASES[name]
    snap = snapshot(case.files, case.units, case.captured)
    if case.init:
        asked = {**snap.commands, "init": Reading("init", State.PRESENT, case.init)}
        snap = Snapshot(snap.files, snap.problems, snap.links, snap.dirs, asked, snap.complete)
    found = applier(snap, SYSCTL, case.arguments)
    assert found.plane is case.plane, found
    assert case.words in found.why
    assert case.remedy in found.remedy
    assert bool(found.why) is (case.plane is not RUNS)


@pytest.mark.parametrize("path", [f"/{ETC}/{SYSCTL}", f"/{ETC}/{SYSCTL}.d", f"/{ETC}/{SYSCTL}.d/x.conf", f"/{ETC}"])
def test_what_cannot_be_read_may_hold_it_back(path: str) -> None:
    snap = snapshot({DROP_IN: "[Service]\n", f"{VENDOR}/{SYSCTL}": "[Service]\n"})
    files = {name: text for name, text in snap.files.items() if not f"{name}/".startswith(f"{path}/")}
    closed = Snapshot(files, {path: Reading(path, State.DENIED)}, snap.links, snap.dirs, snap.commands, True)
    found = applier(closed, SYSCTL)
    assert found.plane is UNKNOWN
    assert "needs root" in found.why


def judged(name: str, snap: Snapshot) -> Finding:
    return catalogue.setting(name).judge(Host(snap, from_mapping({})))


def planned(name: str, snap: Snapshot) -> Plan:
    from datetime import date

    return make_plan(snap, from_mapping({}), date(2027, 1, 1), [name])


def test_a_masked_sysctl_service_applies_no_drop_in() -> None:
    """The kernel's own default decides then: two nodes start with it on, one with it off."""
    mask = {f"{ETC}/{SYSCTL}": NULL}
    finding = judged("numa_balancing", snapshot(mask))
    assert finding.status.value == "lost_at_reboot"
    assert "is masked" in finding.reason
    assert "nothing applies /etc/sysctl.d/99-latency.conf" in finding.reason
    assert finding.remedy == f"systemctl unmask {SYSCTL}"
    assert judged("numa_balancing", snapshot(mask, nodes=1)).status.value == "ok"
    (conflict,) = planned("numa_balancing", snapshot(mask)).conflicts
    assert f"systemctl unmask {SYSCTL}; then run again" in conflict.message


def test_a_value_that_nothing_applied_waits_for_no_reboot() -> None:
    """Another reboot would not help: that is no pending one."""
    finding = judged("numa_balancing", snapshot({f"{ETC}/{SYSCTL}": NULL}, numa_balancing="1"))
    assert finding.status.value == "wrong"
    assert finding.remedy == f"systemctl unmask {SYSCTL}"


@pytest.mark.parametrize("shown", ["", says(SYSCTL, ActiveState="failed")])
def test_what_is_not_known_to_be_applied_is_not_ok(shown: str) -> None:
    files: dict[str, str | None] = {} if shown else {DROP_IN: CONDITION}
    finding = judged("numa_balancing", snapshot(files, shown))
    assert finding.status.value == "unknown"
    assert SYSCTL in finding.reason


QOS = f"w /{CPU}/cpu*/power/pm_qos_resume_latency_us - - - - 2\n"
CAPPED: dict[str, str | None] = {
    "etc/tmpfiles.d/a.conf": QOS,
    **{f"{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us": "2\n" for cpu in range(8)},
}


def test_a_masked_tmpfiles_service_applies_no_request() -> None:
    assert judged("cpu_idle", snapshot(CAPPED)).status.value == "ok"
    masked = snapshot({**CAPPED, f"{ETC}/{TMPFILES}": NULL})
    finding = judged("cpu_idle", masked)
    assert finding.status.value == "lost_at_reboot"
    assert "nothing applies /etc/tmpfiles.d/a.conf" in finding.reason
    assert finding.remedy == f"systemctl unmask {TMPFILES}"
    (conflict,) = planned("cpu_idle", masked).conflicts
    assert TMPFILES in conflict.message


NUMA_ON = "CONFIG_NUMA_BALANCING=y\nCONFIG_NUMA_BALANCING_DEFAULT_ENABLED=y\n"


def with_service(files: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return a host whose governor numatune's own unit sets."""
    made: dict[str, str | None] = {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "performance\n" for cpu in range(8)}
    for change in boot_service.changes(
        snapshot({}), "cpu_governor", ["cpus 1,3,5,7 cpufreq/scaling_governor performance"], "why"
    ):
        made[change.path[1:]] = Link(change.content or "") if change.kind == "link" else change.content
    return {**made, "boot/config-6.1.0-synthetic": NUMA_ON + "CONFIG_CPU_FREQ_DEFAULT_GOV_SCHEDUTIL=y\n", **files}


APPLY = f"{ETC}/{ours.UNIT}.d/x.conf"


@pytest.mark.parametrize(
    ("shown", "status"), [("", "unknown"), (says(ours.UNIT, ConditionResult="no"), "lost_at_reboot")]
)
def test_a_condition_on_numatunes_own_unit(shown: str, status: str) -> None:
    assert judged("cpu_governor", snapshot(with_service({}))).status.value == "ok"
    snap = snapshot(with_service({APPLY: CONDITION}), shown)
    finding = judged("cpu_governor", snap)
    assert finding.status.value == status
    assert f"/{APPLY} line 2" in finding.reason
    assert finding.remedy == f"take that line out of /{APPLY}"
    (conflict,) = planned("cpu_governor", snap).conflicts
    assert f"take that line out of /{APPLY}; then run again" in conflict.message


def test_what_holds_the_unit_back_is_the_remedy_of_every_setting_that_it_applies() -> None:
    made = with_service({APPLY: CONDITION})
    for change in boot_service.changes(snapshot({}), "irq_affinity", ["irqs * 0,2,4,6"], "why"):
        made.setdefault(change.path[1:], change.content)
    placed = {f"proc/irq/{number}/effective_affinity_list": "0\n" for number in range(24, 40)}
    units_ = says("irqbalance.service", LoadState="not-found", ActiveState="inactive")
    finding = judged("irq_affinity", snapshot({**made, **placed}, units_))
    assert finding.status.value == "unknown"
    assert f"/{APPLY} line 2" in finding.reason
    assert finding.remedy == f"take that line out of /{APPLY}"


def test_a_value_changed_by_hand_asks_for_no_reboot() -> None:
    files = with_service({f"{CPU}/cpu3/cpufreq/scaling_governor": "powersave\n"})
    finding = judged("cpu_governor", snapshot(files))
    assert finding.status.value == "pending_reboot"
    assert "right at every boot, but not now" in finding.reason
    assert "which sets it now" in finding.remedy
    assert "no reboot is needed" in finding.remedy
    idle = judged("cpu_idle", snapshot({**CAPPED, f"{CPU}/cpu3/power/pm_qos_resume_latency_us": "0\n"}))
    assert idle.status.value == "pending_reboot"
    assert "no reboot is needed" in idle.remedy


def test_three_units_masked_at_once_end_in_no_useless_reboot() -> None:
    """Seen in a guest: after a reboot the audit said pending_reboot of all three, which another one would not mend."""
    masks = {f"{ETC}/{unit}": NULL for unit in (SYSCTL, TMPFILES)}
    snap = snapshot(
        {**with_service({APPLY: CONDITION, **masks}), "etc/tmpfiles.d/a.conf": QOS},
        says(ours.UNIT, ConditionResult="no"),
        numa_balancing="1",
        governor="schedutil",
    )
    broken = {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "schedutil\n" for cpu in range(8)}
    snap = Snapshot(
        {**snap.files, **{f"/{path}": text for path, text in broken.items()}},
        snap.problems,
        snap.links,
        snap.dirs,
        snap.commands,
        True,
    )
    for name in ("numa_balancing", "cpu_governor", "cpu_idle"):
        finding = judged(name, snap)
        assert finding.status.value == "wrong", finding
        assert "reboot" not in finding.remedy
        assert finding.remedy


def test_sources_reach_every_place() -> None:
    paths = {source.path for source in units.SOURCES if hasattr(source, "path")}
    assert {f"/{ETC}/{SYSCTL}", f"/{ETC}/{SYSCTL}.d/*.conf", f"/{VENDOR}/sysinit.target.wants/{TMPFILES}"} <= paths


@pytest.mark.skipif(not shutil.which("systemctl"), reason="needs systemctl, which reads units below --root")
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("masked by") and "argument" not in name])
def test_masks_are_what_systemd_takes_for_them(name: str, tmp_path: Path) -> None:
    files = {path: text for path, text in CASES[name].files.items() if text is not None}
    files.setdefault(f"{VENDOR}/{SYSCTL}", "[Service]\nExecStart=/bin/true\n")
    write(files, tmp_path)
    asked = ["systemctl", f"--root={tmp_path}", "is-enabled", SYSCTL]
    said = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()
    assert said == "masked"
