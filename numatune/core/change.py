"""What `tune` would do: changes, what stands against them, what is left to a person, and how each is worded."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Optional

from .model import Status
from .text import lines

_NUMBERED = re.compile(r"(?<=/cpu)[0-9]+(?=/)|(?<=/irq/)[0-9]+(?=/)")


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
