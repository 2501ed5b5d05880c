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
    the same to sed (basic) and to Python. `first_paragraph` stops at the first blank line.
    """

    path: str
    keep: str = ""
    cut: str = ""
    first_paragraph: bool = False


@dataclass(frozen=True)
class Command:
    """The output of one read-only shell command that needs nothing but what a base system has.

    `needs` is the program that must exist, else the command counts as absent.
    """

    name: str
    shell: str
    needs: str = ""


Source = Union[File, Directory, Extract, Command]
