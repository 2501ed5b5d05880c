"""The built-in profile, and profiles that a user writes, as `wanted` has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Optional

from .catalogue import SETTINGS, names
from .cpuset import CpuSet, parse_list
from .errors import InputError
from .model import Severity, Waiver
from .wanted import Profile

_KEYS = ("name", "extends", "description", "cpus", "settings", "waivers")
_CPU_KEYS = ("serving", "housekeeping", "housekeeping_cores_per_node")
_WAIVER_KEYS = ("setting", "owner", "reason", "expires")


_BUILTIN = {"inference-latency": Profile("inference-latency", names())}


def builtin(name: str) -> Profile:
    """Return a built-in profile; raises InputError for another name."""
    try:
        return _BUILTIN[name]
    except KeyError:
        raise InputError(f"no profile named {name!r}; there is {', '.join(_BUILTIN)}") from None


def from_mapping(mapping: Any) -> Profile:
    """Make a profile from parsed YAML or JSON (keys: name, extends, description, cpus, settings, waivers).

    `settings` maps a setting to false (not judged) or to its options and `severity`; all others are as in the
    profile that is extended. Raises InputError that names the key which is unknown or of the wrong type.
    """
    top = _mapping(mapping, "the profile")
    _known(top, _KEYS, "the profile")
    base = builtin(_text(top.get("extends", "inference-latency"), "extends"))
    profile = replace(base, name=_text(top.get("name", base.name), "name"))
    profile = _with_cpus(profile, _mapping(_or(top.get("cpus"), {}), "cpus"))
    profile = with_settings(profile, _mapping(_or(top.get("settings"), {}), "settings"))
    waivers = _or(top.get("waivers"), [])
    if not isinstance(waivers, list):
        raise InputError("waivers: a list is wanted")
    return replace(profile, waivers=tuple(_waiver(item, number) for number, item in enumerate(waivers, 1)))


def _with_cpus(profile: Profile, cpus: Mapping[str, Any]) -> Profile:
    _known(cpus, _CPU_KEYS, "cpus")
    per_node = cpus.get("housekeeping_cores_per_node", profile.housekeeping_cores_per_node)
    if isinstance(per_node, bool) or not isinstance(per_node, int) or per_node < 1:
        raise InputError("cpus.housekeeping_cores_per_node: a whole number from 1 is wanted")
    return replace(
        profile,
        serving=cpu_set(cpus.get("serving"), "cpus.serving"),
        housekeeping=cpu_set(cpus.get("housekeeping"), "cpus.housekeeping"),
        housekeeping_cores_per_node=per_node,
    )


def with_settings(profile: Profile, settings: Mapping[str, Any]) -> Profile:
    """Return the profile with settings left out (false) or with options and severities; raises InputError."""
    judged = list(profile.settings)
    severities, options = dict(profile.severities), {key: dict(value) for key, value in profile.options.items()}
    known = {setting.name: setting for setting in SETTINGS}
    _known(settings, tuple(known), "settings")
    for name, value in settings.items():
        if value is False:
            judged.remove(name)
            continue
        entry = _mapping({} if value is None or value is True else value, f"settings.{name}")
        setting = known[name]
        _known(entry, ("severity", *setting.options), f"settings.{name}")
        for key, wanted in entry.items():
            where = f"settings.{name}.{key}"
            if key == "severity":
                severities[name] = _severity(wanted, where)
                continue
            option = setting.options[key]
            if not isinstance(wanted, option.kind) or isinstance(wanted, bool) != (option.kind is bool):
                raise InputError(f"{where}: {option.kind.__name__} is wanted, not {wanted!r}")
            if option.choices and wanted not in option.choices:
                near = get_close_matches(str(wanted), option.choices, 1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                raise InputError(f"{where}: one of {', '.join(option.choices)} is wanted, not {wanted!r}{meant}")
            if isinstance(wanted, int) and wanted < 0:
                raise InputError(f"{where}: a number from 0 is wanted, not {wanted!r}")
            options.setdefault(name, {})[key] = wanted
    return replace(profile, settings=tuple(judged), severities=severities, options=options)


def _waiver(item: Any, number: int) -> Waiver:
    where = f"waivers, number {number}"
    entry = _mapping(item, where)
    _known(entry, _WAIVER_KEYS, where)
    for key in _WAIVER_KEYS:
        if not entry.get(key):
            raise InputError(f"{where}: {key} is missing (owner, reason and expires are all needed)")
    if entry["setting"] not in names():
        raise InputError(f"{where}: no setting named {entry['setting']!r}; there is {', '.join(names())}")
    expires = entry["expires"]
    if isinstance(expires, datetime):  # YAML reads a day with a time so
        expires = expires.date()
    if not isinstance(expires, date):
        try:
            expires = date.fromisoformat(str(expires))
        except ValueError:
            raise InputError(f"{where}: expires must be a day such as 2027-01-31, not {expires!r}") from None
    return Waiver(entry["setting"], str(entry["owner"]), str(entry["reason"]), expires.isoformat())


def cpu_set(value: Any, where: str) -> Optional[CpuSet]:
    """Return the CPUs of a kernel list, a YAML list or a number; None where nothing is said. Raises InputError."""
    if value is None or value == "":
        return None
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(f"{where}: a CPU list such as '2-7,10' is wanted, not {value!r}")
    try:
        return parse_list(str(value))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _severity(value: Any, where: str) -> Severity:
    try:
        return Severity(value)
    except ValueError:
        raise InputError(f"{where}: one of {', '.join(Severity)} is wanted, not {value!r}") from None


def _or(value: Any, default: Any) -> Any:
    """Return the value, or the default where YAML has a key without a value."""
    return default if value is None else value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: a mapping is wanted, not {type(value).__name__}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: a name is wanted, not {value!r}")
    return value


def _known(mapping: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in mapping:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"{where}: unknown key {key!r}{meant}; known are {', '.join(known)}")
