"""What the ResNet's runs say, one after the other where there are several instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..layout import Style
from . import run_report
from .run_report import Report, Wording


def lines_of(reports: Sequence[Report], style: Style, enough: int) -> list[str]:
    """The reports as text; a run of fewer iterations than `enough` is said to be provisional."""
    lines: list[str] = []
    for report in reports:
        wording = Wording(what(report), "inference", heading=heading(report, enough))
        lines += [*([""] if lines else []), *run_report.lines_of(report, wording, style)]
    return lines


def as_object(reports: Sequence[Report]) -> dict[str, Any]:
    """The report as programs read it; of several instances one object each."""
    each = [run_report.as_object(report) for report in reports]
    return each[0] if len(each) == 1 else {"schema": "numatune/bench-summaries/1", "instances": each}


def what(report: Report) -> str:
    """What was measured."""
    environment = report.result["environment"]
    model, batch = environment["model"], environment["batch"]
    images = f", {batch} images at a time" if batch > 1 else ""
    of = environment["instances"]["of"]
    where = f", node {environment['topology']['nodes'][0]}, one of {of} instances" if of > 1 else ""
    return f"{model['name']} {model['size']}×{model['size']} {environment['precision']}{images}{where}"


def heading(report: Report, enough: int) -> list[str]:
    """What limits what the figures mean, and what the host could do."""
    environment, iterations = report.result["environment"], report.summary.iterations
    lines = []
    roof = report.result.get("roof") or {}
    if roof.get("roof_share"):
        words = (
            f"{roof['gflops']:,.0f} GFLOP/s at the median, {roof['roof_share']:.0%} of what large convolutions reach "
        )
        lines.append(words + f"here ({roof['roof_gflops']:,.0f})")
    elif roof.get("roof_unknown"):
        lines.append(f"{roof['gflops']:,.0f} GFLOP/s at the median; what can be reached here: {roof['roof_unknown']}")
    if environment["injection"]:
        lines.append(f"Disturbed on purpose (--inject {environment['injection']['kind']}): no verdict rests on it.")
    if environment["memory"]["hides"]:
        lines.append(f"Memory policy {environment['memory_policy']}: what NUMA balancing does to memory is hidden.")
    if report.result["provisional"] or iterations < enough:
        few = f"Provisional: {iterations:,} inferences cannot show that spikes are rare; "
        lines.append(few + f"take {enough:,} or more.")
    return lines
