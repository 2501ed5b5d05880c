"""The list of what to read, gathered from the settings, and the POSIX sh script made from it.

The script only reads. It needs sh, grep and sed. Its output is one framed stream (`core.snapshot` reads it) that
keeps absent, unreadable, failed and empty files apart, and ends with a trailer, so that a cut stream is seen as cut.
Every line that a file or command contributes is prefixed, so that no content can forge a frame.

On a server each program that is started costs more than a millisecond, a built-in nothing; so the shell reads short
files itself, one grep reads all whole files, another one picks lines where there is something to pick from, and a slow
tool (systemd's) is asked only where no file gives the same answer.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache

from . import withheld
from .boot import SOURCES as BOOT
from .catalogue import SETTINGS
from .collector_shell import HEAD, LINES, TEXTS, VEILED
from .facts import SOURCES as FACTS
from .runs import SOURCES as RUNS
from .sources import Command, Directory, Extract, File, Source
from .topology import SOURCES as TOPOLOGY

_PLAIN = re.compile(r"/[A-Za-z0-9_./*\[\]@-]+")
# Each replaced in turn: no value holds a name, and after each name comes a "/" or a space.
_FOLDERS = {
    "S": "/etc/systemd/system",
    "C": "/sys/devices/system/cpu",
    "N": "/sys/devices/system/node",
    "U": "/usr/lib",
}
# A folder that a host may lack, with all that is asked for below.
_PART = re.compile(r"/(?:boot|efi|etc|run|usr/lib|usr/local/lib|var/lib)/[a-z0-9_.-]+(?=/)")
_MANY = 3
_CGROUP = "/sys/fs/cgroup"
_OF_ANY_CGROUP = re.compile(rf"{_CGROUP}/(?:\*/)+([a-z.]+)")


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
    for source in sources():
        if not isinstance(source, Command) and not _PLAIN.fullmatch(source.path):
            raise ValueError(f"a source path the script cannot carry: {source.path}")
    commands = [source for source in sources() if isinstance(source, Command)]
    extracts = [source for source in sources() if isinstance(source, Extract)]
    files = [source for source in sources() if isinstance(source, File) and not source.captured_only]
    veiled = [] if secrets else [source.path for source in files if withheld.covers(source.path)]
    files = [source for source in files if source.path not in veiled]
    folders = [source.path for source in sources() if isinstance(source, Directory) and not source.captured_only]
    early = [command for command in commands if command.early]
    late = [command for command in commands if not command.early]
    parts = [
        HEAD,
        *map(_command, early),
        *(_paragraph(extract) for extract in extracts if extract.first_paragraph),
        _states(files, folders),
        _veiled(veiled),
        TEXTS,
        *(_first(extract) for extract in extracts if extract.first),
        _picked([extract for extract in extracts if extract.keep and not extract.cut and not extract.first], commands),
        *(_cut(extract) for extract in extracts if extract.cut),
        *map(_command, late),
        'flush\necho "@end"\n',
    ]
    return re.sub("(?m)^ +", "", "".join(parts))


def _picked(extracts: Iterable[Extract], commands: Iterable[Command]) -> str:
    names = [name for command in commands for name in command.processes]
    # The script can ask one program.
    ((program, word),) = (command.program for command in commands if command.program[0])
    kept = [f"{extract.keep}.*" for extract in extracts]
    patterns = dict.fromkeys([*kept, word, *(f"^{name}$" for name in names)])
    lines = LINES.replace("PROGRAM", program).replace("WORD", word).replace("PROCESSES", "|".join(names))
    return "".join(
        f"if {extract.when}; then scan {_short(extract.path)}; fi\n" if extract.when else f"scan {extract.path}\n"
        for extract in extracts
    ) + lines.replace("PATTERNS", " ".join(f"-e '{pattern}'" for pattern in patterns))


def _states(files: list[File], folders: list[str]) -> str:
    """Return what lists the files and directories, so grouped that a directory of the kernel's is passed once."""
    kernel: dict[str, list[str]] = {}
    plain: list[str] = [path for path in folders if not (_of_kernel(path) and "*" in path)]
    linked: list[str] = []
    masks: list[str] = []
    cgroups: list[str] = []
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if _OF_ANY_CGROUP.fullmatch(file.path):
            cgroups.append(file.path)
        elif _of_kernel(file.path) and not (folder.startswith(_CGROUP) and "*" in folder):
            kernel.setdefault(folder, []).append(name)
        else:
            (linked if file.links else masks if file.masks else plain).append(file.path)
    lines = [f"{name}={folder}" for name, folder in _FOLDERS.items()]
    lines += ['out="$out@states$nl"']
    lines += [f"list {_short(path)}" for path in folders if _of_kernel(path) and "*" in path]
    lines += [f"whole '{' '.join(names)}' {_short(folder)}" for folder, names in kernel.items()]
    lines += [
        *_scans(["/proc", "/sys", *plain]),
        "linked=all",
        *_scans(linked),
        f"linked=masks; scan {_by_folder(masks)}",
        "linked=",
    ]
    if cgroups:
        names = " ".join(dict.fromkeys(path.rpartition("/")[2] for path in cgroups))
        levels = " ".join(str(level + 1) for level in range(max(path.count("*") for path in cgroups)))
        lines.append(f"cgroups '{names}' '{levels}' {_CGROUP}")
    return "\n".join(lines) + "\n"


def _veiled(paths: list[str]) -> str:
    """Return what reads the files that may hold secrets: by a grep of their own, and sed only where one may be."""
    if not paths:
        return ""
    hints = "|".join(
        "*" + "".join(f"[{sign.upper()}{sign}]" if sign.isalpha() else sign for sign in word) + "*"
        for word in withheld.HINTS
    )
    # There the path and a colon stand before the line.
    words = (f"s%{found.replace('(^|', '(^[^:]*:|')}%{instead}%g" for found, instead in withheld.EXPRESSIONS)
    sed = " ".join(f"-e {shlex.quote(word)}" for word in words)
    return "\n".join(["veil=1", *_scans(paths), VEILED.replace("HINTS", hints).replace("EXPRESSIONS", sed)])


def _scans(paths: list[str]) -> Iterator[str]:
    """Yield what scans: the names in one pattern of folders, what is under a folder that may not exist, the others."""
    folders: dict[str, list[str]] = {}
    under: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
        match = _PART.match(path)
        if match:
            under.setdefault(match[0], []).append(path)
    grouped: set[str] = set()
    for folder, names in folders.items():
        if "*" in folder and len(names) >= _MANY:
            grouped.update(f"{folder}/{name}" for name in names)
            yield (
                f"for d in {_short(folder)}; do\n"
                '  if [ ! -r "$d" ]; then miss "$d/"; continue; fi\n'
                '  for f in "$d"/*; do\n'
                f'    case ${{f##*/}} in {"|".join(names)}) scan "$f";; esac\n'
                "  done\ndone"
            )
    for folder, inside in under.items():
        inside = [path for path in inside if path not in grouped]
        if len(inside) >= _MANY:
            grouped.update(inside)
            yield f"within {folder} && scan {_by_folder(inside)}"
    yield f"scan {_by_folder([path for path in paths if path not in grouped])}"


def _by_folder(paths: list[str]) -> str:
    # Beside each other, what is missing in one directory is looked into once.
    return _short(" ".join(sorted(paths, key=lambda path: path.rpartition("/"))))


def _short(words: str) -> str:
    """Return words with the commonest folders as variables, of which the script is made half as long."""
    for name, folder in _FOLDERS.items():
        words = words.replace(folder, f"${name}")
    return words


def _of_kernel(path: str) -> bool:
    return path.startswith(("/proc/", "/sys/"))


def _paragraph(source: Extract) -> str:
    return f"paragraph {source.path} {source.until}".rstrip() + "\n"


def _first(source: Extract) -> str:
    return f"first {source.keep} {_short(source.path)}\n"


def _cut(source: Extract) -> str:
    keep = f"/{source.keep}/" if source.keep else ""
    call = f"cut {source.path} -e 's/{source.cut}/: /' -e '{keep}s/^/| /p'\n"
    return f"if {source.when}; then {call.rstrip()}; fi\n" if source.when else call


def _command(source: Command) -> str:
    run = f"o= s=; {{ {source.shell}; }} 2>/dev/null; tell {source.name} $?"
    if not source.needs:
        return run + "\n"
    return f"if command -v {source.needs} >/dev/null; then {run}; else o= s=; tell {source.name} absent; fi\n"
