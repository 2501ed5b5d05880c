"""A made-up machine that plans are carried out on and that reboots: what a boot loader's files come to, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from synthetic import Link, Tree, host

from numatune.core import catalogue
from numatune.core.change import Change, Plan
from numatune.core.collecting.replay import collect
from numatune.core.host import Host
from numatune.core.loaders.next_boot import next_boot
from numatune.core.model import Finding, Snapshot
from numatune.core.parsers import grub
from numatune.core.plan import make_plan
from numatune.core.profile import from_mapping

TODAY = date(2027, 1, 1)
BOOT_ID = "proc/sys/kernel/random/boot_id"
MOUNTS = "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /boot ext4 rw 0 0\n/dev/sda3 /boot/efi vfat rw 0 0\n"


class Machine:
    """8 CPUs of which 1, 3, 5 and 7 serve, with a boot loader's files."""

    def __init__(self, files: Mapping[str, str], settings: Mapping[str, Any], running: str | None = None) -> None:
        self.files = host(8)
        del self.files["boot/grub/grub.cfg"], self.files["etc/default/grub"]
        self.files["proc/mounts"] = MOUNTS
        self.files.update(files)
        self.settings = dict(settings)
        self.boots = 0
        self.files["proc/cmdline"] = f"{running or self.next(once=False)}\n"

    def snapshot(self) -> Snapshot:
        return collect(Tree(self.files), complete=True)

    def profile(self) -> dict[str, Any]:
        return {"settings": self.settings}

    def ask(self, wanted: Mapping[str, Any] | None = None, **options: Any) -> None:
        """Ask for kernel arguments."""
        self.settings["kernel_arguments"] = {"wanted": dict(wanted or {}), **options}

    def judge(self, name: str = "kernel_arguments") -> Finding:
        return catalogue.setting(name).judge(Host(self.snapshot(), from_mapping(self.profile())))

    def status(self, name: str = "kernel_arguments") -> str:
        return self.judge(name).status.value

    def plan(self, *names: str) -> Plan:
        return make_plan(self.snapshot(), from_mapping(self.profile()), TODAY, names or ("kernel_arguments",))

    def changes(self, *names: str) -> list[Change]:
        plan = self.plan(*names)
        assert not plan.conflicts
        return list(plan.changes)

    def conflict(self, *names: str) -> str:
        """Return the message of the only conflict, where nothing is planned."""
        plan = self.plan(*names)
        assert not plan.changes
        assert len(plan.conflicts) == 1
        return plan.conflicts[0].message

    def apply(self, change: Change) -> None:
        """Carry one change out; what the menu is made by is predicted."""
        path, content = change.path[1:], change.content
        if change.kind == "service":
            return
        if change.kind == "once":
            path, _, name = path.partition(":")
            assert change.before == (grub.environment(self.files.get(path, "")).get(name) or None)
            self.files[path] = grub.with_variable(self.files.get(path, ""), name, content)
            return
        assert change.before == self.files.get(path)
        if content is None:
            del self.files[path]
        else:
            self.files[path] = Link(content) if change.kind == "link" else content

    def tune(self, *names: str) -> list[tuple[str, str]]:
        """Carry the whole plan out and return its kinds and paths; then nothing is left to do."""
        done = self.changes(*names)
        for change in done:
            self.apply(change)
        assert self.changes(*names) == []
        return [(change.kind, change.path) for change in done]

    def next(self, once: bool = True) -> str:
        found = next_boot(self.snapshot(), once)
        assert found.arguments is not None, found.reason
        return found.arguments

    def reboot(self, holds: bool = True) -> None:
        """Boot the entry that is next, which GRUB takes back first; one that does not hold ends in the default."""
        arguments = self.next() if holds else None
        for path, text in self.files.items():
            if path.endswith("/grubenv") and "next_entry=" in text:
                self.files[path] = grub.with_variable(text, "next_entry", "")
        self.files["proc/cmdline"] = f"BOOT_IMAGE=/vmlinuz {arguments or self.next()}\n"
        self.boots += 1
        self.files[BOOT_ID] = f"00000000-0000-4000-8000-{self.boots:012}\n"
