"""Criteria: what passes, what misses with which words, and that what is unknown is never good enough."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verdict.made import launch, save

from numatune.cli import main
from numatune.verdict.comparison import compare
from numatune.verdict.errors import VerdictError
from numatune.verdict.qualification import AuditCriteria, Criteria, Qualification, parse_criteria, qualify
from numatune.verdict.run import Run

ANY = Criteria(
    ("eliminated", "clean", "reduced", "unchanged", "worse", "inconclusive"), None, None, None, None, 1, 1, None
)
GOOD = {"setting": "numa_balancing", "severity": "critical", "status": "ok"}


def launches(count: int = 3, spikes: int = 0, **options: Any) -> list[Run]:
    """Launches of 1,000, each with `spikes` of them slow."""
    return [launch(spikes=range(100, 100 + 7 * spikes, 7), seed=seed, **options) for seed in range(count)]


def judge(
    criteria: Criteria, before: list[Run], after: list[Run], audit: dict[str, Any] | None = None
) -> Qualification:
    return qualify(criteria, compare(before, after, criteria.limit).as_dict(), before, after, audit)


def finding(status: str, severity: str = "critical") -> dict[str, Any]:
    return {"findings": [GOOD, {"setting": "cpu_governor", "severity": severity, "status": status}]}


def test_the_defaults_pass_where_the_spikes_are_gone_and_the_host_is_right() -> None:
    found = judge(Criteria(), launches(spikes=20), launches(), {"findings": [GOOD]})
    assert found.passed, found
    assert found.reasons == ()
    assert [check.criterion for check in found.checks] == [
        *("verdicts", "launches", "iterations", "max_spikes_per_1000", "max_p50_ratio", "audit")
    ]


def test_the_defaults_miss_where_the_spikes_come() -> None:
    found = judge(Criteria(), launches(), launches(spikes=20), {"findings": [GOOD]})
    assert not found.passed
    assert not found.incomplete
    assert any("the verdict is worse" in reason for reason in found.reasons)
    assert any("spikes per 1,000 after: 20, more than 3" in reason for reason in found.reasons)


def test_an_invalid_run_never_passes() -> None:
    after = launches(events=[{"event": "steal", "detail": "the hypervisor took 9 % of the time"}])
    found = judge(ANY, launches(spikes=20), after)
    assert not found.passed
    assert found.incomplete
    assert "the hypervisor took 9 %" in found.reasons[0]


def test_inconclusive_passes_only_where_it_is_accepted() -> None:
    before, after = ([launch(60, seed=seed)] for seed in (1, 2))
    assert judge(ANY, before, after).passed
    found = judge(replace(ANY, verdicts=("eliminated", "clean")), before, after)
    assert (found.passed, found.incomplete) == (False, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"launches": 4}, "launches a side: 3, fewer than 4"),
        ({"iterations": 1001}, "inferences a launch: 1,000, fewer than 1,001"),
        ({"max_p50_ratio": 1.1}, "the median after in medians before: 1.2, more than 1.1"),
        ({"max_spikes_per_1000": 3.0}, "spikes per 1,000 after: 5, more than 3"),
        ({"max_minor_faults_per_iteration": 6.9}, "minor faults an inference after: 7, more than 6.9"),
        ({"max_hint_faults_per_iteration": 0.0}, "NUMA hinting faults an inference after: 2, more than 0"),
    ],
)
def test_each_limit_is_missed_with_its_figures(change: dict[str, Any], reason: str) -> None:
    counters = {"minor_faults": [7] * 1000, "numa_hint_faults": [2] * 1000}
    after = launches(spikes=5, counters=counters, median=120e6)
    found = judge(replace(ANY, **change), launches(spikes=5), after)
    assert found.reasons == (reason,)
    assert not found.incomplete


@pytest.mark.parametrize("name", ["max_minor_faults_per_iteration", "max_hint_faults_per_iteration"])
def test_a_limit_that_is_just_met_passes(name: str) -> None:
    after = launches(counters={"minor_faults": [7] * 1000, "numa_hint_faults": [7] * 1000})
    assert judge(replace(ANY, **{name: 7.0}), launches(), after).passed


def test_a_counter_that_was_not_read_is_not_zero() -> None:
    criteria = replace(ANY, max_hint_faults_per_iteration=1e9)
    found = judge(criteria, launches(), launches())
    assert (found.passed, found.incomplete) == (False, True)
    assert "numa_hint_faults was not read" in found.reasons[0]
    assert "--counters C" in found.reasons[0]
    gaps = launches(counters={"numa_hint_faults": [0, None] * 500})
    found = judge(criteria, launches(), gaps)
    assert "was read in 500 of 1000" in found.reasons[0]


def test_a_stride_longer_than_the_run_is_not_zero() -> None:
    """No reading fell into the run: a sum of nothing is no count."""
    after = [replace(launch(60, counters={"minor_faults": [None] * 60}), strides={"minor_faults": 64})]
    found = judge(replace(ANY, max_minor_faults_per_iteration=5.0), launches(), after)
    assert found.incomplete


def test_iterations_after_the_last_reading_do_not_thin_a_mean() -> None:
    counters = {"minor_faults": [None] * 9 + [100] + [None] * 9}
    after = [replace(launch(19, counters=counters), strides={"minor_faults": 10})]
    found = judge(replace(ANY, max_minor_faults_per_iteration=6.0), launches(), after)
    assert any("more than 6" in reason for reason in found.reasons)


@pytest.mark.parametrize("status", ["wrong", "masked", "lost_at_reboot", "pending_reboot"])
def test_a_bad_finding_misses(status: str) -> None:
    found = judge(replace(ANY, audit=AuditCriteria()), launches(), launches(), finding(status))
    assert found.reasons == (f"audit: cpu_governor {status}",)
    assert not found.incomplete


@pytest.mark.parametrize("status", ["ok", "waived", "not_applicable"])
def test_a_good_finding_passes(status: str) -> None:
    assert judge(replace(ANY, audit=AuditCriteria()), launches(), launches(), finding(status)).passed


def test_only_the_severities_that_are_asked_for_count() -> None:
    audit = finding("wrong", "warning")
    assert judge(replace(ANY, audit=AuditCriteria()), launches(), launches(), audit).passed
    asked = AuditCriteria(("critical", "warning"))
    assert not judge(replace(ANY, audit=asked), launches(), launches(), audit).passed


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        (None, "no audit"),
        ({"findings": []}, "it holds no findings"),
        ({"error": {"message": "timed out"}, "findings": []}, "timed out"),
        (finding("unknown"), "cpu_governor unknown"),
        ({"findings": [GOOD, {"setting": "cpu_governor", "status": "wrong"}]}, "without a setting, a status or a sev"),
    ],
)
def test_an_audit_that_does_not_know_is_not_good(audit: dict[str, Any] | None, words: str) -> None:
    found = judge(replace(ANY, audit=AuditCriteria()), launches(), launches(), audit)
    assert (found.passed, found.incomplete) == (False, True)
    assert words in found.reasons[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "criteria are a mapping"),
        ({"max_spike_per_1000": 3}, "no criterion is named max_spike_per_1000; there is verdicts, max_spikes_per_1000"),
        ({"audit": {"severity": []}}, "no criterion is named audit.severity"),
        ({"audit": True}, "audit: a mapping"),
        ({"verdicts": "clean"}, "verdicts: a list of eliminated"),
        ({"verdicts": []}, "verdicts: a list of"),
        ({"launches": 10**400}, "launches: a number without fraction"),
        ({"verdicts": ["good"]}, "'good' is none of"),
        ({"verdicts": ["clean", "invalid"]}, "invalid is never good enough"),
        ({"audit": {"accepted": ["ok", "unknown"]}}, "unknown is never good enough"),
        ({"audit": {"severities": ["bad"]}}, "'bad' is none of critical, warning, info"),
        ({"max_spikes_per_1000": 0}, "above 0 and below 1000"),
        ({"max_spikes_per_1000": "3"}, "a number from 0, or null, not '3'"),
        ({"max_p50_ratio": 0}, "max_p50_ratio: a number"),
        ({"max_minor_faults_per_iteration": float("nan")}, "max_minor_faults_per_iteration: a number"),
        ({"max_hint_faults_per_iteration": -1}, "max_hint_faults_per_iteration: a number from 0"),
        ({"launches": 0}, "launches: a number without fraction, from 1"),
        ({"iterations": 1.5}, "iterations: a number without fraction"),
        ({"launches": True}, "launches: a number"),
        ({"launches": None}, "launches: a number"),
    ],
)
def test_criteria_that_are_none_are_named(data: Any, words: str) -> None:
    with pytest.raises(VerdictError) as error:
        parse_criteria(data, "criteria.yml")
    assert words in str(error.value)
    assert str(error.value).startswith("criteria.yml: ")
    assert "\n" not in str(error.value)


def test_what_a_file_does_not_say_is_as_by_default() -> None:
    assert parse_criteria({}, "x") == Criteria()
    read = parse_criteria({"audit": {"severities": ["info"]}, "max_p50_ratio": None, "launches": 1}, "x")
    assert read == replace(Criteria(), audit=AuditCriteria(("info",)), max_p50_ratio=None, launches=1)
    assert parse_criteria(Criteria().as_dict(), "x") == Criteria()


@pytest.mark.parametrize(
    ("text", "code", "passed"),
    [
        ("verdicts: [eliminated, clean]\naudit: null\n", 0, True),
        ("qualify_criteria:\n  audit: null\n", 0, True),
        ("{audit: null, launches: 4}", 1, False),
        ("{}", 3, False),
        ("", 3, False),
    ],
)
def test_compare_exits_by_the_criteria(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, passed: bool
) -> None:
    before = [save(tmp_path, f"b{n}.json", spikes=range(100, 240, 7), seed=n) for n in range(3)]
    after = [save(tmp_path, f"a{n}.json", seed=n) for n in range(3)]
    (tmp_path / "criteria.yml").write_text(text)
    words = ["compare", "--before", *before, "--after", *after, "--criteria", str(tmp_path / "criteria.yml")]
    assert main([*words, "--format", "json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "eliminated"
    assert answer["qualification"]["passed"] is passed
    assert main(words) == code
    assert ("qualified: every criterion is met" in capsys.readouterr().out) is passed


def test_an_audit_report_about_one_host_is_taken_and_one_about_two_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = ([save(tmp_path, f"{side}.json", seed=n)] for n, side in enumerate("ba"))
    (tmp_path / "c.json").write_text('{"launches": 1}')
    words = ["compare", "--before", *before, "--after", *after, "--criteria", str(tmp_path / "c.json")]
    words += ["--format", "json", "--audit", str(tmp_path / "audit.json")]

    def audited(content: Any) -> int:
        (tmp_path / "audit.json").write_text(json.dumps(content))
        return main(words)

    audited({"schema": "numatune/audit/1", "hosts": [{"name": "a", "findings": [GOOD]}]})
    checks = json.loads(capsys.readouterr().out)["qualification"]["checks"]
    assert {check["criterion"]: check["status"] for check in checks}["audit"] == "passed"
    for content, said in (
        ({"hosts": [{"findings": [GOOD]}] * 2}, "holds 2 hosts"),
        ({"hosts": []}, "holds 0 hosts"),
        ({"name": "a"}, "has no findings"),
        ([], "has no findings"),
    ):
        assert audited(content) == 2
        assert said in capsys.readouterr().err
    assert main([*words[:-2], "--audit", "/no/such.json"]) == 2
    assert "cannot read /no/such.json" in capsys.readouterr().err
    assert main(["compare", "--before", *before, "--after", *after, "--audit", "x"]) == 2
    assert "--audit goes with --criteria" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{launches: [", "launches: 1\nlanches: 2\n", "- 1\n"])
def test_a_bad_file_of_criteria_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    before, after = ([save(tmp_path, f"{side}.json", seed=n)] for n, side in enumerate("ba"))
    (tmp_path / "c.yml").write_text(text)
    assert main(["compare", "--before", *before, "--after", *after, "--criteria", str(tmp_path / "c.yml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert str(tmp_path / "c.yml") in err
