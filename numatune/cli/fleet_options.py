"""The arguments that choose hosts over SSH, and what must not be said together."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..report.layout import clean
from .errors import CliError

if TYPE_CHECKING:
    from ..fleet.inventory import Options

FORKS, TIMEOUT_S = 50, 60.0


def add_hosts(group: argparse._ArgumentGroup) -> None:
    """Add what names hosts."""
    group.add_argument(
        "target",
        nargs="*",
        metavar="TARGET",
        help="[user@]host[:port], read with your ssh_config; with -i a host, a group or a pattern of the inventory. "
        "Without TARGET and -i it is this machine",
    )
    group.add_argument(
        "-i",
        "--inventory",
        action="append",
        default=[],
        metavar="INVENTORY",
        help="what `ansible-playbook -i` takes (repeatable); alone it means all of its hosts",
    )
    group.add_argument("-l", "--limit", metavar="PATTERN", help="only the hosts of the inventory that match")
    group.add_argument(
        "--retry-failed",
        type=Path,
        metavar="FILE",
        help="FILE is the JSON report of an earlier run, or a store: ask only the hosts that it could not reach, judge "
        "or come to, and take over its judgement of the others, so that the new report is a whole one",
    )


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add how hosts over SSH are reached; each may be said with TARGET or -i only."""
    group = parser.add_argument_group("hosts over SSH")
    group.add_argument("--forks", type=_count, metavar="N", help=f"how many hosts at once (default: {FORKS})")
    group.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help=f"seconds for one host, retries included (default: {TIMEOUT_S:.0f})",
    )
    group.add_argument(
        "--transport", choices=("paramiko", "openssh"), help="openssh runs your `ssh` (default: paramiko)"
    )
    group.add_argument(
        "--host-keys",
        choices=("strict", "accept-new"),
        help="strict refuses a host whose key is not known; accept-new adds it to known_hosts; a changed key is always "
        "refused (default: strict, unless StrictHostKeyChecking in ssh_config says accept-new)",
    )
    group.add_argument("-u", "--user", metavar="USER", help="log in as this user where nothing else says")
    group.add_argument("--private-key", metavar="FILE", help="log in with this key")
    group.add_argument("-k", "--ask-pass", action="store_true", help="ask for the password to log in with")
    group.add_argument("-F", "--ssh-config", type=Path, metavar="FILE", help="read this instead of your ssh_config")
    group.add_argument("-b", "--become", action="store_true", help="read as root, by sudo")
    group.add_argument("--become-user", metavar="USER", help="read as this user instead of root")
    group.add_argument("-K", "--ask-become-pass", action="store_true", help="ask for sudo's password")
    group.add_argument("--vault-id", action="append", default=[], metavar="ID", help="as Ansible's (repeatable)")
    group.add_argument(
        "--vault-password-file", "--vault-pass-file", action="append", default=[], metavar="FILE", help="as Ansible's"
    )
    group.add_argument("-J", "--ask-vault-pass", action="store_true", help="ask for the password of Ansible's vault")
    group.add_argument(
        "--store",
        metavar="FILE|none",
        help="keep the results here (default: numatune/history.sqlite in $XDG_STATE_HOME or ~/.local/state)",
    )


_CONNECTION = (
    "retry_failed forks timeout transport host_keys user private_key ask_pass ssh_config become become_user"
    " ask_become_pass store"
).split()
_INVENTORY = "limit vault_id vault_password_file ask_vault_pass".split()


def asked(args: argparse.Namespace) -> bool:
    """Return whether hosts over SSH are meant; CliError for what does not go together."""
    remote = bool(args.target or args.inventory)
    for local in ("root", "snapshot", "print_script"):
        if remote and getattr(args, local, None):
            what = f"TARGET ({args.target[0]})" if args.target else "-i"
            raise CliError(f"{_flag(local)} reads no host over SSH: leave out {what}, or --{local.replace('_', '-')}")
    if not args.inventory:
        _refuse(args, _INVENTORY, "is about an inventory: give -i INVENTORY too")
    if not remote:
        # A local run keeps nothing: to say so is no mistake.
        names = [name for name in _CONNECTION if name != "store" or args.store != "none"]
        _refuse(args, names, "is for hosts over SSH: name them with TARGET or -i INVENTORY")
    if args.private_key and not Path(args.private_key).expanduser().is_file():
        raise CliError(f"--private-key {args.private_key}: there is no such file")
    if any(word == "" for word in [*args.target, *args.inventory]):
        raise CliError("an empty TARGET or INVENTORY: is a variable unset?")
    return remote


def _refuse(args: argparse.Namespace, names: list[str], why: str) -> None:
    for name in names:
        if getattr(args, name):
            raise CliError(f"{_flag(name)} {why}")


def _flag(name: str) -> str:
    return "-l" if name == "limit" else "--" + name.replace("_", "-")


def options(args: argparse.Namespace) -> Options:
    """Return what was said about logging in."""
    from ..fleet.inventory import Options

    return Options(
        user=args.user,
        private_key=args.private_key,
        ask_pass=args.ask_pass,
        become=args.become,
        become_user=args.become_user,
        ask_become_pass=args.ask_become_pass,
        vault_ids=tuple(args.vault_id),
        vault_password_files=tuple(args.vault_password_file),
        ask_vault_pass=args.ask_vault_pass,
        ssh_config=args.ssh_config,
        host_keys=args.host_keys,
        note=say,
    )


def say(message: str) -> None:
    """Write one line to stderr, whatever the message holds."""
    # Who reads it may have gone away; the run is for who reads the report.
    with suppress(OSError):
        sys.stderr.write(f"numatune: {clean(message)}\n")


def _count(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 10_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 10000 is wanted")
    return int(word)


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("seconds from 1 to 86400 are wanted")
    return seconds
