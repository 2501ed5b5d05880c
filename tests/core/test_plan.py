"""The planner over all settings, on made-up ones: what one writes twice, in which order, and what is derived once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from synthetic import Tree, host

from numatune.core import catalogue
from numatune.core.host import Host, Planned
from numatune.core.model import Change, Finding, Plan, Severity, Status
from numatune.core.plan import make_plan
from numatune.core.profile import Profile
from numatune.core.replay import collect

TODAY = date(2027, 1, 1)


def planned(monkeypatch: pytest.MonkeyPatch, **settings: tuple[Change, ...]) -> Plan:
    """Plan a host whose settings, all wrong, want these changes."""
    stock = catalogue.SETTINGS[0]

    def made(name: str, changes: tuple[Change, ...]):  # type: ignore[no-untyped-def] # a Setting of this checkout
        def judge(host: Host) -> Finding:
            return Finding(name, Status.WRONG, Severity.WARNING)

        def plan(host: Host, finding: Finding) -> Planned:
            return changes, ()

        return replace(stock, name=name, judge=judge, changes=plan)

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
