"""The lab's guests from the command line; `tools/lab` runs it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from lab.guest import LAB, Guest, LabError, base_image
from lab.machine import Machine


def main() -> int:
    """Do one thing with one guest; a complaint is one line."""
    args = _parser().parse_args()
    try:
        return int(args.run(args) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/lab", description="Guests with NUMA nodes, P-states, C-states")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, about in (
        ("start", _start, "a new guest, and wait for it"),
        ("boot", _boot, "switch a stopped one on again"),
        ("ssh", _ssh, "run a command in it, as root"),
        ("reboot", _reboot, "by its own systemd, and wait"),
        ("poweroff", _power_off, "by its own systemd, and wait"),
        ("cut", _cut, "take its power away"),
        ("stop", _stop, "end it and remove it"),
        ("shell", _shell, "a shell in a new guest, which is removed at the end"),
        ("inventory", _inventory, "what Ansible must know of it, as an inventory"),
        ("list", _list, "which there are"),
    ):
        one = commands.add_parser(name, help=about, description=about)
        one.set_defaults(run=run)
        if name == "list":
            continue
        one.add_argument("name", nargs="?" if name == "shell" else None, default="shell")
        if name in ("start", "shell"):
            one.add_argument("--suite", choices=("bookworm", "trixie"), default="bookworm", help="(default: bookworm)")
            one.add_argument("--base", type=Path, help="an image of your own")
            one.add_argument("--cpus", type=int, default=4, help="(default: 4)")
            one.add_argument("--nodes", type=int, default=2, help="(default: 2)")
            one.add_argument("--memory", type=int, default=768, metavar="MIB", help="(default: 768)")
        if name == "ssh":
            one.add_argument("command")
        if name == "inventory":
            one.add_argument("--user", choices=("root", "lab"), default="root", help="lab may become root by sudo")
    return parser


def _start(args: argparse.Namespace) -> None:
    began = time.monotonic()
    try:
        machine = Machine(args.cpus, args.nodes, args.memory)
    except ValueError as error:
        raise LabError(str(error)) from error
    guest = Guest(args.name).create(args.base.resolve() if args.base else base_image(args.suite), machine).boot()
    print(f"{guest.name} answers on port {guest.port} after {time.monotonic() - began:.0f} s", file=sys.stderr)


def _boot(args: argparse.Namespace) -> None:
    Guest(args.name).boot()


def _ssh(args: argparse.Namespace) -> int:
    return subprocess.run([*Guest(args.name).ssh_command(), args.command], check=False).returncode


def _reboot(args: argparse.Namespace) -> None:
    Guest(args.name).reboot()


def _power_off(args: argparse.Namespace) -> None:
    Guest(args.name).power_off()


def _cut(args: argparse.Namespace) -> None:
    Guest(args.name).cut()


def _stop(args: argparse.Namespace) -> None:
    Guest(args.name).remove()


def _shell(args: argparse.Namespace) -> int:
    _start(args)
    guest = Guest(args.name)
    try:
        return subprocess.run(guest.ssh_command(), check=False).returncode
    finally:
        guest.remove()


def _inventory(args: argparse.Namespace) -> None:
    hosts = {args.name: Guest(args.name).variables(args.user)}
    print(json.dumps({"all": {"hosts": hosts}}, indent=2))


def _list(_args: argparse.Namespace) -> None:
    for folder in sorted((LAB / "guests").glob("*")):
        guest = Guest(folder.name)
        print(f"{guest.name:<20} port {guest.port}  {'runs' if guest.running else 'off'}")


if __name__ == "__main__":
    sys.exit(main())
