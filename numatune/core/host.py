"""One host as the settings see it: its snapshot, and what every setting needs of it, each derived once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import roles, topology
from .agents import NONE as NO_AGENTS
from .agents import Agents
from .boot import NextBoot, next_boot
from .container import container
from .facts import kernel_release
from .model import Change, Conflict, Finding, Severity, Snapshot
from .sources import Source

if TYPE_CHECKING:
    from .profile import Profile

Planned = tuple[tuple[Change, ...], tuple[Conflict, ...]]
"""What a setting's `changes` returns: either may be empty, and with a conflict nothing of the setting is changed."""


class Host:
    """A snapshot with a profile: the settings' only input."""

    def __init__(self, snapshot: Snapshot, profile: Profile) -> None:
        self.snapshot = snapshot
        self.profile = profile

    @cached_property
    def topology(self) -> topology.Topology:
        """The machine's shape."""
        return topology.read(self.snapshot)

    @cached_property
    def roles(self) -> roles.Roles:
        """Who serves and who keeps house; raises InputError when the profile asks for what cannot be."""
        wanted = self.profile
        return roles.assign(self.topology, wanted.serving, wanted.housekeeping, wanted.housekeeping_cores_per_node)

    @cached_property
    def next_boot(self) -> NextBoot:
        """The arguments of the entry that boots next."""
        return next_boot(self.snapshot)

    @cached_property
    def container(self) -> Optional[str]:
        """The kind of container that this is, None for a machine."""
        return container(self.snapshot)

    @cached_property
    def kernel(self) -> Optional[str]:
        """The running kernel's release."""
        return kernel_release(self.snapshot)

    @cached_property
    def _planned(self) -> dict[str, Planned]:
        return {}

    def planned(self, setting: Setting, finding: Finding) -> Planned:
        """Return what a setting would change, or why it must not: its audit names that, and the planner plans it."""
        if setting.name not in self._planned:
            self._planned[setting.name] = setting.changes(self, finding) if setting.changes else ((), ())
        return self._planned[setting.name]

    def option(self, setting: str, name: str) -> Any:
        """Return what the profile says of one option of a setting (its default when nothing)."""
        return self.profile.options.get(setting, {}).get(name)


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
