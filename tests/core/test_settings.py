"""Every setting on made-up hosts of 8 CPUs: 1, 3, 5 and 7 serve; 0, 2, 4 and 6 keep house."""

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
from numatune.core.model import Finding, Reading, Severity, Snapshot, State
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping

SERVING = (1, 3, 5, 7)
RUNTIME = "proc/sys/kernel/numa_balancing"
CONFIG = "boot/config-6.1.0-synthetic"
GRUB = "boot/grub/grub.cfg"


@dataclass(frozen=True)
class Case:
    """What a host is made of, and the status (with words of the reason) that it comes to."""

    status: str
    words: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    captured: bool = False


def snapshot(case: Case) -> Snapshot:
    files = host(**{"cpus": 8, **case.made})
    for pattern, text in case.files.items():
        for path in [path for path in files if path == pattern or path.startswith(pattern + "/")] or [pattern]:
            if text is None:
                files.pop(path, None)
            else:
                files[path] = text
    found = collect(Tree(files), complete=not case.captured)
    commands = {name: Reading(name, State.PRESENT, text) for name, text in case.commands.items()}
    problems = {path: Reading(path, State.DENIED) for path in case.denied}
    kept = {path: text for path, text in found.files.items() if path not in problems}
    return replace(found, files=kept, problems={**found.problems, **problems}, commands=commands)


def judged(name: str, case: Case) -> Finding:
    return catalogue.setting(name).judge(Host(snapshot(case), from_mapping(case.profile)))


def check(name: str, case: Case) -> None:
    finding = judged(name, case)
    assert (finding.setting, finding.status.value, finding.reason) == (name, case.status, finding.reason)
    assert case.words in finding.reason
    assert finding.remedy or not finding.bad or finding.status.value == "unknown"


def off(value: str = "0") -> str:
    return f"kernel.numa_balancing = {value}\n"


def grub(arguments: str) -> dict[str, str]:
    """Return a menu that boots the running kernel with other arguments."""
    return {GRUB: f"set default=0\nmenuentry 'x' {{\n linux /boot/vmlinuz-6.1.0-synthetic ro {arguments}\n}}\n"}


def unit(name: str, active: str = "active", enabled: str = "enabled", load: str = "loaded") -> dict[str, str]:
    return {"units": f"Id={name}.service\nLoadState={load}\nActiveState={active}\nUnitFileState={enabled}\n"}


# What is its own: test_kit.py has the cases of every sysctl.
NUMA = {
    "ok": Case("ok", "/etc/sysctl.d/99-latency.conf keeps it off"),
    "ok, by argument": Case("ok", "the next kernel", made={"sysctl": {}, "arguments": "numa_balancing=disable"}),
    "ok, built off": Case("ok", made={"sysctl": {}}, files={CONFIG: "CONFIG_NUMA_BALANCING=y\n"}),
    "ok, one node": Case("ok", made={"sysctl": {}, "nodes": 1}),
    "wrong": Case("wrong", "unmaps pages", made={"numa_balancing": "1", "sysctl": {}}),
    "wrong, tiering": Case("wrong", made={"numa_balancing": "2", "sysctl": {}}),
    "wrong, both bits": Case("wrong", made={"numa_balancing": "3", "sysctl": {}}),
    "wrong, one node": Case(
        "wrong", "even on one node", made={"numa_balancing": "1", "sysctl": {"a.conf": off("1")}, "nodes": 1}
    ),
    "lost, by argument": Case("lost_at_reboot", made={"sysctl": {}, "nodes": 1}, files=grub("numa_balancing=enable")),
    "pending, by argument": Case(
        "pending_reboot", made={"numa_balancing": "1", "sysctl": {}}, files=grub("numa_balancing=disable")
    ),
    "unknown, no configuration": Case(
        "unknown", "the kernel's default is not known", made={"sysctl": {}}, files={CONFIG: None}
    ),
    "unknown, captured": Case("unknown", "not in the captured tree", made={"numa_balancing": None}, captured=True),
    "not applicable": Case("not_applicable", "no automatic NUMA balancing", made={"numa_balancing": None}),
    "not applicable, realtime": Case(
        "not_applicable",
        "PREEMPT_RT",
        made={"numa_balancing": None},
        files={"proc/version": "Linux version 6.1 #1 SMP PREEMPT_RT\n"},
        captured=True,
    ),
}


@pytest.mark.parametrize("case", NUMA.values(), ids=NUMA)
def test_numa_balancing(case: Case) -> None:
    check("numa_balancing", case)


def test_numa_balancing_matters_less_on_one_node() -> None:
    assert judged("numa_balancing", Case("", made={"nodes": 1})).severity is Severity.INFO
    assert judged("numa_balancing", Case("")).severity is Severity.CRITICAL


def planned(case: Case) -> Plan:
    others = {name: False for name in catalogue.names() if name != "numa_balancing"}
    return make_plan(snapshot(case), from_mapping({"settings": others}), date(2026, 11, 23))


DROP_IN, LATER = "/etc/sysctl.d/99-zz-numatune.conf", "99-zzz.conf"
OURS = next(item.content for item in planned(Case("", made={"sysctl": {}})).changes if item.path == DROP_IN)
PLANS = {
    "both": (Case("", made={"numa_balancing": "1", "sysctl": {}}), [DROP_IN, "/" + RUNTIME], []),
    "saptune would set it again": (Case("", made={"sysctl": {}}, commands=unit("saptune")), [], [""]),
    "sapconf, which runs now": (Case("", made={"sysctl": {}}, commands=unit("sapconf", enabled="disabled")), [], [""]),
    "saptune, and nothing to change": (
        Case("", made={"sysctl": {}}, files={DROP_IN[1:]: OURS}, commands=unit("saptune")),
        [],
        [],
    ),
}


@pytest.mark.parametrize(("case", "changes", "conflicts"), PLANS.values(), ids=PLANS)
def test_numa_balancing_plan(case: Case, changes: list[str], conflicts: list[str]) -> None:
    plan = planned(case)
    assert [change.path for change in plan.changes] == changes
    assert [conflict.path for conflict in plan.conflicts] == conflicts
    assert all(change.content.endswith("0\n") for change in plan.changes)


def test_conflict_names_the_line_that_would_win() -> None:
    conflict = planned(Case("", made={"sysctl": {LATER: "# mine\n" + off("1")}})).conflicts[0]
    assert (conflict.line, conflict.text) == (2, off("1").strip())
    assert "remove" in conflict.message


GOVERNOR = f"/{CPU}/cpu*/cpufreq/scaling_governor"
POLICIES = f"/{CPU}/cpufreq/policy*/scaling_governor"


def line(value: str, path: str = GOVERNOR) -> str:
    return f"w {path} - - - - {value}\n"


def built(governor: str) -> dict[str, str]:
    return {CONFIG: f"CONFIG_NUMA_BALANCING=y\nCONFIG_CPU_FREQ_DEFAULT_GOV_{governor.upper()}=y\n"}


PREFERENCE = "energy_performance_preference"


def freq(cpu: int, name: str = "scaling_governor") -> str:
    return f"{CPU}/cpu{cpu}/cpufreq/{name}"


RIGHT = {"etc/tmpfiles.d/10-latency.conf": line("performance")}
GOVERNORS = {
    "ok, built so": Case("ok", "performance now", files=built("performance")),
    "ok, persisted": Case("ok", files=RIGHT),
    "ok, by argument": Case("ok", files={**built("schedutil"), **grub("cpufreq.default_governor=performance")}),
    "unknown, an argument before its time": Case(
        "unknown",
        "cpufreq.default_governor= came with Linux 5.9, and 5.4.0-x may not know it",
        files={
            GRUB: grub("cpufreq.default_governor=performance")[GRUB].replace("6.1.0-synthetic", "5.4.0-x"),
            "proc/sys/kernel/osrelease": "5.4.0-x\n",
        },
    ),
    "ok, the argument's first kernel": Case(
        "ok",
        files={
            GRUB: grub("cpufreq.default_governor=performance")[GRUB].replace("6.1.0-synthetic", "5.9.0"),
            "proc/sys/kernel/osrelease": "5.9.0\n",
        },
    ),
    "lost, quotes are written": Case("lost_at_reboot", files={"etc/tmpfiles.d/a.conf": line("'performance'")}),
    "ok, one word is read": Case(
        "ok", made={"driver": "intel_pstate"}, files={"etc/tmpfiles.d/a.conf": line("performance # why")}
    ),
    "ok, housekeeping is slow": Case("ok", files={**RIGHT, freq(0): "powersave\n", freq(6): "powersave\n"}),
    "ok, the vendor's file is hidden": Case(
        "ok", files={**RIGHT, "usr/lib/tmpfiles.d/10-latency.conf": line("powersave")}
    ),
    "ok, policies": Case("ok", files={"etc/tmpfiles.d/a.conf": line("performance", POLICIES)}),
    "ok, line by line": Case(
        "ok", files={"etc/tmpfiles.d/a.conf": "".join(line("performance", "/" + freq(cpu)) for cpu in SERVING)}
    ),
    "ok, another is wanted": Case(
        "ok",
        made={"governor": "schedutil"},
        files=built("schedutil"),
        profile={"settings": {"cpu_governor": {"expected": "schedutil"}}},
    ),
    "ok, a duplicate line is ignored": Case("ok", files={**RIGHT, "usr/lib/tmpfiles.d/50.conf": line("powersave")}),
    "ok, cpupower": Case("ok", files={"etc/default/cpupower": "governor='performance'\n"}, commands=unit("cpupower")),
    "ok, cpupower of a newer kernel": Case(
        "ok", files={"etc/cpupower-service.conf": "GOVERNOR='performance'\n"}, commands=unit("cpupower")
    ),
    "lost, cpufrequtils by its own default": Case("lost_at_reboot", "ondemand", commands=unit("cpufrequtils")),
    "lost, cpufrequtils of a runlevel": Case(
        "lost_at_reboot",
        "ondemand",
        files={**built("performance"), "etc/rc3.d/S01cpufrequtils": "#!/bin/sh\n"},
        commands=unit("cpufrequtils", enabled="generated"),
    ),
    "ok, cpufrequtils of no runlevel": Case(
        "ok", files=built("performance"), commands=unit("cpufrequtils", enabled="generated")
    ),
    "ok, cpufrequtils is switched off": Case(
        "ok",
        files={**built("performance"), "etc/default/cpufrequtils": "ENABLE=false\n"},
        commands=unit("cpufrequtils"),
    ),
    "wrong": Case("wrong", "schedutil lowers the frequency", made={"governor": "schedutil"}, files=built("schedutil")),
    "wrong, powersave pins": Case("wrong", "pins the lowest", made={"governor": "powersave"}),
    "wrong, intel_pstate's powersave": Case(
        "wrong", "intel_pstate's powersave scales", made={"governor": "powersave", "driver": "intel_pstate"}
    ),
    "wrong, energy preference": Case(
        "wrong",
        made={"driver": "intel_pstate"},
        files={freq(3, PREFERENCE): "balance_performance\n"},
    ),
    "wrong, mixed": Case("wrong", files={freq(3): "powersave\n"}),
    "pending": Case("pending_reboot", made={"governor": "powersave"}, files=RIGHT),
    "lost": Case("lost_at_reboot", "comes up with schedutil", files=built("schedutil")),
    "lost, persisted otherwise": Case("lost_at_reboot", files={"etc/tmpfiles.d/a.conf": line("powersave")}),
    "lost, a later vendor's file": Case(
        "lost_at_reboot", "powersave", files={**RIGHT, "usr/lib/tmpfiles.d/50.conf": line("powersave", POLICIES)}
    ),
    "lost, an earlier line for the same path": Case(
        "lost_at_reboot", "powersave", files={**RIGHT, "etc/tmpfiles.d/05.conf": line("powersave")}
    ),
    "lost, a later line for one CPU": Case(
        "lost_at_reboot", "powersave", files={**RIGHT, "etc/tmpfiles.d/50.conf": line("powersave", "/" + freq(3))}
    ),
    "unknown, built otherwise unsaid": Case("unknown", "the kernel's default is not known"),
    "unknown, one CPU shows none": Case("unknown", "CPU 5 shows no governor", files={**RIGHT, freq(5): None}),
    "unknown, an empty file": Case("unknown", "CPU 5 shows no governor", files={**RIGHT, freq(5): ""}),
    "unknown, denied": Case("unknown", files=RIGHT, denied=(f"/{freq(1)}",)),
    "unknown, tuned decides": Case(
        "unknown",
        "tuned.service starts at boot and decides by profile x",
        files={"etc/tuned/active_profile": "x\n", **RIGHT},
        commands=unit("tuned", "inactive"),
    ),
    "unknown, D-Bus may start another": Case(
        "unknown",
        "power-profiles-daemon.service is not masked",
        files=built("performance"),
        commands=unit("power-profiles-daemon", "inactive", "disabled"),
    ),
    "ok, the other is masked": Case(
        "ok", files=built("performance"), commands=unit("power-profiles-daemon", "inactive", "masked", "masked")
    ),
    "unknown, the preference at boot": Case(
        "unknown",
        "the energy preference of CPUs 1,3,5,7 after a boot",
        made={"driver": "intel_cpufreq"},
        files={**built("performance"), **{freq(cpu, PREFERENCE): "performance\n" for cpu in SERVING}},
    ),
    "unknown, a file is closed": Case(
        "unknown", "needs root", files={**RIGHT, "etc/tmpfiles.d/50.conf": ""}, denied=("/etc/tmpfiles.d/50.conf",)
    ),
    "unknown, captured": Case("unknown", files={f"{CPU}/cpu{cpu}/cpufreq": None for cpu in range(8)}, captured=True),
    "not applicable": Case(
        "not_applicable", "no cpufreq driver", files={f"{CPU}/cpu{cpu}/cpufreq": None for cpu in range(8)}
    ),
}
# tmpfiles.d comes too early for a driver that is a module, so only a driver that is built in proves what it writes.
for _name in (
    "persisted",
    "housekeeping is slow",
    "the vendor's file is hidden",
    "policies",
    "line by line",
    "a duplicate line is ignored",
):
    _case = GOVERNORS[f"ok, {_name}"]
    GOVERNORS[f"ok, {_name}"] = replace(_case, made={**_case.made, "driver": "intel_pstate"})
    GOVERNORS[f"the driver is a module, {_name}"] = replace(_case, status="unknown", words="loads later")
GOVERNORS["pending"] = replace(GOVERNORS["pending"], made={**GOVERNORS["pending"].made, "driver": "intel_pstate"})


@pytest.mark.parametrize("case", GOVERNORS.values(), ids=GOVERNORS)
def test_cpu_governor(case: Case) -> None:
    check("cpu_governor", case)


def test_mixed_governors_are_shown_by_cpu() -> None:
    finding = judged("cpu_governor", GOVERNORS["wrong, mixed"])
    assert [(item.ids, item.value) for item in finding.values] == [("1,5,7", "performance"), ("3", "powersave")]
    assert finding.runtime == "performance (1,5,7); powersave (3)"


def qos(value: str, cpus: tuple[int, ...] = SERVING) -> dict[str, str | None]:
    return {f"{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us": value + "\n" for cpu in cpus}


def kept(value: str) -> dict[str, str | None]:
    return {"etc/tmpfiles.d/idle.conf": line(value, f"/{CPU}/cpu*/power/pm_qos_resume_latency_us")}


def idle_states(*states: tuple[str, int]) -> dict[str, str | None]:
    """Return the only idle states of every CPU: name and latency."""
    found: dict[str, str | None] = {f"{CPU}/cpu{cpu}/cpuidle": None for cpu in range(8)}
    for cpu in range(8):
        for number, (name, latency) in enumerate(states):
            base = f"{CPU}/cpu{cpu}/cpuidle/state{number}"
            found |= {f"{base}/name": name, f"{base}/latency": str(latency), f"{base}/disable": "0\n"}
    return found


def tuned_says(text: str) -> dict[str, str]:
    return {"etc/tuned/active_profile": "site\n", "etc/tuned/site/tuned.conf": text}


WFI = idle_states(("WFI", 0), ("cpu-sleep-0", 500))
REQUEST = "[cpu]\npm_qos_resume_latency_us="
NO_IDLE: dict[str, str | None] = {f"{CPU}/cpu{cpu}/cpuidle": None for cpu in range(8)}
IDLE = {
    "ok": Case("ok", files={**qos("2"), **kept("2")}),
    "ok, no latency at all": Case("ok", files={**qos("n/a"), **kept("n/a")}),
    "ok, a higher cap": Case("ok", profile={"settings": {"cpu_idle": {"max_exit_latency_us": 133}}}),
    "ok, by argument": Case("ok", files=qos("2"), made={"arguments": "idle=poll"}),
    "ok, waiting takes no time": Case("ok", files={**WFI, **qos("n/a"), **kept("n/a")}),
    "wrong, waiting takes no time": Case("wrong", "deeper than 1 us", files=WFI),
    "wrong, no time, and a state to poll in": Case(
        "wrong", "deeper than 1 us", files=idle_states(("POLL", 0), ("C1", 0), ("C2", 30))
    ),
    "ok, a guest that polls before it halts": Case("ok", files=idle_states(("POLL", 0), ("haltpoll idle", 1))),
    "ok, TuneD asks for it": Case("ok", files={**qos("2"), **tuned_says(REQUEST + "2\n")}, commands=unit("tuned")),
    "ok, TuneD asks for nothing": Case(
        "ok", files={**qos("2"), **kept("2"), **tuned_says(REQUEST + "none\n")}, commands=unit("tuned")
    ),
    "lost, TuneD asks for more": Case(
        "lost_at_reboot", files={**qos("2"), **kept("2"), **tuned_says(REQUEST + "100\n")}, commands=unit("tuned")
    ),
    "unknown, TuneD asks for a state": Case(
        "unknown",
        "/etc/tuned/site/tuned.conf line 2",
        files={**qos("2"), **kept("2"), **tuned_says(REQUEST + "cstate.id:1|3\n")},
        commands=unit("tuned"),
    ),
    "ok, TuneD does not start": Case(
        "ok",
        files={**qos("2"), **kept("2"), **tuned_says(REQUEST + "100\n")},
        commands=unit("tuned", "inactive", "disabled"),
    ),
    "ok, switched off and kept": Case("ok", made={"idle_disabled": ("C1E", "C6")}, files=kept("2")),
    "wrong": Case("wrong", "deeper than 2 us"),
    "wrong, 0 is no request": Case("wrong", files={**qos("0"), **kept("0")}),
    "wrong, one CPU": Case("wrong", files=qos("2", (1, 3, 5))),
    "wrong, too high a request": Case("wrong", files=qos("10")),
    "wrong, one state is left": Case("wrong", made={"idle_disabled": ("C6",)}),
    "wrong, nobody holds": Case("wrong", commands={"cpu_dma_latency": " 2000000000\n"}),
    "wrong, max_cstate=0 hands over": Case("wrong", made={"arguments": "intel_idle.max_cstate=0"}),
    "wrong, another driver's argument": Case("wrong", made={"arguments": "processor.max_cstate=1"}),
    "pending, by argument": Case("pending_reboot", made={"arguments": "intel_idle.max_cstate=1"}),
    "pending, persisted": Case("pending_reboot", files=kept("2")),
    "lost": Case("lost_at_reboot", files=qos("2")),
    "lost, switched off": Case("lost_at_reboot", made={"idle_disabled": ("C1E", "C6")}),
    "lost, a process holds": Case(
        "lost_at_reboot", "a process holds /dev/cpu_dma_latency at 0 us: it ends", commands={"cpu_dma_latency": "0\n"}
    ),
    "lost, TuneD holds": Case(
        "lost_at_reboot",
        "TuneD (force_latency=1, /etc/tuned/site/tuned.conf line 2) holds /dev/cpu_dma_latency at 1 us: it ends",
        files=tuned_says("[cpu]\nforce_latency=1\n"),
        commands={"cpu_dma_latency": "1\n", **unit("tuned")},
    ),
    "lost, TuneD was stopped": Case(
        "lost_at_reboot",
        "a process holds",
        files=tuned_says("[cpu]\nforce_latency=1\n"),
        commands={"cpu_dma_latency": "1\n", **unit("tuned", "inactive")},
    ),
    "lost, persisted too high": Case("lost_at_reboot", files={**qos("2"), **kept("70")}),
    "lost, a later vendor's file": Case(
        "lost_at_reboot",
        files={
            **qos("2"),
            **kept("2"),
            "usr/lib/tmpfiles.d/z.conf": line("0", f"/{CPU}/cpu[0-9]*/power/pm_qos_resume_latency_us"),
        },
    ),
    "lost, an earlier line for the same path": Case(
        "lost_at_reboot",
        files={
            **qos("2"),
            **kept("2"),
            "usr/lib/tmpfiles.d/a.conf": line("0", f"/{CPU}/cpu*/power/pm_qos_resume_latency_us"),
        },
    ),
    "unknown, requests closed": Case(
        "unknown", files=kept("2"), denied=tuple(f"/{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us" for cpu in SERVING)
    ),
    "unknown, one CPU shows none": Case(
        "unknown", "no usable idle states", files={**qos("2"), **kept("2"), f"{CPU}/cpu5/cpuidle": None}
    ),
    "unknown, captured": Case("unknown", files={**NO_IDLE, f"{CPU}/cpuidle": None}, captured=True),
    "not applicable": Case("not_applicable", "no cpuidle driver", files={**NO_IDLE, f"{CPU}/cpuidle": None}),
    "not applicable, none": Case(
        "not_applicable", files={**NO_IDLE, f"{CPU}/cpuidle/current_driver": "none\n"}, captured=True
    ),
}


@pytest.mark.parametrize("case", IDLE.values(), ids=IDLE)
def test_cpu_idle(case: Case) -> None:
    check("cpu_idle", case)


LIST, MASK = "IRQBALANCE_BANNED_CPULIST", "IRQBALANCE_BANNED_CPUS"
BAN = f"{LIST}=1,3,5,7\n"


def balance(running: str | None, configured: str | None, **states: str) -> dict[str, Any]:
    commands = unit("irqbalance", **states)
    if running is not None:
        commands["irqbalance_environment"] = running
    return {"commands": commands, "files": {} if configured is None else {"etc/default/irqbalance": configured}}


def old_daemon(running: str, configured: str, counted: str = "0\n") -> dict[str, Any]:
    """Return a daemon whose program names the list as often as said."""
    found = balance(running, configured)
    return {**found, "commands": {**found["commands"], "irqbalance_knows_list": counted}}


ISOLATED = {f"{CPU}/isolated": "1,3,5,7\n"}
IRQBALANCE = {
    "ok": Case("ok", "keeps off the serving CPUs", **balance(BAN, BAN)),
    "ok, more is banned": Case("ok", **balance(f"{LIST}=1-7\n", f"{LIST}=1-7\n")),
    "ok, an old daemon": Case("ok", **old_daemon(f"{MASK}=aa\n", f"{MASK}=aa\n")),
    "wrong, an old daemon knows no list": Case("wrong", **old_daemon(BAN, BAN)),
    "pending, an old daemon": Case("pending_reboot", **old_daemon(BAN, f"{BAN}{MASK}=aa\n")),
    "unknown, an old daemon and an empty mask": Case("unknown", **old_daemon(f"{MASK}=\n", f"{MASK}=\n")),
    "ok, a daemon that knows the list": Case("ok", **old_daemon(BAN, BAN, "3\n")),
    "ok, mask": Case("ok", **balance(f"{MASK}=aa\n", f'{MASK}="000000aa"\n')),
    "ok, an empty mask leaves the list": Case("ok", **balance(f"{MASK}=\n{BAN}", f"{MASK}=\n{BAN}")),
    "ok, isolated by itself": Case("ok", commands=balance("", None)["commands"], files=ISOLATED),
    "ok, stopped for good": Case("ok", **balance(None, None, active="inactive", enabled="disabled")),
    "wrong": Case("wrong", "may move any interrupt", **balance("", "")),
    "wrong, half banned": Case("wrong", **balance(f"{LIST}=1,3\n", f"{LIST}=1,3\n")),
    "wrong, the mask hides the list": Case("wrong", **balance(f"{MASK}=1\n{BAN}", f"{MASK}=1\n{BAN}")),
    "wrong, a list replaces isolated": Case(
        "wrong",
        commands=balance(f"{LIST}=0\n", None)["commands"],
        files={**ISOLATED, "etc/default/irqbalance": f"{LIST}=0\n"},
    ),
    "pending": Case("pending_reboot", "restart it", **balance("", BAN)),
    "pending, disabled": Case("pending_reboot", **balance("", None, enabled="disabled")),
    "lost": Case("lost_at_reboot", "starts it without the ban", **balance(BAN, "#" + BAN)),
    "lost, only stopped": Case("lost_at_reboot", **balance(None, None, active="inactive")),
    "unknown, environment closed": Case("unknown", "needs root", **balance(None, BAN)),
    "unknown, empty list": Case("unknown", "its ban is not known", **balance(f"{LIST}=\n", f"{LIST}=\n")),
    "unknown, no list": Case("unknown", **balance(f"{LIST}=x\n", BAN)),
    "unknown, captured": Case("unknown", "not known", captured=True),
    "not applicable": Case("not_applicable", **balance(None, None, active="inactive", enabled="", load="not-found")),
    "not applicable, two cores": Case("not_applicable", made={"cpus": 2, "nodes": 1, "threads": 1}, **balance("", "")),
}


@pytest.mark.parametrize("case", IRQBALANCE.values(), ids=IRQBALANCE)
def test_irqbalance(case: Case) -> None:
    check("irqbalance", case)


def test_irqbalance_shows_the_line_that_counts() -> None:
    finding = judged("irqbalance", IRQBALANCE["ok, an empty mask leaves the list"])
    assert finding.evidence[0].path == "/etc/default/irqbalance:2"
    finding = judged("irqbalance", IRQBALANCE["wrong, the mask hides the list"])
    assert finding.evidence[0].path == "/etc/default/irqbalance:1"


def irq(requested: str, effective: str | None, action: str = "eth0") -> dict[str, str | None]:
    """Return the only interrupt that is not on CPU 0."""
    base = "proc/irq/24"
    return {
        f"{base}/smp_affinity_list": requested + "\n",
        f"{base}/effective_affinity_list": None if effective is None else effective + "\n",
        "sys/kernel/irq/24/actions": action + "\n",
    }


KEPT = "run/numatune/kept-irqs"
HOME = {"irqs": 4, "irq_cpus": "0", "arguments": "irqaffinity=0,2,4,6"}
IRQS = {
    "ok": Case("ok", made=HOME),
    "ok, the effective one counts": Case("ok", made=HOME, files=irq("0-7", "2")),
    "ok, an older kernel": Case("ok", made=HOME, files=irq("0,2", None)),
    "ok, nobody's": Case("ok", made=HOME, files=irq("0-7", "1", "")),
    "ok, managed": Case(
        "ok",
        "1 more look managed by the kernel (24 nvme0q1), which cannot be moved; core_isolation's mode kernel",
        made=HOME,
        files=irq("1", "1", "nvme0q1"),
    ),
    "ok, refused in this boot": Case(
        "ok",
        "the kernel refused to move 1 interrupts (24 eth0); core_isolation's mode kernel",
        made=HOME,
        files={**irq("1", "1"), KEPT: "24\n999\n"},
    ),
    "wrong, another refused": Case(
        "wrong", "IRQ 24 eth0", made={**HOME, "arguments": ""}, files={**irq("1", "1"), KEPT: "25\nx\n"}
    ),
    "ok, each CPU's own by its action": Case("ok", "", made=HOME, files=irq("0-7", "", "arch_timer")),
    "ok, each CPU's own by its chip": Case(
        "ok",
        "",
        made=HOME,
        files={**irq("1", "1", "timer1"), "proc/interrupts": " CPU0\n 24:   7   xen-percpu    -virq      timer1\n"},
    ),
    "ok, irqbalance keeps off": Case("ok", "", {**HOME, "arguments": ""}, **balance(BAN, BAN)),
    "wrong": Case("wrong", "IRQ 25 eth0-TxRx-1, 27 eth0-TxRx-3", made={"irqs": 4}),
    "wrong, the effective one counts": Case("wrong", made={**HOME, "arguments": ""}, files=irq("0-1", "1")),
    "wrong, asked for an offline CPU": Case("wrong", made={**HOME, "arguments": ""}, files=irq("9", "1")),
    "ok, it moves when it next fires": Case("ok", "1 more move away at their next", made=HOME, files=irq("0", "1")),
    "wrong, not started": Case("wrong", made={**HOME, "arguments": ""}, files=irq("0-7", "")),
    "wrong, more than three": Case("wrong", "and 5 more", made={"irqs": 16}),
    "pending": Case("pending_reboot", made={"irqs": 4, "arguments": "irqaffinity=0,2,4,6"}),
    "lost": Case("lost_at_reboot", "nothing on disk", made={**HOME, "arguments": ""}),
    "lost, too wide": Case("lost_at_reboot", made={**HOME, "arguments": "irqaffinity=0-1"}),
    "lost, irqbalance comes back": Case("lost_at_reboot", "", HOME, **balance(BAN, "")),
    "unknown, no list": Case("unknown", "1 interrupts could not be read", made=HOME, files=irq("x", None)),
    "unknown, next boot": Case("unknown", "after a reboot is not known", made=HOME, files={GRUB: None}),
    "unknown, captured": Case("unknown", files={"proc/irq": None}, captured=True),
    "not applicable": Case("not_applicable", made={"cpus": 2, "nodes": 1, "threads": 1}),
}


@pytest.mark.parametrize("case", IRQS.values(), ids=IRQS)
def test_irq_affinity(case: Case) -> None:
    check("irq_affinity", case)


def test_what_cannot_be_moved_is_not_what_is_wanted() -> None:
    assert judged("irq_affinity", IRQS["ok, managed"]).expected == "no interrupt that can be moved on CPUs 1,3,5,7"
    assert judged("irq_affinity", IRQS["ok"]).expected == "no interrupt on CPUs 1,3,5,7"
    isolating = replace(IRQS["ok, managed"], profile=mode("kernel"))
    assert "mode kernel" not in judged("irq_affinity", isolating).reason


GROUP = "sys/fs/cgroup/serving.slice"
ARGUMENTS = "isolcpus=1,3,5,7 nohz_full=1,3,5,7 rcu_nocbs=1,3,5,7"


def mode(name: str) -> dict[str, Any]:
    return {"settings": {"core_isolation": {"mode": name}}}


def isolated(domain: str = "1,3,5,7", nohz: str = "1,3,5,7") -> dict[str, str | None]:
    return {f"{CPU}/isolated": domain + "\n", f"{CPU}/nohz_full": nohz + "\n"}


def partition(kind: str, cpus: str = "1,3,5,7") -> dict[str, str | None]:
    return {f"{GROUP}/cpuset.cpus.partition": kind + "\n", f"{GROUP}/cpuset.cpus.effective": cpus + "\n"}


ISOLATION = {
    "ok": Case("ok"),
    "ok, managed interrupts alone": Case("ok", made={"arguments": "isolcpus=managed_irq,1,3"}),
    "ok, callbacks alone": Case("ok", made={"arguments": "rcu_nocbs=1,3"}),
    "ok, a NUL byte": Case("ok", files={f"{CPU}/nohz_full": "\0"}),
    "ok, no such files": Case("ok", files={f"{CPU}/nohz_full": None, f"{CPU}/isolated": None}),
    "wrong": Case("wrong", "unpinned threads pile up", made={"arguments": "isolcpus=1,3"}, files=isolated("1,3", "")),
    "wrong, no tick": Case(
        "wrong", "CPU 1 runs without a tick", made={"arguments": "nohz_full=1"}, files=isolated("", "1")
    ),
    "wrong, different": Case(
        "wrong", "name different CPUs", made={"arguments": "isolcpus=1 nohz_full=3"}, files=isolated("1", "3")
    ),
    "pending": Case("pending_reboot", "the next boot comes without it", files=isolated()),
    "pending, a partition": Case(
        "pending_reboot",
        "a cpuset partition keeps CPUs 1,3,5,7 for itself; the next boot comes without it",
        files=partition("isolated"),
    ),
    "lost": Case("lost_at_reboot", "the next boot isolates isolated=1,3", files=grub("isolcpus=1,3")),
    "lost, by nohz_full": Case("lost_at_reboot", files=grub("nohz_full=1")),
    "lost, by the flag": Case("lost_at_reboot", files=grub("isolcpus=nohz,managed_irq,1,3")),
    "unknown, up to the last": Case("unknown", files=grub("nohz_full=1-N")),
    "unknown, all": Case("unknown", files=grub("nohz_full=all")),
    "unknown, next boot": Case("unknown", "the next boot: ", denied=("/boot/grub/grub.cfg",)),
    "unknown, closed": Case(
        "unknown", f"needs root to read /{CPU}/isolated", files={"proc/cmdline": None}, denied=(f"/{CPU}/isolated",)
    ),
    "kernel ok": Case("ok", made={"arguments": ARGUMENTS}, files=isolated(), profile=mode("kernel")),
    "kernel ok, callbacks follow": Case(
        "ok",
        made={"arguments": "isolcpus=managed_irq,domain,1,3,5,7 nohz_full=1,3,5,7"},
        files=isolated(),
        profile=mode("kernel"),
    ),
    "kernel wrong": Case("wrong", "isolated are none, serving are 1,3,5,7", profile=mode("kernel")),
    "kernel wrong, one is missing": Case(
        "wrong", made={"arguments": "isolcpus=1,3,5"}, files=isolated("1,3,5"), profile=mode("kernel")
    ),
    "kernel pending": Case("pending_reboot", files=grub(ARGUMENTS), profile=mode("kernel")),
    "kernel lost": Case("lost_at_reboot", files={"proc/cmdline": ARGUMENTS, **isolated()}, profile=mode("kernel")),
    "kernel on two cores": Case(
        "not_applicable", "mode kernel is wanted", made={"cpus": 2, "nodes": 1, "threads": 1}, profile=mode("kernel")
    ),
    "partition lost": Case(
        "lost_at_reboot", "nothing makes the partition again", files=partition("isolated"), profile=mode("partition")
    ),
    "partition wrong, member": Case("wrong", files=partition("member"), profile=mode("partition")),
    "partition wrong, others": Case("wrong", files=partition("isolated", "1,3"), profile=mode("partition")),
    "partition wrong, invalid": Case(
        "wrong",
        "cpuset partition serving.slice: isolated invalid (x)",
        files=partition("isolated invalid (x)"),
        profile=mode("partition"),
    ),
    "partition wrong, none": Case("wrong", profile=mode("partition")),
}


@pytest.mark.parametrize("case", ISOLATION.values(), ids=ISOLATION)
def test_core_isolation(case: Case) -> None:
    check("core_isolation", case)


REMOVED = {
    "isolcpus": (Case("", made={"arguments": "isolcpus=1,3"}, files=isolated("1,3", "")), "isolcpus"),
    "nohz_full": (
        Case("", made={"arguments": "nohz_full=1 rcu_nocbs=1"}, files=isolated("", "1")),
        "nohz_full and rcu_nocbs",
    ),
    "managed": (
        Case("", made={"arguments": "isolcpus=managed_irq,1 nohz_full=1"}, files=isolated("", "1")),
        "nohz_full",
    ),
    "at the next boot": (Case("", files=grub("isolcpus=1,3")), "isolcpus"),
    "not captured": (Case("", files={"proc/cmdline": None, "boot": None, **isolated("1", "")}), "isolcpus"),
}


@pytest.mark.parametrize(("case", "named"), REMOVED.values(), ids=REMOVED)
def test_the_arguments_that_isolate_are_what_must_go(case: Case, named: str) -> None:
    said = f"remove {named} from the kernel arguments, or name the mode in the profile"
    assert judged("core_isolation", case).remedy == said


def test_a_partition_that_isolates_is_what_must_go() -> None:
    files = {**partition("isolated"), **isolated("1", ""), "proc/cmdline": "isolcpus=1"}
    files = {**files, **grub("isolcpus=1")}
    remedy = judged("core_isolation", Case("", files=files)).remedy
    assert remedy.startswith("remove isolcpus from the kernel arguments; write member to the partition's")


def test_what_was_not_read_is_no_value_of_isolation() -> None:
    one = judged("core_isolation", Case("", files={"proc/cmdline": None, **isolated("1", "")}))
    assert one.runtime == "isolated=1"
    assert "does not balance CPU 1: " in one.reason
    tickless = judged("core_isolation", Case("", made={"arguments": "nohz_full=1"}, files=isolated("", "1")))
    assert "CPU 1 runs without a tick" in tickless.reason
    unread = Case(
        "",
        made={"arguments": ARGUMENTS.replace("rcu_nocbs=1,3,5,7", "rcu_nocbs=all")},
        files=isolated(),
        profile=mode("kernel"),
    )
    assert judged("core_isolation", unread).runtime == "isolated=1,3,5,7 nohz_full=1,3,5,7"
    assert "rcu_nocbs is a list of CPUs in words" in judged("core_isolation", unread).reason


@pytest.mark.parametrize("command", ["units", "slices"])
def test_slices_that_are_kept_on_some_cpus_are_named(command: str) -> None:
    """The newer collector asks for them with the units; a service's own CPUs are no matter."""
    shown = "AllowedCPUs=1\nId=tuned.service\n\nId=system.slice\nAllowedCPUs=0 2\n\nId=user.slice\nAllowedCPUs=\n"
    finding = judged("core_isolation", Case("", commands={command: shown}))
    assert "system.slice is kept on CPUs 0,2" in finding.reason
    assert "tuned" not in finding.reason
    assert "user.slice" not in finding.reason
