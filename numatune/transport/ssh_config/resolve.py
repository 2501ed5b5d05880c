"""From the word that names a host to its Endpoint, jump hosts included.

What `ssh -G WORD` would say, with these differences, each of them said in `notes` or `unsupported`:

- `StrictHostKeyChecking no` and `off` are read as strict: it takes `accept-new`, there or by --host-keys, to trust a
  key that is not on file. Where `UserKnownHostsFile /dev/null` goes with them, the two mean "never check", so the usual
  files count; alone, the second would mean that no host is known. `ask` is strict, since nobody is there to answer.
- No command is run: `Match exec` is unsupported where it would decide, ProxyCommand and KnownHostsCommand always.
- No name is canonicalised.

What is said in `unsupported` because only ssh can tell makes the endpoint one that is not `sure`.

Of a chain `ProxyJump a,b` the first host is reached by its own ProxyJump, as ssh does it, the others through the chain.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from ..endpoint import Endpoint, HostKeys
from . import asked, files, words
from .files import File
from .keywords import SshConfigError, Value, setting
from .settings import Settings

SYSTEM_FILE = "/etc/ssh/ssh_config"
GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
# OpenSSH's order; id_xmss and id_dsa, which no build of today can use, are left out.
IDENTITY_FILES = tuple(f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"))
_MOST_JUMPS = 16
_METHODS = {
    "publickey": "pubkeyauthentication",
    "password": "passwordauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
}


class Account(NamedTuple):
    """Who runs this: name, home and uid by the account database, as for ssh, which does not look at HOME."""

    name: str
    home: str
    uid: int


@lru_cache(maxsize=1)
def account() -> Account:
    """Return the account of this process."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        return Account(entry.pw_name, entry.pw_dir, uid)
    except KeyError:  # a container's arbitrary uid
        return Account(os.environ.get("USER", str(uid)), os.path.expanduser("~"), uid)


def resolve(
    word: str,
    overrides: Mapping[str, object] | None = None,
    config: Path | str | None = None,
    host_keys: HostKeys | None = None,
) -> Endpoint:
    """Return the endpoint that `word` (`[user@]host[:port]`, `ssh://…`, an alias of ssh_config) stands for.

    overrides  what a command line would give, before any file: "user", "port", "hostname", "identity_file" (a path or
               several), "alias" (the key instead of `word`), "config" (a file as by -F), "options" (keyword of
               ssh_config -> its argument, or several, as by -o)
    config     a file as by -F, read instead of ~/.ssh/config and /etc/ssh/ssh_config; `none`: read nothing
    host_keys  wins over StrictHostKeyChecking, for the jump hosts too

    Raises SshConfigError.
    """
    given = overrides or {}
    path = given.get("config") or config
    user, host, port = parts(word)
    settings = Settings(host, account().name)
    outright: list[tuple[str, ...]] = []
    for name, value in (
        ("User", given.get("user") or user),
        ("Port", given.get("port") or port),
        ("HostName", given.get("hostname")),
        ("IdentityFile", given.get("identity_file")),
    ):
        for each in _several(value):
            _give(settings, name.lower(), each)
            outright.append((name, each))
    for name, value in cast("Mapping[str, object]", given.get("options") or {}).items():
        for each in _several(value):
            _give(settings, name.lower(), each, quoted=False)
    alias = str(given.get("alias") or word)
    made = _endpoint(settings, alias, str(path) if path else None, host_keys, ())
    return replace(made, given=(*outright, *(made.given or ())))


def parts(word: str) -> tuple[str | None, str, int | None]:
    """Split `[user@]host[:port]`, `[user@][v6]:port` or `ssh://[user@]host[:port]`; raises SshConfigError."""
    text = word.removeprefix("ssh://").rstrip("/") if word.startswith("ssh://") else word
    user, at, place = text.rpartition("@")
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^:]*)(?::(\d+))?", place)
    host, port = (found[1] or found[3], found[2] or found[4]) if found else (place, None)
    if not host or host.startswith("-") or any(sign.isspace() or not sign.isprintable() for sign in host):
        raise SshConfigError(f"{word[:80]!r} names no host")
    if at and (not user or user.startswith("-") or not user.isprintable()):
        raise SshConfigError(f"{word[:80]!r} names no user")
    if port is not None and not 0 < int(port) < 65536:
        raise SshConfigError(f"{word[:80]!r} names no port")
    return user or None, host, int(port) if port else None


def _several(value: object) -> Sequence[str]:
    if value is None or value == "":
        return ()
    if isinstance(value, str | int | Path):
        return (str(value),)
    return tuple(str(each) for each in cast("Sequence[object]", value))


def _give(settings: Settings, keyword: str, text: str, *, quoted: bool = True) -> None:
    """Put a command line's value; `quoted`: it is one argument whatever blanks it holds."""
    if quoted or keyword == "identityfile":
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"'
    try:
        for name, value in setting(keyword, text):
            settings.put(name, value)
        if not quoted and asked.judged(keyword, text, str(settings.values.get("ignoreunknown", ""))):
            settings.put(files.UNSURE, f"the option {keyword[:40]}")
    except ValueError as error:
        raise SshConfigError(f"the option {keyword[:40]} of {settings.word}: {error}") from None


def _endpoint(
    settings: Settings, alias: str, config: str | None, host_keys: HostKeys | None, behind: tuple[str, ...]
) -> Endpoint:
    settings.read(_files(config, settings.values.get("ignoreunknown")))
    try:
        return _Maker(settings, alias, config, host_keys, behind).made()
    except ValueError as error:
        raise SshConfigError(f"ssh_config of {alias}: {error}") from None


def _files(config: str | None, ignored: Value = None) -> list[File]:
    """Return the files in their order; `ignored` is the list of IgnoreUnknown that a command line gave."""
    home = account().home
    lists: tuple[str, ...] = (str(ignored),) if ignored else ()
    if config is None:
        own = files.read(f"{home}/.ssh/config", home, by_user=True, guarded=True, ignored=lists)
        lists = own.ignored if own else lists
        system = files.read(SYSTEM_FILE, home, by_user=False, guarded=False, ignored=lists)
        return [each for each in (own, system) if each]
    if config.lower() == "none":
        return []
    found = files.read(config, home, by_user=True, guarded=False, ignored=lists)
    if found is None:
        raise SshConfigError(f"{config}: no such file")
    return [found]


class _Maker:
    def __init__(
        self,
        settings: Settings,
        alias: str,
        config: str | None,
        host_keys: HostKeys | None,
        behind: tuple[str, ...],
    ) -> None:
        self.settings = settings
        self.values = settings.values
        self.alias = alias
        self.config = config
        self.host_keys = host_keys
        self.behind = behind
        self.user = str(self.values.get("user", account().name))
        self.port = cast("int", self.values.get("port", 22))
        self.notes: list[str] = []
        self.given: list[tuple[str, ...]] = []

    def made(self) -> Endpoint:
        values = self.values
        host_key_alias = self._text("hostkeyalias")
        strict = self._strict()
        user_files = self._user_files()
        jumps = self._jumps()
        agent = self._agent()
        timeout = cast("int | None", values.get("connecttimeout"))
        for name in ("checkhostip", "nohostauthenticationforlocalhost"):
            if values.get(name) is True:
                self.notes.append(f"{name} is not used: keys are looked up by name, always")
        return Endpoint(
            alias=self.alias,
            hostname=self.settings.hostname,
            port=self.port,
            user=self.user,
            identity_files=self._identity_files(),
            identities_only=values.get("identitiesonly") is True,
            use_agent=agent != "none",
            identity_agent=None if agent == "none" else agent,
            jumps=jumps,
            known_hosts=user_files + self._paths("globalknownhostsfile", GLOBAL_FILES, expand=False),
            host_key_alias=host_key_alias.lower() if host_key_alias else None,
            strict=strict,
            hash_known_hosts=values.get("hashknownhosts") is True,
            connect_timeout_s=float(timeout) if timeout else None,
            alive_interval_s=cast("int", values.get("serveraliveinterval", 0)),
            alive_count=cast("int", values.get("serveralivecountmax", 3)),
            ciphers=self._words("ciphers"),
            kex=self._words("kexalgorithms"),
            hostkeyalgorithms=self._words("hostkeyalgorithms"),
            macs=self._words("macs"),
            address_family=self._text("addressfamily") or "any",
            ssh_config=self.config,
            unsupported=tuple(dict.fromkeys([*self._unsupported(), *self.settings.unsure, *_of_jumps(jumps)])),
            notes=tuple(self.notes),
            ssh_word=self.settings.word,
            rsa_bits=cast("int", values.get("requiredrsasize", 1024)),
            given=tuple(self.given),
            sure=not self.settings.unsure and all(jump.sure for jump in jumps),
        )

    def _text(self, keyword: str) -> str | None:
        value = self.values.get(keyword)
        return None if value is None else str(value)

    def _words(self, keyword: str) -> tuple[str, ...] | None:
        return cast("tuple[str, ...] | None", self.values.get(keyword))

    def _strict(self) -> HostKeys:
        said = self._text("stricthostkeychecking")
        if self.host_keys is not None:
            return self.host_keys
        if said in ("no", "false", "off"):
            self.notes.append(f"StrictHostKeyChecking {said} is read as yes: --host-keys accept-new takes new keys")
        return "accept-new" if said == "accept-new" else "strict"

    def _user_files(self) -> tuple[str, ...]:
        found = self._paths("userknownhostsfile", USER_FILES, expand=True) or (os.devnull,)
        unchecked = self._text("stricthostkeychecking") in ("no", "false", "off")
        if found == (os.devnull,) and unchecked:
            self.notes.append("UserKnownHostsFile /dev/null, given to check no key, is not used: the usual files are")
            self.given.append(("UserKnownHostsFile", *USER_FILES))
            return tuple(words.tilde(each, account().home) for each in USER_FILES)
        return found

    def _paths(self, keyword: str, usual: tuple[str, ...], *, expand: bool) -> tuple[str, ...]:
        named = self._words(keyword) or usual
        if named[0].lower() == "none":
            return ()
        if not expand:  # ssh takes the system's files as they are written
            return tuple(os.path.abspath(each) for each in named)
        if not any("%" in each or "$" in each for each in named):
            return _plain_paths(named, account().home)
        return tuple(os.path.abspath(self._expanded(each)) for each in named)

    def _expanded(self, text: str) -> str:
        """Replace `~`, tokens and variables, in OpenSSH's order."""
        path = words.tilde(text, account().home)
        if "%" in path:
            path = words.tokens(path, self._tokens())
        return words.variables(path, os.environ)

    def _tokens(self) -> dict[str, str]:
        who, here, settings = account(), socket.gethostname(), self.settings
        host, port = settings.hostname, str(self.port)
        jump = self._text("proxyjump") or ""
        last = parts(jump.rpartition(",")[2])[1] if jump and jump.lower() != "none" else ""
        digest = hashlib.sha1((here + host + port + self.user + last).encode(), usedforsecurity=False).hexdigest()
        return {
            "C": digest,
            "d": who.home,
            "h": host,
            "i": str(who.uid),
            "j": last,
            "k": (self._text("hostkeyalias") or "").lower() or settings.word,
            "L": here.partition(".")[0],
            "l": here,
            "n": settings.word,
            "p": port,
            "r": self.user,
            "u": who.name,
        }

    def _identity_files(self) -> tuple[str, ...]:
        named = tuple(self.settings.identity_files) or IDENTITY_FILES
        named = tuple(each for each in named if each.lower() != "none")
        if not any("%" in each or "$" in each for each in named):
            return _plain_paths(named, account().home)
        made = [os.path.abspath(self._expanded(each)) for each in named]
        return tuple(dict.fromkeys(made))

    def _agent(self) -> str | None:
        said = self._text("identityagent")
        if said is None or said == "SSH_AUTH_SOCK":
            return None
        if said.lower() == "none":
            return "none"
        if said.startswith("$") and not said.startswith("${"):
            return os.environ.get(said[1:]) or "none"
        return self._expanded(said)

    def _jumps(self) -> tuple[Endpoint, ...]:
        said = self._text("proxyjump")
        if said is None or said.lower() == "none":
            return ()
        if len(self.behind) >= _MOST_JUMPS or said in self.behind:
            raise ValueError(f"ProxyJump {said[:80]} leads back to itself; set `ProxyJump none` for the jump host")
        known = {"h": self.settings.hostname, "n": self.settings.word, "p": str(self.port), "r": self.user}
        chain: list[Endpoint] = []
        for place, each in enumerate(words.tokens(said, known).split(",")):
            user, host, port = parts(each)
            settings = Settings(host, account().name)
            for keyword, value in (("user", user), ("port", port), ("proxyjump", "none" if place else None)):
                settings.put(keyword, value)
            jump = _endpoint(settings, each, self.config, self.host_keys, (*self.behind, said))
            chain.extend((*jump.jumps, replace(jump, jumps=())))
        return tuple(chain)

    def _unsupported(self) -> list[str]:
        found = []
        for keyword, name in (
            ("proxycommand", "ProxyCommand"),
            ("revokedhostkeys", "RevokedHostKeys"),
            ("knownhostscommand", "KnownHostsCommand"),
            ("pkcs11provider", "PKCS11Provider"),
            ("bindaddress", "BindAddress"),
            ("bindinterface", "BindInterface"),
            ("refuseconnection", "RefuseConnection"),
        ):
            if (self._text(keyword) or "none").lower() != "none":
                found.append(name)
        if [each for each in self.settings.certificates if each.lower() != "none"]:
            found.append("CertificateFile")
        if self._text("verifyhostkeydns") in ("yes", "true"):
            self.notes.append("VerifyHostKeyDNS is not used: keys are looked up in known_hosts alone")
        usable = [name for name, switch in _METHODS.items() if self.values.get(switch) not in (False, "no", "false")]
        preferred = self._text("preferredauthentications")
        if preferred is not None:
            usable = [name for name in usable if name in preferred.split(",")]
        if not usable:
            only = preferred or "GSSAPIAuthentication"
            found.append(f"no method but {only[:60]}")
        return found


@lru_cache(maxsize=4096)
def _plain_paths(named: tuple[str, ...], home: str) -> tuple[str, ...]:
    """Expand paths that are the same for every host; the tuple is shared by the endpoints of thousands of them."""
    return tuple(dict.fromkeys(os.path.abspath(words.tilde(each, home)) for each in named))


def _of_jumps(jumps: tuple[Endpoint, ...]) -> list[str]:
    return [f"{phrase} of jump host {jump.alias}" for jump in jumps for phrase in jump.unsupported]
