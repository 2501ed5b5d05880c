"""The list of what to read, gathered from the settings, and the POSIX sh script made from it.

The script only reads. It needs sh, grep and sed. Its output is one framed stream (`core.snapshot` reads it) that
keeps absent, unreadable, failed and empty files apart, and ends with a trailer, so that a cut stream is seen as cut.
Every line that a file or command contributes is prefixed, so that no content can forge a frame.

On a server each program that is started costs more than a millisecond, a built-in nothing; so the shell reads short
files itself, one grep reads all whole files and another one picks lines, and a slow tool (systemd's) is asked only
where no file gives the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from .boot import SOURCES as BOOT
from .catalogue import SETTINGS
from .collector_shell import HEAD, LINES, TEXTS
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
def script() -> str:
    """Return the read-only script for `sh -s`."""
    for source in sources():
        if not isinstance(source, Command) and not _PLAIN.fullmatch(source.path):
            raise ValueError(f"a source path the script cannot carry: {source.path}")
    commands = [source for source in sources() if isinstance(source, Command)]
    extracts = [source for source in sources() if isinstance(source, Extract)]
    files = [source for source in sources() if isinstance(source, File) and not source.captured_only]
    folders = [source.path for source in sources() if isinstance(source, Directory)]
    early = [command for command in commands if command.early]
    late = [command for command in commands if not command.early]
    picked = [extract for extract in extracts if extract.keep and not extract.cut]
    patterns = dict.fromkeys([*(extract.keep for extract in picked), *_names(commands)])
    parts = [
        HEAD,
        *(_paragraph(extract) for extract in extracts if extract.first_paragraph),
        *map(_command, early),
        _states(files, folders),
        TEXTS,
        f"scan {' '.join(extract.path for extract in picked)}\n",
        LINES.replace("PATTERNS", " ".join(f"-e '{pattern}'" for pattern in patterns)),
        *(_cut(extract) for extract in extracts if extract.cut),
        *map(_command, late),
        'flush\necho "@end"\n',
    ]
    return re.sub("(?m)^ +", "", "".join(parts))


def _names(commands: Iterable[Command]) -> list[str]:
    return [f"^{name}$" for command in commands for name in command.processes]


def _states(files: list[File], folders: list[str]) -> str:
    """Return what lists the files and directories, so grouped that a directory of the kernel's is passed once."""
    kernel: dict[str, list[str]] = {}
    plain: list[str] = [path for path in folders if not (_of_kernel(path) and "*" in path)]
    linked: list[str] = []
    cgroups: list[str] = []
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if _OF_ANY_CGROUP.fullmatch(file.path):
            cgroups.append(file.path)
        elif _of_kernel(file.path) and not (folder.startswith(_CGROUP) and "*" in folder):
            kernel.setdefault(folder, []).append(name)
        else:
            (linked if file.links else plain).append(file.path)
    lines = [f"{name}={folder}" for name, folder in _FOLDERS.items()]
    lines += ['out="$out@states$nl"']
    lines += [f"list {_short(path)}" for path in folders if _of_kernel(path) and "*" in path]
    lines += [f"whole '{' '.join(names)}' {_short(folder)}" for folder, names in kernel.items()]
    # Beside each other, what is missing in one directory is looked into once.
    lines += [f"scan {_by_folder(['/proc', '/sys', *plain])}", f"linked=1; scan {_by_folder(linked)}", "linked="]
    if cgroups:
        names = dict.fromkeys(path.rpartition("/")[2] for path in cgroups)
        tests = " -o ".join(f"-name {name}" for name in names)
        depth = max(path.count("*") for path in cgroups)
        lines.append(
            # A find that knows no depths (or none at all) leaves it to the shell, which takes longer.
            f"if cpusets; then\n  if lines=$(find {_CGROUP} -mindepth 2 -maxdepth {depth + 1} {tests} 2>/dev/null) ||\n"
            '    [ -n "$lines" ]; then IFS=$nl; set -f; set -- $lines; set +f; unset IFS; scan "$@"\n'
            f"  else scan {' '.join(cgroups)}; fi\nfi"
        )
    return "\n".join(lines) + "\n"


def _by_folder(paths: list[str]) -> str:
    return _short(" ".join(sorted(paths, key=lambda path: path.rpartition("/"))))


def _short(words: str) -> str:
    """Return words with the commonest folders as variables, of which the script is made half as long."""
    for name, folder in _FOLDERS.items():
        words = words.replace(folder, f"${name}")
    return words


def _of_kernel(path: str) -> bool:
    return path.startswith(("/proc/", "/sys/"))


def _paragraph(source: Extract) -> str:
    return f"paragraph {source.path}\n"


def _cut(source: Extract) -> str:
    keep = f"/{source.keep}/" if source.keep else ""
    call = f"cut {source.path} -e 's/{source.cut}/: /' -e '{keep}s/^/| /p'\n"
    return f"if {source.when}; then {call.rstrip()}; fi\n" if source.when else call


def _command(source: Command) -> str:
    run = f"o= s=; {{ {source.shell}; }} 2>/dev/null; tell {source.name} $?"
    if not source.needs:
        return run + "\n"
    return f"if command -v {source.needs} >/dev/null; then {run}; else o=; tell {source.name} absent; fi\n"
