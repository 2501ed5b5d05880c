"""The nouns: readings, snapshots, findings, changes. Frozen, without behaviour beyond look-up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Optional


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
    for (see `core.collecting.asked`).
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
