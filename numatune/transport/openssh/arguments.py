"""The words of the `ssh` command for one host: what was given explicitly; the rest ssh reads from its configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ..endpoint import Endpoint
from ..failure import Failure, clean
from ..limits import Limits

# Of an option that is set twice, ssh takes the first: nothing that follows can weaken these. Those that older versions
# do not know come behind IgnoreUnknown. Phases are told apart by the debug lines (see `messages`).
_ALWAYS = (
    "IgnoreUnknown=ForkAfterAuthentication,StdinNull,SessionType,EnableEscapeCommandline",
    "LogLevel=DEBUG1",
    "ControlMaster=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "Tunnel=no",
    "ForkAfterAuthentication=no",
    "StdinNull=no",
    "SessionType=default",
    "NumberOfPasswordPrompts=1",
)
# The first letters of ssh's options, by its manual page: with a value, and those that would make it do something else.
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_REFUSED = {
    "D": "a forwarding", "E": "a log file", "f": "the background", "G": "printing the configuration",
    "L": "a forwarding", "M": "a master", "N": "no command", "n": "no standard input", "O": "a master",
    "Q": "a query", "R": "a forwarding", "s": "a subsystem", "t": "a terminal", "V": "printing the version",
    "W": "a forwarding", "w": "a tunnel", "y": "syslog", "q": "no messages", "A": "agent forwarding",
    "X": "X11 forwarding", "Y": "X11 forwarding",
}  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9_.:%\[][A-Za-z0-9_.:%\[\]+-]*")
_USER = re.compile(r"[^\s\-\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*")


def words(endpoint: Endpoint, limits: Limits, asks: bool, command: str) -> list[str]:
    """Return the whole command; `asks` says that a password or passphrase is at hand. It holds no secret.

    Raises Failure("resolve") for a host or user that ssh could take for something else, Failure("exec") for further
    words that would make ssh do something else than run a command.
    """
    host = endpoint.ssh_word or endpoint.hostname
    if not _HOST.fullmatch(host):
        raise Failure("resolve", f"{clean(host, 80)!r} is no host name and no address")
    if endpoint.user and not _USER.fullmatch(endpoint.user):
        raise Failure("resolve", f"{clean(endpoint.user, 80)!r} is no user to log in as")
    found = ["ssh", "-T", "-a", "-x", "-e", "none"]
    for option in _options(endpoint, limits, asks):
        found += ["-o", option]
    further = tuple(_checked(endpoint.ssh_args))
    if endpoint.ssh_config is not None and not any(word.startswith("-F") for word in further):
        found += ["-F", endpoint.ssh_config]
    return [*found, *further, "--", host, command]


def _options(endpoint: Endpoint, limits: Limits, asks: bool) -> Iterator[str]:
    yield from _ALWAYS
    yield f"StrictHostKeyChecking={'accept-new' if endpoint.strict == 'accept-new' else 'yes'}"
    yield f"BatchMode={'no' if asks else 'yes'}"
    # It ends with the version line, not with the connection; the deadlines of the phases are kept by `collect`.
    yield f"ConnectTimeout={max(1, math.ceil(limits.connect_s + limits.banner_s))}"
    yield f"Port={endpoint.port}"
    if endpoint.user:
        yield f"User={_quoted(endpoint.user)}"
    for path in endpoint.identity_files:
        yield f"IdentityFile={_quoted(path.replace('%', '%%'))}"
    if endpoint.identities_only:
        yield "IdentitiesOnly=yes"
    if not endpoint.use_agent:
        yield "IdentityAgent=none"
    if endpoint.alive_interval_s:
        yield f"ServerAliveInterval={endpoint.alive_interval_s}"
        yield f"ServerAliveCountMax={endpoint.alive_count}"


def _quoted(value: str) -> str:
    if any(sign in value for sign in '"\\\n\r\0'):
        raise Failure(
            "resolve", f"{clean(value, 80)!r} cannot be handed to ssh: it holds a quote, backslash or line break"
        )
    return f'"{value}"'


def _checked(further: Sequence[str]) -> Iterator[str]:
    """Yield the words given for ssh, verbatim, if each is an option that leaves it a command over one connection."""
    rest = iter(further)
    for word in rest:
        if len(word) < 2 or word[0] != "-" or word == "--":
            raise Failure("exec", f"ssh's arguments hold {clean(word, 60)!r}, which is no option of ssh: take it out")
        yield word
        for place, letter in enumerate(word[1:], 2):
            if letter in _REFUSED:
                raise Failure("exec", f"ssh's arguments ask for {_REFUSED[letter]} (-{letter}): take it out")
            if letter in _WITH_VALUE:
                if not word[place:]:
                    value = next(rest, None)
                    if value is None:
                        raise Failure("exec", f"ssh's argument -{letter} lacks its value")
                    yield value
                break
