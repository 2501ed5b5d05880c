"""The hosts that need no SSH (this machine, a captured tree, snapshot files), and the profile to judge by."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..core.collecting.snapshot import parse_stream
from ..core.errors import InputError, NumatuneError, SnapshotError
from ..core.host_status import PROFILE
from ..core.model import Snapshot
from ..core.profile import builtin, from_mapping
from ..core.wanted import Profile
from ..fleet.work import internal
from ..report.audits.hosts import Judged
from . import fleet_options, yaml_file
from .errors import CliError

_SUFFIXES = (".numatune.gz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".gz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose hosts."""
    group = parser.add_argument_group("which hosts")
    fleet_options.add_hosts(group)
    where = group.add_mutually_exclusive_group()
    where.add_argument("--root", type=Path, metavar="DIR", help="judge a captured tree (it holds proc/, sys/, etc/)")
    where.add_argument(
        "--snapshot",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="judge tarballs of captured trees, or what `collect` wrote",
    )


def add_profile(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the argument that chooses the profile."""
    parser.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="what is wanted: a built-in profile or a YAML file (default: the inventory's numatune_profile, else "
        "inference-latency). It replaces numatune_profile, as -e does for the playbooks; CPU roles and options "
        "of the inventory win over it",
    )


def streams(args: argparse.Namespace) -> Iterator[tuple[str, str | None, Snapshot]]:
    """Yield name, framed stream and snapshot of each host; the stream is None for a captured tree."""
    from ..transport import local
    from ..transport.captured import replay

    if args.root is not None:
        yield Path(os.path.realpath(args.root)).name or "/", None, replay.from_root(args.root)
    elif args.snapshot:
        for path in args.snapshot:
            yield _name(path), None, replay.from_file(path)
    else:
        text = local.stream()
        yield socket.gethostname() or "localhost", text, parse_stream(text)


def judged(args: argparse.Namespace, make: Callable[[str, Snapshot], Judged]) -> Iterator[Judged]:
    """Yield what is made of each host; one that cannot be read, or does not fit the profile, is its own error.

    So it is over SSH: neither spoils the rest of a run. Raises InputError where the only host named does not exist.
    """
    if len(args.snapshot) < 2:
        yield from (_made(name, snapshot, make) for name, snapshot in _one(args))
        return
    from ..transport.captured import replay

    for path in args.snapshot:
        try:
            snapshot = replay.from_file(path)
        except NumatuneError as error:
            yield Judged(_name(path), error={"phase": "parse", "message": str(error)})
        else:
            yield _made(_name(path), snapshot, make)


def _one(args: argparse.Namespace) -> Iterator[tuple[str, Snapshot | SnapshotError]]:
    try:
        for name, _, snapshot in streams(args):
            yield name, snapshot
    except SnapshotError as error:
        where = args.root or args.snapshot[0] if args.root or args.snapshot else None
        yield ("localhost" if where is None else _name(where)), error


def _made(name: str, snapshot: Snapshot | SnapshotError, make: Callable[[str, Snapshot], Judged]) -> Judged:
    if isinstance(snapshot, SnapshotError):
        return Judged(name, error={"phase": "parse", "message": str(snapshot)})
    try:
        return make(name, snapshot)
    except InputError as error:
        return Judged(name, error={"phase": PROFILE, "message": f"the profile does not fit this host: {error}"})
    except Exception as error:
        if os.environ.get("NUMATUNE_TRACEBACK"):
            raise
        message = internal(error, "save its snapshot with `numatune collect` and report it")
        return Judged(name, error={"phase": "parse", "message": message})


def profile(word: str | None) -> Profile:
    """Return a built-in profile, or one from a YAML file (a word with a slash, a dot, or that names a file)."""
    word = "inference-latency" if word is None else word
    path = Path(word)
    if "/" not in word and path.suffix not in (".yml", ".yaml", ".json") and not path.is_file():
        try:
            return builtin(word)
        except InputError as error:
            raise CliError(f"{error}, or give a YAML file") from None
    mapping = yaml_file.load(path, "give a profile's name or a YAML file")
    if mapping is None:
        raise CliError(f"{path}: holds no profile; leave --profile out for the built-in one")
    try:
        return from_mapping(mapping)
    except Exception as error:
        raise CliError(f"{path}: {error}") from None


def now() -> str:
    """Return the time as reports write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(path: Path) -> str:
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name
