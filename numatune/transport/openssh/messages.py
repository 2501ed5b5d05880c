"""What ssh says on standard error, read: which phase it is in, and which failure it ended with.

ssh's own lines and the remote command's come mixed. A host can forge any of them, which changes what is said about
that host and how long it may take within its total, and nothing else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from ..failure import Failure, clean

# What a debug line says has been reached, and so which phase begins. In the order of a connection.
_MILESTONES = (
    ("debug1: Executing proxy command: ", "proxy"),
    ("debug1: Connecting to ", "tcp"),
    ("debug1: auto-mux: Trying existing master", "output"),
    ("debug1: Connection established.", "banner"),
    ("debug1: Remote protocol version ", "kex"),
    ("debug1: Server host key: ", "hostkey"),
    ("debug1: SSH2_MSG_SERVICE_ACCEPT received", "auth"),
    ("debug1: Authentications that can continue: ", "auth"),
    ("Authenticated to ", "exec"),
    ("debug1: Authentication succeeded ", "exec"),
    ("debug1: Sending command: ", "output"),
)
_OWN = re.compile(r"debug\d: |Authenticated to |OpenSSH_|Transferred: |Bytes per second: ")


def milestone(line: str) -> str | None:
    """Return the phase that begins with a line of ssh's ("proxy" is the way to a host by a proxy), None for none."""
    return next((phase for words, phase in _MILESTONES if line.startswith(words)), None)


def is_own(line: str) -> bool:
    """Return whether a line is one of ssh's notices, which say nothing about a failure."""
    return _OWN.match(line) is not None


class Meaning(NamedTuple):
    """A message of ssh's: `words` is a pattern, `message` what is said to the user; \\1 is what the pattern caught.

    `on_the_way`: it is about a jump host, which is over once ssh speaks to the host itself.
    """

    words: str
    phase: str
    message: str
    retry: bool = False
    on_the_way: bool = False


# From the most telling to the least: the first that any line fits is taken.
MEANINGS = (
    Meaning(
        r"REVOKED HOST KEY DETECTED|is marked as revoked",
        "hostkey",
        "its host key is revoked in known_hosts: do not trust it; find out what answers there",
    ),
    Meaning(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "hostkey",
        "its host key is not the one in known_hosts: it was reinstalled, or something else answers;"
        " check its key, then `ssh-keygen -R HOST`",
    ),
    Meaning(
        r"No (\S+) host key is known for",
        "hostkey",
        r"its \1 host key is not in known_hosts: add it (ssh-keyscan, checked), or use --host-keys accept-new",
    ),
    Meaning(r"Host key verification failed", "hostkey", "its host key was refused; check it in known_hosts"),
    Meaning(
        r"[Bb]ad configuration option|[Bb]ad owner or permissions|unsupported option|"
        r"(?:Bad|Unsupported|unknown) \S*(?:spec|[Oo]ption|algorithm)|command-line line \d+|config file .*: No such|"
        r"line \d+: .*(?:Bad|bad|[Uu]nsupported|missing|invalid)|Bad SSH2|terminating, \d+ bad|unknown option",
        "exec",
        "ssh refuses its own configuration or arguments",
    ),
    Meaning(r"Could not resolve hostname (.*)", "resolve", r"no address for \1; check the name and the resolver"),
    Meaning(
        r"(?:channel \d+: )?open failed: connect failed: (.*)|stdio forwarding failed",
        "tcp",
        r"the jump host cannot reach it: \1; check the address and what the jump host may reach",
        on_the_way=True,
    ),
    Meaning(
        r"open failed: administratively prohibited",
        "tcp",
        "the jump host forbids forwarding; set AllowTcpForwarding there",
        on_the_way=True,
    ),
    Meaning(
        r"Connection timed out during banner exchange",
        "banner",
        "no SSH version line came in time; is the host overloaded, is this sshd's port?",
    ),
    Meaning(r"connect to host \S+ port \d+: (.*)", "tcp", r"no connection: \1; check address, port and firewall"),
    Meaning(r"connect to address \S+ port \d+: (.*)", "tcp", r"no connection: \1; check address, port and firewall"),
    Meaning(
        r"Unable to negotiate with .*: no matching (.*) found\. Their offer: (.*)",
        "kex",
        r"incompatible peer: no \1 in common, it offers \2; allow one in ssh_config if you must",
    ),
    Meaning(r"Protocol major versions differ", "banner", "what answers speaks another version of SSH"),
    Meaning(
        r"Not allowed at this time",
        "banner",
        "the server refuses this address for a while (PerSourcePenalties): wait, then try again",
    ),
    Meaning(
        r"banner line (?:contains invalid|is not|too long)|No SSH identification string|line buffer is too short|"
        r"invalid SSH version|[Bb]ad remote protocol version",
        "banner",
        "what answers is not an SSH server; check the port",
    ),
    Meaning(
        r"Too many authentication failures",
        "auth",
        "too many keys were offered: name one (--private-key) and set IdentitiesOnly yes",
    ),
    Meaning(
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "auth",
        "a private key may be read by others, so ssh does not use it: chmod 600 it",
    ),
    Meaning(
        r"incorrect passphrase supplied",
        "auth",
        "the passphrase of a private key is wrong",
    ),
    Meaning(
        r"(\S+): Permission denied \((.*)\)",
        "auth",
        r"\1 was refused; the server allows \2; check the user, and that its authorized_keys or password fits",
    ),
    Meaning(
        r"kex_exchange_identification: (?:Connection closed|read: )|ssh_exchange_identification: ",
        "banner",
        "the server closed the connection before authentication; fewer forks, or a higher MaxStartups there, help"
        " an overloaded one",
        retry=True,
    ),
    Meaning(
        r"exec request failed|shell request failed",
        "exec",
        "the server runs no commands for this user (a forced command, or SFTP only)",
    ),
    Meaning(
        r"open failed: |Session open refused",
        "exec",
        "the server refused to open a session; look at MaxSessions and at the account's restrictions",
    ),
    Meaning(r"Timeout, server \S+ not responding", "timeout", "the host stopped answering; is it overloaded or down?"),
)  # fmt: skip
_PATTERNS = [(re.compile(meaning.words), meaning) for meaning in MEANINGS]
_HUNG_UP = re.compile(r"Connection (?:closed|reset)|Broken pipe|[Dd]isconnect|client_loop|ssh_dispatch_run_fatal")
_OFFENDING = re.compile(r"Offending .*key in (\S.*:\d+)")
_BY_PHASE = {
    "resolve": ("resolve", "ssh ended before it connected"),
    "proxy": ("tcp", "the jump host or proxy command gave no connection"),
    "tcp": ("tcp", "no connection"),
    "banner": ("banner", "the server closed the connection before it said what it is"),
    "kex": ("kex", "the key exchange failed"),
    "hostkey": ("kex", "the key exchange failed"),
    "auth": ("auth", "the server ended the connection during authentication; look at its log"),
    "exec": ("exec", "the server ended the connection before a session was open; look at its log"),
    "output": ("exec", "the connection ended before the script had; was the host rebooted, or sshd's child killed?"),
}


def failure(phase: str, lines: Sequence[str], entry: str = "HOST") -> Failure:
    """Return the failure of an ssh that ended with status 255: `phase` by the last milestone, `lines` not its notices.

    Of a way through jump hosts ("proxy") it is the jump host that the failure is about, and the message says so.
    """
    prefix = "at the jump host or proxy: " if phase == "proxy" else ""
    for pattern, meaning in _PATTERNS:
        for line in lines:
            found = pattern.search(line)
            if found is None or (meaning.on_the_way and phase != "proxy"):
                continue
            said = found.expand(meaning.message) if "\\" in meaning.message else meaning.message
            if meaning.phase == "exec" and meaning.message.startswith("ssh refuses"):
                said += f": {clean(line, 200)}"
            if meaning.phase == "hostkey":
                said = _placed(said, lines, "HOST" if phase == "proxy" else entry)
            # Once a session runs, only its own end is ssh's: the rest may be words of the remote command.
            if phase == "output" and meaning.phase not in ("exec", "timeout"):
                continue
            return Failure(meaning.phase, prefix + said, retry=meaning.retry and phase != "proxy")
    own, what = _BY_PHASE[phase]
    hung_up = any(_HUNG_UP.search(line) for line in lines)
    quoted = f" ({clean(lines[-1], 160)})" if lines else ""
    return Failure(own, f"{what}{quoted}", retry=hung_up and phase == "banner")


def _placed(said: str, lines: Sequence[str], entry: str) -> str:
    """Name the file and line that ssh names, and the host as it stands there."""
    found = next((match for line in lines if (match := _OFFENDING.match(line))), None)
    if found is not None:
        said = said.replace("in known_hosts", f"at {clean(found[1], 160)}", 1)
    return said.replace("-R HOST", f"-R {shlex.quote(entry)}")
