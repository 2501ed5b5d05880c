"""The hand-revert recipe: a generation of the journal as text that a person reads, and that sh can run.

It needs coreutils and a root shell, nothing of numatune; `ROOT=/mnt sh 0001-undo.txt` is for a mounted tree.
"""

from __future__ import annotations

import base64
import shlex
import textwrap

from .journal import Entry, Generation, value_of

_ORDER = {"runtime": 0, "file": 1, "directory": 2}


def recipe(generation: Generation) -> str:
    """Return the steps, each with its reason in a comment: kernel values, then files, then directories."""
    lines = [
        f"# How to undo by hand what generation {generation.number} changed, recorded {generation.recorded}.",
        "# Read it, then run the lines you want as root, or all of them: sh THIS-FILE",
        "# Look first whether somebody changed these files later: revert.yml does, this text does not.",
        'ROOT="${ROOT:-}"',
    ]
    entries = sorted(generation.entries, key=lambda entry: (_ORDER[entry.kind], -entry.path.count("/")))
    for entry in entries:
        lines.append("")
        lines += _step(entry, generation.boot_id)
    return "\n".join(lines) + "\n"


def _step(entry: Entry, boot_id: str) -> list[str]:
    path = f'"$ROOT"{shlex.quote(entry.path)}'
    if entry.kind == "directory":
        return [
            f"# {entry.path} did not exist. Remove it if it is empty.",
            f"if [ -d {path} ]; then rmdir --ignore-fail-on-non-empty -- {path}; fi",
        ]
    if entry.kind == "runtime":
        value = value_of(entry.before).decode("utf-8", "replace")
        return [
            f"# {entry.path} held {value!r} in the boot {boot_id}; a later boot sets its own value.",
            f'if [ "$(cat "$ROOT"/proc/sys/kernel/random/boot_id)" = {shlex.quote(boot_id)} ]; then',
            f"  printf '%s\\n' {shlex.quote(value)} > {path}",
            "fi",
        ]
    if entry.before.state == "absent":
        return [f"# {entry.path} did not exist. Remove it.", f"rm -f -- {path}"]
    seen = entry.before
    text = base64.b64encode(seen.content or b"").decode()
    steps = [
        f"# {entry.path} was a file of {len(seen.content or b'')} bytes. Put them back, then owner and mode.",
        f"base64 -d > {path} <<'END'",
        *textwrap.wrap(text, 76),
        "END",
    ]
    if seen.uid is not None and seen.gid is not None:
        steps.append(f"chown -- {seen.uid}:{seen.gid} {path}")
    if seen.mode is not None:
        steps.append(f"chmod -- {seen.mode} {path}")
    if seen.label is not None:
        steps.append(f"chcon -- {shlex.quote(seen.label)} {path}")
    return steps
