"""The keywords of ssh_config and what their arguments may be, by ssh_config(5) and the tables of OpenSSH's readconf.c.

ssh refuses a file as a whole for one bad line, wherever it stands. So each line is checked, also those that say nothing
about a connection of ours; where only an ssh program can say what is good (a list of ciphers, a keyword that is newer
than this table), the one that is here is asked (see `checked_by`).
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import Literal

from ...core.errors import NumatuneError
from . import words

Value = str | int | bool | tuple[str, ...] | None


class SshConfigError(NumatuneError):
    """ssh_config, or the word that names a host, cannot be used; the text says where and why."""


# --- what counts for a connection ---

_STRING = frozenset(
    "hostname user hostkeyalias identityagent identityfile certificatefile revokedhostkeys pkcs11provider bindaddress"
    " bindinterface preferredauthentications ignoreunknown refuseconnection".split()
)
_FLAG = frozenset(
    "identitiesonly hashknownhosts checkhostip nohostauthenticationforlocalhost passwordauthentication"
    " kbdinteractiveauthentication gssapiauthentication hostbasedauthentication".split()
)
_COMMAND = frozenset("proxycommand knownhostscommand".split())
_NUMBER = frozenset("serveralivecountmax requiredrsasize".split())
_LIST = frozenset("userknownhostsfile globalknownhostsfile".split())
_ALGORITHMS = frozenset("ciphers macs kexalgorithms hostkeyalgorithms".split())
_TIME = frozenset("connecttimeout serveraliveinterval".split())
_WHOLE = re.compile(r"[ \t\r\n\v\f]*(?:\+?[0-9]{1,20}|-0{1,20})")
_YES = ("yes", "true", "no", "false")
_CHOICE = {
    "stricthostkeychecking": (*_YES, "off", "ask", "accept-new"),
    "compression": ("yes", "no"),
    "addressfamily": ("any", "inet", "inet6"),
    "canonicalizehostname": (*_YES, "always"),
    "pubkeyauthentication": (*_YES, "unbound", "host-bound"),
    "verifyhostkeydns": (*_YES, "ask"),
}
_OTHER_NAMES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "identityfile2": "identityfile",
    "rsaminsize": "requiredrsasize",  # as Red Hat named it first
    "smartcarddevice": "pkcs11provider",
    "keepalive": "tcpkeepalive",
}

# --- what does not count, but can be wrong ---

_IDLE_FLAG = frozenset(
    "batchmode canonicalizefallbacklocal clearallforwardings enablesshkeysign exitonforwardfailure forwardx11"
    " forwardx11trusted gatewayports gssapidelegatecredentials permitlocalcommand proxyusefdpass"
    " streamlocalbindunlink tcpkeepalive visualhostkey stdinnull forkafterauthentication"
    " enableescapecommandline".split()
)
_IDLE_STRING = frozenset(
    "controlpath forwardagent kbdinteractivedevices securitykeyprovider xauthlocation versionaddendum tag".split()
)
_IDLE_NUMBER = frozenset("canonicalizemaxdots connectionattempts numberofpasswordprompts".split())
_IDLE_TIME = frozenset(["forwardx11timeout"])
_IDLE_COMMAND = frozenset("localcommand remotecommand".split())
_IDLE_CHOICE = {
    "controlmaster": (*_YES, "auto", "ask", "autoask"),
    "loglevel": ("quiet", "fatal", "error", "info", "verbose", "debug", "debug1", "debug2", "debug3"),
    "requesttty": (*_YES, "force", "auto"),
    "sessiontype": ("none", "subsystem", "default"),
    "tunnel": (*_YES, "ethernet", "point-to-point"),
    "updatehostkeys": (*_YES, "ask"),
}
# Taken in silence, whatever follows, because they once meant something.
_GONE = frozenset(
    "protocol cipher fallbacktorsh globalknownhostsfile2 rhostsauthentication userknownhostsfile2 useroaming usersh"
    " useprivilegedport afstokenpassing kerberosauthentication kerberostgtpassing rsaauthentication"
    " rhostsrsaauthentication compressionlevel".split()
)
# Only an ssh program knows all that these may be.
_HARD = frozenset(
    "addkeystoagent canonicaldomains canonicalizepermittedcnames casignaturealgorithms channeltimeout controlpersist"
    " dynamicforward escapechar fingerprinthash gssapiclientidentity gssapikexalgorithms gssapikeyexchange"
    " gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms hostbasedkeytypes ipqos"
    " localforward logverbose obscurekeystroketiming permitremoteopen pubkeyacceptedalgorithms pubkeyacceptedkeytypes"
    " rekeylimit remoteforward setenv streamlocalbindmask syslogfacility tunneldevice usekeychain"
    " warnweakcrypto".split()
)
# OpenSSH took these up in 8.2 or later: a file may hold them, and an older ssh refuses it.
_NEW = frozenset(
    "knownhostscommand requiredrsasize securitykeyprovider stdinnull forkafterauthentication sessiontype"
    " enableescapecommandline versionaddendum tag refuseconnection rsaminsize".split()
)
_KNOWN = (
    _STRING | _FLAG | _COMMAND | _NUMBER | _LIST | _ALGORITHMS | _TIME | _CHOICE.keys() | _OTHER_NAMES.keys()
    | _IDLE_FLAG | _IDLE_STRING | _IDLE_NUMBER | _IDLE_TIME | _IDLE_COMMAND | _IDLE_CHOICE.keys() | _GONE | _HARD
    | {"port", "proxyjump", "sendenv"}
)  # fmt: skip


_BY_SSH = _HARD | _ALGORITHMS | _NEW
_COUNTS = _STRING | _FLAG | _NUMBER | _ALGORITHMS | _TIME | _CHOICE.keys() | {"port"}
_COMMANDS = _COMMAND | _IDLE_COMMAND
_TIMES = _TIME | _IDLE_TIME
_NUMBERS = _NUMBER | _IDLE_NUMBER
_FLAGS = _FLAG | _IDLE_FLAG
_CHOICES = {**_CHOICE, **_IDLE_CHOICE}
# Jump hosts as they usually are; of others ssh says whether they are any, wherever the line stands.
_JUMP = r"(?:[\w.-]+@)?[\w.%-]+(?::[1-9][0-9]{0,3})?"
_JUMPS = re.compile(rf"[ \t=]*{_JUMP}(?:,{_JUMP})*[ \t\r]*", re.ASCII)


def checked_by(word: str, rest: str) -> Literal["table", "ssh", "nobody"]:
    """Return who can say whether a line with this keyword is good: "nobody" knows it here but perhaps an ssh program.

    "ssh" is for what this table takes, but an ssh program may refuse.
    """
    if word not in _KNOWN:
        return "nobody"
    if word == "proxyjump":
        return "table" if _JUMPS.fullmatch(rest) else "ssh"
    return "ssh" if word in _BY_SSH else "table"


@lru_cache(1024)  # the options of an inventory are mostly the same for all of its hosts
def setting(word: str, rest: str) -> tuple[tuple[str, Value], ...]:
    """Return (keyword, value) of one line, () for what no connection of ours depends on; raises ValueError."""
    word = _OTHER_NAMES.get(word, word)
    _needed(rest.strip(" \t\r\n\f"))
    arguments = words.split(rest)  # ssh finds quotes that do not end in any line
    if word in _COMMANDS:
        return ((word, rest.lstrip(" \t=")),) if word in _COMMAND else ()
    if word == "proxyjump":
        return ((word, _needed(rest.lstrip(" \t=").partition("#")[0].rstrip())),)
    if word in _GONE | _HARD or word not in _KNOWN:
        return ()
    if word in _LIST:
        if len(arguments) > 1 and any(each.lower() == "none" for each in arguments):
            raise ValueError(f"{word}: none stands alone")
        return ((word, tuple(_needed(each) for each in arguments) or (_needed(""),)),)
    if word == "sendenv":
        for each in arguments:
            if "=" in _needed(each):
                raise ValueError(f"{word}: no name of a variable: {each[:40]!r}")
        return ()
    if len(arguments) > 1:
        raise ValueError(f"{word} takes one argument, found {len(arguments)}")
    value = _value(word, _needed(arguments[0] if arguments else ""))
    return ((word, value),) if word in _COUNTS else ()


def _value(word: str, text: str) -> Value:
    if word in _ALGORITHMS:
        return tuple(text.split(","))
    if word in _TIMES:
        return words.seconds(text)
    if word == "port":
        return _port(text)
    if word in _NUMBERS:
        if not _WHOLE.fullmatch(text) or int(text) > words.MOST:
            raise ValueError(f"{word}: not a number: {text[:40]!r}")
        return int(text)
    if word in _FLAGS:
        if text.lower() not in _YES:
            raise ValueError(f"{word}: not yes or no: {text[:40]!r}")
        return text.lower() in ("yes", "true")
    choices = _CHOICES.get(word)
    if choices is not None:
        if text.lower() not in choices:
            raise ValueError(f"{word}: {text[:40]!r} is none of {', '.join(choices)}")
        return text.lower()
    return text


def _port(text: str) -> int:
    if _WHOLE.fullmatch(text) and 0 < int(text) < 65536:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise ValueError(f"not a port: {text[:40]!r}") from None


def _needed(text: str) -> str:
    if not text:
        raise ValueError("an argument is missing")
    return text
