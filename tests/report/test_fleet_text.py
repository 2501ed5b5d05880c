"""The text of a fleet: equal failures are one, a host read back from JSON is shown as it was, no escapes."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from numatune.core.audit import judge
from numatune.core.plan import make_plan
from numatune.core.profile import builtin
from numatune.report.audits import fleet, reading, text
from numatune.report.audits.failures import kind
from numatune.report.audits.hosts import Judged
from numatune.transport.captured.replay import from_file

HOSTS = sorted((Path(__file__).parents[1] / "hosts").glob("hwloc-*.tar.gz"))
TODAY = date(2026, 1, 1)
PROFILE = builtin("inference-latency")


@pytest.mark.parametrize(
    ("message", "own", "wanted"),
    [
        ("db1: refused", ["db1"], "HOST: refused"),
        ("[2001:db8::1]:22 refused", ["db1"], "ADDRESS:22 refused"),
        ("root@10.0.0.7: denied", ["web"], "root@ADDRESS: denied"),
        ("10.0.0.7:22: no answer in 5.02 s.", ["db1"], "ADDRESS:22: no answer in … s."),
        ("auth: no authentication at auth", ["auth"], "HOST: no authentication at HOST"),
        ("db1.example, not db1 or db1.example.com", ["db1", "db1.example"], "HOST, not HOST or db1.example.com"),
        ("through 10.9.9.9: no route to 10.0.0.7", ["db1"], "through 10.9.9.9: no route to ADDRESS"),
        ("key is SHA256:abc/+= now", [], "key is KEY now"),
        ("at 12:30:01 it said a::b", [""], "at ADDRESS it said ADDRESS"),
        ("a [x] (y) \\1 *", ["(y)", "\\1"], "a [x] HOST HOST *"),
    ],
)
def test_a_failure_without_a_hosts_own_words(message: str, own: list[str], wanted: str) -> None:
    assert kind(message, own, ["10.9.9.9"]) == wanted


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_a_host_read_back_is_shown_as_it_was(path: Path) -> None:
    snapshot = from_file(path)
    judged = Judged("name\x1b[2J", judge(snapshot, PROFILE, TODAY))
    again = reading.host(json.dumps(judged.as_dict()))
    assert again.as_dict() == judged.as_dict()
    assert list(text.audit([again])) == list(text.audit([judged]))
    planned = Judged("name", plan=make_plan(snapshot, PROFILE, TODAY))
    again = reading.host(json.dumps(planned.plan_as_dict()))
    assert again.plan_as_dict() == planned.plan_as_dict()
    assert list(text.plan([again])) == list(text.plan([planned]))


@pytest.mark.parametrize("document", ["[]", "{}", '{"name": "x", "findings": [{}]}', "1", '{"name": 1, "error": 2}'])
def test_what_is_no_host_is_an_error(document: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        reading.host(document)


def test_many_values_of_one_setting_are_one_line_and_many_kinds_are_cut() -> None:
    summary = {"hosts": 1000, "ok": 0, "findings": 990, "incomplete": 0, "unreachable": 10, "not_judged": 0}
    same = [(("irq_affinity", "wrong", "warning", f"CPU {n}", "0-3"), 9, ("a", "b", "c")) for n in range(110)]
    failures = [(("exec", f"failure {n} \x1b[31m"), 1, (f"x\x9b{n}",)) for n in range(40)]
    shown = fleet.overview(fleet.Overview(summary, 1000, failures, same))
    assert (
        "irq_affinity wrong = CPU 0, want 0-3 and 109 other values: 990 of 990 hosts: a, b, c and 987 more"
        in " ".join(shown.split())
    )
    assert "… and 28 more kinds" in shown
    assert len(shown.splitlines()) < 20
    assert not {sign for sign in shown if not sign.isprintable()} - {"\n"}


@pytest.mark.parametrize("width", [48, 80])
def test_the_sum_fits_into_the_width_and_tells_who_was_not_judged_apart(width: int) -> None:
    summary = {"hosts": 1400, "ok": 990, "findings": 0, "incomplete": 0, "unreachable": 10, "not_judged": 400}
    failures = [(("auth", "no key " * 20), 10, ("a",)), (("profile", "serving CPUs 16-19 do not exist"), 400, ("b",))]
    view = fleet.Overview(summary, 2000, failures, unsure=900)
    for shown in (
        fleet.overview(view, "(--details shows every host; --report FMT=PATH writes them to a file)", width),
        fleet.planned(summary, 2000, failures, width),
    ):
        assert [line for line in shown.splitlines() if len(line) > width] == []
        assert "not judged: 400 hosts: profile: serving CPUs" in " ".join(shown.split())
        assert " 400 not judged" in " ".join(shown.split("not reached:")[0].split())
