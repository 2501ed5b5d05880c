"""The ways to a host, by name: what a worker opens once and asks for every host."""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.errors import InputError, SnapshotError
from ..transport.endpoint import Target
from ..transport.failure import Failure, clean
from ..transport.limits import Limits

if TYPE_CHECKING:
    from ..transport.host_keys.known_hosts import KnownHosts
    from ..transport.output_memory import Place


_NOTE = 300


class Transport(Protocol):
    """What a worker needs of a way to a host; `collect` is called from many threads at once."""

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Run the script on one host within `limits` and return its stream; raises Failure.

        `place` counts what the host sends, among all hosts of the process; None where nobody counts.
        """

    def close(self) -> None:
        """Close what hosts share."""


Opener = Callable[[], Transport]
"""Makes a Transport in the worker. A test gives its own; it pickles where the parent has threads."""


@dataclass(frozen=True)
class Choice:
    """Which transport a run takes, and why it is not the usual one: "" where it is, or where it was asked for."""

    name: str
    because: str = ""


def choose(name: str | None) -> Choice:
    """Return the transport to take; None leaves it to numatune.

    That is paramiko, or your `ssh` program where the installed paramiko, fabric and invoke are not those that numatune
    was tested with: both check host keys by the same rule. Raises InputError, one line, where the one that was asked
    for cannot be used.
    """
    why = "" if name == "openssh" else _unusable()
    if not why:
        return Choice(name or "paramiko")
    if name is None and shutil.which("ssh") is not None:
        return Choice("openssh", f"{why}: your ssh program is used instead, as by --transport openssh")
    lacking = "" if name else ", which needs the ssh program"
    raise InputError(f"{why}: use --transport openssh{lacking}, or `pip install {_TESTED}`")


_LIBRARIES = ("paramiko", "fabric", "invoke")
_TESTED = "'paramiko>=3.4,<6' 'fabric>=3.2,<4' 'invoke>=2.1,<4'"


def _unusable() -> str:
    """Return why paramiko cannot be used, "" where it can."""
    try:
        with warnings.catch_warnings():
            # paramiko 3 warns at its import of a cipher that newer releases of cryptography have moved.
            warnings.simplefilter("ignore")
            internals = importlib.import_module("numatune.transport.ssh.internals")
        differs = str(internals.unexpected())
    except Exception as error:  # whatever another release does when it is imported, or when a class is made of it
        differs = f"{type(error).__name__}: {error}"
    if not differs:
        return ""
    return clean(f"numatune cannot use {', '.join(map(_installed, _LIBRARIES))} ({clean(differs, 120)})", _NOTE)


def _installed(library: str) -> str:
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return f"{library} (not installed)"


def find(name: str, targets: Iterable[Target]) -> Opener:
    """Return the opener of "paramiko" or "openssh"; raises ValueError for another name.

    What it needs is imported here, in the parent, and host keys are read here, so that forked workers share all of it.
    """
    if name == "paramiko":
        return Paramiko(targets)
    if name == "openssh":
        return OpenSsh()
    raise ValueError(f"no transport named {name!r}; there is paramiko, openssh")


def notes(opener: Opener, targets: Iterable[Target]) -> Iterator[str]:
    """Yield what is read differently from OpenSSH, or not at all, and of how many hosts: printable lines, each once."""
    of: dict[str, dict[str, None]] = {}
    for target in targets:
        for end in (target.endpoint, *target.endpoint.jumps):
            for note in end.notes:
                of.setdefault(note, {})[end.alias] = None
    for note, aliases in of.items():
        more = f" and {len(aliases) - 1:,} more" if len(aliases) > 1 else ""
        yield clean(f"{clean(next(iter(aliases)), 60)}{more}: {note}", _NOTE)
    if isinstance(opener, Paramiko):
        yield from dict.fromkeys(clean(note, _NOTE) for known in opener.known.values() for note in known.notes)


class Paramiko:
    """Opens paramiko and fabric; `known` are the run's host keys by their files, read once, here."""

    def __init__(self, targets: Iterable[Target]) -> None:
        from ..transport.host_keys.known_hosts import KnownHosts

        importlib.import_module("numatune.transport.ssh")
        ends = (end for target in targets for end in (target.endpoint, *target.endpoint.jumps))
        self.known = {files: KnownHosts(files) for files in {end.known_hosts for end in ends}}
        for known in self.known.values():
            known.key_types("localhost", 22)  # the first question reads the files

    def __call__(self) -> Transport:
        """Open it in a worker."""
        return _Paramiko(self.known)


class _Paramiko:
    """One connection for each host, and one to each gateway for all hosts of the worker behind it."""

    def __init__(self, known: Mapping[tuple[str, ...], KnownHosts]) -> None:
        from ..transport import ssh

        self._known = known
        self._collect = ssh.collect
        self._gateways = ssh.Gateways()

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Run the script over a connection of its own."""
        if target.endpoint.connection == "local":
            return _local(target)
        return self._collect(target, script, limits, self._known.__getitem__, self._gateways, place)

    def close(self) -> None:
        """Close the gateways."""
        self._gateways.close()


def or_openssh(opener: Opener) -> str:
    """Return the end of a message about what went wrong inside: what to try, where there is another transport."""
    return "; try --transport openssh" if isinstance(opener, Paramiko) else ""


class OpenSsh:
    """Opens the ssh program; holds the folder of the run's private files, which goes with it."""

    def __init__(self) -> None:
        folders = importlib.import_module("numatune.transport.openssh.folders")
        self._held: Any = None
        self.folder: Path | None = None
        folders.sweep()
        with suppress(Failure):  # each host says it
            self._held = folders.RunFolder()
            self.folder = self._held.path

    def __getstate__(self) -> dict[str, Any]:
        """Let a worker know the folder; this process alone removes it."""
        return {"folder": self.folder, "_held": None}

    def __call__(self) -> Transport:
        """Open it in a worker."""
        from ..transport.openssh import folders

        if self.folder is not None:
            folders.enter(self.folder)
        return _OpenSsh()


class _OpenSsh:
    """One process per host."""

    def __init__(self) -> None:
        from ..transport import openssh

        self._collect = openssh.collect

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Run the script by `ssh`."""
        if target.endpoint.connection == "local":
            return _local(target)
        return self._collect(target, script, limits, place)

    def close(self) -> None:
        """Nothing is shared."""


def _local(target: Target) -> str:
    """Read the machine that this runs on, as an inventory's `ansible_connection: local` wants it."""
    from ..transport import local

    become = target.endpoint.become
    if become is not None and os.geteuid() != 0:
        raise Failure("become", f"this machine is read as who runs numatune: run it as {become.user}")
    try:
        return local.stream()
    except SnapshotError as error:
        raise Failure("exec", str(error)) from None


@dataclass(frozen=True)
class Replay:
    """An opener for streams that are already here: benchmarks, tests and rehearsals of a fleet.

    `source` is one stream's file that stands for every host, or a folder that holds one per alias (`ALIAS.numatune.gz`,
    as `numatune collect` writes them). A host without one fails in phase "tcp".
    """

    source: Path

    def __call__(self) -> Transport:
        """Open it."""
        return _Replayed(self.source)


class _Replayed:
    def __init__(self, source: Path) -> None:
        self._source = source
        self._folder = source.is_dir()

    def collect(self, target: Target, script: str, limits: Limits, place: Place | None = None) -> str:
        """Read the stream of one host, no more than the limit on output."""
        import gzip

        path = self._source
        if self._folder:
            path = path / f"{Path(target.endpoint.alias).name}.numatune.gz"
        try:
            with path.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
                file.seek(0)
                data = (gzip.GzipFile(fileobj=file) if packed else file).read(limits.output_bytes + 1)
        except (OSError, EOFError) as error:
            raise Failure("tcp", f"{path.name} cannot be replayed: {error}") from None
        if len(data) > limits.output_bytes:
            raise Failure("output", f"more than {limits.output_bytes} bytes")
        return data.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Nothing is shared."""
