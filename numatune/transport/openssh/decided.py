"""What ssh itself makes of its configuration, asked by `ssh -G` where this program cannot tell: Match exec and such.

The commands of Match exec run once more for it. They are the user's, who named them for every ssh to this host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from ..capture import Capture
from ..endpoint import Endpoint
from ..failure import Failure, clean
from ..limits import Deadline, Limits
from ..ssh_config import words
from ..ssh_config.resolve import USER_FILES, account
from . import arguments
from .process import Ssh

_MOST = 256 << 10


def decided(endpoint: Endpoint, environment: Mapping[str, str], limits: Limits, total: Deadline) -> Endpoint:
    """Return the endpoint as ssh will reach it: user, names, port, keys; where files are concerned, ssh takes its own.

    Who is asked for passwords and whether sudo is needed depends on it; ssh is told no more than what was given. Jump
    hosts are left out: whichever ssh finds, it takes no new keys of them. Raises Failure.
    """
    asked = replace(endpoint, given=tuple(each for each in endpoint.given or () if each[0] != "UserKnownHostsFile"))
    output = Capture(_MOST, total)
    with Ssh(arguments.question(asked), environment, limits, total, output, None) as ssh:
        ssh.end_input()
        if ssh.finish():
            said = clean(ssh.lines[0], 160) if ssh.lines else "it gave no reason"
            raise Failure("resolve", f"ssh cannot tell what its configuration says of this host: {said}")
    found: dict[str, str] = {}
    keys = []
    for line in output.text().splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, value)
        if keyword == "identityfile":
            keys.append(value)
    made = replace(
        asked,
        user=found.get("user", endpoint.user),
        hostname=found.get("hostname", endpoint.hostname),
        port=int(found.get("port", endpoint.port)),
        host_key_alias=found.get("hostkeyalias"),
        jumps=(),
    )
    if found.get("userknownhostsfile") == os.devnull and found.get("stricthostkeychecking") in ("false", "no", "off"):
        # Together they mean "check no key", which numatune never does; alone the first would mean "know no host".
        made = replace(made, given=(*(made.given or ()), ("UserKnownHostsFile", *USER_FILES)))
    return replace(made, identity_files=tuple(_path(each, made) for each in keys))


def _path(text: str, endpoint: Endpoint) -> str:
    """Return a key's path as ssh shows it when it asks for the passphrase."""
    who = account()
    known = {"d": who.home, "u": who.name, "h": endpoint.hostname, "n": endpoint.ssh_word, "r": endpoint.user}
    try:
        path = words.tilde(text, who.home)
        return words.variables(words.tokens(path, {**known, "p": str(endpoint.port), "i": str(who.uid)}), os.environ)
    except ValueError:
        return text
