"""Where a host is reached and how: what inventory and ssh_config come to, as data that travels between processes.

Nothing here reads a file or opens a connection; `ssh_config.resolve` makes an `Endpoint`, the transports take it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

HostKeys = Literal["strict", "accept-new"]


@dataclass(frozen=True)
class Become:
    """How commands are run as another user on the host once it is reached."""

    method: str = "sudo"
    user: str = "root"


@dataclass(frozen=True)
class Endpoint:
    """One host as a transport needs it; every path is absolute, every token of ssh_config expanded.

    alias            the inventory's name or the word that was given: the key of everything about this host
    hostname         the name or address to connect to, in lower case
    identity_files   private keys in the order to offer; they need not exist
    identities_only  offer no agent key but those of `identity_files`
    use_agent        False where ssh_config says `IdentityAgent none`
    identity_agent   the agent's socket where ssh_config names one; None: the one of SSH_AUTH_SOCK
    jumps            the jump hosts in the order in which they are passed; () is a direct connection
    known_hosts      the user's files, then the global ones. New keys go to the first, which is /dev/null where the user
                     has none
    host_key_alias   the name to look host keys up by (without a port), where ssh_config sets one
    strict           what an unknown key means: "strict" refuses it, "accept-new" records it. A changed or revoked key
                     is refused by both. `StrictHostKeyChecking no` and `off` are read as "strict", which `notes`
                     says; `ask` is too, since nobody is there to answer
    hash_known_hosts names that are added are hashed
    connect_timeout_s  seconds, None where ssh_config sets none
    alive_interval_s, alive_count  ServerAliveInterval in seconds (0: never) and ServerAliveCountMax
    ciphers, kex, hostkeyalgorithms, macs  the words of ssh_config, None where it does not set them. The first may begin
                     with `+`, `-` or `^`: `chosen` says what that makes of a default list
    rsa_bits         the fewest bits of an RSA key, the host's or the user's (RequiredRSASize; never under 1024)
    address_family   "any", "inet" or "inet6"
    ssh_args         further words for the OpenSSH transport, verbatim
    ssh_config       the file given by `-F`; None: the user's and the system's own
    given            what was given for this host outright, before any file: (keyword of ssh_config, argument, …) each.
                     None where the endpoint was made by hand, so that all of it was
    sure             False where only the ssh program can tell what ssh_config comes to (Match exec, names to be made
                     canonical), so that the other fields may be wrong; `unsupported` says why
    unsupported      what only `--transport openssh` can honour, one phrase each; where there is one, do not connect
    notes            what was read differently from OpenSSH, one phrase each, for the user to see
    connection       "ssh", or "local" for the machine that this runs on
    """

    alias: str
    hostname: str
    port: int = 22
    user: str = ""
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    use_agent: bool = True
    jumps: tuple[Endpoint, ...] = ()
    known_hosts: tuple[str, ...] = ()
    host_key_alias: str | None = None
    strict: HostKeys = "strict"
    connect_timeout_s: float | None = None
    alive_interval_s: int = 0
    alive_count: int = 3
    ciphers: tuple[str, ...] | None = None
    kex: tuple[str, ...] | None = None
    hostkeyalgorithms: tuple[str, ...] | None = None
    ssh_args: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    become: Become | None = None
    macs: tuple[str, ...] | None = None
    address_family: str = "any"
    hash_known_hosts: bool = False
    identity_agent: str | None = None
    ssh_config: str | None = None
    notes: tuple[str, ...] = ()
    connection: str = "ssh"
    ssh_word: str = ""
    rsa_bits: int = 1024
    given: tuple[tuple[str, ...], ...] | None = None
    sure: bool = True

    @property
    def key_name(self) -> str:
        """Return the name under which this host's keys are looked up, HostKeyAlias before hostname."""
        return self.host_key_alias or self.hostname

    @property
    def key_port(self) -> int:
        """Return the port of that name: an alias stands for itself whatever the port, so it counts as 22."""
        return 22 if self.host_key_alias else self.port

    @property
    def key_entry(self) -> str:
        """Return that name as known_hosts spells it: `[name]:port` for another port than 22."""
        return self.key_name if self.key_port == 22 else f"[{self.key_name}]:{self.key_port}"

    def __hash__(self) -> int:
        """Hash what tells hosts apart: the other fields are many, and a hash is asked for at every look-up."""
        return hash((self.alias, self.hostname, self.port, self.user))


def chosen(words: tuple[str, ...] | None, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the algorithms to offer, given ssh_config's words and the default list.

    `+a,b` appends, `^a,b` puts first, `-a*` removes by pattern, anything else replaces (ssh_config(5), Ciphers).
    """
    if not words:
        return usual
    sign, named = words[0][:1], (words[0][1:], *words[1:])
    if sign == "-":
        return tuple(name for name in usual if not any(fnmatchcase(name, pattern) for pattern in named))
    if sign == "+":
        return tuple(dict.fromkeys((*usual, *named)))
    if sign == "^":
        return tuple(dict.fromkeys((*named, *usual)))
    return words


def _by_ssh(secret: str) -> str:
    """Return it as the ssh program prints what is not ASCII, in the locale C."""
    return "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in secret.encode("utf-8", "replace"))


_SHORTEST_SAID, _SHORTEST, _SHORTEST_PIN = 3, 6, 10


@dataclass(frozen=True, repr=False)
class Secrets:
    """What must be in no log, traceback, process list or result; None where there is none."""

    password: str | None = field(default=None)
    become_password: str | None = field(default=None)
    key_passphrase: str | None = field(default=None)

    def hide(self, text: str) -> str:
        """Return what a host said without them, before it is cut or quoted: it may repeat what it was told.

        One or two characters are left: they are in every sentence, and the gaps would tell them.
        """
        known = [secret for secret in self._all() if len(secret) >= _SHORTEST_SAID]
        return self._without(text, [*known, *(_by_ssh(secret) for secret in known if not secret.isascii())])

    def hide_in_data(self, stream: str) -> str:
        """Return what a host's files hold without them; the very same text, at the cost of a search, where none is.

        Not looked for are those of fewer than six characters, and digits alone of fewer than ten: such a piece is found
        in what is not the secret too, and a counter or a name with a gap would be judged wrongly.
        """

        def is_told_apart(secret: str) -> bool:
            return len(secret) >= (_SHORTEST_PIN if secret.isdecimal() else _SHORTEST)

        return self._without(stream, [secret for secret in self._all() if is_told_apart(secret)])

    def _all(self) -> set[str]:
        return {secret for secret in (self.password, self.become_password, self.key_passphrase) if secret}

    @staticmethod
    def _without(text: str, secrets: list[str]) -> str:
        # The longest first: one may be the beginning of another.
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def __repr__(self) -> str:
        """Show nothing, not even which of them are set."""
        return "Secrets(…)"


@dataclass(frozen=True)
class Target:
    """One host of a run; `refused` says in one line why it is not asked, None where it is; `refused_phase` is of that.

    `variables` are those of the inventory that decide what is wanted of it, as JSON; "" where there are none.
    """

    endpoint: Endpoint
    secrets: Secrets = Secrets()
    refused: str | None = None
    refused_phase: str = "resolve"
    variables: str = ""

    @property
    def alias(self) -> str:
        """Return the key of everything about this host."""
        return self.endpoint.alias
