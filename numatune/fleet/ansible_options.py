"""What Ansible's ssh and sudo plugins would take for a host, by Ansible's own look-up of their options.

Also the variables that say what is wanted of the host. Like `ansible_child`, which uses it, this runs in the child
only; the keys are described there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import chosen, inventory
from ..core.variables import unknown

# (key of the answer, option of Ansible's ssh plugin)
_SSH = (
    ("address", "host"),
    ("port", "port"),
    ("user", "remote_user"),
    ("key_file", "private_key_file"),
    ("key_in_variable", "private_key"),
    ("passphrase", "private_key_passphrase"),
    ("password", "password"),
    ("ssh_args", "ssh_args"),
    ("ssh_common_args", "ssh_common_args"),
    ("ssh_extra_args", "ssh_extra_args"),
    ("check_host_keys", "host_key_checking"),
)
# (key of the answer, option of Ansible's sudo plugin)
_SUDO = (
    ("become_user", "become_user"),
    ("become_password", "become_pass"),
    ("become_exe", "become_exe"),
    ("become_flags", "become_flags"),
)
NOT_READ: Mapping[str, str] = {
    "numatune_sysroot": "playbooks judge that tree; here the running host is",
    "numatune_become": "--become says it here",
    "audit_fail_on": "--fail-on says it here",
}
"""Variables of the playbooks that decide a judgement or how it ends, and are not read here: variable to why."""
_WANTED = (inventory.PROFILE, chosen.ALSO, *inventory.ROLES, *inventory.OPTIONS, *NOT_READ)
_PLAIN = ("ansible_connection", "ansible_become", "ansible_become_method", "ansible_ssh_timeout", "ansible_timeout")


class ConnectionOptions:
    """The effective options of Ansible's ssh and sudo plugins for one host after the other.

    Ansible's own look-up decides between variables, command line, environment and ansible.cfg. It is asked per host
    only for the options that the host's variables set; the answer without variables is the same for every host.
    """

    def __init__(self, loader: Any, request: Mapping[str, Any]) -> None:
        from ansible import constants
        from ansible.module_utils.parsing.convert_bool import boolean
        from ansible.plugins.loader import become_loader, connection_loader
        from ansible.template import Templar

        self._boolean, self._config = boolean, constants.config
        self._templar = Templar(loader=loader)
        connection_loader.get("ssh", class_only=True)  # makes the definitions of its options known
        become_loader.get("sudo", class_only=True)
        self._keys = {
            "remote_user": request["user"],
            "private_key_file": request["private_key"],
            "become_user": request["become_user"],
        }
        self._become = bool(request["become"] or constants.DEFAULT_BECOME)
        self._method = str(constants.DEFAULT_BECOME_METHOD)
        self._connection = str(constants.DEFAULT_TRANSPORT)
        timeout, origin = self._config.get_config_value_and_origin("DEFAULT_TIMEOUT")
        self._timeout = None if origin == "default" else timeout
        ssh = [(key, option, "connection", "ssh") for key, option in _SSH]
        sudo = [(key, option, "become", "sudo") for key, option in _SUDO]
        self._looked_up: list[tuple[str, str, str, str, tuple[str, ...]]] = []
        self._without: dict[str, Any] = {}
        self._cache: dict[tuple[Any, ...], Any] = {}
        for key, option, kind, plugin in (*ssh, *sudo):
            definitions = self._config.get_configuration_definitions(kind, plugin)
            if option not in definitions:
                continue
            names = tuple(entry["name"] for entry in definitions[option].get("vars", ()))
            self._looked_up.append((key, option, kind, plugin, names))
            if option != "host":
                self._without[key] = self._look_up(option, kind, plugin, None)
        self._names = frozenset((*_PLAIN, *(name for entry in self._looked_up for name in entry[4])))
        self._names -= {"inventory_hostname"}

    def _look_up(self, option: str, kind: str, plugin: str, variables: dict[str, Any] | None) -> Any:
        value, origin = self._config.get_config_value_and_origin(
            option, plugin_type=kind, plugin_name=plugin, keys=self._keys, variables=variables
        )
        return None if origin == "default" else value

    def _with(self, key: str, option: str, kind: str, plugin: str, mine: dict[str, Any]) -> Any:
        """Return an option that variables set; most hosts of a fleet share all but their address."""
        if option == "host":
            return list(mine.values())[-1]  # the last one wins, as everywhere; there is no more to it for a name
        known = (key, *((name, type(value), str(value)) for name, value in mine.items()))
        if known not in self._cache:
            if len(self._cache) > 10_000:
                self._cache.clear()
            self._cache[known] = self._look_up(option, kind, plugin, mine)
        return self._cache[known]

    def fill(self, row: dict[str, Any], variables: Mapping[str, Any]) -> None:
        """Add to a host's line what its variables, and everything below them, say; raises AnsibleError."""
        used = {name: self._value(variables, name) for name in self._names if name in variables}
        for key, option, kind, plugin, names in self._looked_up:
            mine = {name: used[name] for name in names if used.get(name) is not None}
            value = self._with(key, option, kind, plugin, mine) if mine else self._without.get(key)
            if value is not None:
                row[key] = value if isinstance(value, bool | int) else str(value)
        connection = used.get("ansible_connection")
        row["connection"] = str(connection if connection is not None else self._connection)
        timeouts = (used.get("ansible_ssh_timeout"), used.get("ansible_timeout"), self._timeout)
        timeout = next((value for value in timeouts if value is not None), None)
        if timeout is not None:
            row["timeout"] = str(timeout)
        wanted = {name: self._value(variables, name) for name in _WANTED if name in variables}
        # Of a mistyped one the name is enough, and its value may be anything.
        wanted.update(dict.fromkeys(unknown(map(str, variables))))
        if wanted:
            row["wanted"] = wanted
        become = used.get("ansible_become")
        row["become"] = self._boolean(become, strict=False) if become is not None else self._become
        if row["become"]:
            row["become_method"] = str(used.get("ansible_become_method") or self._method)

    def _value(self, variables: Mapping[str, Any], name: str) -> Any:
        value = variables[name]
        if isinstance(value, str) and "{" not in value:
            return value
        if value is None or isinstance(value, bool | int | float):
            return value
        self._templar.available_variables = variables
        return self._templar.template(value)
