"""The planner over all settings, on made-up ones: what one writes twice, in which order, and what is derived once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from types import FrameType

import pytest
from synthetic import Link, Tree, host

from numatune.core import catalogue
from numatune.core.audit import judge_host
from numatune.core.change import Change, Plan
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.loaders import next_boot
from numatune.core.machine import agents, container, facts, roles, topology, tuned, units
from numatune.core.model import Finding, Severity, Status
from numatune.core.plan import make_plan, plan_host
from numatune.core.profile import builtin
from numatune.core.setting import Planned
from numatune.core.wanted import Profile

TODAY = date(2027, 1, 1)


def planned(
    monkeypatch: pytest.MonkeyPatch, _after: Mapping[str, tuple[str, ...]] | None = None, **settings: tuple[Change, ...]
) -> Plan:
    """Plan a host whose settings, all wrong, want these changes."""
    stock = catalogue.SETTINGS[0]

    def made(name: str, changes: tuple[Change, ...]):  # type: ignore[no-untyped-def] # a Setting of this checkout
        def judge(host: Host) -> Finding:
            return Finding(name, Status.WRONG, Severity.WARNING)

        def plan(host: Host, finding: Finding) -> Planned:
            return changes, ()

        return replace(stock, name=name, judge=judge, changes=plan, after=(_after or {}).get(name, ()))

    monkeypatch.setattr(catalogue, "SETTINGS", tuple(made(*item) for item in settings.items()))
    return make_plan(collect(Tree(host(4)), complete=True), Profile("p", tuple(settings)), TODAY)


def change(setting: str, path: str, content: str, kind: str = "file") -> Change:
    return Change(setting, kind, path, content, None, "why", "0644" if kind == "file" else None)


def test_what_two_settings_both_need_is_planned_once_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = [change(name, "/etc/x", "same\n") for name in ("a", "b")]
    plan = planned(monkeypatch, a=(shared[0],), b=(shared[1], change("b", "/etc/y", "y\n")))
    assert [(item.setting, item.path) for item in plan.changes] == [("a", "/etc/x"), ("b", "/etc/y")]
    assert not plan.conflicts


@pytest.mark.parametrize("kind", ["file", "runtime"])
def test_two_settings_that_write_one_path_differently_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The second one's text was dropped without a word, and its setting never held."""
    both = [change(name, "/etc/x", f"{name}\n", kind) for name in ("a", "b")]
    service = [change(name, "/etc/script", "same\n") for name in ("a", "c")]
    plan = planned(monkeypatch, a=(both[0], service[0]), b=(both[1],), c=(service[1],))
    assert [(item.setting, item.path) for item in plan.conflicts] == [("a", "/etc/x"), ("b", "/etc/x")]
    (message,) = {item.message for item in plan.conflicts}
    assert message.startswith("a and b would both write /etc/x, and not the same: leave one of them out (`settings: {b")
    # What another one needs too is not lost with them.
    assert [(item.setting, item.path) for item in plan.changes] == [("c", "/etc/script")]
    assert not plan.left
    for name in ("a", "b"):
        assert plan.of({name}).conflicts


def test_files_that_another_setting_comes_after_are_placed_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared on the setting: no name stands in the planner."""
    assert catalogue.setting("irqbalance").after == ("irq_affinity",)
    stock = catalogue.SETTINGS

    def ordered(*after: str) -> list[str]:
        monkeypatch.setattr(catalogue, "SETTINGS", stock)
        changes = {
            "x": (change("x", "/etc/x", "x\n"),),
            "y": (change("y", "/proc/y", "1\n", "runtime"), change("y", "/etc/y", "y\n")),
        }
        plan = planned(monkeypatch, _after={"x": after}, **changes)
        return [item.path for item in plan.changes]

    assert ordered() == ["/etc/x", "/proc/y", "/etc/y"]
    assert ordered("y") == ["/etc/y", "/etc/x", "/proc/y"]


def test_what_a_reboot_alone_brings_and_what_the_kernel_may_keep_stand_on_the_setting() -> None:
    assert [item.name for item in catalogue.SETTINGS if item.by_reboot] == ["core_isolation", "kernel_arguments"]
    assert [item.name for item in catalogue.SETTINGS if item.may_be_refused] == ["irq_affinity"]
    assert {item.part_of for item in catalogue.SETTINGS if item.part_of} == {"kernel_arguments"}


def test_systemd_is_asked_for_every_agent_that_a_setting_names() -> None:
    named = {agent.unit for item in catalogue.SETTINGS for agent in item.agents.units}
    assert named >= {"saptune.service", "tlp.service"}
    assert named <= set(agents.UNITS)


FACTS = (
    *(topology.read, roles.assign, next_boot.next_boot, container.container),
    *(facts.kernel_release, facts.architecture, facts.virtualization),
    *(agents.unit, units.shown, units.applier, tuned._units),
)


def test_each_fact_of_a_host_is_derived_once_for_judge_and_plan() -> None:
    files = host(8, governor="schedutil", numa_balancing="1", sysctl={})
    files["etc/systemd/system/multi-user.target.wants/tuned.service"] = Link("/usr/lib/systemd/system/tuned.service")
    one = Host(collect(Tree(files), complete=True), builtin("inference-latency"))
    codes = {getattr(fact, "__wrapped__", fact).__code__: fact.__name__ for fact in FACTS}
    derived: Counter[tuple[str, ...]] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in codes:
            names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
            told = [repr(frame.f_locals[name]) for name in names if name != "snapshot"]
            derived[codes[frame.f_code], *told] += 1

    sys.setprofile(count)
    try:
        plan = plan_host(one, judge_host(one, TODAY).findings)
    finally:
        sys.setprofile(None)
    assert plan.changes
    assert {name for name, *_ in derived} == set(codes.values())
    assert {fact: times for fact, times in derived.items() if times > 1} == {}
