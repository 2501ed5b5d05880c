# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""Changes as Ansible's --diff shows them, so that a person reads them: equal ones once, long new files by their start.

A file that is there and changes is an ordinary difference. All else is one line each: "+ PATH: what it holds",
"- PATH" and "~ PATH: before -> after", CPUs and interrupts with one value together. `numatune plan --format json` has
every text whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .core.change import Change
from .core.cpuset import CpuSet
from .core.text import lines

_NUMBER = re.compile(r"(?<=/cpu)[0-9]+(?=/)|(?<=/irq/)[0-9]+(?=/)")
_WHOLE = 4
"""Lines of a new file that are shown whole; of a longer one, the first."""
_MOST = 3
"""Values before that are shown of one file of many CPUs or interrupts."""


def differences(changes: Sequence[Change]) -> list[dict[str, str]]:
    """Return the changes of one transaction, in their order."""
    found: list[dict[str, str]] = []
    for group in _alike(changes):
        first = group[0].as_dict()
        if group[0].kind in ("file", "menu") and None not in (first["before"], first["content"]):
            found.append(_ordinary(group[0].path, first["before"], first["content"]))
        else:
            found += [{"prepared": f"{line}\n"} for line in _lines(group)]
    return found


def places(paths: Sequence[str]) -> list[str]:
    """Return paths as a person reads them: those of several CPUs or interrupts as one."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_NUMBER.sub("*", path), []).append(path)
    return [_place(group) for group in groups.values()]


def _alike(changes: Iterable[Change]) -> list[list[Change]]:
    groups: dict[tuple[object, ...], list[Change]] = {}
    for number, change in enumerate(changes):
        alike = ("runtime", _NUMBER.sub("*", change.path)) if _NUMBER.search(change.path) else (number,)
        groups.setdefault(alike, []).append(change)
    return list(groups.values())


def _ordinary(path: str, before: str, after: str) -> dict[str, str]:
    ends = (text if text.endswith("\n") else text + "\n" for text in (before, after))
    return {"before_header": path, "after_header": path, "before": next(ends), "after": next(ends)}


def _lines(group: Sequence[Change]) -> Iterator[str]:
    first = group[0]
    if first.kind == "runtime":
        yield from _values(group)
    elif first.content is None:
        yield f"- {first.path}"
    elif first.kind == "link":
        yield f"+ {first.path}: link to {first.content}"
    elif first.kind in ("file", "menu"):
        yield f"+ {first.path}: {_start(str(first.as_dict()['content']))}"
    else:
        yield f"~ {first.path}: {(first.before or 'nothing').strip()} -> {first.content.strip()}"


def _start(text: str) -> str:
    told = [line for line in lines(text) if line.strip() and not line.lstrip().startswith(("#", ";"))]
    if len(told) <= _WHOLE:
        return "; ".join(told) or "empty"
    return f"{told[0]}; … ({len(lines(text))} lines)"


def _values(group: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each pair of values, with the CPUs or interrupts that share it."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for change in group:
        pairs.setdefault(((change.before or "").strip(), (change.content or "").strip()), []).append(change.path)
    shown = list(pairs.items())
    for (before, after), paths in shown[:_MOST]:
        yield f"~ {_place(paths)}: {before} -> {after}"
    rest: dict[str, list[str]] = {}
    for (_, after), paths in shown[_MOST:]:
        rest.setdefault(after, []).extend(paths)
    for after, paths in rest.items():
        yield f"~ {_place(paths)}: other values -> {after}"


def _place(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return paths[0]
    numbers = CpuSet.of(int(found[0]) for found in map(_NUMBER.search, paths) if found)
    return _NUMBER.sub(f"[{numbers}]", paths[0])
