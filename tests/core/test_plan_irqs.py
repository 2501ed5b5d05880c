"""What `tune` would do about interrupts and irqbalance, on hosts of 8 CPUs: 1, 3, 5 and 7 serve, 0, 2, 4, 6 do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest
from synthetic import CPU, Link, Tree, host

from numatune.core import ours
from numatune.core.audit import judge
from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.cpuset import CpuSet, parse_mask
from numatune.core.kit import boot_service
from numatune.core.model import Finding, Reading, Snapshot, State
from numatune.core.parsers import interrupts, shell
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping
from numatune.core.wanted import Profile

TODAY = date(2026, 11, 23)
LIST, MASK = "IRQBALANCE_BANNED_CPULIST", "IRQBALANCE_BANNED_CPUS"
DEBIAN, RHEL, CONF = "etc/default/irqbalance", "etc/sysconfig/irqbalance", "etc/numatune/apply.d/irq_affinity.conf"
WANTS = "etc/systemd/system/multi-user.target.wants/irqbalance.service"
DROP_IN = "etc/systemd/system/irqbalance.service.d/10-site.conf"
UNIT = "usr/lib/systemd/system/irqbalance.service"
BANNED = "1,3,5,7"
FIRST, DEFAULT = "proc/irq/25/smp_affinity_list", "proc/irq/default_smp_affinity"
LINES = "irqs 0 0,4\nirqs 1 2,6\nirqs * 0,2,4,6\ndefault-irqs 00000055\n"

# Debian 12's file as it is installed, and RHEL 9's form of it.
STOCK_DEBIAN = """\
# irqbalance is a daemon process that distributes interrupts across
# CPUs on SMP systems.  The default is to rebalance once every 10
# seconds.  This is the environment file that is specified to systemd via the
# EnvironmentFile key in the service unit file (or via whatever method the init
# system you're using has).

#
# IRQBALANCE_BANNED_CPUS
#    64 bit bitmask which allows you to indicate which CPUs should
#    be skipped when reblancing IRQs.
#
#IRQBALANCE_BANNED_CPUS=

#
# IRQBALANCE_BANNED_CPULIST
#      The format of CPUs list is:
#        <cpu number>,...,<cpu number>
#
#IRQBALANCE_BANNED_CPULIST=

#
# IRQBALANCE_ARGS
#    Append any args here to the irqbalance daemon as documented in the man
#    page.
#
#IRQBALANCE_ARGS=
"""
STOCK_RHEL = STOCK_DEBIAN.replace("#IRQBALANCE_ARGS=\n", 'IRQBALANCE_ARGS="--banirq=24 --banirq=25"\n')


@dataclass(frozen=True)
class Made:
    """A host that can be tuned: its files, what systemd says of irqbalance, and the daemon's environment."""

    files: Mapping[str, str]
    active: bool = True
    enabled: bool = True
    environment: str = ""
    installed: bool = True
    systemd: bool = True
    profile: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        commands = dict(self.others)
        if self.systemd:
            load = "loaded" if self.installed else "not-found"
            states = ("active" if self.active else "inactive", "enabled" if self.enabled else "disabled")
            commands["units"] = (
                f"Id=irqbalance.service\nLoadState={load}\nActiveState={states[0]}\nUnitFileState={states[1]}\n"
            )
        if self.active:
            commands["irqbalance_environment"] = self.environment
        found = collect(Tree(self.files), complete=True)
        return replace(found, commands={name: Reading(name, State.PRESENT, text) for name, text in commands.items()})

    def wanted(self) -> Profile:
        others = ("numa_balancing", "cpu_governor", "cpu_idle", "core_isolation")
        return from_mapping(
            {**self.profile, "settings": {**dict.fromkeys(others, False), **self.profile.get("settings", {})}}
        )

    def plan(self) -> Plan:
        return make_plan(self.snapshot(), self.wanted(), TODAY, ("irqbalance", "irq_affinity"))

    def findings(self) -> dict[str, Finding]:
        return {item.setting: item for item in judge(self.snapshot(), self.wanted(), TODAY).findings}

    def statuses(self) -> tuple[str, str]:
        found = self.findings()
        return found["irqbalance"].status.value, found["irq_affinity"].status.value

    def tuned(self) -> Made:
        """Return the host after its plan was carried out, as a kernel, systemd and the daemon would answer."""
        plan = self.plan()
        assert not plan.conflicts
        files, active, enabled, environment = dict(self.files), self.active, self.enabled, self.environment
        for change in plan.changes:
            path = change.path[1:]
            if change.kind == "service" and change.path == "irqbalance.service":
                active = change.content != "stopped"
                environment = "".join(
                    line + "\n"
                    for line in files.get(RHEL if RHEL in files else DEBIAN, "").splitlines()
                    if line.startswith("IRQBALANCE_")
                ).replace('"', "")
            elif change.kind == "link" and change.content is None:
                del files[path]
                enabled = False
            elif change.kind == "link":
                files[path] = Link(change.content or "")
            elif change.kind in ("file", "runtime"):
                assert change.content is not None
                assert change.kind == "file" or path in files
                files[path] = change.content
                if path.endswith("/smp_affinity_list"):
                    effective = path.replace("smp_affinity_list", "effective_affinity_list")
                    files[effective] = change.content.partition(",")[0].strip() + "\n"
        return replace(self, files=files, active=active, enabled=enabled, environment=environment)


def made(
    text: str | None = STOCK_DEBIAN,
    *,
    files: Mapping[str, str | None] | None = None,
    irqs: int = 4,
    cpus: int = 8,
    nodes: int = 2,
    irq_cpus: str | None = None,
    arguments: str = "",
    **kept: Any,
) -> Made:
    """Return a host; every interrupt is spread over all CPUs, and its device is of node (number mod 3) - 1."""
    found = host(cpus, nodes, irqs=irqs, irq_cpus=irq_cpus, arguments=arguments)
    for number in range(24, 24 + irqs):
        found[f"proc/irq/{number}/node"] = f"{number % 3 - 1}\n"
    if text is not None:
        found[DEBIAN] = text
    if kept.get("enabled", True):
        found[WANTS] = Link("/lib/systemd/system/irqbalance.service")
    for path, content in (files or {}).items():
        if content is None:
            found.pop(path, None)
        else:
            found[path] = content
    return Made(found, **kept)


def place(**options: Any) -> dict[str, Any]:
    return {"settings": {"irq_affinity": {"method": "place", **options}}}


def changed(plan: Plan, path: str) -> str | None:
    """Return what a path is to hold; it must be planned once."""
    contents = [change.content for change in plan.changes if change.path == f"/{path}"]
    assert len(contents) == 1, path
    return contents[0]


def steps(plan: Plan) -> list[tuple[str, str, str]]:
    return [(change.setting, change.kind, change.path) for change in plan.changes]


# The environment file before and after: what goes, what comes, every other byte as it was.
OWN = f"{LIST}={BANNED}\n"
EDITS = {
    "Debian's stock file": (STOCK_DEBIAN, STOCK_DEBIAN + OWN),
    "RHEL's, with arguments": (STOCK_RHEL, STOCK_RHEL + OWN),
    "empty": ("", OWN),
    "somebody's ban": (f"{LIST}=0,3\nA=1\n", f"{LIST}=0-1,3,5,7\nA=1\n"),
    "quotes": (f'A=1\n{LIST}="0"\n# end\n', f"A=1\n{LIST}=0-1,3,5,7\n# end\n"),
    "single quotes, blanks": (f"  {LIST}= '0' \nA=1\n", f"{LIST}=0-1,3,5,7\nA=1\n"),
    "an empty value": (f"#x\n{LIST}=\nA=1\n", f"#x\n{OWN}A=1\n"),
    "an empty value in quotes": (f'{LIST}=""\n', OWN),
    "no newline at the end": ("A=1", f"A=1\n{OWN}"),
    "no newline after the list": (f"A=1\n{LIST}=0", f"A=1\n{LIST}=0-1,3,5,7\n"),
    "a backslash at the end": ("A=1 \\\n", f"A=1 \\\n\n{OWN}"),
    "the mask": (f"A=1\n{MASK}=00000001\nB=2\n", f"A=1\n{LIST}=0-1,3,5,7\nB=2\n"),
    "the mask in groups": (f"{MASK}=0,00000004\n", f"{LIST}=1-3,5,7\n"),
    "both keys": (f"{LIST}=2\n#x\n{MASK}=1\nA=1\n", f"{LIST}=0-3,5,7\n#x\nA=1\n"),
    "both keys, the mask first": (f"{MASK}=1\n{LIST}=2\n", f"{LIST}=0-3,5,7\n"),
    "both keys, an empty mask": (f"{MASK}=\n{LIST}=2\n", f"{LIST}=1-3,5,7\n"),
    "an earlier list is dead": (f"{LIST}=0\n{LIST}=2\n", f"{LIST}=0\n{LIST}=1-3,5,7\n"),
    "a comment behind the value": (f"{LIST}=0 # mine\nA=1\n", f"# mine\n{LIST}=0-1,3,5,7\nA=1\n"),
    "right, but systemd reads on": (f"{LIST}={BANNED} # mine\n", f"# mine\n{OWN}"),
    "right, but systemd knows no export": (f"export {LIST}={BANNED}\n", OWN),
    "other ends of lines": ("A=1\r\nB=\u20282\n", f"A=1\r\nB=\u20282\n{OWN}"),
}


@pytest.mark.parametrize(("before", "after"), EDITS.values(), ids=EDITS)
def test_the_ban_joins_what_is_there(before: str, after: str) -> None:
    machine = made(before)
    plan = machine.plan()
    assert not plan.conflicts
    assert changed(plan, DEBIAN) == after
    written = next(change for change in plan.changes if change.path == f"/{DEBIAN}")
    assert (written.before, written.mode) == (before, None)
    tuned = machine.tuned()
    assert tuned.statuses() == ("ok", "ok")
    assert tuned.plan() == Plan()


@pytest.mark.parametrize(("before", "after"), EDITS.values(), ids=EDITS)
def test_the_edit_repeats_to_itself(before: str, after: str) -> None:
    value = shell.assignments("", after, LIST)[-1].value
    assert shell.with_variable(after, LIST, value, instead_of=MASK) == after


@pytest.mark.parametrize("name", ["isolated", "nohz_full"])
def test_what_the_daemon_bans_by_itself_stays_banned(name: str) -> None:
    # Setting the list ends that default.
    machine = made(files={f"{CPU}/{name}": "2-3\n"}, environment=f"{LIST}=0\n")
    assert changed(machine.plan(), DEBIAN) == f"{STOCK_DEBIAN}{LIST}=1-3,5,7\n"
    assert machine.tuned().statuses() == ("ok", "ok")


# irqbalance 1.7 (Debian 11) does not name the list at all.
OLD = {"irqbalance_knows_list": "0\n"}
OLD_EDITS = {
    "the mask stays one": (f"{MASK}=00000001\n", f"{MASK}=000000ab\n"),
    "nothing": ("A=1\n", f"A=1\n{MASK}=000000aa\n"),
    "a list that nobody reads": (f"{LIST}=1,3,5,7\nA=1\n", f"{MASK}=000000aa\nA=1\n"),
}


@pytest.mark.parametrize(("before", "after"), OLD_EDITS.values(), ids=OLD_EDITS)
def test_an_old_daemon_gets_a_mask(before: str, after: str) -> None:
    machine = made(before, environment=before, others=OLD)
    assert machine.statuses()[0] == "wrong"
    assert f"{MASK}=000000aa" in machine.findings()["irqbalance"].remedy
    assert changed(machine.plan(), DEBIAN) == after
    tuned = machine.tuned()
    assert tuned.statuses() == ("ok", "ok")
    assert tuned.plan() == Plan()


def test_the_mask_of_a_large_host_has_groups() -> None:
    machine = made("", cpus=64, environment="", others=OLD)
    text = changed(machine.plan(), DEBIAN) or ""
    mask = text.strip().partition("=")[2]
    assert [len(group) for group in mask.split(",")] == [8, 8]
    assert str(parse_mask(mask)) in machine.findings()["irqbalance"].expected


STOCK_UNIT = "[Service]\nEnvironmentFile=-/usr/lib/irqbalance/defaults.env\nEnvironmentFile=-/{}\nExecStart=x\n"
WHICH = {
    "Debian's, made": (None, {}, DEBIAN),
    "RHEL's, made": (None, {"etc/sysconfig/network": ""}, RHEL),
    "the one that exists": (None, {"etc/conf.d/irqbalance": "A=1\n"}, "etc/conf.d/irqbalance"),
    "the one that the unit names": (STOCK_DEBIAN, {RHEL: "", UNIT: STOCK_UNIT.format(RHEL)}, RHEL),
    "named, not there yet": (STOCK_DEBIAN, {UNIT: STOCK_UNIT.format(RHEL)}, RHEL),
}


@pytest.mark.parametrize(("text", "files", "path"), WHICH.values(), ids=WHICH)
def test_the_file_is_the_one_that_the_daemon_gets(text: str | None, files: dict[str, str], path: str) -> None:
    machine = made(text, files=files)
    content = changed(machine.plan(), path)
    assert content is not None
    assert content.endswith(OWN)
    assert content.startswith(ours.HEADER) == (path not in machine.files)


REFUSED = {
    "no list": (f"A=1\n{LIST}=0-\n", {}, DEBIAN, 2, "correct it"),
    "two words": (f"{LIST}=0 1\n", {}, DEBIAN, 1, "correct it"),
    "no mask": (f"{LIST}=0\n{MASK}=xyz\n", {}, DEBIAN, 2, "correct it"),
    "no housekeeping CPU left": (f"{LIST}=0,2,4,6\n", {}, DEBIAN, 1, "every housekeeping CPU (0,2,4,6)"),
    "not UTF-8": ("A=\\xe9\n", {}, DEBIAN, 1, "UTF-8"),
    "a drop-in sets a mask": (
        STOCK_DEBIAN,
        {DROP_IN: f'[Service]\nEnvironment="{MASK}=1" "A=2"\n'},
        DROP_IN,
        2,
        "may win over /etc/default/irqbalance",
    ),
    "a drop-in reads another file": (
        STOCK_DEBIAN,
        {DROP_IN: "[Service]\n\nEnvironmentFile = /etc/site/irq\n"},
        DROP_IN,
        3,
        "EnvironmentFile=/etc/site/irq",
    ),
    "a drop-in takes it back": (STOCK_DEBIAN, {DROP_IN: f"[Service]\nUnsetEnvironment={LIST}\n"}, DROP_IN, 2, LIST),
    "the vendor's file bans": (
        STOCK_DEBIAN,
        {"usr/lib/irqbalance/defaults.env": f"#\n{MASK}=f\n"},
        "usr/lib/irqbalance/defaults.env",
        2,
        "may win",
    ),
}


@pytest.mark.parametrize(("text", "files", "path", "line", "words"), REFUSED.values(), ids=REFUSED)
def test_what_would_win_or_cannot_be_read_is_a_conflict(
    text: str, files: dict[str, str], path: str, line: int, words: str
) -> None:
    machine = made(text, files=files)
    plan = machine.plan()
    assert [(item.setting, item.path, item.line) for item in plan.conflicts] == [("irqbalance", f"/{path}", line)]
    message = plan.conflicts[0].message
    assert words in message
    assert message.endswith("then run again")
    assert "\n" not in message
    assert not [change for change in plan.changes if change.setting == "irqbalance"]
    assert machine.findings()["irqbalance"].bad


def test_a_drop_in_that_has_nothing_to_do_with_the_ban_is_left_alone() -> None:
    harmless = "[Service]\nEnvironment=IRQBALANCE_ARGS=--banirq=24\nEnvironmentFile=-/etc/default/irqbalance\nNice=5\n"
    assert made(files={DROP_IN: harmless}).tuned().statuses() == ("ok", "ok")


def test_a_drop_in_of_the_administrator_hides_the_vendors() -> None:
    vendors = "usr/lib/systemd/system/irqbalance.service.d/10-site.conf"
    assert made(files={vendors: f"Environment={MASK}=1\n"}).plan().conflicts
    assert not made(files={vendors: f"Environment={MASK}=1\n", DROP_IN: "[Service]\n"}).plan().conflicts


def test_nobody_says_ok_of_a_ban_that_a_drop_in_may_undo() -> None:
    ban = {DROP_IN: f"[Service]\nEnvironment={MASK}=1\n"}
    machine = made(OWN, irq_cpus="0", environment=OWN, files=ban)
    assert machine.statuses() == ("unknown", "unknown")
    assert f"/{DROP_IN} line 2 may win" in machine.findings()["irqbalance"].reason


RESTART = ("irqbalance", "service", "irqbalance.service")
FILE = ("irqbalance", "file", f"/{DEBIAN}")
BANS = {
    "neither": (made(irq_cpus="0"), [FILE, RESTART]),
    "the daemon has not read it": (made(OWN, irq_cpus="0"), [RESTART]),
    "the daemon bans, the file does not": (made(irq_cpus="0", environment=OWN), [FILE, RESTART]),
    "it runs, and does not start at boot": (made(irq_cpus="0", enabled=False), [FILE, RESTART]),
    "it starts at boot, and does not run": (made(irq_cpus="0", active=False), [FILE]),
    "systemd does not run": (made(irq_cpus="0", systemd=False, others={"daemons": "/proc/9/comm:irqbalance"}), [FILE]),
    "the mask does": (made(f"{MASK}=aa\n", irq_cpus="0", environment=f"{MASK}=aa\n"), []),
    "it is not used": (made(irq_cpus="0", active=False, enabled=False), []),
    "it is not installed": (made(None, irq_cpus="0", active=False, enabled=False, installed=False), []),
    "no CPU keeps house": (made(cpus=2, nodes=1), []),
}


@pytest.mark.parametrize(("machine", "wanted"), BANS.values(), ids=BANS)
def test_irqbalance_is_started_again_only_for_a_reason(machine: Made, wanted: list[tuple[str, str, str]]) -> None:
    assert [step for step in steps(machine.plan()) if step[0] == "irqbalance"] == wanted
    assert not [step for step in steps(machine.tuned().plan()) if step[0] == "irqbalance" and step != RESTART]


# The method place.


def test_place_stops_irqbalance_first_and_then_places() -> None:
    machine = made(profile=place())
    plan = machine.plan()
    link = Link("/lib/systemd/system/irqbalance.service")
    assert [(c.kind, c.path, c.content, c.before) for c in plan.changes if c.setting == "irqbalance"] == [
        ("link", f"/{WANTS}", None, link),
        ("service", "irqbalance.service", "stopped", "active"),
    ]
    assert steps(plan)[2][0] == "irq_affinity"
    tuned = machine.tuned()
    assert tuned.statuses() == ("ok", "ok")
    assert tuned.plan() == Plan()
    assert tuned.files[DEBIAN] == STOCK_DEBIAN


PLACES = {
    "runs with the ban": (made(OWN, irq_cpus="0", environment=OWN, profile=place()), "wrong"),
    "environment closed": (made(OWN, irq_cpus="0", profile=place()), "wrong"),
    "starts at boot": (made(OWN, irq_cpus="0", active=False, profile=place()), "lost_at_reboot"),
    "only runs": (made(OWN, irq_cpus="0", enabled=False, profile=place()), "pending_reboot"),
    "off": (made(OWN, irq_cpus="0", enabled=False, active=False, profile=place()), "ok"),
    "not installed": (made(enabled=False, active=False, installed=False, profile=place()), "not_applicable"),
}


@pytest.mark.parametrize(("machine", "status"), PLACES.values(), ids=PLACES)
def test_place_wants_no_irqbalance_at_all(machine: Made, status: str) -> None:
    finding = machine.findings()["irqbalance"]
    assert finding.status.value == status
    if finding.bad:
        assert finding.expected == "not running"
        assert "disable --now" in finding.remedy
        assert machine.tuned().findings()["irqbalance"].status.value == "ok"


def test_place_refuses_what_no_link_under_etc_starts() -> None:
    plan = made(profile=place(), files={WANTS: None}).plan()
    assert ["systemctl disable it, then run again" in item.message for item in plan.conflicts] == [True]
    assert not [change for change in plan.changes if change.setting == "irqbalance"]


# Where interrupts go.


def test_each_interrupt_goes_to_the_housekeeping_cpus_of_its_node() -> None:
    plan = made(irqs=8).plan()
    moved = {change.path: change.content for change in plan.changes if change.kind == "runtime"}
    # 25, 27, 29 and 31 are on serving CPUs; the nodes of their devices are 0, -1, 1 and 0.
    assert moved == {
        "/proc/irq/25/smp_affinity_list": "0,4\n",
        "/proc/irq/27/smp_affinity_list": "0,2,4,6\n",
        "/proc/irq/29/smp_affinity_list": "2,6\n",
        "/proc/irq/31/smp_affinity_list": "0,4\n",
        f"/{DEFAULT}": "00000055\n",
    }
    assert changed(plan, CONF) == ours.HEADER + LINES
    before = [change.before for change in plan.changes if change.path == f"/{FIRST}"]
    assert before == ["1\n"]
    kinds = [change.kind for change in plan.changes if change.setting == "irq_affinity"]
    assert kinds == ["file"] * 3 + ["link"] * 2 + ["runtime"] * 5 + ["service"]


def test_the_ban_is_written_after_what_the_boot_service_does() -> None:
    """The ban alone is right: a run that is cut after it would be taken for a whole one."""
    paths = [change.path for change in made(irqs=8).plan().changes]
    assert paths.index("/etc/numatune/apply.d/irq_affinity.conf") < paths.index("/etc/default/irqbalance")


NODES = {"2\n": "0,2,4,6\n", "x\n": "0,2,4,6\n", None: "0,2,4,6\n", "0\n": "0,4\n", "1\n": "2,6\n"}


@pytest.mark.parametrize(("node", "wanted"), NODES.items())
def test_a_device_of_a_node_without_housekeeping_may_use_all(node: str | None, wanted: str) -> None:
    assert changed(made(files={"proc/irq/25/node": node}).plan(), FIRST) == wanted


def test_without_nodes_every_housekeeping_cpu_serves_every_device() -> None:
    machine = made(nodes=1)
    files = {path: text for path, text in machine.files.items() if "/node" not in path}
    plan = replace(machine, files=files).plan()
    assert (changed(plan, CONF) or "").splitlines()[1:] == ["irqs * 0,4", "default-irqs 00000011"]


def quiet(effective: str, asked: str, action: str = "eth0") -> dict[str, str | None]:
    return {
        "proc/irq/25/smp_affinity_list": asked + "\n",
        "proc/irq/25/effective_affinity_list": effective + "\n",
        "sys/kernel/irq/25/actions": action + "\n",
    }


LEFT_ALONE = {
    "refused in this boot": {**quiet("1", "1"), interrupts.KEPT[1:]: "25\n"},
    "each CPU's own": quiet("", "0-7", "arch_timer"),
    "smartpqi": quiet("1", "1", "smartpqi"),
    "managed": quiet("1", "1", "nvme0q1"),
    "without an action": quiet("1", "0-7", ""),
    "on its way": quiet("1", "0,4"),
    "delivered elsewhere": quiet("2", "0-7"),
    "not shown": {"proc/irq/25/smp_affinity_list": None},
}


@pytest.mark.parametrize("files", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_cannot_or_need_not_be_moved_is_not_planned(files: dict[str, str | None]) -> None:
    plan = made(irq_cpus="0", files=files).plan()
    assert not [change for change in plan.changes if "/proc/irq/25/" in change.path]
    assert changed(plan, CONF) == ours.HEADER + LINES


MASKS = {
    "ff\n": "55",
    "000000ff\n": "00000055",
    "00000000,000000ff\n": "00000000,00000055",
    "f,ffffffff\n": "0,00000055",
    "01\n": None,
    "02\n": "55",
    "x\n": None,
    None: None,
}


@pytest.mark.parametrize(("shown", "wanted"), MASKS.items())
def test_interrupts_to_come_start_on_housekeeping_cpus(shown: str | None, wanted: str | None) -> None:
    machine = made(files={DEFAULT: shown})
    plan = machine.plan()
    written = [change.content for change in plan.changes if change.path == f"/{DEFAULT}"]
    assert written == ([] if wanted is None else [f"{wanted}\n"])
    # A narrower mask (irqaffinity=) is kept at boot too; without one that can be read there is no line.
    last = wanted or ("01" if shown == "01\n" else None)
    lines = [line for line in (changed(plan, CONF) or "").splitlines() if line.startswith("default-irqs")]
    assert lines == ([] if last is None else [f"default-irqs {last}"])
    assert machine.tuned().plan() == Plan()


def test_the_mask_has_the_kernels_form() -> None:
    for cpus in (1, 8, 32, 33, 36, 64, 100, 512):
        shown = ",".join(["f" * (-(-cpus // 4) % 8 or 8), *["f" * 8] * ((-(-cpus // 4) - 1) // 8)])
        mask = interrupts.mask_like(shown + "\n", CpuSet(1 << cpus - 1))
        assert [len(group) for group in mask.split(",")] == [len(group) for group in shown.split(",")]
        assert parse_mask(mask) == CpuSet(1 << cpus - 1)


# After a reboot.

APPLIED = {
    CONF: ours.HEADER + LINES,
    boot_service.SCRIPT_PATH[1:]: boot_service.SCRIPT,
    boot_service.UNIT_PATH[1:]: boot_service.UNIT_TEXT,
    **{path[1:]: Link(boot_service.UNIT_PATH) for path in boot_service.LINK_PATHS},
}
HOME: dict[str, Any] = {"irq_cpus": "0"}
GONE: dict[str, Any] = {"active": False, "enabled": False}


def lines(text: str) -> dict[str, str]:
    return {**APPLIED, CONF: text}


AFTER = {
    "the service": (made(None, files=APPLIED, **HOME, **GONE), "ok", ""),
    "the service, moved now": (made(None, files=APPLIED, **GONE), "pending_reboot", ""),
    "the service and the ban": (made(OWN, files=APPLIED, environment=OWN, **HOME), "ok", ""),
    "the ban alone": (made(OWN, environment=OWN, **HOME), "ok", ""),
    "irqaffinity= alone": (made(None, arguments="irqaffinity=0,2", **HOME, **GONE), "ok", ""),
    "nothing": (made(None, **HOME, **GONE), "lost_at_reboot", "nothing on disk"),
    "irqbalance without the ban moves them back": (
        made(files=APPLIED, environment=OWN, **HOME),
        "lost_at_reboot",
        "irqbalance starts at boot without the ban",
    ),
    "both wrong": (made(files=APPLIED), "wrong", "a serving thread stalls"),
    "the service places on what serves now": (
        made(OWN, files=lines("irqs 0 0,4\nirqs * 0-7\n"), environment=OWN, **HOME),
        "lost_at_reboot",
        "irq_affinity.conf line 2 places them on serving CPUs",
    ),
    "other nodes' devices are forgotten": (
        made(None, files=lines("irqs 0 0,4\n"), **HOME, **GONE),
        "lost_at_reboot",
        "",
    ),
    "the list is none": (made(None, files=lines("irqs * 0-\n"), **HOME, **GONE), "unknown", "line 1 holds no CPU list"),
    "the service is not enabled": (
        made(None, files={**APPLIED, boot_service.LINK_PATH[1:]: None}, **HOME, **GONE),
        "lost_at_reboot",
        "",
    ),
    "the script is another's": (
        made(None, files={**APPLIED, boot_service.SCRIPT_PATH[1:]: "#!/bin/sh\n"}, **HOME, **GONE),
        "unknown",
        "/etc/numatune/apply is not what",
    ),
}


@pytest.mark.parametrize(("machine", "status", "words"), AFTER.values(), ids=AFTER)
def test_what_becomes_of_interrupts_after_a_reboot(machine: Made, status: str, words: str) -> None:
    finding = machine.findings()["irq_affinity"]
    assert (finding.status.value, finding.reason) == (status, finding.reason)
    assert words in finding.reason
    if finding.bad:
        tuned = machine.tuned()
        assert tuned.findings()["irq_affinity"].status.value == "ok"
        assert tuned.plan() == Plan()


def test_the_line_that_places_them_is_the_evidence() -> None:
    finding = made(None, files=APPLIED, **HOME, **GONE).findings()["irq_affinity"]
    assert (finding.evidence[0].path, finding.evidence[0].text) == (f"/{CONF}:4", "irqs * 0,2,4,6")
    assert finding.persisted == "numatune-apply.service, irqs * 0,2,4,6"


def test_irqaffinity_stays_in_the_boot_entry() -> None:
    plan = made(arguments="irqaffinity=0-7").plan()
    assert not [change for change in plan.changes if "boot" in change.path or change.needs_reboot]


def test_another_irqbalance_that_nobody_may_tame_is_refused() -> None:
    alone = {"settings": {"irqbalance": False}}
    plan = made(profile=alone).plan()
    assert not plan.changes
    assert "take the setting irqbalance into the profile" in plan.conflicts[0].message
    assert not made(OWN, environment=OWN, profile=alone).plan().conflicts
    assert not made(profile=alone, **GONE).plan().conflicts


# What must fit.


def test_more_interrupts_than_vectors_are_refused_with_the_numbers() -> None:
    plan = made(irqs=801, files={f"proc/irq/{number}/node": None for number in range(24, 900)}).plan()
    assert [change.setting for change in plan.changes] == ["irqbalance"] * 2
    assert len(plan.conflicts) == 1
    assert plan.conflicts[0].message == (
        "801 interrupts would share 4 housekeeping CPUs (0,2,4,6), 200 each, and an x86 CPU has room for about 200: "
        "give more housekeeping CPUs (housekeeping_cores_per_node, or housekeeping), then run again"
    )
    assert not made(irqs=800, files={f"proc/irq/{number}/node": None for number in range(24, 900)}).plan().conflicts


def test_the_devices_of_one_node_must_fit_its_own_cpus() -> None:
    plan = made(irqs=500, files={f"proc/irq/{number}/node": "1\n" for number in range(24, 524)}).plan()
    assert "500 interrupts of node 1 would share 2 housekeeping CPUs (2,6), 250 each" in plan.conflicts[0].message


def test_managed_interrupts_count_where_they_are() -> None:
    nodes = {f"proc/irq/{number}/node": None for number in range(24, 900)}
    there = {"sys/kernel/irq/24/actions": "nvme0q1\n", "proc/irq/24/effective_affinity_list": "2\n"}
    assert made(irqs=801, files={**nodes, **there}).plan().conflicts
    elsewhere = {**there, "proc/irq/24/effective_affinity_list": "1\n"}
    assert not made(irqs=801, files={**nodes, **elsewhere}).plan().conflicts
    assert not made(irqs=801, files={**nodes, "sys/kernel/irq/24/actions": "\n"}).plan().conflicts


def test_refusing_interrupts_count_where_they_are_too() -> None:
    nodes = {f"proc/irq/{number}/node": None for number in range(24, 900)}
    refused = {interrupts.KEPT[1:]: "24\n"}
    assert made(irqs=801, files={**nodes, **refused, "proc/irq/24/effective_affinity_list": "2\n"}).plan().conflicts
    elsewhere = {**nodes, **refused, "proc/irq/24/effective_affinity_list": "1\n"}
    assert not made(irqs=801, files=elsewhere).plan().conflicts


def test_other_machines_have_no_such_vectors() -> None:
    nodes = {f"proc/irq/{number}/node": None for number in range(24, 900)}
    assert not made(irqs=801, files=nodes, others={"uname": "aarch64\n"}).plan().conflicts
    assert made(irqs=801, files=nodes, others={"uname": "x86_64\n"}).plan().conflicts
    # A tree of a 32-bit ARM says it in its first lines alone.
    arm = {**nodes, "proc/cpuinfo": "Processor\t: ARMv7 Processor rev 5 (v7l)\nprocessor\t: 0\n"}
    assert not made(irqs=801, files=arm).plan().conflicts


def network(name: str, queues: int, state: str = "up", device: str = "pci0") -> dict[str, str | None]:
    """Return an interface as sysfs shows it: a link by its name to where its device is."""
    base = f"sys/devices/{device}/net/{name}"
    found: dict[str, str | None] = {f"{base}/queues/rx-{number}/rps_cpus": "0\n" for number in range(queues)}
    found[f"{base}/operstate"] = state + "\n"
    found[f"sys/class/net/{name}"] = Link(f"../../devices/{device}/net/{name}")
    if device != "virtual":
        found[f"{base}/device"] = Link(f"../../../{device}")
    return found


QUEUES = {
    "they fit": ({**network("eth0", 64)}, {}, ""),
    "one too many": (
        network("eth0", 65),
        {},
        "65 network queues (eth0 65) would share 4 housekeeping CPUs (0,2,4,6), 16.2 each, and max_queues_per_cpu is",
    ),
    "of two": ({**network("a0", 40), **network("b0", 25, device="pci1")}, {}, "65 network queues (a0 40, b0 25)"),
    "two of one device are counted once": ({**network("a0", 40), **network("b0", 24)}, {}, ""),
    "one is down": ({**network("a0", 64), **network("b0", 64, "down")}, {}, ""),
    "loopback, bridges and containers": (
        {**network("a0", 64), **network("lo", 1, "unknown", "virtual"), **network("veth1", 128, device="virtual")},
        {},
        "",
    ),
    "more are allowed": (network("eth0", 65), {"max_queues_per_cpu": 17}, ""),
    "fewer are allowed": (network("eth0", 5), {"max_queues_per_cpu": 1}, "max_queues_per_cpu is 1"),
    "none is allowed": (network("eth0", 1), {"max_queues_per_cpu": 0}, "max_queues_per_cpu is 0"),
}


@pytest.mark.parametrize(("files", "options", "words"), QUEUES.values(), ids=QUEUES)
def test_network_queues_are_counted(files: dict[str, str | None], options: dict[str, Any], words: str) -> None:
    plan = made(files=files, profile={"settings": {"irq_affinity": options}}).plan()
    assert bool(plan.conflicts) == bool(words)
    assert not words or words in plan.conflicts[0].message
    assert not words or not [change for change in plan.changes if change.setting == "irq_affinity"]


# Nothing is half known.


def test_a_tuned_host_of_any_kind_is_left_alone() -> None:
    for machine in (made(), made(profile=place()), made(STOCK_RHEL, irqs=64), made(systemd=False), made(**GONE)):
        tuned = machine.tuned()
        assert tuned.plan().changes == ()
        assert tuned.plan() == Plan() or not machine.systemd
        assert "irqs *" in tuned.files[CONF]


def test_a_refusing_interrupt_is_tried_again_and_nothing_else() -> None:
    tuned = made().tuned()
    stuck = replace(tuned, files={**tuned.files, **{k: v for k, v in quiet("1", "1").items() if v}})
    assert steps(stuck.plan()) == [("irq_affinity", "runtime", f"/{FIRST}")]


def test_without_roles_or_interrupts_nothing_is_planned() -> None:
    assert made(cpus=2, nodes=1).plan() == Plan()
    machine = made(active=False, enabled=False)
    assert replace(machine, files={p: t for p, t in machine.files.items() if "/irq/" not in p}).plan() == Plan()
