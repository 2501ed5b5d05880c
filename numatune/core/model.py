"""The nouns: readings, snapshots, findings, changes. Frozen, without behaviour beyond look-up."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Optional

from .parsers.text import lines

_NUMBERED = re.compile(r"(?<=/cpu)[0-9]+(?=/)|(?<=/irq/)[0-9]+(?=/)")


class State(str, Enum):
    """What became of one attempt to read."""

    PRESENT = "present"
    ABSENT = "absent"
    """The host was asked and does not have it."""
    NOT_CAPTURED = "not captured"
    """The tree does not hold it, which says nothing about the host."""
    DENIED = "needs root"
    ERROR = "read error"


RUN_UNKNOWN = "whether a run of tune or a revert was interrupted is not known"
"""How a host's note begins where nobody could look: such a host is ok as far as known, at best."""
NO_FILE = "it is no plain file"
UNASKED = "was not looked for when this snapshot was collected"


class Reading(NamedTuple):
    """One file or command: its text when present, else why there is none."""

    path: str
    state: State
    text: str = ""
    detail: str = ""

    @property
    def present(self) -> bool:
        """Whether there is text (an empty file is present)."""
        return self.state is State.PRESENT

    @property
    def unread(self) -> bool:
        """Whether the host may hold something that could not be read."""
        return self.state not in (State.PRESENT, State.ABSENT)

    def why(self) -> str:
        """Say in a few words why there is no text."""
        if self.state is State.DENIED:
            return f"needs root to read {self.path}"
        if self.state is State.NOT_CAPTURED:
            return f"{self.path} {self.detail or 'is not in the captured tree'}"
        if self.state is State.ERROR:
            return f"reading {self.path} failed: {self.detail or 'read error'}"
        return f"{self.path} does not exist"


@dataclass(frozen=True)
class Snapshot:
    """Everything that was read from one host, by absolute path.

    `complete` says that what is not here is not on the host either; a captured tree is never complete. `unasked` is
    an expression for the paths, and `unanswered` holds the commands, that the script of another numatune did not look
    for (see `core.asked`).
    """

    files: Mapping[str, str]
    problems: Mapping[str, Reading] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    dirs: frozenset[str] = frozenset()
    commands: Mapping[str, Reading] = field(default_factory=dict)
    complete: bool = True
    unasked: str = ""
    unanswered: frozenset[str] = frozenset()

    def read(self, path: str) -> Reading:
        """Return the reading of one path, which the collector's list must cover."""
        text = self.files.get(path)
        if text is not None:
            return Reading(path, State.PRESENT, text)
        problem = self.problems.get(path)
        if problem is not None:
            return problem
        parent = path.rpartition("/")[0]
        while parent:
            problem = self.problems.get(parent)
            if problem is not None:
                return problem._replace(path=path)
            parent = parent.rpartition("/")[0]
        if self.unasked and re.fullmatch(self.unasked, path):
            return Reading(path, State.NOT_CAPTURED, detail=UNASKED)
        return Reading(path, self._missing(path))

    def _missing(self, path: str) -> State:
        # A container without sysfs, or an image without /proc, says nothing about the kernel.
        top = path.split("/", 2)[1]
        if not self.complete or (top in ("proc", "sys") and f"/{top}" not in self.dirs):
            return State.NOT_CAPTURED
        return State.ABSENT

    def command(self, name: str) -> Reading:
        """Return the output of one of the collector's commands."""
        if name in self.unanswered:
            return Reading(name, State.NOT_CAPTURED, detail=UNASKED)
        return self.commands.get(name) or Reading(name, State.ABSENT if self.complete else State.NOT_CAPTURED)

    def directory(self, path: str) -> Reading:
        """Return whether a directory exists; its text is always empty."""
        if path in self.dirs and path not in self.problems:
            return Reading(path, State.PRESENT)
        return self.read(path)

    @cached_property
    def derived(self) -> dict[tuple[Any, ...], Any]:
        """Return what `core.derived.once` keeps: what was derived from this snapshot, by function and arguments."""
        return {}

    @cached_property
    def configuration(self) -> Mapping[str, list[str]]:
        """Return directory -> sorted paths listed in it, for what lies outside the kernel's /proc and /sys."""
        listed: dict[str, set[str]] = {}
        for group in (self.files, self.problems, self.links, self.dirs):
            for path in group:
                if not path.startswith(("/sys/", "/proc/")):
                    listed.setdefault(path.rpartition("/")[0], set()).add(path)
        return {parent: sorted(paths) for parent, paths in listed.items()}

    def below(self, directory: str) -> list[str]:
        """Return the sorted paths listed directly in a directory of the configuration."""
        return self.configuration.get(directory, [])


class Status(str, Enum):
    """What one setting of one host comes to; see `core.status` for how the three planes make it."""

    OK = "ok"
    WRONG = "wrong"
    MASKED = "masked"
    LOST_AT_REBOOT = "lost_at_reboot"
    PENDING_REBOOT = "pending_reboot"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"
    WAIVED = "waived"


class Severity(str, Enum):
    """How much a wrong setting matters, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Return 0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Evidence:
    """What was read, where: the raw text (shortened by reports, not here)."""

    path: str
    text: str


@dataclass(frozen=True)
class ValueGroup:
    """The CPUs (or IRQs) that share one value; `ids` is a kernel list."""

    kind: str
    ids: str
    value: Optional[str]

    def as_dict(self) -> dict[str, Any]:
        """Return {"cpus": "0-3", "value": "powersave"}."""
        return {self.kind: self.ids, "value": self.value}


@dataclass(frozen=True)
class Line:
    """One line of one file, the number counted from 1."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Waiver:
    """Somebody's word that a finding is accepted until a day (ISO date)."""

    setting: str
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True)
class Finding:
    """The judgement of one setting on one host; null values could not be read, and `reason` says why."""

    setting: str
    status: Status
    severity: Severity
    runtime: Optional[str] = None
    persisted: Optional[str] = None
    next_boot: Optional[str] = None
    expected: Optional[str] = None
    values: tuple[ValueGroup, ...] = ()
    masked_by: Optional[Line] = None
    waiver: Optional[Waiver] = None
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    remedy: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody must do something: anything but ok, not applicable and waived."""
        return self.status not in (Status.OK, Status.NOT_APPLICABLE, Status.WAIVED)

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as the audit's JSON has it."""
        return {
            "setting": self.setting,
            "status": self.status.value,
            "severity": self.severity.value,
            "runtime": self.runtime,
            "persisted": self.persisted,
            "next_boot": self.next_boot,
            "expected": self.expected,
            "values": [group.as_dict() for group in self.values],
            "masked_by": None if self.masked_by is None else vars(self.masked_by),
            "waiver": self.waiver
            and {"owner": self.waiver.owner, "reason": self.waiver.reason, "expires": self.waiver.expires},
            "reason": self.reason,
            "evidence": [vars(item) for item in self.evidence],
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Change:
    """One thing that `tune` would do; `before` is what is there now, None where there is nothing.

    | kind | path | content |
    |---|---|---|
    | file | an absolute path | the whole text, None to remove it; `mode` is octal ("0644"), None keeps what is there |
    | link | an absolute path | where the symbolic link points, None to remove it |
    | runtime | a file under /proc or /sys that exists | the value that is written and read back |
    | service | a systemd unit's name | "restarted", "started" or "stopped"; `before` is "active" or "inactive" |
    | menu | GRUB's grub.cfg | the text that it is predicted to get when the system's own tool makes it anew |
    | once | GRUB's grubenv | the id of the entry that the next boot alone takes, None to take that back |
    """

    setting: str
    kind: str
    path: str
    content: Optional[str]
    before: Optional[str]
    reason: str
    mode: Optional[str] = None
    needs_reboot: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON has it; of a menu its kernel lines alone, for it may hold password hashes."""
        if self.kind != "menu":
            return dict(vars(self))
        return {**vars(self), "content": kernel_lines(self.content), "before": kernel_lines(self.before)}

    @property
    def key(self) -> tuple[str, str]:
        """What is changed: two changes with one key are the same thing, wanted by two settings."""
        return self.kind, self.path


def kernel_lines(menu: Optional[str]) -> Optional[str]:
    """Return what of a GRUB menu may be shown: its entries' heads and kernel lines, never its password hashes."""
    if menu is None:
        return None
    shown = [line for line in lines(menu) if line.lstrip().startswith(("menuentry ", "submenu ", "linux"))]
    return "".join(line + "\n" for line in shown)


_DONE = {"restarted": "restart", "started": "start", "stopped": "stop"}


def phrase(group: tuple[Change, ...]) -> str:
    """Say in one line what a group of `Plan.groups` does: "set 4 of /sys/…/cpu*/…/scaling_governor to performance"."""
    first = group[0]
    content = (first.content or "").strip()
    if first.kind == "runtime":
        before = sorted({(change.before or "").strip() for change in group})
        now = f" (now {', '.join(before[:2])}{', …' if len(before) > 2 else ''})"
        what = first.path if len(group) == 1 else f"{len(group)} of {_NUMBERED.sub('*', first.path)}"
        return f"set {what} to {content}{now}"
    if first.kind == "service":
        return f"{_DONE.get(content, content)} {first.path}"
    if first.kind == "menu":
        return f"make {first.path} anew"
    if first.kind == "once":
        name = first.path.rpartition(":")[2]
        return f"set {name} to {content} in GRUB's environment" if content else f"take {name} out of GRUB's environment"
    if first.content is None:
        return f"remove {first.path}"
    if first.kind == "link":
        return f"link {first.path} to {content}"
    shown = [line for line in lines(content) if line and not line.lstrip().startswith(("#", ";"))]
    body = "; ".join(shown[:3]) + ("; …" if len(shown) > 3 else "")
    return f"{'create' if first.before is None else 'replace'} {first.path} ({body or 'empty'})"


@dataclass(frozen=True)
class Conflict:
    """Why a setting cannot be changed as planned: somebody else's line would win, or the host cannot hold it.

    `path` and `line` say where, as far as it is a line of a file (else "" and 0).
    """

    setting: str
    path: str
    line: int
    text: str
    message: str


@dataclass(frozen=True)
class Left:
    """A finding that `tune` does not change, with what a person can do."""

    setting: str
    status: Status
    reason: str
    remedy: str


@dataclass(frozen=True)
class Plan:
    """The changes for one host, in the order in which they are made."""

    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    left: tuple[Left, ...] = ()

    def of(self, settings: Collection[str]) -> Plan:
        """Return the part of the plan that belongs to some settings."""
        return Plan(
            tuple(change for change in self.changes if change.setting in settings),
            tuple(conflict for conflict in self.conflicts if conflict.setting in settings),
            tuple(item for item in self.left if item.setting in settings),
        )

    def groups(self) -> tuple[tuple[Change, ...], ...]:
        """Return the changes as a person reads them: those that write one value to the files of several CPUs as one."""
        found: dict[tuple[object, ...], list[Change]] = {}
        for number, change in enumerate(self.changes):
            alike = (change.setting, change.content, _NUMBERED.sub("*", change.path))
            found.setdefault(alike if change.kind == "runtime" else (number,), []).append(change)
        return tuple(tuple(group) for group in found.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON has it."""
        return {
            "changes": [change.as_dict() for change in self.changes],
            "conflicts": [vars(conflict) for conflict in self.conflicts],
            "left": [{**vars(item), "status": item.status.value} for item in self.left],
        }


@dataclass(frozen=True)
class HostReport:
    """One judged host: status "ok", "findings" or "incomplete", its facts and one finding per setting."""

    status: str
    facts: Mapping[str, Any]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the host as the audit's JSON has it, without its name and error."""
        return {
            "status": self.status,
            "facts": dict(self.facts),
            "findings": [finding.as_dict() for finding in self.findings],
            "notes": list(self.notes),
        }
