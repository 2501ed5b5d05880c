"""The page: what a reader must find in it, and what a hostile file must not get into it."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from report.made_report import HOSTILE, faulty, source, watch

from numatune.report.html.page import Report, render
from numatune.report.html.source import Source, findings_of, of_run, of_watch, with_audit
from numatune.verdict.comparison import compare
from numatune.verdict.run import parse_run
from numatune.verdict.watch_file import parse_watch

LIBRARY = "/* the library </script> */"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags, the text, and the scripts of a page, and whether every element that was opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.parts: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open[-1:] == ["script"] else self.parts).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def page(*sources: Source, comparison: Any = None) -> Page:
    return Page(render(Report(sources, comparison, "1.2.3", 3.0), LIBRARY))


def audited(one: Source, *findings: dict[str, Any]) -> Source:
    return with_audit(one, ("serving-1", {finding["setting"]: finding for finding in findings}))


def poisoned(value: Any) -> Any:
    """The same object with every string in it hostile, save the words that the program itself looks for."""
    if isinstance(value, dict):
        return {key: poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_a_person_in_a_hurry_reads_what_it_was_and_what_caused_it() -> None:
    text = page(source()).text
    assert "resnet152 224×224 fp32, 2 threads on CPU 0-1" in text
    assert "20 spikes in 1,000 inferences (20.0 per 1,000)" in text
    assert "The lost time went to NUMA hinting faults (" in text
    assert "Some CPU, kernel 6.1" in text


def test_what_was_ruled_out_is_told_from_what_is_not_known() -> None:
    html = render(Report([source()], None, "1", 3.0), LIBRARY)
    out, unknown = html.index("What was ruled out</h3>"), html.index("What is not known</h3>")
    ruled_out = html[out:unknown]
    assert "run delay" in ruled_out
    assert "changes of the CPU frequency" not in ruled_out
    assert "no cpufreq on this host" in html[unknown:]


def test_a_cause_leads_to_the_setting_to_this_hosts_finding_and_to_the_remedy() -> None:
    finding = {"setting": "numa_balancing", "status": "wrong", "runtime": "1", "expected": "0", "reason": "it is on"}
    text = page(audited(source(), finding)).text
    assert "Setting numa_balancing: wrong, it is 1, wanted 0 (it is on)" in text
    assert "kernel.numa_balancing = 0" in text
    assert "serving-1: Some CPU" in text
    assert "this host's audit was not given" in page(source()).text


def test_the_audit_in_the_file_was_made_at_the_time_and_wins_where_the_given_one_differs() -> None:
    made = faulty()
    made["audit"] = [{"setting": "numa_balancing", "status": "wrong"}, {"setting": "cpu_idle", "status": "ok"}]
    given = {
        "numa_balancing": {"setting": "numa_balancing", "status": "ok", "runtime": "0"},
        "cpu_idle": {"setting": "cpu_idle", "status": "ok", "runtime": "20"},
    }
    findings = with_audit(source(made), ("h", given)).findings
    assert findings is not None
    assert findings["numa_balancing"]["status"] == "wrong"
    assert findings["cpu_idle"]["runtime"] == "20"


def test_an_audit_of_many_hosts_is_refused_and_one_host_is_taken_in_each_form() -> None:
    findings = [{"setting": "cpu_idle", "status": "ok"}]
    host = {"name": "a", "findings": findings}
    for decoded in ({"hosts": [host]}, host):
        assert findings_of(decoded) == ("a", {"cpu_idle": findings[0]})
    assert findings_of(findings) == ("", {"cpu_idle": findings[0]})
    for wrong in ({"hosts": [host, host]}, {"hosts": 3}, {}, [1], "x", None, {"findings": [{"setting": 3}]}):
        with pytest.raises(ValueError, match="it holds"):
            findings_of(wrong)


def test_invalid_injected_and_provisional_runs_say_so_before_anything_else() -> None:
    made = faulty(events=[{"event": "steal", "detail": "the hypervisor took 4 %"}], provisional=True)
    made["environment"]["injection"] = {"kind": "hog", "cpu": 1}
    head = page(source(made)).text.split("Latency over time")[0]
    assert "does not count for a verdict" in head
    assert "the hypervisor took 4 %" in head
    assert "Injected: the spikes of run 1 were made on purpose" in head
    assert "Provisional: run 1" in head
    clean = page(source()).text
    assert "Injected:" not in clean
    assert "Provisional" not in clean
    assert "does not count" not in clean


def test_before_and_after_carry_the_verdict_and_its_reasons() -> None:
    made = [faulty(seed=seed) for seed in range(3)] + [faulty(every=10**6, seed=seed) for seed in range(3, 6)]
    for one in made[3:]:
        one["latency_ns"] = [min(latency, 101_000_000) for latency in one["latency_ns"]]
    runs = [parse_run(one, f"{place}.json") for place, one in enumerate(made)]
    found = compare(runs[:3], runs[3:])
    sides = ["before"] * 3 + ["after"] * 3
    sources = [of_run(run, one, found.threshold, side) for run, one, side in zip(runs, made, sides, strict=True)]
    shown = page(*sources, comparison=found)
    assert found.verdict == "eliminated"
    assert ("span", {"class": "verdict eliminated"}) in shown.tags
    assert found.reason[1:] in shown.text
    assert "Before: The lost time went to NUMA hinting faults" in shown.text
    assert all(remark in shown.text for remark in found.remarks)
    assert [attrs["href"] for attrs in shown.of("a")] == [f"#run-{place}" for place in range(1, 7)]
    data = {attrs["id"] for attrs in shown.of("script") if attrs.get("type") == "application/json"}
    assert {"distribution", "shares", *(f"run-{place}-timeline" for place in range(1, 7))} <= data


def test_how_to_reproduce_and_where_the_samples_are() -> None:
    text = page(source(path="runs/a.json")).text
    assert "numatune bench -o 'a b.json'" in text
    assert "Raw samples: runs/a.json" in text


def test_it_asks_for_nothing_from_anywhere() -> None:
    shown = page(source())
    policy = next(attrs["content"] for attrs in shown.of("meta") if attrs.get("http-equiv"))
    assert policy is not None
    assert policy.startswith(
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    )
    assert not any("src" in attrs for _tag, attrs in shown.tags)
    assert not shown.of("link")
    assert all(str(attrs["href"]).startswith("#") for attrs in shown.of("a"))


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (render(Report([source(faulty())], None, "1", 3.0), LIBRARY) for _ in range(2))
    # The launches of the tests have a start each.
    assert re.sub(r"2026-01-01T00:\d+Z", "", first) == re.sub(r"2026-01-01T00:\d+Z", "", second)


def test_headings_are_in_order_tables_have_captions_and_figures_a_text() -> None:
    shown = page(source())
    levels = [int(tag[1]) for tag, _attrs in shown.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(shown.of("table")) == len(shown.of("caption"))
    plots = [attrs for _tag, attrs in shown.tags if "data-figure" in attrs]
    assert len(plots) == 3
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    assert len(shown.of("svg")) == 2  # what a reader without scripts sees


def hostile_run() -> Source:
    made = faulty(events=[{"event": "steal", "detail": "x"}])
    made["environment"]["injection"] = {"kind": "hog"}
    made["environment"]["cpu_flags"] = ["avx2"]
    made["environment"]["something_new"] = {"a": "b"}
    made["environment"]["topology"] = {"online": "0", "serving": "0", "nodes": [0], "thread_siblings": {"0": "0"}}
    made["environment"]["pinning"]["verified"] = [{"role": "a", "allowed": "0", "name": "n"}]
    made["run"] |= {
        "foreign_load": [{"task": "t", "pid": 1, "cpu_ms": 2.0, "cpus": "0"}],
        "interrupts_by_name": [{"name": "i", "cpus": "0", "count": 3}],
        "dmesg": {"lines": ["a line"], "unavailable": None},
    }
    made["audit"] = [{"setting": "numa_balancing", "status": "wrong", "reason": "r", "runtime": "1", "expected": "0"}]
    counters, audit = made["counters"], made["audit"]
    made = {**poisoned(made), "schema": made["schema"], "audit": poisoned(audit)}
    made["audit"][0]["setting"] = "numa_balancing"
    made["counters"] = {**counters, HOSTILE: [1] * 1000}
    made["environment"][HOSTILE] = 1
    return with_audit(source(made, path=HOSTILE), None)


def hostile_watch() -> Source:
    made = watch()
    made["target"]["processes"] = [{"pid": 7, "comm": "c"}]
    return of_watch(parse_watch({**poisoned(made), "schema": made["schema"]}, HOSTILE))


@pytest.mark.parametrize("make", [hostile_run, hostile_watch])
def test_no_string_of_a_file_is_more_than_text(make: Any) -> None:
    hostile, harmless = make(), source() if make is hostile_run else of_watch(parse_watch(watch(), "w.json"))
    shown = page(hostile, hostile)
    expected = {tag for tag, _attrs in page(harmless, harmless).tags}
    # No element and no attribute that the template does not write.
    assert {tag for tag, _attrs in shown.tags} <= expected | {
        "pre",
        "h4",
        "ul",
        "li",
        "strong",
        "code",
        "svg",
        "polyline",
    }
    assert not any(name.startswith("on") for _tag, attrs in shown.tags for name in attrs)
    assert "alert(1)" in shown.text  # it is there, as text
    assert "{{ 7*7 }}" in shown.text
    html = render(Report([hostile], None, "1", 3.0), LIBRARY)
    assert not set("\x1b\u2028\u202e") & set(html)
    for script in shown.scripts:
        assert "alert" not in script or script.startswith("{")


def test_the_data_of_the_figures_are_whole_json() -> None:
    hostile = hostile_run()
    html = render(Report([hostile, hostile], None, "1", 3.0), LIBRARY)
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', html, re.DOTALL)
    assert {name for name, _data in found} >= {"run-1-timeline", "run-2-shares", "distribution"}
    for _name, data in found:
        assert set(json.loads(data)) == {"data", "layout"}
    assert "<\\/script> */" in html  # nor can the library's own text end its element


def test_what_is_of_an_unexpected_kind_is_shown_and_breaks_nothing() -> None:
    for odd in (3, [], {}, "x", None, [None], {"a": []}, True, [[1, 2]]):
        made = faulty(60)
        for name in list(made["environment"]):
            made["environment"][name] = odd
        made["run"] = dict.fromkeys(("steal_share", "dmesg", "foreign_load", "interrupts_by_name", "vmstat"), odd)
        made |= {"counter_cost_ns": odd, "tier_cost_ns": odd, "counter_strides": odd, "counters_unavailable": odd}
        made["invalidating_events"] = [{"detail": odd}]
        assert "This run does not count" in page(source(made)).text


def test_a_run_without_spikes_says_that_there_is_nothing_to_explain() -> None:
    text = page(source(faulty(every=10**6, noise=0.001))).text
    assert "No spike in " in text or "There is no spike" in text


def test_a_watch_with_and_without_a_latency_log() -> None:
    text = page(of_watch(parse_watch(watch(), "w.json"))).text
    assert "process service, watched, 1 thread on CPU 0-1" in text
    assert "10 spikes in 2,000 requests" in text
    assert "The lost time went to other minor faults" in text
    assert "0.40% of one CPU" in text
    text = page(of_watch(parse_watch(watch(logged=False), "w.json"))).text
    assert "No latency was logged" in text
    assert "What stood out; no cause of latency follows from it" in text
    assert "What caused the spikes" not in text
