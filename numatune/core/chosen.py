"""Which settings a run of tune changes: what its tags and the inventory name, and what is changed in one transaction.

`playbooks/tune.yml` is played with `--tags` and `--skip-tags` that name settings. What is not tuned by default is named
so too, or in the inventory by `tune_also`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from .catalogue import SETTINGS, setting
from .errors import InputError
from .setting import Setting

ALSO = "tune_also"
"""The variable that names settings beside those that are tuned by default."""

_ALL = ("all", "tagged")
# Of a user's own tags many begin as a setting does; only what is nearly its name is a slip.
_NEAR = 0.86


def tunable(name: Any) -> Setting:
    """Return a setting that can be tuned; raises InputError for any other name."""
    item = setting(name)
    if item.changes is None:
        raise InputError(f"{name} is reported, and numatune never changes it")
    return item


def also(value: Any) -> tuple[str, ...]:
    """Return the settings that `tune_also` names, a list or a text with commas; raises InputError."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise InputError(f"a list of settings is wanted, not {value!r}")
    return tuple(tunable(word.strip()).name for word in words if word.strip())


def chosen(run: Collection[str] = ("all",), skip: Collection[str] = (), named: Any = ()) -> tuple[str, ...]:
    """Return the settings that tags leave, in the order in which they are tuned; none where they name no setting.

    `named` is what `tune_also` holds. Raises InputError for it, and for a tag that is nearly a setting's name or that
    of one which is never changed.
    """
    there = [item for item in SETTINGS if item.changes is not None]
    _no_slips((*run, *skip), [item.name for item in there])
    extra = also(named)
    everything = any(word in run for word in _ALL)
    return tuple(
        item.name
        for item in there
        if (_tagged(item, run) or (everything and (item.by_default or item.name in extra))) and not _tagged(item, skip)
    )


def _tagged(item: Setting, tags: Collection[str]) -> bool:
    return item.name in tags or item.tuned_with in tags


def _no_slips(tags: Iterable[str], there: Collection[str]) -> None:
    unchanged = {item.name for item in SETTINGS} - set(there)
    for tag in tags:
        if tag in unchanged:
            tunable(tag)
        near = [] if tag in there else get_close_matches(tag, there, 1, _NEAR)
        if near:
            raise InputError(f"no setting has the tag {tag}: did you mean {near[0]}?")


def transactions(names: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return settings as they are changed: those that are tuned with one another in one transaction, in order."""
    found: dict[str, list[str]] = {}
    for item in SETTINGS:
        if item.name in names:
            found.setdefault(item.tuned_with or item.name, []).append(item.name)
    return tuple(map(tuple, found.values()))
