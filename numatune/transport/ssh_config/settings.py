"""What the blocks of ssh_config come to for one host: the first value of each setting, OpenSSH's two passes."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import words
from .files import UNSURE, Block, File, Setting
from .keywords import SshConfigError, Value

_MOST_FILES = 32  # OpenSSH's SSH_MAX_HOSTS_FILES


@dataclass
class Settings:
    """The values for `word` so far; `given` ones (a command line's) are there before any file is read."""

    word: str
    account: str
    values: dict[str, Value] = field(default_factory=dict)
    identity_files: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)  # what only ssh itself can say here, one phrase each
    hostname: str = ""

    def put(self, keyword: str, value: Value) -> None:
        """Take a value unless the setting has one; IdentityFile and CertificateFile gather all of theirs.

        Raises ValueError for more files than OpenSSH takes; it counts them only where they are for the host.
        """
        if value is None:
            return  # a time of `none` is how OpenSSH marks what is not set yet
        if keyword in ("identityfile", "certificatefile"):
            several = self.identity_files if keyword == "identityfile" else self.certificates
            if value not in several:
                several.append(str(value))
        elif keyword == UNSURE:
            if value not in self.unsure:
                self.unsure.append(str(value))
        elif keyword in ("proxyjump", "proxycommand"):
            if "proxyjump" not in self.values and "proxycommand" not in self.values:
                self.values[keyword] = value
        elif keyword not in self.values:
            if keyword.endswith("knownhostsfile") and isinstance(value, tuple) and len(value) > _MOST_FILES:
                raise ValueError(f"{keyword}: more than {_MOST_FILES} files")
            self.values[keyword] = value

    def read(self, files: Iterable[File]) -> None:
        """Go through the files, a second time where a `Match final` asks for it; sets `hostname`."""
        several = tuple(files)
        for each in several:
            self._walk(each, self.word, False)
        self.hostname = self._named()
        if self.values.get("canonicalizehostname") in ("yes", "true", "always"):
            self.put(UNSURE, "CanonicalizeHostname")
        if any(each.wants_final for each in several):
            self.values["hostname"] = self.hostname
            for each in several:
                self._walk(each, self.hostname, True)
        self._check(several)

    def _check(self, several: Iterable[File]) -> None:
        """Refuse unknown keywords that the IgnoreUnknown of another host allows, as ssh does."""
        allowed = str(self.values.get("ignoreunknown", ""))
        for each in several:
            for word, where in each.excused:
                if not words.in_list(word, allowed, lower=True):
                    raise SshConfigError(
                        f"{where}: {word[:40]}: no keyword of ssh_config, and no IgnoreUnknown for {self.word} names it"
                    )

    def _named(self) -> str:
        name = self.values.get("hostname")
        try:
            text = words.tokens(str(name), {"h": self.word}) if name is not None else self.word
        except ValueError as error:
            raise SshConfigError(f"HostName of {self.word}: {error}") from None
        short = ":" not in text and self.values.get("addressfamily") == "inet6"
        return (None if short else canonical_address(text)) or text.lower()

    def _walk(self, file: File, host: str, final: bool) -> None:
        for block in file.candidates(host):
            if not self._active(block, host, final):
                continue
            for item in block.body:
                if isinstance(item, Setting):
                    try:
                        self.put(item.keyword, item.value)
                    except ValueError as error:
                        raise SshConfigError(f"{item.where}: {error}") from None
                else:
                    self._walk(item, host, final)

    def _active(self, block: Block, host: str, final: bool) -> bool:
        if block.hosts is not None:
            return _of_host(host, block.hosts)
        if block.match is None:
            return True
        foreign: list[str] = []
        for criterion, argument in block.match:
            met = self._met(criterion.removeprefix("!"), argument, host, final)
            if met is None:
                foreign.append(criterion.removeprefix("!"))
            elif met == criterion.startswith("!"):
                return False
        if foreign:
            # Nobody asked this program to run commands of ssh_config, once for each of thousands of hosts.
            self.put(UNSURE, f"Match {foreign[0]} ({block.where})")
            return False
        return True

    def _met(self, criterion: str, argument: str, host: str, final: bool) -> bool | None:
        """Return whether a criterion holds, None where only ssh itself could say."""
        if criterion == "all":
            return True
        if criterion in ("final", "canonical"):
            return final
        if criterion == "host":
            name = self.values.get("hostname")
            if final:
                host = self.hostname
            elif name is not None:
                host = words.tokens(str(name), {"h": host})
            return words.in_list(host, argument, lower=True)
        if criterion == "originalhost":
            return words.in_list(self.word, argument, lower=True)
        if criterion == "user":
            return words.in_list(str(self.values.get("user", self.account)), argument)
        if criterion == "localuser":
            return words.in_list(self.account, argument)
        return None


def _of_host(host: str, patterns: tuple[str, ...]) -> bool:
    found = False
    for each in patterns:
        negated = each.startswith("!")
        if words.pattern(each[1:] if negated else each).fullmatch(host):
            if negated:
                return False
            found = True
    return found


def canonical_address(text: str) -> str | None:
    """Return a numeric address in its usual form (`127.1` is 127.0.0.1), None for a name."""
    if ":" not in text and not text[:1].isdigit():
        return None
    try:
        if ":" not in text:
            return str(ipaddress.IPv4Address(text))
    except ValueError:
        pass  # perhaps one of the short forms, which only the resolver knows
    try:
        found = socket.getaddrinfo(text, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return socket.getnameinfo(found[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    except (OSError, UnicodeError):
        return None
