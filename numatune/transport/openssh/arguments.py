"""The words of the `ssh` command for one host: what was given outright; the rest ssh reads from its configuration."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator
from functools import cache

from ..endpoint import Endpoint
from ..failure import Failure, clean
from ..limits import Limits
from ..ssh_config.asked import refused
from ..ssh_config.options import options

# Of an option that is set twice, ssh takes the first: nothing that follows can weaken these. Phases are told apart by
# the debug lines (see `messages`).
_ALWAYS = (
    "LogLevel=DEBUG1",
    "ControlMaster=no",
    # A master that was opened by hand has checked the host's key by other rules, or not at all.
    "ControlPath=none",
    "ForwardAgent=no",
    "ForwardX11=no",
    "GSSAPIDelegateCredentials=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "Tunnel=no",
    "NumberOfPasswordPrompts=1",
    "UpdateHostKeys=no",
    "NoHostAuthenticationForLocalhost=no",
    # A name server's word makes no key good.
    "VerifyHostKeyDNS=no",
)
# Not behind IgnoreUnknown, of which the first counts too: the user's own would not be heard.
_SINCE_8_7 = ("ForkAfterAuthentication=no", "StdinNull=no", "SessionType=default")
# The options of ssh that would make it do something else than run one command.
_REFUSED = {
    "D": "a forwarding", "E": "a log file", "f": "the background", "G": "printing the configuration",
    "L": "a forwarding", "M": "a master", "N": "no command", "n": "no standard input", "O": "a master",
    "Q": "a query", "R": "a forwarding", "s": "a subsystem", "t": "a terminal", "V": "printing the version",
    "W": "a forwarding", "w": "a tunnel", "y": "syslog", "q": "no messages", "A": "agent forwarding",
    "X": "X11 forwarding", "Y": "X11 forwarding",
}  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9_.:%\[][A-Za-z0-9_.:%\[\]+-]*")
_USER = re.compile(r"[^\s\-\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*")


def words(endpoint: Endpoint, limits: Limits, asks: bool, command: str, config: str | None = None) -> list[str]:
    """Return the whole command; `asks` says that a password or passphrase is at hand. It holds no secret.

    `config` is the file that `-F` names in place of the endpoint's.

    Raises Failure("resolve") for a host or user that ssh could take for something else, Failure("exec") for further
    words that would make ssh do something else than run a command.
    """
    host = _host(endpoint)
    found = ["ssh", "-T", "-a", "-x", "-e", "none"]
    for option in _options(endpoint, limits, asks):
        found += ["-o", option]
    own, further = further_words(endpoint)
    named = config or own
    return [*found, *(("-F", named) if named is not None else ()), *further, "--", host, command]


def question(endpoint: Endpoint) -> list[str]:
    """Return the command that prints what ssh makes of its configuration for this host; raises as `words` does."""
    host = _host(endpoint)
    own, further = further_words(endpoint)
    options = [word for option in _given(endpoint) for word in ("-o", option)]
    return ["ssh", "-G", *options, *(("-F", own) if own is not None else ()), *further, "--", host]


def _host(endpoint: Endpoint) -> str:
    host = endpoint.ssh_word or endpoint.hostname
    if not _HOST.fullmatch(host):
        raise Failure("resolve", f"{clean(host, 80)!r} is not a host name or an address")
    if endpoint.user and not _USER.fullmatch(endpoint.user):
        raise Failure("resolve", f"{clean(endpoint.user, 80)!r} is not a user name to log in with")
    return host


def further_words(endpoint: Endpoint) -> tuple[str | None, list[str]]:
    """Return the file that `-F` names, the words' own or the endpoint's (None: ssh's usual ones), and the other words.

    Raises Failure("exec") for words that would make ssh do something else than run a command.
    """
    config = endpoint.ssh_config
    kept: list[str] = []
    for option in options(endpoint.ssh_args):
        letter = option.letter
        if not letter:
            word = clean(option.words[0], 60)
            raise Failure("exec", f"ssh's arguments hold {word!r}, which is not an option of ssh: take it out")
        if letter in _REFUSED:
            raise Failure("exec", f"ssh's arguments ask for {_REFUSED[letter]} (-{letter}): take it out")
        if option.lacks_value:
            raise Failure("exec", f"ssh's argument -{letter} lacks its value")
        if letter == "F":
            config = option.value
        else:
            kept += option.words
    return config, kept


def _options(endpoint: Endpoint, limits: Limits, asks: bool) -> Iterator[str]:
    yield from _ALWAYS
    if knows_gssapi_keys():
        yield "GSSAPIKeyExchange=no"
    if version() >= (8, 7):
        yield from _SINCE_8_7
    yield f"StrictHostKeyChecking={'accept-new' if endpoint.strict == 'accept-new' else 'yes'}"
    yield f"BatchMode={'no' if asks else 'yes'}"
    # It ends with the version line, not with the connection; `collect` observes the deadlines of the phases.
    yield f"ConnectTimeout={max(1, math.ceil(limits.connect_s + limits.banner_s))}"
    yield from _given(endpoint)


def _given(endpoint: Endpoint) -> Iterator[str]:
    """Yield what ssh is not to decide by itself."""
    if endpoint.given is None:
        yield from _all_of(endpoint)
        return
    for keyword, *arguments in endpoint.given:
        yield f"{keyword}={' '.join(quoted(each) for each in arguments)}"


def _all_of(endpoint: Endpoint) -> Iterator[str]:
    """Yield all that an endpoint holds which no ssh_config was read for."""
    yield f"Port={endpoint.port}"
    if endpoint.user:
        yield f"User={quoted(endpoint.user)}"
    if endpoint.known_hosts:
        yield f"UserKnownHostsFile={' '.join(_file(path) for path in endpoint.known_hosts)}"
        yield "GlobalKnownHostsFile=/dev/null"
    for path in endpoint.identity_files:
        yield f"IdentityFile={_file(path)}"
    if endpoint.identities_only:
        yield "IdentitiesOnly=yes"
    if not endpoint.use_agent:
        yield "IdentityAgent=none"
    if endpoint.alive_interval_s:
        yield f"ServerAliveInterval={endpoint.alive_interval_s}"
        yield f"ServerAliveCountMax={endpoint.alive_count}"


@cache
def version() -> tuple[int, int]:
    """Return the version of the ssh here; that of today where it does not say one that is OpenSSH's."""
    try:
        told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        told = ""
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (10, 0)


@cache
def knows_gssapi_keys() -> bool:
    """Return whether the ssh here could take Kerberos's word for a host in place of its key, as distributions' can."""
    return refused(("gssapikeyexchange no",)) == {}


def _file(path: str) -> str:
    if "${" in path:
        raise Failure("resolve", f"{clean(path, 80)!r} cannot be handed to ssh: it would take ${{…}} for a variable")
    return quoted(path.replace("%", "%%"))


def quoted(value: str) -> str:
    """Return a value in ssh_config's quotes; raises Failure("resolve") for one that they cannot hold."""
    if any(sign in value for sign in '"\\\n\r\0'):
        raise Failure(
            "resolve", f"{clean(value, 80)!r} cannot be handed to ssh: it holds a quote, backslash or line break"
        )
    return f'"{value}"'
