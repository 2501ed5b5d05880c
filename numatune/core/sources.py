"""What the collector may read: the kinds of source, each declared by the setting that needs it.

Paths are absolute and may hold shell patterns in any component but the first. They never hold ":" or white
space, because the framed stream separates a path from its line by ":".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True)
class File:
    """A small text file, read whole.

    `links` also records where a symbolic link points; `masks` does so only for one that leads to no regular file.
    """

    path: str
    links: bool = False
    masks: bool = False
    captured_only: bool = False
    """Only from captured trees: sosreport stores it, or every live host says the same in another file."""


@dataclass(frozen=True)
class Directory:
    """A directory whose mere existence (or refusal) tells something."""

    path: str
    captured_only: bool = False


@dataclass(frozen=True)
class Extract:
    """Some lines of a file that is too large to carry whole.

    `cut` is replaced by ": " in each line, then lines that match `keep` stay; both are expressions that mean
    the same to grep and sed (basic) and to Python. `first` takes the first line alone that holds the plain word
    `keep`. `first_paragraph` alone keeps what is before the first blank line; `until` is a shell word for it: a line
    that begins with what it comes to, if anything, is the last one that is needed. `when` is a shell test that must
    hold, else no setting needs the file on that host and it counts as absent. `captured_too` matches lines behind the
    first paragraph that captured trees alone need.
    """

    path: str
    keep: str = ""
    cut: str = ""
    first: bool = False
    first_paragraph: bool = False
    until: str = ""
    when: str = ""
    captured_too: str = ""


@dataclass(frozen=True)
class Command:
    """What one read-only piece of shell finds out, with nothing but what a base system has.

    It runs in the collector's own shell, leaves its output in `o`, and its last exit status counts; `s=absent` says
    that there was nothing to ask. What is picked is in `$config` (the running kernel's build options) and `$daemons`
    (/proc/PID/comm:NAME for each of `processes`, where systemd did not say), and `$holds` is 1 or 0 where the file of
    `program` (a name and a word) is readable, for whether it holds the word. A slow tool is asked as `$limit TOOL`.
    `needs` is the program that must exist, else the command counts as absent. `early` ones run
    before files are read. `shown` says for people what it asks.
    """

    name: str
    shell: str
    needs: str = ""
    processes: tuple[str, ...] = ()
    program: tuple[str, str] = ("", "")
    early: bool = False
    shown: str = ""


Source = Union[File, Directory, Extract, Command]
