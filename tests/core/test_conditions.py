"""Conditions that trees of real machines and edited guests showed, each with the answer worked out before the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from synthetic import CPU, NODE, Link, Tree, host

from numatune.core import catalogue
from numatune.core.audit import judge
from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.collecting.snapshot import Snapshot
from numatune.core.host import Host
from numatune.core.machine.container import container
from numatune.core.machine.facts import facts
from numatune.core.machine.topology import read
from numatune.core.model import Finding, HostReport, Reading, Severity, State
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping
from numatune.core.settings.cpu import cpu_governor_boot

TODAY = date(2027, 1, 1)
NOBODY = {"cpu_dma_latency": "2000000000\n"}
ACTIVE = "Id=tuned.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
OFF = "kernel.numa_balancing = 0\n"
ON = "kernel.numa_balancing = 1\n"


@dataclass(frozen=True)
class Case:
    """What a host of 8 CPUs is made of."""

    made: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)
    commands: Mapping[str, str | None] = field(default_factory=dict)
    captured: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict)


def snapshot(case: Case) -> Snapshot:
    files: dict[str, str] = host(**{"cpus": 8, **case.made})
    for pattern, text in case.files.items():
        for path in [path for path in files if path == pattern or path.startswith(pattern + "/")] or [pattern]:
            if text is None:
                files.pop(path, None)
            else:
                files[path] = text
    found = collect(Tree(files), complete=not case.captured)
    commands = {
        name: Reading(name, State.PRESENT, text) if text is not None else Reading(name, State.ERROR)
        for name, text in case.commands.items()
    }
    return Snapshot(found.files, found.problems, found.links, found.dirs, commands, found.complete)


def judged(name: str, case: Case) -> Finding:
    return catalogue.setting(name).judge(Host(snapshot(case), from_mapping(case.profile)))


def report(case: Case) -> HostReport:
    return judge(snapshot(case), from_mapping(case.profile), TODAY)


def planned(name: str, case: Case) -> Plan:
    return make_plan(snapshot(case), from_mapping(case.profile), TODAY, [name])


def check(name: str, status: str, case: Case) -> Finding:
    finding = judged(name, case)
    assert finding.status.value == status, finding
    return finding


# D2: what counts is how many nodes are online, those of memory alone included.
def memory_only(node: int = 1) -> dict[str, str | None]:
    return {f"{NODE}/node{node}/cpulist": "\n", f"{NODE}/node{node}/meminfo": f"Node {node} MemTotal: 1024 kB\n"}


def test_a_node_of_memory_alone_is_migrated_from() -> None:
    case = Case({"nodes": 1, "numa_balancing": "1", "sysctl": {}}, memory_only())
    finding = check("numa_balancing", "wrong", case)
    assert finding.severity is Severity.CRITICAL
    assert "between 2 nodes" in finding.reason
    lost = check("numa_balancing", "lost_at_reboot", Case({"nodes": 1, "sysctl": {}}, memory_only()))
    assert lost.severity is Severity.CRITICAL


# D3: TuneD's [sysctl], and what it applies again after its profile.
ETC, LIB = "etc/tuned/site/tuned.conf", "usr/lib/tuned/site/tuned.conf"
SETS = "[sysctl]\nkernel.numa_balancing=0\n"
CONF = "etc/sysctl.conf"


def tuned(text: str, path: str = ETC, name: str = "site", **more: str | None) -> dict[str, str | None]:
    return {"etc/tuned/active_profile": f"{name}\n", path: text, **more}


MAIN = "etc/tuned/tuned-main.conf"
MODE = "etc/tuned/profile_mode"
BARE: dict[str, Any] = {"sysctl": {}}
TUNED = {
    "holds it": ("ok", BARE, tuned(SETS), f"TuneD (/{ETC} line 2) keeps it off"),
    "holds it, chosen by hand": ("ok", BARE, {**tuned(SETS), MODE: "manual\n"}, "keeps it off"),
    "chooses its profile itself": ("unknown", BARE, {**tuned(SETS), MODE: "auto\n"}, "profile_mode"),
    "of the vendor": ("ok", BARE, tuned(SETS, LIB), f"TuneD (/{LIB} line 2)"),
    "of the vendor, hidden": ("lost_at_reboot", BARE, {**tuned("[sysctl]\nvm.x=1\n"), LIB: SETS}, "no file persists"),
    "through an include": (
        "ok",
        BARE,
        {**tuned("[main]\ninclude=base\n"), "usr/lib/tuned/base/tuned.conf": SETS},
        "TuneD (/usr/lib/tuned/base/tuned.conf line 2)",
    ),
    "an include that is not there": ("unknown", BARE, tuned("[main]\ninclude=base\n"), "was not read whole"),
    "a variable": ("ok", BARE, tuned("[variables]\nx=0\n[sysctl]\nkernel.numa_balancing=${x}\n"), "keeps it off"),
    "a function": ("unknown", BARE, tuned("[sysctl]\nkernel.numa_balancing=${f:x}\n"), "comes to is not known"),
    "a variable of a file": (
        "unknown",
        BARE,
        tuned("[variables]\ninclude=/etc/tuned/x.conf\n[sysctl]\nkernel.numa_balancing=${x}\n"),
        "comes to is not known",
    ),
    "a condition on what is there": ("unknown", BARE, tuned("[sysctl]\nkernel.numa_balancing=>0\n"), "is not known"),
    "a section by another name": ("ok", BARE, tuned("[mine]\ntype=sysctl\nkernel.numa_balancing=0\n"), ""),
    "a section that is off": ("lost_at_reboot", BARE, tuned("[sysctl]\nenabled=0\nkernel.numa_balancing=0\n"), ""),
    "for some machines alone": (
        "unknown",
        BARE,
        tuned("[sysctl]\nuname_regex=x\nkernel.numa_balancing=0\n"),
        "is not known",
    ),
    "a comment with a form feed": (
        "lost_at_reboot",
        BARE,
        tuned("[sysctl]\nvm.x=1\n# x\fkernel.numa_balancing=0\n"),
        "",
    ),
    "sets it, after an argument": (
        "lost_at_reboot",
        {**BARE, "arguments": "numa_balancing=disable"},
        tuned(SETS.replace("=0", "=1")),
        f"/{ETC} line 2 sets 1",
    ),
    "sets it, a file is applied again": ("ok", {"sysctl": {"9.conf": OFF}}, tuned(SETS.replace("=0", "=1")), "9.conf"),
    "sets it, nothing is applied again": (
        "masked",
        {"sysctl": {"9.conf": OFF}},
        {**tuned(SETS.replace("=0", "=1")), MAIN: "reapply_sysctl = 0\n"},
        "TuneD sets it",
    ),
    "sets it, over the vendor's file": (
        "masked",
        BARE,
        {**tuned(SETS.replace("=0", "=1")), "usr/lib/sysctl.d/1.conf": OFF},
        "TuneD sets it",
    ),
    "sets it, over a pattern": (
        "masked",
        {"sysctl": {"9.conf": "kernel.numa_* = 0\n"}},
        tuned(SETS.replace("=0", "=1")),
        "",
    ),
    "applies /etc/sysctl.conf last": (
        "masked",
        {"sysctl": {"9.conf": OFF}},
        {**tuned("[sysctl]\nvm.x=1\n"), CONF: ON, "run/systemd/system/x": ""},
        "/etc/sysctl.conf line 1 wins",
    ),
    "has no sysctl, so applies none": (
        "ok",
        {"sysctl": {"9.conf": OFF}},
        {**tuned("[cpu]\ngovernor=x\n"), CONF: ON, "run/systemd/system/x": ""},
        "",
    ),
    "was not read, a file is applied again": ("ok", {"sysctl": {"9.conf": OFF}}, tuned("", name="gone"), ""),
    "was not read, nothing is applied again": (
        "unknown",
        {"sysctl": {"9.conf": OFF}},
        {**tuned("", name="gone"), MAIN: "reapply_sysctl=0\n"},
        "was not read whole",
    ),
}


@pytest.mark.parametrize("name", TUNED)
def test_tuned_holds_or_masks_the_sysctl(name: str) -> None:
    status, made, files, words = TUNED[name]
    case = Case(made, files, {"units": ACTIVE})
    assert words in check("numa_balancing", status, case).reason


@pytest.mark.parametrize(
    ("state", "status"),
    [("disabled", "lost_at_reboot"), ("masked", "lost_at_reboot"), ("enabled", "ok"), ("enabled-runtime", "ok")],
)
def test_tuned_counts_where_the_next_boot_starts_it(state: str, status: str) -> None:
    check("numa_balancing", status, Case(BARE, tuned(SETS), {"units": ACTIVE.replace("enabled", state)}))


WANTS = {"etc/systemd/system/multi-user.target.wants/tuned.service": Link("/usr/lib/systemd/system/tuned.service")}


def test_tuned_of_a_tree_is_known_by_its_links() -> None:
    check("numa_balancing", "ok", Case(BARE, {**tuned(SETS), **WANTS}))
    mask: dict[str, str | None] = {"etc/systemd/system/tuned.service": Link("/dev/null")}
    check("numa_balancing", "lost_at_reboot", Case(BARE, {**tuned(SETS), **WANTS, **mask}))


def test_tuned_that_failed_proves_nothing() -> None:
    check("numa_balancing", "unknown", Case(BARE, tuned(SETS), {"units": ACTIVE.replace("active", "failed", 1)}))


def test_what_tuned_sets_after_every_file_is_a_conflict() -> None:
    sets = tuned(SETS.replace("=0", "=1"))
    case = Case({**BARE, "numa_balancing": "1"}, sets, {"units": ACTIVE})
    assert planned("numa_balancing", case).changes[0].path == "/etc/sysctl.d/99-zz-numatune.conf"
    (conflict,) = planned(
        "numa_balancing", Case(case.made, {**sets, MAIN: "reapply_sysctl=0\n"}, case.commands)
    ).conflicts
    assert (conflict.path, conflict.line) == (f"/{ETC}", 2)


# D4: what was not read says nothing of who holds it. Nothing on disk caps these CPUs, so that the next boot is wrong is
# known all the same; that they may sleep too deep now is not, and is not said.
HELD = {
    "root, nobody": ("wrong", {"cpu_dma_latency": "2000000000\n", "uid": "0\n"}, "deeper than 2 us"),
    "root, a process": ("lost_at_reboot", {"cpu_dma_latency": "0\n", "uid": "0\n"}, "holds /dev/cpu_dma_latency"),
    "somebody else": (
        "lost_at_reboot",
        {"cpu_dma_latency": None, "uid": "1000\n"},
        "needs root to read /dev/cpu_dma_latency",
    ),
    "root, and it fails": (
        "lost_at_reboot",
        {"cpu_dma_latency": None, "uid": "0\n"},
        "/dev/cpu_dma_latency could not be read",
    ),
    "no number": ("lost_at_reboot", {"cpu_dma_latency": "x\n"}, "/dev/cpu_dma_latency"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_latency_that_was_not_read_is_not_nobodys(name: str) -> None:
    status, commands, words = HELD[name]
    reason = check("cpu_idle", status, Case(commands=commands)).reason
    assert words in reason
    assert ("may sleep deeper" in reason) is (status == "wrong")
    # With the next boot right, what is not known now is all there is to say.
    argument = Case({"arguments": "intel_idle.max_cstate=1"}, commands=commands)
    later = {"wrong": "pending_reboot", "lost_at_reboot": "unknown" if "whether" in reason else "ok"}[status]
    assert judged("cpu_idle", argument).status.value == later
    capped = {f"{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us": "2\n" for cpu in range(8)}
    assert judged("cpu_idle", Case(files=capped, commands=commands)).status.value == "lost_at_reboot"


def test_a_tree_does_not_show_who_holds_it() -> None:
    finding = check("cpu_idle", "unknown", Case(captured=True))
    assert "/dev/cpu_dma_latency is not in the captured tree" in finding.reason


# D1: see test_plan_cpu.py; the descriptions are captured trees' alone.
def test_a_state_is_known_by_its_description() -> None:
    files: dict[str, str | None] = {}
    for cpu in range(8):
        base = f"{CPU}/cpu{cpu}/cpuidle/state"
        files |= {f"{base}0/name": "X\n", f"{base}0/latency": "1\n", f"{base}0/desc": "CPUIDLE CORE POLL IDLE\n"}
    assert judged("cpu_idle", Case(files=files)).expected == "at most 2 us exit latency"
    arm = {**files, "proc/version": "Linux version 6.1-aarch64\n", "proc/sys/kernel/osrelease": "6.1-x.aarch64\n"}
    for cpu in range(8):
        arm |= {f"{CPU}/cpu{cpu}/cpuidle/state0/desc": "ARM\n", f"{CPU}/cpu{cpu}/cpuidle/state0/latency": "0\n"}
    # There a first state that takes no time to leave stops the CPU.
    assert judged("cpu_idle", Case(files=arm)).expected == "at most 1 us exit latency"


def test_a_cap_that_no_state_exceeds_needs_no_file() -> None:
    """As on a POWER host: what is persisted may be unknown, and a file that asks for the cap would change nothing."""
    files: dict[str, str | None] = {f"{CPU}/cpu{cpu}/cpuidle": None for cpu in range(8)}
    for cpu in range(8):
        for number, (name, latency) in enumerate((("snooze", 0), ("CEDE", 10))):
            base = f"{CPU}/cpu{cpu}/cpuidle/state{number}"
            files |= {f"{base}/name": f"{name}\n", f"{base}/latency": f"{latency}\n", f"{base}/disable": "0\n"}
    gone: dict[str, str | None] = {"etc": None, "boot": None, "usr": None}
    tree = Case(files={**files, **gone}, captured=True)
    found = check("cpu_idle", "ok", tree)
    assert (found.expected, found.persisted) == ("at most 10 us exit latency", None)
    assert planned("cpu_idle", tree).changes == ()
    # One CPU whose states were not read may have a deeper one.
    fewer = {path: text for path, text in tree.files.items() if not path.startswith(f"{CPU}/cpu7/cpuidle/")}
    check("cpu_idle", "unknown", Case(files=fewer, captured=True))
    deeper = {**tree.files, f"{CPU}/cpu7/cpuidle/state1/latency": "11\n"}
    asked = {"settings": {"cpu_idle": {"max_exit_latency_us": 10}}}
    check("cpu_idle", "unknown", Case(files=deeper, captured=True, profile=asked))


# D9: queues that were not captured are not none.
def test_network_queues_that_were_not_captured_are_not_none() -> None:
    case = Case({"irqs": 8}, captured=True)
    (conflict,) = planned("irq_affinity", case).conflicts
    assert "/sys/class/net is not in the captured tree" in conflict.message
    (found,) = [item for item in report(case).findings if item.setting == "irq_affinity"]
    assert found.remedy == conflict.message.replace("run again", "run playbooks/tune.yml")
    queues: dict[str, str | None] = {
        f"sys/class/net/e{number}/device/net/e{number}/queues/rx-{queue}/x": "" for number in (0, 1) for queue in (0, 1)
    }
    assert planned("irq_affinity", Case({"irqs": 8}, queues, captured=True)).changes
    assert planned("irq_affinity", Case({"irqs": 8})).changes


def test_what_tune_refuses_is_the_remedy() -> None:
    only = {f"{CPU}/cpu{cpu}/cpufreq/scaling_available_governors": "schedutil powersave\n" for cpu in range(8)}
    offered: dict[str, str | None] = {**only}
    case = Case({"governor": "schedutil"}, offered)
    (found,) = [item for item in report(case).findings if item.setting == "cpu_governor"]
    assert found.remedy.endswith("in cpu_governor's option `expected`; then run playbooks/tune.yml")
    assert "run playbooks/tune.yml, or" not in found.remedy
    (right,) = [item for item in report(Case({"governor": "schedutil"})).findings if item.setting == "cpu_governor"]
    assert right.remedy.startswith("run playbooks/tune.yml")


# D10: one file less is not every core less.
def siblings(cpu: int, name: str = "thread_siblings_list") -> str:
    return f"{CPU}/cpu{cpu}/topology/{name}"


def test_one_missing_file_makes_no_cores_vanish() -> None:
    whole = read(snapshot(Case()))
    for text in (None, "x-\n"):
        assert read(snapshot(Case(files={siblings(7): text}))).cores == whole.cores
    both = Case(files={siblings(3): None, siblings(7): None})
    shape = read(snapshot(both))
    assert [str(core) for core in shape.cores] == ["0,4", "1,5", "2,6"]
    assert str(shape.coreless) == "3,7"
    assert facts(snapshot(both), shape)["topology"]["cores"] is None
    roles = Host(snapshot(both), from_mapping({})).roles
    assert (str(roles.serving), str(roles.housekeeping)) == ("1,5", "0,2-4,6-7")


def test_cores_are_known_by_their_newer_names() -> None:
    files: dict[str, str | None] = {siblings(cpu): None for cpu in range(8)}
    lists = {siblings(cpu, "core_cpus_list"): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)}
    masks = {siblings(cpu, "core_cpus"): f"{0x11 << cpu % 4:02x}\n" for cpu in range(8)}
    for shown in (lists, masks):
        assert len(read(snapshot(Case(files={**files, **shown}))).cores) == 4


# D11: firmware that lists every CPU in every node.
def test_nodes_that_share_their_cpus_share_what_keeps_house() -> None:
    files: dict[str, str | None] = {f"{NODE}/node{node}/cpulist": "0-7\n" for node in range(4)}
    case = Case({"threads": 1, "cpus": 8, "nodes": 1}, files)
    roles = Host(snapshot(case), from_mapping({})).roles
    assert (str(roles.serving), str(roles.housekeeping)) == ("1-7", "0")
    assert judged("irqbalance", case).status.value == "unknown"
    half = Case(case.made, {f"{NODE}/node0/cpulist": "0-7\n", f"{NODE}/node1/cpulist": "4-7\n"})
    assert str(Host(snapshot(half), from_mapping({})).roles.housekeeping) == "0,4"


# D12: what a tree does not hold says nothing of the loader.
def test_a_tree_without_boot_does_not_say_how_it_starts() -> None:
    wanted = {"settings": {"kernel_arguments": {"wanted": {"x": "y"}}}}
    gone: dict[str, str | None] = {"boot": None}
    found = judged("kernel_arguments", Case(files=gone, captured=True, profile=wanted))
    assert "started from outside" not in found.reason
    assert "not in the captured tree" in found.reason
    assert found.reason.count("in the captured tree") == 1
    known = {
        item.setting: item for item in report(Case({"arguments": "x=y"}, gone, captured=True, profile=wanted)).findings
    }
    assert known["kernel_arguments"].status.value == "unknown"
    assert known["kernel_arguments"].remedy.startswith("capture what is named here too")
    case = Case({"arguments": "ostree=/ostree/boot.1/x"}, gone, captured=True, profile=wanted)
    assert "ostree" in judged("kernel_arguments", case).reason


# D13, D14: what is missing, and not what is there.
def test_what_is_missing_is_named() -> None:
    found = check("core_isolation", "unknown", Case(files={"sys/fs/cgroup/x": ""}, captured=True))
    assert "does not exist" not in found.reason
    assert "what /sys/fs/cgroup holds is not in the captured tree" in found.reason
    no_disable: dict[str, str | None] = {
        f"{CPU}/cpu{cpu}/cpuidle/state{number}/disable": None for cpu in range(8) for number in range(4)
    }
    case = Case(files=no_disable, commands=NOBODY, captured=True)
    assert "which idle states of CPU 1 are disabled" in check("cpu_idle", "unknown", case).reason


# What a captured tree does not tell of TuneD, TLP and their like is not "none of them starts".
LISTED = "sos_commands/systemd/systemctl_list-unit-files"
OURS = "numatune-apply.service enabled\n"
ARGUMENT: dict[str, Any] = {
    "arguments": "cpufreq.default_governor=performance intel_idle.max_cstate=1",
    "idle_disabled": ("C1E", "C6"),
}
TREE: dict[str, str | None] = {
    "etc/tuned/active_profile": "mine",
    "etc/systemd/system/x.wants/x": "",
    "etc/sysfs.conf": "",
    "etc/sysfs.d/x": "",
    **{f"{folder}/tmpfiles.d/x": "" for folder in ("etc", "usr/local/lib", "usr/lib")},
}


def tuned_profile(*lines: str) -> dict[str, str | None]:
    return {**TREE, "etc/tuned/mine/tuned.conf": "\n".join(["[cpu]", *lines])}


def test_a_governor_is_not_ok_where_an_agent_was_not_captured() -> None:
    files = {**TREE, "etc/tuned/active_profile": "", "etc/tuned/x": ""}
    assert check("cpu_governor", "ok", Case(ARGUMENT, files)).persisted is None
    found = check("cpu_governor", "unknown", Case(ARGUMENT, files, captured=True))
    assert "whether tuned.service starts at boot is not in the captured tree" in found.reason
    # The list of all units tells it.
    listed = {**files, LISTED: OURS}
    assert check("cpu_governor", "ok", Case(ARGUMENT, listed, captured=True))
    check("cpu_governor", "unknown", Case(ARGUMENT, {**listed, LISTED: "tlp.service enabled\n"}, captured=True))
    # What is wrong stays so.
    check("cpu_governor", "wrong", Case({"governor": "powersave"}, files, captured=True))
    masks: dict[str, str | None] = {
        f"etc/systemd/system/{unit}": Link("/dev/null") for unit, _ in cpu_governor_boot.AGENTS.units
    }
    check("cpu_governor", "unknown", Case(ARGUMENT, {**files, **masks}, captured=True))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("pm_qos_resume_latency_us=100",), "unknown"),
        (("pm_qos_resume_latency_us=${cap}",), "unknown"),
        (("pm_qos_resume_latency_us=1",), "ok"),
        (("governor=performance",), "ok"),
        (("include=gone", "governor=performance"), "ok"),
    ],
)
def test_an_idle_cap_is_not_ok_where_tuned_may_ask_for_more(lines: tuple[str, ...], status: str) -> None:
    case = Case(ARGUMENT, tuned_profile(*lines), NOBODY, captured=True)
    found = check("cpu_idle", status, case)
    assert ("whether tuned.service starts at boot is not in the captured tree" in found.reason) == (status == "unknown")
    # The list of all units tells that it does not start.
    check("cpu_idle", "ok", Case(ARGUMENT, {**case.files, LISTED: OURS}, NOBODY, captured=True))


def test_an_idle_cap_is_not_ok_where_tuneds_profile_cannot_be_read() -> None:
    enabled = {LISTED: "tuned.service enabled\n"}
    lost = Case(ARGUMENT, {**TREE, **enabled, "etc/tuned/x": ""}, NOBODY, captured=True)
    assert "was not read whole" in check("cpu_idle", "unknown", lost).reason
    auto = Case(
        ARGUMENT,
        {**tuned_profile("pm_qos_resume_latency_us=1"), **enabled, "etc/tuned/profile_mode": "auto"},
        NOBODY,
        captured=True,
    )
    assert "profile_mode auto" in check("cpu_idle", "unknown", auto).reason


# D15, D16: an unknown one is not mended but looked at.
def test_what_is_unknown_says_how_to_know() -> None:
    found = {finding.setting: finding for finding in report(Case(captured=True)).findings}
    assert {finding.status.value for finding in found.values()} >= {"unknown"}
    for finding in found.values():
        if finding.status.value == "unknown":
            assert finding.remedy == "capture what is named here too (`numatune collect -o DIR HOST` does)", finding
    closed = Case({"arguments": "intel_idle.max_cstate=1"}, commands={"cpu_dma_latency": None, "uid": "7\n"})
    (idle,) = [finding for finding in report(closed).findings if finding.setting == "cpu_idle"]
    assert "as root" in idle.remedy
    left = make_plan(snapshot(Case(captured=True)), from_mapping({}), TODAY).left
    assert left
    assert not any("tune.yml" in item.remedy for item in left)


# D17: what a container shows is its host's.
CONTAINERS = {
    "systemd's word": ({"run/systemd/container": "lxc\n"}, {}, "lxc"),
    "another word": ({"run/systemd/container": "x; rm\n"}, {}, "container-other"),
    "docker": ({".dockerenv": ""}, {}, "docker"),
    "a machine made of docker's image": ({".dockerenv": "", "proc/2/comm": "kthreadd\n"}, {}, None),
    "podman": ({"run/.containerenv": 'engine="podman"\n'}, {}, "podman"),
    "the first process's environment": ({"proc/1/environ": "HOME=/\0container=systemd-nspawn\0"}, {}, "systemd-nspawn"),
    "an environment without": ({"proc/1/environ": "HOME=/\0container=\0xcontainer=y\0"}, {}, None),
    "asked alive": ({}, {"container": "podman\n"}, "podman"),
    "a report's hostnamectl": (
        {"sos_commands/host/hostnamectl_status": "  Chassis: container\n  Virtualization: lxc\n"},
        {},
        "lxc",
    ),
    "a report of a guest": (
        {"sos_commands/host/hostnamectl_status": "  Chassis: vm\n  Virtualization: kvm\n"},
        {},
        None,
    ),
    "a machine": ({}, {}, None),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_told(name: str) -> None:
    files, commands, wanted = CONTAINERS[name]
    case = Case(files=files, commands=commands, captured=bool(files))
    assert container(snapshot(case)) == wanted
    if wanted:
        assert facts(snapshot(case), read(snapshot(case)))["virtualization"] == wanted


def test_a_container_owns_nothing() -> None:
    case = Case({"numa_balancing": "1", "sysctl": {}, "governor": "powersave"}, {"run/systemd/container": "lxc\n"})
    found = report(case)
    assert found.status == "incomplete"
    assert {finding.status.value for finding in found.findings} <= {"unknown", "not_applicable"}
    numa = found.findings[0]
    assert (numa.runtime, numa.remedy) == ("1", "audit and tune the container's host")
    assert "this is a container (lxc)" in numa.reason
    plan = make_plan(snapshot(case), from_mapping({}), TODAY)
    assert (plan.changes, plan.conflicts) == ((), ())
    assert {item.setting for item in plan.left} == {item.setting for item in found.findings if item.bad}


# D18: facts.
def shape(case: Case) -> dict[str, Any]:
    return facts(snapshot(case), read(snapshot(case)))


INFOS = {
    "flags\t: fpu lm\n": "x86_64",
    "flags\t: fpu\n": "i686",
    "cpu\t\t: POWER7 (raw), altivec supported\n": "ppc64",
    "cpu\t\t: POWER9\n": None,
    "CPU architecture: 8\n": "aarch64",
    "CPU architecture: AArch64\n": "aarch64",
    "CPU architecture: 7\n": "armv7l",
    "Processor\t: ARMv7 Processor rev 5 (v7l)\nprocessor\t: 0\n": "armv7l",
    "processor\t: 0\nmodel name\t: ARMv6-compatible processor rev 7 (v6l)\n": "armv6l",
    "Processor\t: AArch64 Processor rev 3 (aarch64)\nprocessor\t: 0\n": "aarch64",
    "isa\t\t: rv64imafdc\n": "riscv64",
    "vendor_id       : IBM/S390\n": "s390x",
    "vendor     : GenuineIntel\narch       : IA-64\n": "ia64",
}


@pytest.mark.parametrize("info", INFOS)
def test_architecture_by_what_the_kernel_says_of_its_cpus(info: str) -> None:
    assert shape(Case(files={"proc/cpuinfo": info}))["arch"] == INFOS[info]


def test_packages_are_those_of_the_ids_where_siblings_are_of_half_a_package() -> None:
    files: dict[str, str | None] = {
        **{siblings(cpu, "core_siblings_list"): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)},
        **{siblings(cpu, "physical_package_id"): f"{cpu % 2}\n" for cpu in range(8)},
    }
    assert shape(Case(files=files))["topology"]["packages"] == 2
    files |= {siblings(cpu, "physical_package_id"): "-1\n" for cpu in range(8)}
    assert shape(Case(files=files))["topology"]["packages"] == 4


def test_a_tree_without_cpus_has_those_of_cpuinfo() -> None:
    gone: dict[str, str | None] = {
        CPU: None,
        "proc/cpuinfo": "processor\t: 0\nflags : lm\n\nprocessor\t: 1\n\nprocessor\t: 5\n",
    }
    assert shape(Case(files=gone, captured=True))["topology"]["online"] == "0-1,5"
    assert (
        shape(Case(files={**gone, "proc/cpuinfo": "processor 3: version = FF\n"}, captured=True))["topology"]["online"]
        == "3"
    )


def test_virtualbox_is_no_machine() -> None:
    assert shape(Case(files={"sys/class/dmi/id/product_name": "VirtualBox\n"}))["virtualization"] == "oracle"
    pci = {"proc/bus/pci/devices": "0010\t80eebeef\ta\n"}
    assert shape(Case(files=pci, captured=True))["virtualization"] == "oracle"


# D20: words that say what is so.
def test_words_that_say_what_is_so() -> None:
    userspace = {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "userspace\n" for cpu in range(8)}
    assert "userspace keeps whatever frequency a program set" in judged("cpu_governor", Case(files=userspace)).reason
    two = {f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "ondemand\n" for cpu in range(4)}
    reason = judged("cpu_governor", Case({"governor": "schedutil"}, two)).reason
    assert "ondemand and schedutil lower the frequency between requests, so a request starts slow" in reason
    other = {"settings": {"cpu_governor": {"expected": "schedutil"}}}
    reason = judged("cpu_governor", Case(profile=other)).reason
    assert "performance asks for the highest frequency at all times" in reason
    assert "lower" not in reason
    no_idle: dict[str, str | None] = {**{f"{CPU}/cpu{cpu}/cpuidle": None for cpu in range(8)}, f"{CPU}/cpuidle": None}
    polling = check("cpu_idle", "ok", Case({"arguments": "idle=poll"}, no_idle))
    assert "idle=poll: CPUs spin" in polling.reason
    assert shape(Case(files={"proc/sys/kernel/osrelease": "6." + "1" * 5000 + "\n"}))["kernel"] is None
    affinity = judged("core_isolation", Case({"arguments": "systemd.cpu_affinity=0,40"}))
    assert "systemd.cpu_affinity=0,40 keeps what systemd starts" in affinity.reason
    realtime: dict[str, str | None] = {"proc/sys/kernel/osrelease": "4.18.0-305.25.1.rt7.97.el8_4.x86_64\n"}
    check("numa_balancing", "not_applicable", Case({"numa_balancing": None}, realtime, captured=True))


def test_irqbalances_file_is_the_distributions() -> None:
    kernel = {"proc/sys/kernel/osrelease": "5.14.0-427.el9.x86_64\n"}
    case = Case(files={**kernel, "etc": None}, commands={"units": ACTIVE.replace("tuned", "irqbalance")}, captured=True)
    host_ = Host(snapshot(case), from_mapping({}))
    from numatune.core.settings.interrupts import irqbalance_files

    assert irqbalance_files.file(host_.snapshot) == "/etc/sysconfig/irqbalance"


@pytest.mark.parametrize(
    ("files", "boot", "irqbalance"),
    [
        ({"proc/sys/kernel/osrelease": "6.1.0-13-amd64\n"}, "/boot/grub is", "/etc/default/irqbalance is"),
        ({"proc/sys/kernel/osrelease": "6.12.9+bpo-arm64\n"}, "/boot/grub is", "/etc/default/irqbalance is"),
        ({"proc/sys/kernel/osrelease": "5.14.0-427.el9.x86_64\n"}, "/boot/grub2 is", "/etc/sysconfig/irqbalance is"),
        ({"proc/sys/kernel/osrelease": "4.4.21-69-default\n"}, "/boot/grub2 is", "/etc/sysconfig/irqbalance is"),
        ({"etc/os-release": "ID=x\nID_LIKE=debian\n"}, "/boot/grub is", "/etc/default/irqbalance is"),
        (
            {},
            "/boot/grub2 and /boot/grub are",
            "/etc/sysconfig/irqbalance and /etc/default/irqbalance are",
        ),
        (
            {"proc/sys/kernel/osrelease": "dummy\n", "proc/cpuinfo": "vendor_id : IBM/S390\n"},
            "/boot/loader/entries is",
            "/etc/sysconfig/irqbalance and /etc/default/irqbalance are",
        ),
    ],
)
def test_what_was_not_captured_has_the_distributions_name(files: dict[str, str], boot: str, irqbalance: str) -> None:
    commands = {"units": ACTIVE.replace("tuned", "irqbalance")}
    case = Case(files={"boot": None, "etc": None, **files}, commands=commands, captured=True)
    found = {item.setting: item for item in report(case).findings}
    assert f" {boot} not in the captured tree" in found["core_isolation"].reason
    assert f" {irqbalance} not in the captured tree" in found["irqbalance"].reason
    assert "; /boot" not in found["core_isolation"].reason


def test_a_drop_in_that_wins_is_what_must_go() -> None:
    """Seen in a guest: to edit /etc/default/irqbalance, as was said, would have changed nothing."""
    drop_in = "etc/systemd/system/irqbalance.service.d/x.conf"
    files = {drop_in: "[Service]\nEnvironment=IRQBALANCE_BANNED_CPULIST=1\n", "etc/default/irqbalance": ""}
    case = Case(files=files, commands={"units": ACTIVE.replace("tuned", "irqbalance"), "irqbalance_environment": ""})
    finding = judged("irqbalance", case)
    assert f"out of /{drop_in}" in finding.remedy
    assert "take line 2" in finding.remedy
