"""The words for what a run came to for one host, as the reports' JSON has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

UNREACHABLE = "unreachable"
NOT_JUDGED = "not_judged"
STATUSES = ("ok", "findings", "incomplete", UNREACHABLE, NOT_JUDGED)
"""All of them, in the order of the reports; the last two have an error and no judgement."""

PROFILE = "profile"
"""The phase of a host that may well be there, but whose profile or variables cannot be what it is judged by."""


def failed(phase: str) -> str:
    """Return the status of a host whose error has this phase."""
    return NOT_JUDGED if phase == PROFILE else UNREACHABLE


def counted(statuses: Iterable[str]) -> dict[str, int]:
    """Return a report's summary: "hosts" in all, then how many have each status."""
    found = list(statuses)
    return {"hosts": len(found), **{status: found.count(status) for status in STATUSES}}


def without_judgement(summary: Mapping[str, int]) -> int:
    """Return how many hosts of a summary have an error instead of a judgement."""
    return summary[UNREACHABLE] + summary[NOT_JUDGED]
