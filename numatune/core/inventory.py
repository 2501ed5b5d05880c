"""The variables of an Ansible inventory that decide what is wanted of a host, and how they change a profile.

The command line and the playbooks judge by the same: the roles get the options of this table by the lookup
`setting_options`, and a test holds that both come to one plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

from .catalogue import SETTINGS, setting
from .chosen import ALSO, also
from .errors import InputError
from .numbers import natural
from .profile import builtin, cpu_set, from_mapping, with_settings
from .wanted import Profile

PROFILE = "numatune_profile"
ROLES: Mapping[str, str] = {"numatune_serving_cpus": "serving", "numatune_housekeeping_cpus": "housekeeping"}
OPTIONS: Mapping[str, tuple[str, str]] = {
    f"tune_{item.name}_{option}": (item.name, option) for item in SETTINGS if item.changes for option in item.options
}
"""Variable to setting and option of the profile."""

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def wanted(variables: Mapping[str, Any], given: Optional[Profile] = None) -> Profile:
    """Return the profile that a host's variables ask for; `given` replaces the one that `numatune_profile` names.

    CPU roles and options win over those of the profile, and an empty one says nothing. Raises InputError that begins
    with the variable's name.
    """
    profile = builtin("inference-latency") if given is None else given
    if given is None and PROFILE in variables:
        profile = _named(PROFILE, named, variables[PROFILE])
    for name in ROLES:
        if name in variables:
            profile = _named(name, _with_role, profile, ROLES[name], variables[name])
    for name, (of, option) in OPTIONS.items():
        if name in variables:
            profile = _named(name, with_options, profile, {of: {option: variables[name]}})
    if variables.get(ALSO):
        profile = _named(ALSO, lambda: replace(profile, also=also(variables[ALSO])))
    return profile


def named(value: Any) -> Profile:
    """Return the profile that is meant by a built-in one's name or by a mapping; raises InputError."""
    return from_mapping(value if isinstance(value, Mapping) else {"extends": value})


def with_roles(profile: Profile, serving: Any, housekeeping: Any) -> Profile:
    """Return the profile with these CPU roles (a kernel list or a YAML list); an empty one leaves the profile's."""
    return _with_role(_with_role(profile, "serving", serving), "housekeeping", housekeeping)


def with_options(profile: Profile, settings: Mapping[str, Any]) -> Profile:
    """Return the profile with options of settings (setting to option to value); what is empty says nothing.

    Options of a setting that the profile does not judge are left out. A number or a truth may come as text, as
    `-e key=10` gives it. Raises InputError.
    """
    said = {}
    for name, options in settings.items():
        if options is not None and not isinstance(options, Mapping):
            raise InputError(f"settings.{name}: a mapping is wanted, not {type(options).__name__}")
        given = {key: _typed(name, key, value) for key, value in (options or {}).items() if value not in (None, "", {})}
        if given and name in profile.settings:
            said[name] = given
    return with_settings(profile, said)


def _with_role(profile: Profile, role: str, value: Any) -> Profile:
    if value in (None, "", []):
        return profile
    cpus = cpu_set(value, f"cpus.{role}")
    return replace(profile, serving=cpus) if role == "serving" else replace(profile, housekeeping=cpus)


def _named(name: str, make: Any, *arguments: Any) -> Profile:
    try:
        made: Profile = make(*arguments)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return made


def _typed(name: str, key: str, value: Any) -> Any:
    """Return a number or a truth that came as text as what the option takes; anything else as it is."""
    option = setting(name).options.get(key)
    if option is None or not isinstance(value, str):
        return value
    if option.kind is int:
        number = natural(value)
        return value if number is None else number
    if option.kind is bool and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    return value
