"""A service's memory policy where the sysctl stays: what its mappings show, the drop-in, and what is planned."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from synthetic import Tree, host

from numatune.core.change import Plan
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.model import Reading, State
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping
from numatune.core.settings.memory import numa_balancing

UNIT = "serve.service"
DROP_IN = f"etc/systemd/system/{UNIT}.d/zz-numatune-memory.conf"
PROFILE = from_mapping({"settings": {"numa_balancing": {"unit": UNIT}}})


def made(runs: str | None = None, files: dict[str, str] | None = None, **changed: Any) -> Host:
    snapshot = collect(Tree({**host(8, numa_balancing="1", sysctl={}, **changed), **(files or {})}), complete=True)
    shown = {} if runs is None else {"memory_policies": Reading("memory_policies", State.PRESENT, runs)}
    return Host(replace(snapshot, commands=shown), PROFILE)


def plan(here: Host) -> Plan:
    return make_plan(here.snapshot, PROFILE, date(2026, 11, 24), ["numa_balancing"])


def right() -> dict[str, str]:
    (change,) = plan(made()).changes
    assert change.content is not None
    return {DROP_IN: change.content}


RUNS = {
    "a line that ends early": (f"Id={UNIT} \n", True, "unknown", "could not be read"),
    "no drop-in": (None, False, "wrong", "has no memory policy"),
    "runs with it": (f"Id={UNIT} pid=7\nId={UNIT} policy=local\n", True, "ok", "leaves memory with a policy alone"),
    "bound": (f"Id={UNIT} pid=7\nId={UNIT} policy=bind\nId={UNIT} policy=local\n", True, "ok", ""),
    "not restarted": (f"Id={UNIT} pid=7\nId={UNIT} policy=default\n", True, "pending_reboot", "restart it"),
    "half": (f"Id={UNIT} pid=7\nId={UNIT} policy=default\nId={UNIT} policy=local\n", True, "pending_reboot", "restart"),
    "stopped": (f"Id={UNIT} pid=0\n", True, "ok", "does not run now"),
    "not readable": (f"Id={UNIT} pid=7\n", True, "unknown", "could not be read"),
    "another unit's": (f"Id=x{UNIT} pid=7\nId=x{UNIT} policy=local\n", True, "unknown", "could not be read"),
    "no systemctl": (None, True, "unknown", "could not be read"),
}


@pytest.mark.parametrize(("runs", "drop_in", "status", "words"), RUNS.values(), ids=RUNS)
def test_the_unit_is_judged_by_its_own_mappings(runs: str | None, drop_in: bool, status: str, words: str) -> None:
    finding = numa_balancing.judge(made(runs, right() if drop_in else {}))
    assert finding.status.value == status
    assert words in finding.reason


def test_the_sysctl_stays_and_the_drop_in_names_the_policy() -> None:
    planned = plan(made())
    assert [(change.kind, change.path) for change in planned.changes] == [("file", "/" + DROP_IN)]
    assert "NUMAPolicy=local" in str(planned.changes[0].content).splitlines()
    assert plan(made(files=right())).changes == ()


def test_a_balancer_that_is_off_needs_no_policy() -> None:
    here = made()
    off = collect(Tree(host(8)), complete=True)
    assert numa_balancing.judge(Host(off, here.profile)).status.value == "ok"


@pytest.mark.parametrize("unit", ["serve", "../x.service", "a b.service", ".service"])
def test_what_is_no_service_is_refused(unit: str) -> None:
    profile = from_mapping({"settings": {"numa_balancing": {"unit": unit}}})
    planned = make_plan(made().snapshot, profile, date(2026, 11, 24), ["numa_balancing"])
    assert planned.changes == ()
    assert "is no service's name" in planned.conflicts[0].message


def test_a_foreign_drop_in_is_refused() -> None:
    planned = plan(made(files={DROP_IN: "[Service]\nNUMAPolicy=bind\n"}))
    assert planned.changes == ()
    assert "is not numatune's" in planned.conflicts[0].message
