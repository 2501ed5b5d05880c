"""What a memory walk says: whether NUMA balancing acted on it, and what the walk cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .run_report import Wording
from .words import count, name_of

_PAGES_PER_MIB = 256
ACTED_SHARE = 0.01
"""NUMA balancing is said to have acted when hinting faults, on the host and as this process's own page faults, reach
this share of the buffer's pages: the rest of a host takes some dozens at any time."""


def wording(result: Mapping[str, Any]) -> Wording:
    """How the run is reported."""
    environment = result["environment"]
    what = f"{environment['model']['name']} over {environment['model']['size']:,} MiB"
    notes = ["", *_totals(result), *_caveats(environment)]
    return Wording(what, "walk", first=[conclude(result)], notes=notes)


def conclude(result: Mapping[str, Any]) -> str:
    """One sentence on what NUMA balancing did to this memory, and what the run cannot say about it."""
    environment = result["environment"]
    memory, value = environment["memory"], _balancing(environment)
    hints, own = _total(result, "numa_hint_faults"), _total(result, "minor_faults") or 0
    if hints is None:
        return f"Whether NUMA balancing acted ({value}) is not known: this kernel does not count hinting faults."
    seen = f"{count(hints, 'hinting fault')} on the host, {count(own, 'minor fault')} in the walk"
    if min(hints, own) >= ACTED_SHARE * _PAGES_PER_MIB * environment["model"]["size"]:
        return f"NUMA balancing ({value}) unmapped this memory during the walk: {seen}."
    if memory["hides"]:
        name = environment["memory_policy"]
        return f"The memory policy {name} hides it: NUMA balancing ({value}) skips memory under it; {seen}."
    if environment["numa_balancing"] in ("0", None):
        return f"NUMA balancing did not act on this memory ({value}): {seen}."
    return f"NUMA balancing ({value}) did not get to this memory in that time: {seen}; walk for longer."


def _totals(result: Mapping[str, Any]) -> list[str]:
    """What was counted over the whole run, and where the memory lay."""
    environment = result["environment"]
    memory, walks = environment["memory"], result["iterations"]
    parts = [
        f"{name_of(name)} {total / walks:,.1f} a walk ({total:,} in all)"
        for name in ("minor_faults", "numa_hint_faults", "numa_pages_migrated")
        for total in [_total(result, name)]
        if total is not None
    ]
    start, end = _nodes(memory["pages_at_start"]), _nodes(memory["pages_at_end"])
    return [
        "Counted: " + ", ".join(parts),
        f"Memory: first touched on node {memory['first_touch_node']}: on {start} at the start, on {end} at the end",
        f"  policy {environment['memory_policy']}, huge pages {memory['huge_pages']}",
    ]


def _caveats(environment: Mapping[str, Any]) -> list[str]:
    said = []
    if len(environment["topology"]["nodes"]) < 2:
        said.append("The threads are on one node: there is nowhere to migrate to, though hinting faults still occur.")
    if str(environment["cpu_model"]).startswith("QEMU TCG"):
        said.append("An emulated CPU (QEMU TCG): the counts are real, the size of the spikes is not that of hardware.")
    return said


def _total(result: Mapping[str, Any], name: str) -> int | None:
    """The sum of a counter over all walks; None where it was not read."""
    values: Sequence[int | None] | None = result["counters"].get(name)
    return None if values is None else sum(value or 0 for value in values)


def _balancing(environment: Mapping[str, Any]) -> str:
    value = environment["numa_balancing"]
    return "not in this kernel" if value is None else f"numa_balancing = {value}"


def _nodes(pages: Mapping[str, int] | None) -> str:
    """Such as "node 0 (75 %) and node 1 (25 %)"."""
    if pages is None:
        return "nodes that the kernel does not tell"
    total = sum(pages.values())
    return " and ".join(f"node {node} ({number / total:.0%})" for node, number in sorted(pages.items()))
