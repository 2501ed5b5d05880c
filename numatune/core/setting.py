"""What a setting is: everything that numatune knows of one cause of jitter, and what it plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from .change import Change, Conflict
from .host import Host
from .machine.agents import NONE as NO_AGENTS
from .machine.agents import Agents
from .model import Finding, Severity
from .sources import Source

Planned = tuple[tuple[Change, ...], tuple[Conflict, ...]]
"""What a setting's `changes` returns: either may be empty, and with a conflict nothing of the setting is changed."""


@dataclass(frozen=True)
class Option:
    """One thing that a profile may say of a setting, and the inventory by the variable `tune_SETTING_OPTION`.

    `kind` is str, int, bool or dict; a number is one from 0. `default` says what holds where nobody says anything.
    """

    kind: type
    doc: str
    choices: tuple[str, ...] = ()
    default: str = ""

    @property
    def told(self) -> str:
        """What the option means, with its default."""
        return self.doc + (f" (default: {self.default})" if self.default else "")


@dataclass(frozen=True)
class Setting:
    """A cause of jitter: everything that numatune knows of it, in one place.

    `judge` returns the finding of one host; `changes` what `tune` would do about it, or the conflicts that forbid
    it. A setting without `changes` is judged and explained, and a person mends it.

    Where nobody names what is to be tuned, it is what is so `by_default`.

    `after` names settings whose files are placed before anything of this one is changed: with this one changed, theirs
    would be taken for placed. `by_reboot` says that a reboot alone brings it. `may_be_refused` says that the kernel
    may keep some of its values, which is no failure. `part_of` names the setting whose plan covers this one too.
    `tuned_with` names the setting with which this one is changed in one transaction: its tag stands for both.
    `agents` are the units that set the same; `value` is what the kit's builder made it of.
    """

    name: str
    title: str
    severity: Severity
    why: str
    remedy: str
    references: tuple[str, ...]
    sources: tuple[Source, ...]
    judge: Callable[[Host], Finding]
    options: dict[str, Option]
    changes: Optional[Callable[[Host, Finding], Planned]] = None
    by_default: bool = True
    after: tuple[str, ...] = ()
    by_reboot: bool = False
    may_be_refused: bool = False
    part_of: str = ""
    tuned_with: str = ""
    agents: Agents = NO_AGENTS
    value: Any = None

    def planned(self, host: Host, finding: Finding) -> Planned:
        """Return what it would change on a host, or why it must not: the audit names that, and the planner plans it."""
        if self.name not in host.plans:
            host.plans[self.name] = self.changes(host, finding) if self.changes else ((), ())
        planned: Planned = host.plans[self.name]
        return planned
