"""Every verdict can be reached, every refusal is made, and chance alone seldom gives one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verdict.made import launch, result, save

from numatune.cli import main
from numatune.verdict.comparison import compare
from numatune.verdict.decision import Side, decide, iterations_that_decide
from numatune.verdict.errors import VerdictError
from numatune.verdict.run import Run

SPIKY = range(5, 1000, 40)  # 25 per 1,000


def launches(count: int, spikes: Any = (), start: int = 0, **options: Any) -> list[Run]:
    return [launch(1000, spikes, seed=start + index, **options) for index in range(count)]


def test_eliminated() -> None:
    found = compare(launches(3, SPIKY), launches(3, start=10))
    assert found.verdict == "eliminated"
    assert found.after.upper_per_1000 <= 1.0
    assert found.decision.p_fewer < 1e-6
    assert found.would_decide is None


def test_eliminated_with_one_launch_a_side() -> None:
    found = compare(launches(1, SPIKY), launches(1, start=10))
    assert found.verdict == "eliminated"
    assert any("only one launch a side" in remark for remark in found.remarks)


def test_bursts_that_did_not_come_are_bounded_as_bursts() -> None:
    """One burst of ten in 2,000 inferences is 5 per 1,000, and 3,000 hold none of them one time in five."""
    bursts = [at + index for at in range(50, 1000, 200) for index in range(10)]
    found = compare(launches(3, bursts), launches(3, start=10))
    assert found.after.spikes == 0
    assert found.after.upper_per_1000 > 5.0
    assert found.verdict == "reduced"
    assert found.would_decide is not None
    assert found.would_decide > 3000


def test_nothing_is_eliminated_where_no_spike_was() -> None:
    """A lower tail in a side that is too short to be clean is no reduction of spikes."""
    before = [launch(300, range(5, 300, 20), factor=1.09, seed=1)]
    found = compare(before, [launch(1200, seed=2)])
    assert found.before.spikes == 0
    assert found.verdict == "inconclusive"


def test_reduced() -> None:
    found = compare(launches(3, range(5, 1000, 20)), launches(3, range(5, 1000, 80), start=10))
    assert found.verdict == "reduced"
    assert found.after.upper_per_1000 > 3
    assert found.would_decide is None  # 12 per 1,000 never come within 3


def test_reduced_for_want_of_samples_says_how_many() -> None:
    after = [launch(500, seed=9)]
    found = compare(launches(1, SPIKY), after)
    assert found.verdict == "reduced"
    assert found.would_decide is not None
    assert 1000 <= found.would_decide <= 1200


def test_unchanged() -> None:
    before = launches(6, range(5, 1000, 25))
    after = launches(6, range(7, 1000, 25), start=10)
    assert compare(before, after).verdict == "unchanged"


@pytest.mark.parametrize("limit", [3.0, 30.0, 100.0])
@pytest.mark.parametrize("count", [1, 3])
def test_a_far_longer_burst_is_never_unchanged(count: int, limit: float) -> None:
    """Blocks of more than 333 inferences: the limit, counted in blocks, is more than all of them."""
    found = compare(launches(count, range(400, 416)), launches(count, range(300, 450), start=10), limit)
    assert found.block >= 333
    assert found.decision.margin <= 0.2
    assert found.verdict in ("inconclusive", "worse")


def test_few_blocks_never_show_equivalence() -> None:
    assert decide(Side(2000, 100, 2, 2), Side(2000, 100, 2, 2), None, 3).verdict == "inconclusive"
    assert decide(Side(2000, 50, 19, 19), Side(2000, 50, 19, 19), None, 3).verdict == "inconclusive"
    assert decide(Side(2000, 50, 40, 40), Side(2000, 50, 40, 40), None, 3).verdict == "unchanged"


def test_more_spikes_in_as_many_blocks_are_not_unchanged() -> None:
    before = Side(4000, 64, 40, 40)
    assert decide(before, Side(4000, 600, 40, 40), None, 3).verdict == "inconclusive"
    assert decide(before, Side(4000, 10, 40, 40), None, 3).verdict == "inconclusive"
    assert decide(before, Side(4000, 80, 40, 40), None, 3).verdict == "unchanged"


def test_fewer_bursts_of_far_more_spikes_are_not_reduced() -> None:
    assert decide(Side(4000, 40, 40, 100), Side(4000, 400, 10, 100), None, 3).verdict == "inconclusive"


def test_worse() -> None:
    assert compare(launches(3), launches(3, SPIKY, start=10)).verdict == "worse"


def test_clean() -> None:
    found = compare(launches(1), launches(1, start=10))
    assert found.verdict == "clean"


def test_inconclusive_says_how_many_iterations_would_decide() -> None:
    found = compare(launches(1, [100, 500, 800]), launches(1, start=10))
    assert found.verdict == "inconclusive"
    assert found.would_decide is not None
    assert 1000 < found.would_decide < 5000


def test_a_few_iterations_are_never_clean() -> None:
    found = compare([launch(100, seed=1)], [launch(100, seed=2)])
    assert found.verdict == "inconclusive"
    assert found.shift is None  # no p99 from 100 samples
    assert found.would_decide is not None
    assert 900 <= found.would_decide <= 1200


def test_invalid() -> None:
    event = {"event": "steal", "detail": "the hypervisor took 4.0% of the CPUs' time (limit 1 %)"}
    found = compare(launches(1, SPIKY), launches(1, start=10, events=[event]))
    assert found.verdict == "invalid"
    assert found.reason == "no verdict: 1 of 2 runs was disturbed (named below): measure again on a quiet machine"
    assert "4.0%" in found.invalid[0]


def test_a_higher_limit_turns_reduced_into_eliminated() -> None:
    before, after = launches(3, range(5, 1000, 20)), launches(3, range(5, 1000, 250), start=10)
    assert compare(before, after).verdict == "reduced"
    assert compare(before, after, 10).verdict == "eliminated"


def test_a_noisy_before_does_not_hide_its_own_spikes() -> None:
    """Its own spread would put the threshold at 1.4; that of the quiet side puts it at 1.1."""
    noisy = [launch(1000, SPIKY, noise=0.05, factor=1.3, seed=1)]
    found = compare(noisy, launches(1, start=10))
    assert found.quieter == "after"
    assert found.threshold == pytest.approx(1.10)
    assert found.verdict == "eliminated"


def test_a_slower_median_is_no_spike() -> None:
    found = compare(launches(1, median=130e6), launches(1, start=10))
    assert found.verdict == "clean"


def test_how_the_medians_moved_is_always_said() -> None:
    found = compare(launches(3, SPIKY, noise=0.0), launches(3, start=10, noise=0.0))
    assert found.remarks[0] == "the median stayed at 100 ms (1.00 ×)"
    assert "median" not in found.reason
    slower = compare(launches(3, SPIKY, noise=0.0), launches(3, start=10, noise=0.0, median=502e6))
    assert slower.verdict == "eliminated"
    assert slower.remarks[0] == "the median moved from 100 ms to 502 ms (5.02 ×)"
    assert slower.reason.endswith("; but the median moved from 100 ms to 502 ms (5.02 ×)")
    assert slower.as_dict()["median"] == {"before_ms": 100.0, "after_ms": 502.0, "ratio": 5.02}


def test_one_long_burst_is_one_event() -> None:
    """Fifty slow inferences in a row are no evidence of fifty spikes: on iterations Fisher's p would be 1e-15."""
    found = compare(launches(1, range(400, 450)), launches(1, start=10))
    assert found.block > 100
    assert found.verdict == "inconclusive"


def test_longer_spikes_of_the_same_number_are_worse() -> None:
    before, after = launches(2, SPIKY, factor=1.2), launches(2, SPIKY, start=10, factor=2.5)
    found = compare(before, after)
    assert found.shift is not None
    assert found.shift.p_rose < 0.01
    assert found.verdict == "worse"


def test_chance_alone_seldom_gives_a_verdict() -> None:
    """The same process on both sides, clustered spikes: at most the level of 5 % a side, with room for luck."""
    generator = np.random.default_rng(4)
    wrong = 0
    for trial in range(40):
        sides = []
        for side in range(2):
            starts = np.flatnonzero(generator.random(1000) < 0.012)
            spikes = sorted({min(999, start + step) for start in starts for step in range(3)})
            sides.append([launch(1000, spikes, seed=2 * trial + side)])
        wrong += compare(*sides).verdict in ("eliminated", "reduced", "worse")
    assert wrong <= 8


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model__name": "resnet50"}, "model"),
        ({"model__size": 64}, "size"),
        ({"model__weights_sha256": "other"}, "weights hash"),
        ({"precision": "int8"}, "precision"),
        ({"threads": 1}, "threads"),
        ({"machine": "b"}, "machine"),
        ({"engine__version": "1.19.2"}, "engine version"),
        ({"numpy": "2.0.2"}, "numpy"),
        ({"memory_policy": "bind"}, "memory policy"),
        ({"batch": 8}, "batch"),
        ({"scope": "host"}, "scope"),
        ({"counter_tier": "D"}, "counter tier"),
        ({"instances": {"kind": "per-node", "index": 0, "of": 2}}, "instances"),
    ],
)
def test_runs_that_differ_are_refused(change: dict[str, Any], name: str) -> None:
    with pytest.raises(VerdictError, match=f"differ in {name} "):
        compare(launches(1), launches(1, start=1, **change))


def test_what_the_first_versions_did_not_record_is_what_they_always_did() -> None:
    old = launch(1000, seed=1)
    added = ("scope", "instances", "counter_tier", "injection", "boot_id", "precision")
    bare = {name: value for name, value in old.environment.items() if name not in added}
    assert compare([replace(old, environment=bare)], [launch(1000, seed=2)]).verdict == "clean"
    with pytest.raises(VerdictError, match=r"differ in scope \(node and host\)"):
        compare([replace(old, environment=bare)], [launch(1000, seed=2, scope="host")])
    with pytest.raises(VerdictError, match=r"differ in precision \(fp32 and int8\)"):
        compare([replace(old, environment=bare)], [launch(1000, seed=2, precision="int8")])


def test_the_same_instances_must_be_on_both_sides() -> None:
    nodes = [{"kind": "per-node", "index": index, "of": 2} for index in range(2)]
    before, after = ([launch(1000, seed=seed, instances=node) for node in nodes] for seed in (1, 2))
    assert compare(before, after).verdict == "clean"
    with pytest.raises(VerdictError, match="index 0 before and 1 after"):
        compare(before[:1], after[1:])


def test_injected_runs_are_refused_on_either_side() -> None:
    quiet, hogged = launch(1000), launch(1000, seed=1, injection={"kind": "hog"})
    for sides in (([quiet], [hogged]), ([hogged], [quiet]), ([hogged], [hogged])):
        with pytest.raises(VerdictError, match="--inject hog: injected runs are not compared"):
            compare(*sides)


def test_one_launch_given_twice_is_refused() -> None:
    run = launch(1000)
    with pytest.raises(VerdictError, match="the same launch"):
        compare([run], [run])


def test_a_result_that_does_not_say_what_it_ran_is_refused() -> None:
    run = launch(1000)
    bare = Run(run.path, run.latency, {}, {}, started="x")
    with pytest.raises(VerdictError, match="does not say its model"):
        compare([bare], [run])


@pytest.mark.parametrize("limit", [0.0, -1.0, 1000.0, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(VerdictError, match="--max-spikes-per-1000"):
        compare(launches(1), launches(1, start=1), limit)


def test_turns_and_changes_are_remarked() -> None:
    first, second, third, fourth = (launch(1000, seed=index, kernel=f"6.{index % 2}") for index in range(4))
    remarks = compare([first, third], [second, fourth]).remarks
    assert not any("one after the other" in remark for remark in remarks)
    assert any("kernel differed: 6.0, 6.1" in remark for remark in remarks)
    assert any("one after the other" in remark for remark in compare([first, second], [third, fourth]).remarks)


def test_the_order_says_what_it_cannot_show() -> None:
    first, second, third, fourth = (launch(1000, seed=index) for index in range(4))
    turns = compare([first, third], [second, fourth])
    assert turns.as_dict()["order"] == {"kind": "in turns", "sequence": "ABAB", "randomised": True}
    blocked = compare([first, second], [third, fourth])
    assert (blocked.order.kind, blocked.order.sequence) == ("one after the other", "AABB")
    assert any("before, after, before, after" in remark for remark in blocked.remarks)
    swapped = compare([third, fourth], [first, second])
    assert any("swapped" in remark for remark in swapped.remarks)


def test_a_reboot_between_the_sides_is_unrandomised() -> None:
    before, after = launches(2), launches(2, start=10, boot_id="boot-2")
    found = compare(before, after)
    assert found.as_dict()["order"] == {"kind": "across a reboot", "sequence": "AABB", "randomised": False}
    assert any(remark.startswith("unrandomised: a reboot") for remark in found.remarks)
    assert any("only 2 launches a side" in remark for remark in found.remarks)
    assert not any("in turns" in remark for remark in found.remarks)  # no advice that cannot be followed
    unsaid = [replace(run, environment={**run.environment, "boot_id": None}) for run in after]
    assert compare(before, unsaid).order.kind == "one after the other"


def test_how_large_the_effect_is_comes_with_intervals() -> None:
    found = compare(launches(3, range(5, 1000, 20)), launches(3, range(5, 1000, 80), start=10))
    effect = found.as_dict()["effect"]
    rate = effect["spikes_per_1000"]
    assert rate["difference"] == pytest.approx(-37.0, abs=1.0)
    assert rate["interval_95"][0] < rate["difference"] < rate["interval_95"][1] < 0
    ratio = effect["p99_ratio"]
    assert ratio["interval_95"][0] <= ratio["ratio"] <= ratio["interval_95"][1]
    few = compare([launch(100, seed=1)], [launch(100, seed=2)]).as_dict()["effect"]
    assert few["p99_ratio"] is None
    assert few["spikes_per_1000"]["interval_95"][1] > 1.0


def test_one_launch_that_differs_from_the_others_decides_nothing() -> None:
    """All spikes are of one launch of three: as single blocks they would prove a change."""
    before = [*launches(2), launch(1000, range(5, 1000, 90), seed=5)]
    found = compare(before, launches(3, start=10))
    assert found.before.dispersion > 5
    assert any("times as much as chance" in remark for remark in found.remarks)
    assert found.verdict == "inconclusive"
    evenly = [launch(1000, range(5, 1000, 250), seed=index) for index in range(3)]
    assert compare(evenly, launches(3, start=10)).verdict == "eliminated"


def test_a_warm_up_is_neither_better_nor_worse() -> None:
    slow_start = launches(3, warm_up=(40, 1.3))
    found = compare(slow_start, launches(3, start=10))
    assert found.verdict == "clean"
    assert sum("left out as warm-up, 1.30 × the rest" in remark for remark in found.remarks) == 3
    assert compare(launches(3), launches(3, range(2, 40, 3), warm_up=(40, 1.2), start=10)).verdict != "clean"
    restless = compare(launches(1, warm_up=(500, 1.3)), launches(1, start=10))
    assert any("no steady state" in remark for remark in restless.remarks)


def test_tests_that_disagree_decide_nothing() -> None:
    from numatune.verdict.decision import Shift

    before, after = Side(1000, 25, 25, 100), Side(1000, 4, 4, 100)
    assert decide(before, after, Shift(0.8, 0.01, 0.99), 3).verdict == "reduced"
    assert decide(before, after, Shift(1.8, 0.99, 0.001), 3).verdict == "inconclusive"


def test_the_estimate_leads_to_a_verdict() -> None:
    before, after = Side(1000, 4, 4, 100), Side(1000, 1, 1, 100)
    wanted = iterations_that_decide(before, after, 3)
    assert wanted is not None
    assert decide(before.scaled(wanted / 1000), after.scaled(wanted / 1000), None, 3).verdict != "inconclusive"


@pytest.mark.parametrize(
    ("before", "after", "code", "verdict"),
    [
        ({"spikes": SPIKY}, {}, 0, "eliminated"),
        ({}, {}, 0, "clean"),
        ({"spikes": range(5, 1000, 20)}, {"spikes": range(5, 1000, 80)}, 1, "reduced"),
        ({}, {"spikes": SPIKY}, 1, "worse"),
        ({"spikes": [5]}, {}, 3, "inconclusive"),
        ({"spikes": SPIKY}, {"median": 502e6}, 1, "eliminated"),
        ({}, {"median": 130e6}, 1, "clean"),
        ({}, {"median": 120e6}, 0, "clean"),
        ({"spikes": [5]}, {"median": 502e6}, 3, "inconclusive"),
        ({"spikes": SPIKY}, {"events": [{"event": "steal", "detail": "x"}]}, 3, "invalid"),
    ],
)
def test_exit_codes(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: dict[str, Any],
    after: dict[str, Any],
    code: int,
    verdict: str,
) -> None:
    files = [save(tmp_path, "b.json", seed=1, **before), save(tmp_path, "a.json", seed=2, **after)]
    words = ["compare", "--before", files[0], "--after", files[1]]
    assert main(words) == code
    shown = capsys.readouterr().out
    assert shown.startswith(f"{verdict}: ")
    assert "  note: the median " in shown
    assert ("but the median moved from" in " ".join(shown.split())) == (after.get("median", 0) > 125e6)
    assert main([*words, "--format", "json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "numatune/compare/1"
    assert printed["verdict"] == verdict
    assert printed["before"]["launches"][0]["file"] == files[0]


def test_mixtures_and_damage_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = save(tmp_path, "a.json")
    other = save(tmp_path, "b.json", threads=8)
    (tmp_path / "c.json").write_text("{")
    made = result(10)
    for name, value in (("d.json", float("inf")), ("e.json", float("nan")), ("f.json", 10**400)):
        (tmp_path / name).write_text(json.dumps({**made, "latency_ns": [value] * 10}))
    for bad in (other, *(str(tmp_path / name) for name in ("c.json", "none.json", "d.json", "e.json", "f.json"))):
        assert main(["compare", "--before", good, "--after", bad]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
