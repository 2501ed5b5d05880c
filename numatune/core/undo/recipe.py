"""The hand-revert recipe: a generation of the journal as text that a person reads, and that sh can run.

It needs coreutils and a root shell, nothing of numatune; `ROOT=/mnt sh 0001-undo.txt` is for a mounted tree.
"""

from __future__ import annotations

import base64
import shlex
import textwrap

from .journal import NO_BLOCK, Entry, Generation, value_of

_ORDER = ("once", "runtime", "file", "link", "menu", "service", "directory")


def recipe(generation: Generation) -> str:
    """Return the steps, each with its reason in a comment: kernel values, files, services, then directories."""
    lines = [
        _comment(f"How to undo by hand what generation {generation.number} changed, recorded {generation.recorded}."),
        "# Read it, then run the lines you want as root, or all of them: sh THIS-FILE",
        "# Look first whether somebody changed these files later: revert.yml does, this text does not.",
        'ROOT="${ROOT:-}"',
    ]
    entries = sorted(generation.entries, key=lambda entry: (_ORDER.index(entry.kind), -entry.path.count("/")))
    for entry in entries:
        lines.append("")
        lines += _step(entry, generation.boot_id)
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """Return a line that sh passes over, whatever the names and values in it hold: no character of it ends the line."""
    return "# " + "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _text(value: bytes) -> str:
    """Return bytes as text that `shlex.quote` and the file's writer turn into the same bytes."""
    return value.decode("utf-8", "surrogateescape")


def _step(entry: Entry, boot_id: str) -> list[str]:
    if entry.kind == "service":
        return _service(entry)
    if entry.kind == "once":
        return _once(entry)
    path = f'"$ROOT"{shlex.quote(entry.path)}'
    if entry.kind == "directory":
        return [
            _comment(f"{entry.path} did not exist. Remove it if it is empty."),
            f"if [ -d {path} ]; then rmdir --ignore-fail-on-non-empty -- {path}; fi",
        ]
    if entry.kind == "runtime":
        value = _text(value_of(entry.before))
        return [
            _comment(f"{entry.path} held {value!r} in the boot {boot_id}; a later boot sets its own value."),
            f'if [ "$(cat "$ROOT"/proc/sys/kernel/random/boot_id)" = {shlex.quote(boot_id)} ]; then',
            f"  printf '%s\\n' {shlex.quote(value)} > {path}",
            "fi",
        ]
    if entry.kind == "menu":
        return _menu(entry, path)
    if entry.before.state == "absent":
        return [_comment(f"{entry.path} did not exist. Remove it."), f"rm -f -- {path}"]
    return _placed(entry, path)


def _placed(entry: Entry, path: str) -> list[str]:
    seen = entry.before
    if seen.state == "link":
        target = _text(seen.content or b"")
        return [_comment(f"{entry.path} was a link to {target}."), f"ln -sfn -- {shlex.quote(target)} {path}"]
    text = base64.b64encode(seen.content or b"").decode()
    steps = [
        _comment(f"{entry.path} was a file of {len(seen.content or b'')} bytes. Put them back, then owner and mode."),
        f"base64 -d > {path} <<'END'",
        *textwrap.wrap(text, 76),
        "END",
    ]
    if seen.uid is not None and seen.gid is not None:
        steps.append(f"chown -- {seen.uid}:{seen.gid} {path}")
    attributes = [
        f"setfattr -n {shlex.quote(name)} -v 0s{base64.b64encode(value).decode()} -- {path}"
        for name, value in seen.xattrs or ()
    ]
    if attributes:
        names = ", ".join(name for name, _ in seen.xattrs or ())
        steps.append(_comment(f"Its extended attributes, ACLs among them: {names}. setfattr is in the package attr."))
    if seen.mode is not None:
        # Where there is an ACL, the mode's group bits are its mask, and without it they would be the group's right.
        attributes.append(f"chmod -- {seen.mode} {path}")
    if attributes:
        steps.append(" && ".join(attributes))
    if seen.label is not None:
        steps.append(f"chcon -- {shlex.quote(seen.label)} {path}")
    return steps


def _menu(entry: Entry, path: str) -> list[str]:
    anew = f'${{ROOT:+chroot "$ROOT"}} grub-mkconfig -o {shlex.quote(entry.path)}'
    if entry.after.digest is None:
        return [_comment(f"{entry.path}: made anew, after the files above."), anew]
    return [
        _comment(
            f"{entry.path}: put back where it still is what numatune left; else (a kernel came or went) made anew."
        ),
        f'if [ "$(sha256sum <{path} | cut -d " " -f 1)" = {entry.after.digest} ]; then',
        *_placed(entry, path),
        "else",
        f"  {anew}",
        "fi",
    ]


def _service(entry: Entry) -> list[str]:
    was = _text(value_of(entry.before))
    verb = "try-restart" if was == _text(value_of(entry.after)) else "stop"
    verb = "start" if was == "active" and verb == "stop" else verb
    return [
        _comment(f"{entry.path} was {was}. Not in a mounted tree."),
        f'[ -n "$ROOT" ] || {{ systemctl daemon-reload; systemctl {verb} -- {shlex.quote(entry.path)}; }}',
    ]


def _once(entry: Entry) -> list[str]:
    path, _, name = entry.path.rpartition(":")
    value = None if entry.before.state == "absent" else _text(value_of(entry.before))
    step = f"unset {shlex.quote(name)}" if value is None else f"set {shlex.quote(f'{name}={value}')}"
    lines = [
        _comment(
            f"{name} in {path} was {'not set' if value is None else repr(value)} (grub2-editenv on RHEL and Fedora)."
        ),
        f'grub-editenv "$ROOT"{shlex.quote(path)} {step}',
    ]
    if entry.before == NO_BLOCK:
        block = f'"$ROOT"{shlex.quote(path)}'
        lines.append(f'if [ -z "$(grub-editenv {block} list)" ]; then rm -f -- {block}; fi')
    return lines
