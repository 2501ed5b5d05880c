"""An audit and a plan in words, what is wrong first, why, what to do: the same to every reader.

The command line wraps and colours these texts; the Ansible module shows them as `summary` has them.
"""

from __future__ import annotations

from collections.abc import Iterable

from .change import Change, Conflict, Left, Plan, phrase
from .model import RUN_UNKNOWN, Finding, HostReport, Severity, Status

ORDER = (
    Status.WRONG,
    Status.MASKED,
    Status.LOST_AT_REBOOT,
    Status.PENDING_REBOOT,
    Status.UNKNOWN,
    Status.WAIVED,
    Status.OK,
    Status.NOT_APPLICABLE,
)
"""The order in which findings are shown; those of one status by severity."""

FINE = (Status.OK, Status.NOT_APPLICABLE)
LEFT = "left to you (tune.yml does not change these):"


def word(status: Status) -> str:
    """Return a status as it is written: "lost at reboot"."""
    return status.value.replace("_", " ")


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings in the order in which they are shown."""
    return sorted(findings, key=lambda item: (ORDER.index(item.status), item.severity.rank))


def unsure(report: HostReport) -> int:
    """Return how much of a host that is ok is not known: settings, and whether a run was cut there."""
    return len(_not_known(report)) if report.status == "ok" else 0


def _not_known(report: HostReport) -> list[str]:
    settings = sum(finding.status is Status.UNKNOWN for finding in report.findings)
    cut = any(note.startswith(RUN_UNKNOWN) for note in report.notes)
    return [f"{settings} of {len(report.findings)}"] * (settings > 0) + ["whether a run was cut there"] * cut


def headline(report: HostReport) -> str:
    """Return what a host comes to, and what host it is: "findings — 6.1.0, CPUs 0-63, 4 nodes"."""
    # Nobody reads "ok" of a host of which something is not known, or wrong.
    known = f" as far as known ({', '.join(_not_known(report))} not known)" if unsure(report) else ""
    return f"{report.status}{_but_for(report)}{known} — {_shape(report)}"


def _but_for(report: HostReport) -> str:
    """Return what is not as wanted on a host that is ok, for it matters less than what makes a host "findings"."""
    found = [item for item in report.findings if item.bad and item.status is not Status.UNKNOWN]
    if report.status != "ok" or not found:
        return ""
    severities = " and ".join(item.value for item in Severity if any(one.severity is item for one in found))
    return f" but for {len(found)} of {len(report.findings)} settings ({severities}){',' if unsure(report) else ''}"


def _shape(report: HostReport) -> str:
    shape = report.facts["topology"]
    nodes = shape["nodes"]
    parts = [
        report.facts["kernel"] or "kernel not known",
        f"CPUs {shape['online']}" if shape["online"] else "CPUs not known",
        f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}" if nodes is not None else "nodes not known",
    ]
    if report.facts["virtualization"] not in ("none", "unknown"):
        parts.append(f"virtual ({report.facts['virtualization']})")
    return ", ".join(parts)


def about(finding: Finding) -> str:
    """Return a setting, what runs and what is wanted: "cpu_governor = powersave, want performance  [critical]"."""
    if finding.status in FINE:
        return f"{finding.setting}: {finding.reason}" if finding.reason else finding.setting
    if not (finding.bad or finding.waiver):
        return finding.setting
    mark = f"  [{finding.severity.value}]" if finding.severity.value != "warning" else ""
    return f"{finding.setting}{_value(finding)}{mark}"


def below(finding: Finding) -> list[str]:
    """Return what is said under it: whose word waives it, why it is so, what to do."""
    if finding.status in FINE:
        return []
    said = []
    if finding.waiver:
        waiver = finding.waiver
        said.append(f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}")
    said.append(finding.reason)
    if finding.bad:
        said.append(remedy(finding))
    return [line for line in said if line.strip()]


def remedy(finding: Finding) -> str:
    """Return what to do about it, empty where nothing is known."""
    return f"do: {finding.remedy}" if finding.remedy else ""


def _value(finding: Finding) -> str:
    """Say what runs and what is wanted; where what runs is right, that the next boot is what is left."""
    runs = finding.runtime or "?"
    if finding.status is Status.LOST_AT_REBOOT:
        return f" = {runs} now, not after a reboot"
    if finding.runtime and finding.runtime == finding.expected:
        return f" = {runs} now, as wanted" + ("; not known after a reboot" if finding.status is Status.UNKNOWN else "")
    if finding.expected:
        return f" = {runs}, want {finding.expected}"
    return f" = {runs}" if finding.waiver else ""


def plan_headline(plan: Plan) -> str:
    """Return how many changes there are, and what needs a reboot; without one, how much is not known."""
    count = len(plan.changes)
    if not count:
        unknown = sum(item.status is Status.UNKNOWN for item in plan.left)
        # What is refused is known to be needed.
        needed = "" if plan.conflicts or not unknown else " that is known to be needed"
        return f"tune.yml would change nothing{needed}" + (
            f"; {unknown} setting{_s(unknown)} not known" if unknown else ""
        )
    reboot = sum(change.needs_reboot for change in plan.changes)
    needs = f"{reboot} of them take{'s' if reboot == 1 else ''} effect at a reboot" if reboot else "none needs a reboot"
    if count == reboot == 1:
        needs = "it takes effect at a reboot"
    return f"tune.yml would make {count} change{_s(count)}; {needs}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def change(group: tuple[Change, ...]) -> str:
    """Return what a group of a plan's changes does: "numa_balancing: set /proc/… to 0 (now 1)"."""
    return f"{group[0].setting}: {phrase(group)}"


def when(group: tuple[Change, ...]) -> str:
    """Return when they take effect, where that is not at once."""
    return "; takes effect at a reboot" if group[0].needs_reboot else ""


def conflict(item: Conflict) -> str:
    """Return what is refused, and why."""
    return f"refused, {item.setting}: {item.message}"


def left(item: Left) -> str:
    """Return a finding that tune.yml leaves to a person, and what to do about it."""
    said = item.remedy or item.reason
    if item.status is Status.UNKNOWN and item.remedy:
        said = f"{item.reason}; {item.remedy}"
    return f"{item.setting} ({word(item.status)}): {said}"


def would(plan: Plan) -> list[str]:
    """Return what tune.yml would do, a line for each thing below the one that counts them."""
    return [plan_headline(plan), *(f"  {change(group)}{when(group)}" for group in plan.groups())]


def by_name(findings: Iterable[Finding], statuses: Iterable[Status]) -> list[str]:
    """Return a line for each of these statuses that a finding has: "ok: irqbalance, irq_affinity"."""
    found = list(findings)
    named = [(word(one), [item.setting for item in found if item.status is one]) for one in statuses]
    return [f"{status}: {', '.join(names)}" for status, names in named if names]


def summary(report: HostReport, plan: Plan) -> list[str]:
    """Return a report and its plan as few lines, each whole: findings to act on one by one, the others by name."""
    lines = [headline(report), *report.notes]
    for item in ordered(report.findings):
        if item.bad:
            lines.append(": ".join(filter(None, (word(item.status), about(item), item.reason))))
            lines += [f"  {text}" for text in [remedy(item)] if text]
    lines += [*by_name(ordered(report.findings), (Status.WAIVED, *FINE)), *would(plan)]
    lines += [f"  {conflict(item)}" for item in plan.conflicts]
    names = [f"{item.setting} ({word(item.status)})" for item in plan.left]
    return [*lines, f"{LEFT} {', '.join(names)}"] if names else lines


def brief(report: HostReport, plan: Plan) -> list[str]:
    """Return what whoever tunes reads before: what is not right by name, what is refused, what is left; no reasons."""
    bad = [item for item in ordered(report.findings) if item.bad]
    lines = [headline(report), *report.notes, *by_name(bad, ORDER), plan_headline(plan), *map(conflict, plan.conflicts)]
    names = ", ".join(item.setting for item in plan.left)
    return [*lines, f"audit.yml says why{f', and what is left to you: {names}' if names else ''}"] if bad else lines
