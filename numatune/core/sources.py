"""What the collector may read: the kinds of source, each declared by the setting that needs it.

Paths are absolute and may hold shell patterns in any component but the first. They never hold ":" or white
space, because the framed stream separates a path from its line by ":".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True)
class File:
    """A small text file, read whole. `links` also records where a symbolic link points."""

    path: str
    links: bool = False
    captured_only: bool = False
    """Only in captured trees (what an sosreport stores under sos_commands/); the script never reads it."""


@dataclass(frozen=True)
class Directory:
    """A directory whose mere existence (or refusal) tells something."""

    path: str


@dataclass(frozen=True)
class Extract:
    """Some lines of a file that is too large to carry whole.

    `cut` is replaced by ": " in each line, then lines that match `keep` stay; both are expressions that mean
    the same to grep and sed (basic) and to Python. `first_paragraph` alone keeps what is before the first blank
    line. `when` is a shell test that must hold, else no setting needs the file on that host and it counts as absent.
    """

    path: str
    keep: str = ""
    cut: str = ""
    first_paragraph: bool = False
    when: str = ""


@dataclass(frozen=True)
class Command:
    """What one read-only piece of shell finds out, with nothing but what a base system has.

    It runs in the collector's own shell, leaves its output in `o`, and its last exit status counts; `s=absent` says
    that there was nothing to ask. `$info` holds the first paragraph of /proc/cpuinfo, and what grep picks is in
    `$config` (the running kernel's build options) and `$daemons` (/proc/PID/comm:NAME for each of `processes`, where
    systemd did not say). `needs` is the program that must exist, else the command counts as absent. `early` ones run
    before files are read. `shown` says for people what it asks.
    """

    name: str
    shell: str
    needs: str = ""
    processes: tuple[str, ...] = ()
    early: bool = False
    shown: str = ""


Source = Union[File, Directory, Extract, Command]
