"""The command that plays a playbook, as it is typed where this numatune is installed."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


def command(args: argparse.Namespace | None = None) -> str:
    """Return such as "`ansible-playbook -i hosts.yml playbooks/{}.yml`", with {} for the playbook's name.

    In a checkout the playbooks are files; where numatune came by pip they are those of the collection
    `numatune.latency`. The inventory is that of `args`: without one, the command as typed would play this machine,
    whichever host the remedy is about.
    """
    checkout = (_CHECKOUT / "playbooks/tune.yml").is_file()
    words = [_ansible_playbook(), *_hosts(args, checkout)]
    words.append(f"{_shown(_CHECKOUT / 'playbooks')}/{{}}.yml" if checkout else "numatune.latency.{}")
    return f"`{' '.join(words)}`"


def _hosts(args: argparse.Namespace | None, checkout: bool) -> list[str]:
    inventories = getattr(args, "inventory", None) or []
    if inventories:
        return [word for one in inventories for word in ("-i", shlex.quote(one))]
    elsewhere = ("target", "root", "snapshot")
    if args is None or any(getattr(args, name, None) for name in elsewhere):
        return ["-i", "INVENTORY"]
    # A checkout's ansible.cfg names this machine, where it is the working directory.
    return [] if checkout and Path.cwd() == _CHECKOUT else ["-i", "localhost,", "-c", "local"]


def _ansible_playbook() -> str:
    """Return its name where the shell finds it, else the one beside this Python."""
    beside = Path(sys.executable).parent / "ansible-playbook"
    if shutil.which("ansible-playbook") or not beside.exists():
        return "ansible-playbook"
    return shlex.quote(_shown(beside))


def _shown(path: Path) -> str:
    """Return a path relative to the working directory where it lies below."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
