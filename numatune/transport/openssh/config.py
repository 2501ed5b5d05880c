"""A configuration of our own in front of the user's: it reaches the ssh processes that ssh starts for jump hosts.

Options on ssh's command line are for the host itself. To a jump host ssh goes by a further ssh, to which it hands on
nothing but the file of `-F`: what stands first in that file wins there too, also over `StrictHostKeyChecking no`.
A host that is reached directly needs no such file: ssh then reads its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..endpoint import Endpoint
from ..failure import Failure, clean
from ..ssh_config.resolve import SYSTEM_FILE
from .arguments import further_words, knows_gssapi_keys, quoted
from .folders import private_folder
from .includes import Copies

_MOST_BYTES = 16 << 20
_ALWAYS = (
    "NoHostAuthenticationForLocalhost no\nVerifyHostKeyDNS no\nControlPath none\nForwardAgent no\nUpdateHostKeys no\n"
)
# ssh puts the name of the file into a shell's command without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")
_NAME = re.compile(r"[A-Za-z0-9_.:%-]+")  # no pattern


@contextmanager
def opened(endpoint: Endpoint) -> Iterator[str | None]:
    """Give the file for one ssh process, None where none is needed; it goes when the process ends.

    Where nobody here can tell whether there is a jump host, there may be one. Raises Failure("exec") where a file
    cannot be read, or where ssh would refuse it.
    """
    if endpoint.given is not None and endpoint.sure and not endpoint.jumps:
        yield None
        return
    given, _ = further_words(endpoint)
    folder = private_folder()
    try:
        path = folder / "config"
        if not _PLAIN.fullmatch(os.fspath(path)):
            what = f"ssh cannot be handed a file in {clean(folder, 80)}"
            raise Failure("exec", f"{what}: set TMPDIR to a path of letters, digits and ._+-/ alone")
        text = _text(endpoint, given, Copies(folder))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        yield os.fspath(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _text(endpoint: Endpoint, given: str | None, copies: Copies) -> bytes:
    # A jump host that only ssh knows of (a Match exec) takes no new keys.
    new = endpoint.strict == "accept-new" and all(jump.strict == "accept-new" for jump in endpoint.jumps)
    policy = "accept-new" if new and endpoint.jumps else "yes"
    exchange = "GSSAPIKeyExchange no\n" if knows_gssapi_keys() else ""
    first = f"StrictHostKeyChecking {policy}\n{_ALWAYS}{exchange}{_of_jumps(endpoint)}".encode()
    if given is None:
        # Of what is included ssh checks who may write to it, as it does of the user's file and not of the others.
        return first + b"Include ~/.ssh/config\n" + copies.of(SYSTEM_FILE)
    return first if given.lower() == "none" else first + _content(given)


def _of_jumps(endpoint: Endpoint) -> str:
    """Return blocks with what ssh is not to decide for jump hosts: the files of keys of unchecked ones."""
    blocks = [
        f"Host {jump.ssh_word}\n{keyword} {' '.join(quoted(each) for each in arguments)}\n"
        for jump in endpoint.jumps
        if jump.ssh_word and _NAME.fullmatch(jump.ssh_word)
        for keyword, *arguments in jump.given or ()
    ]
    return "".join([*blocks, "Host *\n"]) if blocks else ""


def _content(path: str) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise Failure("exec", f"ssh's configuration {clean(path, 120)} cannot be read: {error.strerror}") from None
