"""One host as the settings see it: its snapshot, and what every setting needs of it, each derived once."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Optional

from .loaders.next_boot import NextBoot, next_boot
from .machine import roles, topology
from .machine.container import container
from .machine.facts import kernel_release
from .model import Snapshot
from .wanted import Profile


class Host:
    """A snapshot with a profile: the settings' only input."""

    def __init__(self, snapshot: Snapshot, profile: Profile) -> None:
        self.snapshot = snapshot
        self.profile = profile
        self.plans: dict[str, Any] = {}
        """What settings plan here, kept by `Setting.planned`."""

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

    def option(self, setting: str, name: str) -> Any:
        """Return what the profile says of one option of a setting (its default when nothing)."""
        return self.profile.options.get(setting, {}).get(name)
