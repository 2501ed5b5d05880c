"""GRUB's own files: which entry of grub.cfg boots next, and the kernel line that it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..errors import InputError
from ..model import Line
from ..numbers import natural
from ..text import lines

_TITLE = re.compile(r"^\s*(menuentry|submenu)\s+(?:'((?:[^']|'\\'')*)'|\"([^\"]*)\"|(\S+))")
_ID = re.compile(r"(?:--id|\$\{?menuentry_id_option\}?)\s+(?:'([^']*)'|\"([^\"]*)\"|([^\s{]+))")
_DEFAULT = re.compile(r"^\s*set\s+default=(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_LINUX = re.compile(r"^\s*linux(?:16|efi)?\s+(\S+)\s*(.*)$")


@dataclass
class Entry:
    """A menu entry or a submenu: title, id, its kernel line, its children."""

    title: str
    ident: str
    linux: Optional[Line] = None
    children: list[Entry] = field(default_factory=list)
    submenu: bool = False
    unclear: bool = False
    """More than one kernel line: which one runs depends on a condition."""
    start: int = 0
    end: int = 0
    """The lines of its head and of its closing brace, counted from 1; the end is 0 where it was not found."""


ENVIRONMENT_SIZE = 1024
"""Bytes of a grubenv: GRUB writes into the blocks that the file has, so its size never changes."""
_ENVIRONMENT_HEAD = "# GRUB Environment Block\n"


def environment(text: str) -> dict[str, str]:
    """Read a grubenv block: name=value lines, padded with "#"; a backslash in a value stands before what it keeps."""
    pairs = {}
    for line in re.findall(r"(?:[^\\\n]|\\.)+", text, re.DOTALL):
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            pairs[name] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
    return pairs


def with_variable(text: str, name: str, value: Optional[str]) -> str:
    """Return a grubenv block with one variable set, or taken out (None); everything else stays as it is.

    Raises InputError where the block would not hold it.
    """
    body = text.rstrip("\n").rstrip("#")
    body += "" if body.endswith("\n") or not body else "\n"
    line = None if value is None else f"{name}=" + value.replace("\\", "\\\\").replace("\n", "\\\n") + "\n"
    # In its place, as GRUB itself does it.
    ended = re.findall(r"((?:[^\\\n]|\\.)*)(\n?)", body, re.DOTALL)
    lines = [f"{each}\n" for each, end in ended if each or end]
    found = []
    for each in lines:
        if not each.startswith(f"{name}="):
            found.append(each)
        elif line is not None:
            found.append(line)
            line = ""
    head = ("".join(found) or _ENVIRONMENT_HEAD) + (line or "")
    size = max(ENVIRONMENT_SIZE, len(text.encode()))
    if len(head.encode()) > size:
        raise InputError(f"{name} does not fit into GRUB's environment block of {size} bytes")
    return head + "#" * (size - len(head.encode()))


def entries(path: str, text: str) -> list[Entry]:
    """Read the menu of a grub.cfg, nesting kept."""
    top: list[Entry] = []
    stack: list[tuple[int, Entry]] = []
    depth = 0
    for number, line in enumerate(lines(text), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        title = _TITLE.match(line)
        if title and "{" in words and not words.endswith("{"):
            # All on one line: it counts for the numbering, and its kernel line is not known.
            (stack[-1][1].children if stack else top).append(
                Entry(title[2] or title[3] or title[4] or "", _ident(line))
            )
            continue
        if title and words.endswith("{"):
            name = title[2] or title[3] or title[4] or ""
            entry = Entry(name, _ident(line), submenu=title[1] == "submenu", start=number)
            (stack[-1][1].children if stack else top).append(entry)
            depth += 1
            stack.append((depth, entry))
            continue
        kernel = _LINUX.match(line)
        if kernel and stack:
            stack[-1][1].unclear = stack[-1][1].linux is not None
            stack[-1][1].linux = stack[-1][1].linux or Line(path, number, words)
        # Functions and nested blocks open braces too; "${name}" opens none at a line's end.
        if words.endswith("{"):
            depth += 1
        elif words == "}":
            if stack and stack[-1][0] == depth:
                stack.pop()[1].end = number
            depth -= 1
    return top


def _ident(line: str) -> str:
    match = _ID.search(line)
    return (match[1] or match[2] or match[3]) if match else ""


def default_name(text: str, env: Mapping[str, str], once: bool = True) -> str:
    """Return the name (index, title or id, ">" between levels) of the entry that boots next.

    A `next_entry` in grubenv is booted once (not looked at without `once`); else the last plain `set default=`
    counts, where a reference to `saved_entry` means grubenv's, or the first entry when none is saved.
    """
    if once and env.get("next_entry"):
        return env["next_entry"]
    name = "0"
    for line in lines(text):
        match = _DEFAULT.match(line)
        if match:
            value = match[1] or match[2] or match[3] or ""
            if "next_entry" not in value:
                name = value
    if "saved_entry" in name:
        return env.get("saved_entry") or "0"
    return name or "0"


def pick(menu: list[Entry], name: str) -> Optional[Entry]:
    """Return the bootable entry that a name leads to, or None.

    Where a part leads nowhere, GRUB takes the first entry of that level; so does this.
    """
    level: list[Entry] = menu
    entry = None
    for part in name.split(">"):
        entry = _find(level, part.strip()) or (level[0] if level else None)
        if entry is None or not entry.submenu:
            return entry
        level = entry.children
    while entry is not None and entry.submenu:
        entry = entry.children[0] if entry.children else None
    return entry


def _find(level: list[Entry], name: str) -> Optional[Entry]:
    index = natural(name)
    if index is not None:
        return level[index] if index < len(level) else None
    for entry in level:
        if name in (entry.ident, entry.title):
            return entry
    return None


def arguments(linux: Line) -> str:
    """Return the kernel arguments of a `linux` line, without the command and the image."""
    match = _LINUX.match(linux.text)
    return re.split(r"(?:^|\s)#", match[2], maxsplit=1)[0].strip() if match else ""


def expand(text: str, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """Replace $name by grubenv's values; return the text and the names that grubenv does not hold."""
    missing: list[str] = []

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in env:
            missing.append(name)
        return env.get(name, "")

    return re.sub(r"\$\{?([A-Za-z_]\w*)\}?", value, text), missing
