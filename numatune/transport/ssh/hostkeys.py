"""The check of a server's key, before any authentication: the policy that replaces fabric's, which trusts any key."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable
from typing import Any

import paramiko

from ..endpoint import Endpoint, chosen
from ..failure import Failure, clean
from ..host_keys.known_hosts import KnownHosts
from .blobs import too_short

Known = Callable[[tuple[str, ...]], KnownHosts]

_RSA = ("rsa-sha2-512", "rsa-sha2-256")


def algorithms(endpoint: Endpoint, known: KnownHosts, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the host key algorithms to ask for: those of keys on file first, so that a known key is what comes.

    As for OpenSSH, an order that ssh_config sets is used (a list, or one with `^`; `+` and `-` set none).
    """
    allowed = chosen(endpoint.hostkeyalgorithms, usual)
    if endpoint.hostkeyalgorithms and endpoint.hostkeyalgorithms[0][:1] not in ("+", "-"):
        return allowed
    filed: list[str] = []
    for kind in known.key_types(endpoint.key_name, endpoint.key_port):
        filed.extend(_RSA if kind == "ssh-rsa" else (kind,))
    return tuple(dict.fromkeys([*(kind for kind in filed if kind in allowed), *allowed]))


class StrictKeys(paramiko.MissingHostKeyPolicy):
    """paramiko asks this for every key, since its own lists of known hosts are left empty.

    Raises Failure("hostkey") for a key that is unknown (unless the endpoint takes new ones), changed, revoked or short.
    """

    def __init__(self, endpoint: Endpoint, known: KnownHosts) -> None:
        self.endpoint = endpoint
        self.known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: Any) -> None:
        """Return if the key is the host's; raise otherwise."""
        name, port = self.endpoint.key_name, self.endpoint.key_port
        blob = key.asbytes()
        if too_short(blob, self.endpoint.rsa_bits):
            raise Failure(
                "hostkey",
                f"its RSA key has {key.get_bits()} bits, fewer than RequiredRSASize wants: give it a longer key,"
                f" or one of another type (it showed {key.get_name()} {fingerprint(blob)})",
            )
        state = self.known.check(name, port, key.get_name(), blob)
        if state == "unknown" and self.endpoint.strict == "accept-new":
            self.known.add(name, port, key.get_name(), blob, hashed=self.endpoint.hash_known_hosts)
            return
        if state != "ok":
            raise _refusal(self.endpoint, self.known, state, key.get_name(), blob)


def fingerprint(blob: bytes) -> str:
    """Return a key's SHA256 fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _refusal(endpoint: Endpoint, known: KnownHosts, state: str, kind: str, blob: bytes) -> Failure:
    told = f"(it showed {kind} {fingerprint(blob)})"
    places = known.where(endpoint.key_name, endpoint.key_port, blob)
    where = clean(", ".join(places[:2]), 200) + (f" and {len(places) - 2} more" if len(places) > 2 else "")
    if state == "revoked":
        return Failure("hostkey", f"its key is marked @revoked at {where}: do not trust this host {told}")
    if state == "changed":
        file = shlex.quote(places[0].rpartition(":")[0]) if places else "~/.ssh/known_hosts"
        command = clean(f"ssh-keygen -R {shlex.quote(endpoint.key_entry)} -f {file}", 200)
        return Failure(
            "hostkey",
            f"its key is not the one at {where}: someone may be in between, or it was installed anew;"
            f" check it there, then `{command}` and add the new key {told}",
        )
    # A line that could not be read may be the one that was meant for this host.
    note = f"; {clean(known.notes[0], 160)}" if known.notes else ""
    return Failure(
        "hostkey",
        "no key of it is on file: check it there, then"
        f" `ssh-keyscan -p {endpoint.port} {endpoint.hostname} >> ~/.ssh/known_hosts`,"
        f" or run with --host-keys accept-new {told}{note}",
    )
