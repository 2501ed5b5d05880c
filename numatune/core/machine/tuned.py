"""What TuneD's active profile sets, with the profiles that it includes (read in TuneD 2.20's loader)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple, Optional

from ..derived import once
from ..model import Line, Snapshot
from ..parsers import tuned
from ..parsers.tuned import Value
from ..sources import File, Source
from ..text import lines

ACTIVE = "/etc/tuned/active_profile"
_POST = "/etc/tuned/post_loaded_profile"
_MAIN = "/etc/tuned/tuned-main.conf"
_MODE = "/etc/tuned/profile_mode"
_FOLDERS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
"""The first one that has a profile wins; `profiles` came with TuneD 2.24."""
_DEEPEST = 8
_LONGEST = 4096
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_YES = ("True", "true", "1")
_NO = ("0", "false", "no", "n", "f")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Options that limit a section to some CPUs or machines.
_LIMITS = ("devices", "devices_udev_regex", "cpuinfo_regex", "uname_regex")

SOURCES: tuple[Source, ...] = (
    File(ACTIVE),
    File(_POST),
    File(_MAIN),
    File(_MODE),
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
    return _option(_units(snapshot) or {}, "cpu", name)


class Sysctl(NamedTuple):
    """What TuneD does with one sysctl when it starts.

    `known` says that the profile could be read whole, `applies` that it has a section for sysctls at all; then, where
    `again`, what /etc/sysctl.d and /etc/sysctl.conf name comes after the profile (reapply_sysctl, the default).
    `chosen` is False where TuneD chooses the profile itself, anew at each start.
    """

    known: bool
    applies: bool
    option: Optional[Option]
    again: bool
    chosen: bool


def sysctl(snapshot: Snapshot, key: str) -> Sysctl:
    """Return what the active profile does with a sysctl."""
    found = _units(snapshot)
    units = found or {}
    applies = any(unit.kind == "sysctl" and unit.enabled for unit in units.values())
    again = (_main(snapshot, "reapply_sysctl") or "1").lower() not in _NO
    chosen = snapshot.read(_MODE).text.strip() != "auto"
    return Sysctl(found is not None, applies, _option(units, "sysctl", key), again, chosen)


class Sysfs(NamedTuple):
    """What TuneD does with one file of sysfs: `known` and `chosen` as of `Sysctl`."""

    known: bool
    option: Optional[Option]
    chosen: bool


def sysfs(snapshot: Snapshot, path: str, options: Sequence[tuple[str, str]] = ()) -> Sysfs:
    """Return what the active profile does with a file of sysfs: by its path, or by other plugins' `options`."""
    found = _units(snapshot)
    units = found or {}
    asked = list(options)
    # Options of this plugin are paths, which may hold patterns.
    for unit in units.values():
        if unit.kind == "sysfs" and unit.enabled:
            asked += [("sysfs", name) for name in unit.options if fnmatchcase(path, name)]
    said = [item for item in (_option(units, *named) for named in asked) if item]
    # Of two plugins that set one file, which one is last is not known.
    both = said[0]._replace(value=None) if len(said) > 1 else said[0] if said else None
    return Sysfs(found is not None, both, snapshot.read(_MODE).text.strip() != "auto")


def profile(snapshot: Snapshot) -> str:
    """Return the active profile's name, "" for none."""
    return " ".join(snapshot.read(ACTIVE).text.split())


def _option(units: dict[str, _Unit], kind: str, name: str) -> Optional[Option]:
    setting = [unit for unit in units.values() if unit.kind == kind and unit.enabled and name in unit.options]
    if not setting:
        return None
    value, where = setting[0].options[name]
    value = _expanded(value, units.get("variables"))
    known = len(setting) == 1 and not setting[0].limited and "$" not in value and "\n" not in value
    # What begins so is a condition on the value that is there (TuneD's assignment modifiers).
    return Option(value if known and value[:1] not in "<>" else None, where)


def _expanded(value: str, variables: Optional[_Unit]) -> str:
    """Return a value with the profile's plain variables put in; what a function makes, or a file holds, stays."""
    if variables is None or "include" in variables.options:
        return value
    for _ in range(_DEEPEST):
        made = _VARIABLE.sub(
            lambda found: variables.options[found[1]].text if found[1] in variables.options else found[0], value
        )
        if made == value or len(made) > _LONGEST:
            break
        value = made
    return value.strip("\"'")


@once
def _units(snapshot: Snapshot) -> Optional[dict[str, _Unit]]:
    """Return the sections of the active profile, None where a part of it cannot be read."""
    folders = _folders(snapshot)
    active, post = snapshot.read(ACTIVE), snapshot.read(_POST)
    units: dict[str, _Unit] = {}
    if (
        folders is None
        or active.unread
        or not _load(snapshot, folders, f"{active.text} {post.text}".split(), units, set())
    ):
        return None
    return units


def _main(snapshot: Snapshot, name: str) -> Optional[str]:
    """Return what TuneD's own configuration says of one option."""
    for line in lines(snapshot.read(_MAIN).text):
        key, sign, value = line.partition("=")
        if sign and key.strip() == name:
            return value.strip()
    return None


def _folders(snapshot: Snapshot) -> Optional[tuple[str, ...]]:
    said = _main(snapshot, "profile_dirs")
    if said is None:
        return _FOLDERS
    named = tuple(word.strip().rstrip("/") for word in reversed(said.split(",")) if word.strip())
    return named if set(named) <= set(_FOLDERS) else None


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
