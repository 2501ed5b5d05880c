"""From a host's connection variables (a line of `ansible_child`) to the target of a transport.

The order among sources is that of Ansible's ssh command, where the first one counts: `ssh_args`, then port, key, user
and timeout, then `ansible_ssh_common_args`, then `ansible_ssh_extra_args`; then what ssh_config says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from ..transport import ssh_config
from ..transport.endpoint import Become, Endpoint, Secrets, Target
from ..transport.failure import clean, hidden, hiding
from . import ssh_words, words
from .ansible_reader import Row

_SSH = frozenset(("ssh", "smart", "paramiko", "paramiko_ssh", "libssh"))
_SUDO_FLAGS = frozenset(("H", "S", "n"))


class UnusableError(Exception):
    """A host's variables name something that numatune does not do; one line."""


class Builder:
    """Makes the targets of one inventory; equal parts of them are stored once."""

    def __init__(
        self,
        *,
        asked: Secrets,
        config: Path | None = None,
        host_keys: Literal["strict", "accept-new"] | None = None,
        note: Callable[[str], None],
    ) -> None:
        self._asked = asked
        self._config, self._host_keys, self._note = config, host_keys, note
        self._noted: set[str] = set()
        self._shared: dict[Any, Any] = {}

    def target(self, row: Row) -> Target:
        """Return one host's target; where its variables cannot be used, with `refused` set.

        With ansible_connection=local, and for Ansible's implicit localhost, endpoint.connection is "local": this
        machine is judged under that alias, and no address, port, user or key of the host is used.
        """
        alias = row["host"]
        if "refused" in row:
            return Target(Endpoint(alias=alias, hostname=alias), refused=f"its variables: {row['refused']}")
        # What is said of a variable quotes it, and it may repeat a password of the host, also one that is not used.
        given = Secrets(*(_text(row.get(name)) for name in ("password", "become_password", "passphrase")))
        with hiding(given.hide):
            try:
                target = self._target(alias, row)
                return replace(target, variables=self._wanted(row)) if "wanted" in row else target
            except UnusableError as error:
                return Target(Endpoint(alias=alias, hostname=alias), refused=hidden(str(error)))

    def _target(self, alias: str, row: Row) -> Target:
        become = _become(row)
        self._say_about_sudo(row)
        secrets = self._secrets(row, become)
        if _is_local(row):
            return Target(Endpoint(alias=alias, hostname="localhost", connection="local", become=become), secrets)
        address = str(row.get("address", alias))
        if not words.usable_host(address):
            # What precedes an @ is a user, and perhaps a password.
            _, sign, rest = address.rpartition("@")
            shown = f"…@{rest}" if sign else address
            raise UnusableError(f"{clean(shown, 80)!r} is not a host name or an address: set ansible_host")
        if row.get("key_in_variable"):
            raise UnusableError(
                "ansible_private_key holds a key: put it into a file and set ansible_ssh_private_key_file"
            )
        overrides = self._overrides(row)
        try:
            end = ssh_config.resolve(address, overrides, config=self._config, host_keys=self._host_keys)
        except ssh_config.SshConfigError as error:
            if "options" in overrides or "config" in overrides:  # the host's own; else it is the file of all hosts
                raise UnusableError(str(error)) from None
            raise
        if end.user and not words.usable_user(end.user):
            raise UnusableError(f"{clean(_before_colon(end.user), 80)!r} is not a user name to log in with")
        end = replace(end, alias=alias, become=become, ssh_args=self._ssh_args(row))
        return Target(self._share(end), secrets)

    def _overrides(self, row: Row) -> dict[str, Any]:
        settings: dict[str, str] = {}
        keys: list[str] = []
        config = None
        for source in _sources(row):
            if isinstance(source, ssh_words.SshWords):
                config = config or source.config
                self._say_about_words(source)
                pairs: Iterator[tuple[str, str]] = iter(source.settings)
            else:
                pairs = iter((source,))
            for keyword, value in pairs:
                if keyword == "identityfile":
                    keys.append(os.path.expanduser(value))  # noqa: PTH111 -- `%` tokens of ssh must stay as they are
                else:
                    settings.setdefault(keyword, value)
        if row.get("check_host_keys") is False:
            self._say_unchecked("ansible_host_key_checking is off")
        overrides: dict[str, Any] = {}
        for keyword in ("hostname", "user"):
            if keyword in settings:
                overrides[keyword] = settings.pop(keyword)
        if "port" in settings:
            overrides["port"] = _port(settings.pop("port"))
        if keys:
            overrides["identity_file"] = tuple(keys)
        if settings:
            overrides["options"] = settings
        if config is not None:
            overrides["config"] = Path(config).expanduser()
        return overrides

    def _ssh_args(self, row: Row) -> tuple[str, ...]:
        found: list[str] = []
        for source in _sources(row):
            if isinstance(source, ssh_words.SshWords):
                found.extend(source.words)
        return tuple(found)

    def _secrets(self, row: Row, become: Become | None) -> Secrets:
        made = Secrets(
            _text(row.get("password", self._asked.password)),
            None if become is None else _text(row.get("become_password", self._asked.become_password)),
            _text(row.get("passphrase")),
        )
        shared: Secrets = self._shared.setdefault(made, made)
        return shared

    def _wanted(self, row: Row) -> str:
        text = json.dumps(row["wanted"], sort_keys=True, separators=(",", ":"))
        return str(self._shared.setdefault(text, text))

    def _share(self, end: Endpoint) -> Endpoint:
        """Return the endpoint with its tuples replaced by equal ones of earlier hosts: a fleet has few of them."""
        for name in _TUPLES:
            value = getattr(end, name)
            if value:
                # Not `replace`, which would make a new one for each; this one is not yet anybody else's.
                object.__setattr__(end, name, self._shared.setdefault((name, value), value))
        return end

    def _say_about_words(self, source: ssh_words.SshWords) -> None:
        if source.unchecked:
            self._say_unchecked("ansible's ssh arguments set StrictHostKeyChecking=no")
        if source.odd:
            self._say(f"ansible's ssh arguments: {clean(source.odd, 120)}: left out")

    def _say_unchecked(self, why: str) -> None:
        self._say(f"{why}: numatune checks host keys all the same; see --host-keys accept-new for hosts not yet known")

    def _say_about_sudo(self, row: Row) -> None:
        flags = {sign for word in str(row.get("become_flags", "")).split() for sign in word.lstrip("-")}
        if row["become"] and flags - _SUDO_FLAGS:
            self._say("ansible_become_flags: left out, numatune gives sudo its own options")

    def _say(self, line: str) -> None:
        line = hidden(line)
        if line not in self._noted:
            self._noted.add(line)
            self._note(line)


_TUPLES = [field.name for field in fields(Endpoint) if "tuple" in str(field.type)]


def _sources(row: Row) -> Iterator[ssh_words.SshWords | tuple[str, str]]:
    if "ssh_args" in row:
        yield ssh_words.parse(str(row["ssh_args"]))
    named = (("port", "port"), ("key_file", "identityfile"), ("user", "user"), ("timeout", "connecttimeout"))
    for key, keyword in named:
        if row.get(key) not in (None, ""):
            yield keyword, str(row[key])
    for key in ("ssh_common_args", "ssh_extra_args"):
        if key in row:
            yield ssh_words.parse(str(row[key]))


def _is_local(row: Row) -> bool:
    named = str(row["connection"])
    plugin = named.rpartition(".")[2]
    if plugin != "local" and plugin not in _SSH:
        raise UnusableError(f"ansible_connection is {clean(named, 60)}: numatune reaches hosts by ssh, or as local")
    return plugin == "local"


def _become(row: Row) -> Become | None:
    if not row["become"]:
        return None
    method = str(row["become_method"])
    if method.rpartition(".")[2] != "sudo":
        raise UnusableError(f"ansible_become_method is {clean(method, 60)}: numatune becomes another user by sudo only")
    program = str(row.get("become_exe") or "sudo")
    if program.rpartition("/")[2] != "sudo":
        # Not quoted, nor is a port: of words that were meant otherwise (`sshpass -p`, a pipe) it may be a password.
        raise UnusableError("ansible_become_exe is another program: numatune becomes another user by sudo only")
    user = str(row.get("become_user") or "root")
    if not words.usable_user(user):
        raise UnusableError(f"{clean(_before_colon(user), 80)!r} is not a user name for become")
    return Become(user=user)


def _before_colon(user: str) -> str:
    """Return a user as it may be shown: what follows a colon may be a password."""
    name, sign, _ = user.partition(":")
    return f"{name}:…" if sign else user


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise UnusableError("the port (ansible_port, or -p in its ssh arguments) is not a number from 1 to 65535")
    return int(text)
