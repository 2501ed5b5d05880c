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

    Lines that match `keep` stay: an expression that means the same to `grep -E` and to Python. `first_paragraph`
    keeps what is before the first blank line; `until` is a plain word, and a live host's file is read no further than
    the line that holds it. With `cut`, what it matches is replaced by ": " in each line before `keep` is looked for;
    then both are expressions that mean the same to sed (basic) and to Python, and the path is without a pattern. `when`
    is a shell test that must hold, else no setting needs the file on that host and it counts as absent. `captured_too`
    matches lines behind the first paragraph that captured trees alone need.
    """

    path: str
    keep: str = ""
    cut: str = ""
    first_paragraph: bool = False
    until: str = ""
    when: str = ""
    captured_too: str = ""


@dataclass(frozen=True)
class BuildOption:
    """A build option of the kernels under /boot, and of the running one where /boot does not hold its options.

    It is looked for on hosts that have the path `where` (a pattern, or "" for all hosts): for nothing else needs it.
    `name` is whole: "CONFIG_NUMA_BALANCING_DEFAULT_ENABLED". It is read like a line of /boot/config-RELEASE, or of the
    command "kernel_config" for the running kernel's own /proc/config.gz.
    """

    name: str
    where: str = ""


@dataclass(frozen=True)
class ProgramWord:
    """Whether the file of a program holds a word, as a program that knows a variable does.

    The command `name` says "1" or "0", and nothing where the program is not installed or may not be read. `word` is
    plain: letters, digits, "_" and "-".
    """

    name: str
    program: str
    word: str


@dataclass(frozen=True)
class Command:
    """A question that no single file answers, in POSIX shell, with nothing but what a base system has.

    `shell` is the body of a function, for a reviewer to read: it leaves its output in `answer`, and its exit status
    counts; `absent=yes` says that there was nothing to ask. Of earlier commands it finds `machine` (what uname says),
    `units` (what systemd said) and `daemons` (/proc/PID/comm:NAME of each, where systemd did not say), each
    empty where it is not known. `newline` holds one; a slow tool is asked as `$limit TOOL`. `needs` is the
    program that must exist, else the command counts as absent; `starts` names the others that it may start. `early`
    ones run before files are read. `shown` says for people what it asks.
    """

    name: str
    shell: str
    needs: str = ""
    starts: tuple[str, ...] = ()
    early: bool = False
    shown: str = ""


Source = Union[File, Directory, Extract, BuildOption, ProgramWord, Command]

CONFIGS = "/boot/config-*"
KERNEL_CONFIG = "kernel_config"
"""The command that the running kernel's own build options are read as."""


def shown(source: Source) -> str:
    """Return for people what a source reads: a path, or what is asked."""
    if isinstance(source, BuildOption):
        return f"{source.name} in {CONFIGS} or /proc/config.gz"
    if isinstance(source, ProgramWord):
        return f"grep {source.word} /usr/sbin/{source.program}"
    if isinstance(source, Command):
        return source.shown or source.shell
    return source.path
