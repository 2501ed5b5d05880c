"""What became of one host in a run of tune.yml or qualify.yml, and whether it serves when the run ends.

The playbooks ask again after each step, with the host's latest audit and what they noted of it so far
(`playbooks/vars/tuned.yml`). core.undo.run_mark has the mark that a run leaves on the host.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Optional

from .undo.run_mark import PATH

_FINE = ("ok", "waived", "not_applicable")
_CHANGED = ("tuned", "incomplete")
"""As far as this run goes, the host is changed, and may serve."""
_ENDS = ("failed", "pending_reboot", *_CHANGED)


class Asked(NamedTuple):
    """What a playbook knows of a host beside its audit.

    `chosen` are the settings that the run tunes, `everything` those that a run without tags does. `marked` says that
    this run left its mark on the host, where `earlier` was the mark before; `held`, that qualify.yml holds the host
    out of service meanwhile; `hook`, that something is given that puts it back. `state` is what was noted last.
    """

    chosen: Collection[str]
    everything: Collection[str]
    check: bool = False
    marked: bool = False
    earlier: Optional[Mapping[str, Any]] = None
    held: bool = False
    hook: bool = False
    state: str = ""
    playbook: str = "tune"


class RunState(NamedTuple):
    """`became` and `because` are for the table of hosts; the others decide what the playbooks do next."""

    became: str
    """tuned, incomplete, pending_reboot, failed, or in check mode "would change"."""
    because: str
    returns: bool
    """Whether the run ends with the host put back into service, its mark removed."""
    kept: str
    """What keeps a host that is changed out of service, or its mark there, and what to do; "" for nothing."""
    held_out: bool
    """Whether qualify.yml took it out of service: that, or revert.yml, puts it back."""
    stays_out: bool
    """Whether the run ends with the host out of service, and that is still to be noted on it, as `outcome`."""
    outcome: str
    part_of_cut: bool
    """Whether an earlier run was cut, and this one tunes a part of the settings: the rest may be half done."""


def run_state(audit: Mapping[str, Any], asked: Asked) -> RunState:
    """Return what became of a host, from its latest audit: a result of `audit_host`, or of one that failed."""
    run = audit.get("run") or {}
    found = run if asked.earlier is None else asked.earlier
    since = run.get("drained") or ""
    held_out = bool(asked.held or (run.get("playbook") == "qualify" and since))
    part = bool(found) and not set(asked.everything) <= set(asked.chosen)
    part_of_cut = part and not found.get("ended")
    kept = _kept(since, part, bool(since) and not asked.hook, asked.playbook)
    comes_to = _comes_to(audit, asked)
    returns = bool(not held_out and (asked.marked or run) and comes_to in _CHANGED and not kept)
    became = "would change" if asked.check and returns else comes_to
    outcome = str(found.get("ended") or "") if part and asked.state in _CHANGED else asked.state
    # A run that was refused leaves what an earlier one noted, and one of a part leaves one that was cut as that.
    failed = asked.state == "failed"
    noted = not asked.marked and (failed or not since or run.get("ended") == outcome)
    stays_out = not held_out and not part_of_cut and asked.state in _ENDS and (failed or not returns) and not noted
    service = _service(asked, run, "" if asked.held else since, held_out, comes_to, kept)
    because = "; ".join(filter(None, [_why(audit, asked, comes_to, became), service]))
    return RunState(became, because, returns, kept, held_out, stays_out, outcome, part_of_cut)


def _kept(since: str, part: bool, unhooked: bool, playbook: str) -> str:
    if not part and not unhooked:
        return ""
    do = f"run {playbook}.yml" + (" without --tags and --skip-tags" if part else "")
    do += f" with -e numatune_undrain_tasks=FILE, or remove {PATH} once it serves" if unhooked else ""
    return f"{f'out of service since {since}' if since else 'an earlier run was interrupted'}: {do}"


def _changes(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((audit.get("plan") or {}).get("changes", ()))


def _left(audit: Mapping[str, Any], asked: Asked) -> list[Mapping[str, Any]]:
    findings = (audit.get("report") or {}).get("findings", ())
    return [item for item in findings if item["setting"] in asked.chosen and item["status"] not in _FINE]


def _comes_to(audit: Mapping[str, Any], asked: Asked) -> str:
    if "report" not in audit:
        return "failed"
    if _changes(audit):
        return "would change" if asked.check else "failed"
    if not _left(audit, asked):
        return "tuned"
    return "pending_reboot" if set(audit["reboot"]) & set(asked.chosen) else "incomplete"


def _why(audit: Mapping[str, Any], asked: Asked, comes_to: str, became: str) -> str:
    if comes_to == "would change":
        return f"{len(_changes(audit))} changes"
    if became == "would change":
        return "nothing is left to change"
    if comes_to == "failed":
        return "still to change: " + ", ".join(item["path"] for item in _changes(audit))
    return ", ".join(f"{item['setting']} {item['status']}" for item in _left(audit, asked))


def _service(asked: Asked, run: Mapping[str, Any], out: str, held_out: bool, comes_to: str, kept: str) -> str:
    if out and held_out:
        return f"out of service since {out}, until qualify.yml puts it back"
    if out and comes_to == "pending_reboot":
        return f"out of service since {out}"
    if kept and not held_out and comes_to != "failed":
        return kept
    if out and asked.check:
        return f"would put it back into service (out since {out})"
    if asked.check and run and not held_out:
        return "would finish the run that was interrupted"
    return ""
