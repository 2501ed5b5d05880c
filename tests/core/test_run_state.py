"""What became of a host in a run, and whether it serves when the run ends: audits and notes in, decisions out."""

from __future__ import annotations

from typing import Any

import pytest

from numatune.core.run_state import Asked, run_state
from numatune.core.undo.run_mark import PATH

SINCE = "2026-11-24T09:00:00Z"
HOOK = "-e numatune_undrain_tasks=FILE"
ALL = ("numa_balancing", "kernel_arguments")
HELD = {"playbook": "qualify", "began": SINCE, "drained": SINCE, "ended": None}
CUT = {"playbook": "tune", "began": SINCE, "drained": SINCE, "ended": None}
BARE = {**CUT, "drained": None}
WAITS = {**CUT, "ended": "pending_reboot"}


def audit(
    *changes: str, run: dict[str, Any] | None = None, reboot: tuple[str, ...] = (), **statuses: str
) -> dict[str, Any]:
    found = {"numa_balancing": "ok", "kernel_arguments": "not_applicable", "ksm": "wrong", **statuses}
    return {
        "plan": {"changes": [{"path": path} for path in changes]},
        "report": {"findings": [{"setting": name, "status": status} for name, status in found.items()]},
        "reboot": list(reboot),
        "run": run or {},
    }


def asked(**more: Any) -> Asked:
    return Asked(**{"chosen": ALL, "everything": ALL, "hook": True, **more})


BECAME: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "right": (audit(), {}, "tuned", ""),
    "what was not asked for does not count": (audit(ksm="unknown"), {}, "tuned", ""),
    "a waiver is no fault": (audit(numa_balancing="waived"), {}, "tuned", ""),
    "some is not known": (audit(numa_balancing="unknown"), {}, "incomplete", "numa_balancing unknown"),
    "waits for a reboot": (
        audit(kernel_arguments="pending_reboot", reboot=("kernel_arguments",)), {},
        "pending_reboot", "kernel_arguments pending_reboot",
    ),
    "another waits for one": (
        audit(numa_balancing="wrong", reboot=("core_isolation",)), {}, "incomplete", "numa_balancing wrong",
    ),
    "something is left": (
        audit("/etc/a", "/etc/b", numa_balancing="wrong"), {}, "failed", "still to change: /etc/a, /etc/b",
    ),
    "a look": (audit("/etc/a", numa_balancing="wrong"), {"check": True}, "would change", "1 changes"),
    "a look at what is right": (audit(), {"check": True}, "tuned", ""),
    "a look at what is right after a cut run": (
        audit(run=BARE), {"check": True}, "would change",
        "nothing is left to change; would finish the run that was interrupted",
    ),
    "a look at what is right and out of service": (
        audit(run=CUT), {"check": True}, "would change",
        f"nothing is left to change; would put it back into service (out since {SINCE})",
    ),
    "a look at more to change": (
        audit("/etc/a", run=CUT), {"check": True}, "would change",
        f"1 changes; would put it back into service (out since {SINCE})",
    ),
    "waits, out of service": (
        audit(run=WAITS, kernel_arguments="pending_reboot", reboot=("kernel_arguments",)), {},
        "pending_reboot", f"kernel_arguments pending_reboot; out of service since {SINCE}",
    ),
    "held by qualify": (audit(run=HELD), {}, "tuned", f"out of service since {SINCE}, until qualify.yml puts it back"),
    "held by this very run": (audit(run=HELD), {"held": True, "playbook": "qualify"}, "tuned", ""),
    "a part": (
        audit(run=WAITS), {"chosen": ALL[:1]}, "tuned",
        f"out of service since {SINCE}: run tune.yml without --tags and --skip-tags",
    ),
    "a part of a cut run": (
        audit(run=BARE), {"chosen": ALL[:1]}, "tuned",
        "an earlier run was interrupted: run tune.yml without --tags and --skip-tags",
    ),
    "no hook": (
        audit(run=CUT), {"hook": False}, "tuned",
        f"out of service since {SINCE}: run tune.yml with {HOOK}, or remove {PATH} once it serves",
    ),
    "no audit": ({"msg": "no"}, {}, "failed", "still to change: "),
}  # fmt: skip


@pytest.mark.parametrize(("found", "more", "became", "because"), BECAME.values(), ids=BECAME)
def test_what_became_of_a_host(found: dict[str, Any], more: dict[str, Any], became: str, because: str) -> None:
    state = run_state(found, asked(**more))
    assert (state.became, state.because) == (became, because)


RETURNS = {
    "nothing was begun": (audit(), {}, False),
    "this run began": (audit(), {"marked": True}, True),
    "an earlier one did": (audit(run=CUT), {}, True),
    "as far as it goes": (audit(run=CUT, numa_balancing="unknown"), {}, True),
    "it waits": (audit(run=CUT, numa_balancing="pending_reboot", reboot=("numa_balancing",)), {}, False),
    "something is left": (audit("/etc/a", run=CUT), {}, False),
    "a part": (audit(run=CUT), {"chosen": ALL[:1]}, False),
    "a part, and no mark was before": (audit(run=CUT), {"chosen": ALL[:1], "earlier": {}, "marked": True}, True),
    "no hook": (audit(run=CUT), {"hook": False}, False),
    "no hook, and it was never taken out": (audit(run=BARE), {"hook": False}, True),
    "qualify holds it": (audit(run=HELD), {}, False),
    "this very run holds it": (audit(run=CUT), {"held": True}, False),
}  # fmt: skip


@pytest.mark.parametrize(("found", "more", "returns"), RETURNS.values(), ids=RETURNS)
def test_when_a_host_returns_into_service(found: dict[str, Any], more: dict[str, Any], returns: bool) -> None:
    assert run_state(found, asked(**more)).returns is returns


STAYS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "refused before anything was begun": (audit("/etc/a"), {"state": "failed"}, ""),
    "refused, and an earlier run noted what is": (audit("/etc/a", run=WAITS), {"state": "failed"}, ""),
    "failed in the middle": (audit("/etc/a", run=CUT), {"state": "failed", "marked": True}, "failed"),
    "waits": (
        audit(run=CUT, numa_balancing="pending_reboot", reboot=("numa_balancing",)),
        {"state": "pending_reboot", "marked": True}, "pending_reboot",
    ),
    "waits still": (
        audit(run=WAITS, numa_balancing="pending_reboot", reboot=("numa_balancing",)), {"state": "pending_reboot"}, "",
    ),
    "returns": (audit(run=CUT), {"state": "tuned", "marked": True}, ""),
    "went away": (audit(run=CUT), {"state": "unreachable", "marked": True}, ""),
    "a part of a cut run stays that": (
        audit(run=CUT), {"state": "tuned", "chosen": ALL[:1], "earlier": CUT, "marked": True}, "",
    ),
    "a part keeps what was noted": (
        audit(run=CUT), {"state": "tuned", "chosen": ALL[:1], "earlier": WAITS, "marked": True}, "pending_reboot",
    ),
    "no hook": (audit(run=CUT), {"state": "tuned", "hook": False}, "tuned"),
    "qualify holds it": (audit(run=HELD), {"state": "failed", "marked": True}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("found", "more", "outcome"), STAYS.values(), ids=STAYS)
def test_what_is_noted_of_a_host_that_stays_out_of_service(
    found: dict[str, Any], more: dict[str, Any], outcome: str
) -> None:
    state = run_state(found, asked(**more))
    assert (state.stays_out, state.outcome if state.stays_out else "") == (bool(outcome), outcome)
