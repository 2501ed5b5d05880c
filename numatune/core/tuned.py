"""What TuneD's active profile sets for CPUs, with the profiles that it includes (read in TuneD 2.20's loader)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from .model import Line, Snapshot
from .parsers import tuned
from .parsers.text import lines
from .parsers.tuned import Value
from .sources import File, Source

ACTIVE = "/etc/tuned/active_profile"
_POST = "/etc/tuned/post_loaded_profile"
_MAIN = "/etc/tuned/tuned-main.conf"
_FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
"""The first one that has a profile wins; `profiles` came with TuneD 2.24."""
_DEEPEST = 8
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_YES = ("True", "true", "1")
# Options that limit a section to some CPUs or machines.
_LIMITS = ("devices", "devices_udev_regex", "cpuinfo_regex", "uname_regex")

SOURCES: tuple[Source, ...] = (
    File(ACTIVE),
    File(_POST),
    File(_MAIN),
    *(File(f"{folder}/*/tuned.conf") for folder in _FOLDERS),
)


class Option(NamedTuple):
    """What an option comes to, None where that cannot be told, and the line that wins."""

    value: Optional[str]
    where: Line


@dataclass
class _Unit:
    """A section of the merged profiles; `limited` says that it does not hold for every CPU of every machine."""

    kind: str
    enabled: bool
    limited: bool
    options: dict[str, Value] = field(default_factory=dict)


def cpu_option(snapshot: Snapshot, name: str) -> Optional[Option]:
    """Return what the active profile sets an option of the plugin `cpu` to, None where it is not seen to set it."""
    units = _units(snapshot)
    setting = [unit for unit in units.values() if unit.kind == "cpu" and unit.enabled and name in unit.options]
    if not setting:
        return None
    value, where = setting[0].options[name]
    known = len(setting) == 1 and not setting[0].limited and "$" not in value and "\n" not in value
    return Option(value if known else None, where)


def _units(snapshot: Snapshot) -> dict[str, _Unit]:
    """Return the sections of the active profile, none where a part of it cannot be read."""
    folders = _folders(snapshot)
    names = f"{snapshot.read(ACTIVE).text} {snapshot.read(_POST).text}".split()
    units: dict[str, _Unit] = {}
    if folders is None or not _load(snapshot, folders, names, units, set()):
        return {}
    return units


def _folders(snapshot: Snapshot) -> Optional[tuple[str, ...]]:
    for line in lines(snapshot.read(_MAIN).text):
        key, sign, value = line.partition("=")
        if sign and key.strip() == "profile_dirs":
            named = tuple(word.strip().rstrip("/") for word in reversed(value.split(",")) if word.strip())
            return named if set(named) <= set(_FOLDERS) else None
    return _FOLDERS


def _load(
    snapshot: Snapshot,
    folders: tuple[str, ...],
    names: list[str],
    units: dict[str, _Unit],
    seen: set[str],
    depth: int = 0,
) -> bool:
    """Merge profiles into `units`, each after those that it includes; return whether all could be read."""
    for name in names:
        paths = [f"{folder}/{name}/tuned.conf" for folder in folders]
        # One that includes its own name means that of a folder further back.
        path = next((path for path in paths if path not in seen and snapshot.read(path).present), None)
        if path is None and any(path in seen for path in paths):
            continue
        if path is None or depth > _DEEPEST or not _NAME.fullmatch(name):
            return False
        seen.add(path)
        found = tuned.sections(path, snapshot.read(path).text)
        if found is None:
            return False
        include = found.pop("main", {}).get("include")
        if include:
            if "$" in include.text:
                return False
            if not _load(snapshot, folders, _listed(include.text), units, seen, depth + 1):
                return False
        _merge(units, found)
    return True


def _listed(text: str) -> list[str]:
    return [word.strip() for word in re.split("[,;]", text)]


def _merge(units: dict[str, _Unit], found: dict[str, dict[str, Value]]) -> None:
    for name, options in found.items():
        said = {key: value.text for key, value in options.items()}
        older = units.get(name)
        unit = _Unit(
            said.get("type", name),
            said.get("enabled", "True") in _YES,
            any(said.get(key, "*") != "*" for key in _LIMITS),
        )
        if older is not None and said.get("replace") not in _YES:
            unit.limited = unit.limited or older.limited
            dropped = _listed(said.get("drop", ""))
            unit.options = {key: value for key, value in older.options.items() if key not in dropped}
        unit.options.update(options)
        units[name] = unit
