"""The list of what to read, gathered from the settings, and the POSIX sh script made from it.

The script only reads. It needs sh, grep and sed. Its output is one framed stream (`core.collecting.snapshot` reads it)
that keeps absent, unreadable, failed and empty files apart, and ends with a trailer, so that a cut stream is seen as
cut. Every line that a file or command contributes is prefixed, so that no content can forge a frame.

`numatune collect --print-script` shows the script to whoever is to allow it, and the same bytes run on each host: it is
written to be read. Its functions are in `collector_shell`; here they are called for each source.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable
from functools import cache
from itertools import takewhile

from .. import withheld
from ..catalogue import SETTINGS
from ..loaders.next_boot import SOURCES as BOOT
from ..machine.facts import SOURCES as FACTS
from ..machine.topology import SOURCES as TOPOLOGY
from ..sources import CONFIGS, KERNEL_CONFIG, BuildOption, Command, Directory, Extract, File, ProgramWord, Source
from ..undo.runs import SOURCES as RUNS
from . import collector_shell as shell
from .asked import checksums

_PLAIN = re.compile(r"/[A-Za-z0-9_./*\[\]@-]+")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_CGROUP = "/sys/fs/cgroup"
_OF_ANY_CGROUP = re.compile(rf"{_CGROUP}/(?:\*/)+([a-z.]+)")
_OPTIONAL = ("readlink", "timeout")
_MANY = 3
_LINE = "\\\n  "
"""What continues a command on the next line."""
_GOES_ON = " \\\n"
"""What continues a list of words between double quotes."""


@cache
def sources() -> tuple[Source, ...]:
    """Return every source, each once, in a steady order."""
    gathered = [*FACTS, *TOPOLOGY, *BOOT, *RUNS]
    for setting in SETTINGS:
        gathered.extend(setting.sources)
    return tuple(dict.fromkeys(gathered))


@cache
def script(secrets: bool = False) -> str:
    """Return the read-only script for `sh -s`; it leaves secrets out, unless they are asked for (see `withheld`)."""
    return make_script(sources(), secrets)


def make_script(asked: Iterable[Source], secrets: bool = False) -> str:
    """Return the script that reads these sources; raises ValueError for one that it cannot carry."""
    asked = tuple(asked)
    options = [source for source in asked if isinstance(source, BuildOption)]
    words = [source for source in asked if isinstance(source, ProgramWord)]
    commands = [source for source in asked if isinstance(source, Command)]
    extracts = [source for source in asked if isinstance(source, Extract)]
    if options:
        commands.append(Command(KERNEL_CONFIG, shell.KERNEL_CONFIG, needs="gzip"))
    _refuse_odd(asked)
    early = [command for command in commands if command.early]
    late = [command for command in commands if not command.early]
    parts = [
        shell.HEAD.replace("{programs}", _programs(commands)),
        shell.CPUSETS,
        shell.READ.replace("{reading}", shell.WHOLE if secrets else shell.LEFT_OUT),
        "" if secrets else _leaving_out(),
        shell.QUESTIONS,
        shell.BUILD_OPTIONS if options else "",
        *map(_function, commands),
        shell.PROGRAM_WORD if words else "",
        "\n# --- What is read ---\n",
        _said(asked),
        "\n# Asked first, for other questions build on the answers.\n",
        *map(_ask, early),
        "\nsay @states\n",
        _states(asked),
        "\n# Their lines.\nread_files\n",
        "read_links\n",
        "\n# Some lines of long files.\n",
        *map(_extract, extracts),
        _look_for(options),
        "read_picked\n",
        "\n# Other questions.\n",
        *(f"ask_word {source.name} {source.program} {source.word}\n" for source in words),
        *map(_ask, late),
        shell.END,
    ]
    return "".join(parts)


def build_options(options: Iterable[BuildOption]) -> Extract:
    """Return the lines of the kernels' build configurations that hold these options."""
    names = "|".join(dict.fromkeys(option.name for option in options))
    return Extract(CONFIGS, keep=f"^({names})=")


def _look_for(options: Iterable[BuildOption]) -> str:
    names: dict[str, list[str]] = {}
    for option in options:
        names.setdefault(option.where, []).append(option.name)
    if not names:
        return ""
    calls = [
        f"{f'exists {where} && ' if where else ''}look_for{''.join(f' {_LINE}{name}' for name in these)}\n"
        for where, these in names.items()
    ]
    return "".join([*calls, f'[ -z "$build_options" ] || pick "${{build_options#?}}" {CONFIGS}\n'])


def _refuse_odd(asked: Iterable[Source]) -> None:
    for source in asked:
        paths, words = _carried(source)
        if not all(map(_PLAIN.fullmatch, paths)) or not all(map(_WORD.fullmatch, words)):
            raise ValueError(f"a path or a name that the script cannot carry: {source}")


def _carried(source: Source) -> tuple[list[str], list[str]]:
    """Return the paths and the words of a source that come into the script."""
    if isinstance(source, BuildOption):
        return [source.where] if source.where else [], [source.name]
    if isinstance(source, ProgramWord):
        return [], [source.name, source.program, source.word]
    if isinstance(source, Command):
        return [], [source.name, *([source.needs] if source.needs else [])]
    return [source.path], []


def _programs(commands: Iterable[Command]) -> str:
    """Return the programs that the script may start, in a sentence of comment lines."""
    started = {name for command in commands for name in (command.needs, *command.starts) if name}
    *most, last = sorted(started | set(_OPTIONAL))
    return "\n# ".join(textwrap.wrap(f"{', '.join(most)} and {last}", 117))


def _said(asked: Iterable[Source]) -> str:
    """Return what says which files are looked for."""
    listed = textwrap.wrap(" ".join(checksums(asked)), 116)
    about = "\n# A checksum for each kind of file that is looked for here: another numatune may look for more.\n"
    return f'{about}say "@asked {_GOES_ON.join(listed)}"\n' if listed else ""


def _states(asked: Iterable[Source]) -> str:
    """Return what says which files and directories there are."""
    kernel: dict[str, list[str]] = {}
    kinds: dict[str, list[str]] = {"plain": ["/proc", "/sys"], "links": [], "masks": []}
    cgroups: list[str] = []
    for source in asked:
        if not isinstance(source, (File, Directory)) or source.captured_only:
            continue
        folder, _, name = source.path.rpartition("/")
        if isinstance(source, Directory):
            kinds["plain"].append(source.path)
        elif _OF_ANY_CGROUP.fullmatch(source.path):
            cgroups.append(source.path)
        elif source.path.startswith(("/proc/", "/sys/")) and not _walked(folder, name):
            kernel.setdefault(folder, []).append(name)
        else:
            kinds["links" if source.links else "masks" if source.masks else "plain"].append(source.path)
    parts = ["\n# The kernel's own files.\n"]
    for folder, names in kernel.items():
        listed = textwrap.wrap(" ".join(names), 100, break_long_words=False, break_on_hyphens=False)
        parts.append(f'kernel_files "{_GOES_ON.join(listed)}" {folder}\n')
    if cgroups:
        asked_for = " ".join(dict.fromkeys(path.rpartition("/")[2] for path in cgroups))
        levels = " ".join(str(level + 1) for level in range(max(path.count("*") for path in cgroups)))
        parts.append(f"cpusets '{asked_for}' '{levels}' {_CGROUP}\n")
    for kind, about in _ABOUT.items():
        if kinds[kind]:
            parts += [about, *_scans(kind, kinds[kind])]
    return "".join(parts)


def _walked(folder: str, name: str) -> bool:
    # People make cgroups, and may give them any name; of a pattern the shell must find out what it stands for.
    return (folder.startswith(_CGROUP) and "*" in folder) or any(sign in name for sign in "*[")


_ABOUT = {
    "plain": "\n# Configuration, and folders that need only be there.\n",
    "links": "\n# Units that are enabled, masked or an alias: which a link says.\n",
    "masks": "\n# Configuration that a link to /dev/null masks.\n",
}


def _scans(kind: str, paths: Iterable[str]) -> list[str]:
    """Return the calls that scan paths; many names in one pattern of folders are looked for folder by folder."""
    folders: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: path.rpartition("/")):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    single: list[str] = []
    calls: list[str] = []
    for folder, names in folders.items():
        if "*" in folder and len(names) >= _MANY and not any("*" in name for name in names):
            listed = "".join(f"\n  {name}" for name in names)
            calls.append(f"scan_in {kind} '{listed}\n' {folder}\n")
        else:
            single += [f" {_LINE}{folder}/{name}" for name in names]
    return [f"scan {kind}{''.join(single)}\n", *calls] if single else calls


def _leaving_out() -> str:
    edits = "".join(f" {_LINE}  -e {shlex.quote(edit)}" for edit in withheld.sed_edits())
    return shell.SECRETS.replace("{edits}", edits)


def _extract(source: Extract) -> str:
    if source.first_paragraph or source.until:
        call = f"first_lines {shlex.quote(source.until)} {source.path}"
    elif source.cut:
        keep = f"/{source.keep}/" if source.keep else ""
        call = f"edit {source.path} 's/{source.cut}/: /; {keep}s/^/| /p'"
    else:
        call = f"pick {shlex.quote(source.keep)} {source.path}"
    return f"if {source.when}; then\n  {call}\nfi\n" if source.when else f"{call}\n"


def _function(source: Command) -> str:
    """Return the function of a question; the comment that its shell begins with goes before it."""
    body = source.shell.strip("\n").split("\n")
    about = list(takewhile(lambda line: line.startswith("#"), body))
    inner = "\n".join(f"  {line}" if line else line for line in body[len(about) :])
    return "\n" + "".join(f"{line}\n" for line in about) + f"ask_{source.name}() {{\n{inner}\n}}\n"


def _ask(source: Command) -> str:
    return f"ask {source.name} {source.needs}".rstrip() + "\n"
