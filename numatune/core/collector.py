"""The list of what to read, gathered from the settings, and the POSIX sh script made from it.

The script only reads. It needs sh, grep, sed and xargs. Its output is one framed stream (`core.snapshot` reads
it) that keeps absent, unreadable, failed and empty files apart, and ends with a trailer, so that a cut stream is
seen as cut. Every line that a file or command contributes is prefixed, so that no content can forge a frame.
"""

from __future__ import annotations

import re
from functools import cache

from .boot import SOURCES as BOOT
from .catalogue import SETTINGS
from .facts import SOURCES as FACTS
from .runs import SOURCES as RUNS
from .sources import Command, Directory, Extract, File, Source
from .topology import SOURCES as TOPOLOGY

_PLAIN = re.compile(r"/[A-Za-z0-9_./*\[\]@-]+")

# `[ -e ]` fails alike for a missing file and for one behind a closed directory; `miss` tells them apart.
_HEAD = r"""# numatune: read-only host inspection. It writes nothing but its standard output.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin; export PATH
echo 'numatune-snapshot 1'
newline='
'
miss() {
  q=$1
  while :; do
    q=${q%/*}
    [ -n "$q" ] || return 0
    if [ -e "$q" ]; then
      if [ -d "$q" ] && { [ ! -x "$q" ] || [ ! -r "$q" ]; }; then echo "n $q"; fi
      return 0
    fi
  done
}
scan() {
  for p do
    case $p in *[!A-Za-z0-9_./@+,=~-]*)
      if [ -e "$p" ]; then echo "e ${p%/*}"; else miss "$p"; fi
      continue;;
    esac
    if [ -d "$p" ]; then
      echo "d $p"
    elif [ -f "$p" ]; then
      if [ -r "$p" ]; then echo "f $p"; else echo "n $p"; fi
    elif [ ! -e "$p" ] && [ ! -L "$p" ]; then
      miss "$p"
    fi
  done
}
link() {
  for p do
    if [ -L "$p" ] && t=$(readlink -- "$p"); then
      case $p$t in *"$newline"*) ;; *) printf '%s\n' "$p $t";; esac
    fi
  done
}
body() { sed -e 's/^/| /'; }
limit() { "$@"; }
if command -v timeout >/dev/null 2>&1; then limit() { timeout 5 "$@"; }; fi
"""

_TEXTS = r"""echo @states
printf '%s\n' "$states"
echo @texts
{ errors=$(printf '%s\n' "$states" | sed -n 's/^f //p' | xargs grep -aH '' /dev/null 2>&1 >&4); } 4>&1
echo @errors
printf '%s\n' "$errors" | body
"""


@cache
def sources() -> tuple[Source, ...]:
    """Return every source, each once, in a steady order."""
    gathered = [*FACTS, *TOPOLOGY, *BOOT, *RUNS]
    for setting in SETTINGS:
        gathered.extend(setting.sources)
    return tuple(dict.fromkeys(gathered))


def script() -> str:
    """Return the read-only script for `sh -s`."""
    files: list[str] = []
    linked: list[str] = []
    parts: list[str] = []
    for source in sources():
        if isinstance(source, Command):
            parts.append(_command(source))
            continue
        if not _PLAIN.fullmatch(source.path):
            raise ValueError(f"a source path the script cannot carry: {source.path}")
        if isinstance(source, Extract):
            parts.append(_extract(source))
        elif isinstance(source, Directory) or not source.captured_only:
            files.append(source.path)
            if isinstance(source, File) and source.links:
                linked.append(source.path)
    scan = "states=$(scan /proc /sys \\\n  " + " \\\n  ".join(files) + ")\n"
    links = "echo @links\nlink " + " ".join(linked) + "\n"
    return _HEAD + scan + _TEXTS + links + "".join(parts) + "echo @end\n"


def _extract(source: Extract) -> str:
    steps = ["-e '/^[[:space:]]*$/q'"] if source.first_paragraph else []
    if source.cut:
        steps.append(f"-e 's/{source.cut}/: /'")
    steps.append(f"-e '/{source.keep}/p'" if source.keep else "-e p")
    return (
        f"for p in {source.path}; do\n"
        '  if [ -r "$p" ] && [ -f "$p" ]; then\n'
        f'    if t=$(sed -n {" ".join(steps)} "$p" 2>/dev/null); then\n'
        '      echo "@extract $p"; printf \'%s\\n\' "$t" | body\n'
        '    else echo "@failed $p"; fi\n'
        '  elif [ -e "$p" ]; then echo "@denied $p"\n'
        '  else echo @states; miss "$p"; fi\n'
        "done\n"
    )


def _command(source: Command) -> str:
    run = f'o=$({{ {source.shell}; }} 2>/dev/null); echo "@command {source.name} $?"; printf \'%s\\n\' "$o" | body\n'
    if not source.needs:
        return run
    return (
        f"if command -v {source.needs} >/dev/null 2>&1; then {run.rstrip()}\n"
        f'else echo "@command {source.name} absent"; fi\n'
    )
