"""What a public key's bytes say of it: its type, and how long an RSA modulus is."""

from __future__ import annotations

import struct

CERTIFICATE = "-cert-v01@openssh.com"

# What OpenSSH takes at all, whatever RequiredRSASize says.
_LEAST_RSA_BITS = 1024


def kind_of(blob: bytes) -> str:
    """Return the type that a public key or certificate names, "unknown" for bytes that hold none."""
    return _parts(blob, 1)[0].decode("ascii", "replace") if len(blob) > 4 and blob[:3] == b"\0\0\0" else "unknown"


def too_short(blob: bytes, least_bits: int) -> bool:
    """Return whether a key or certificate is of type RSA with a modulus of fewer bits than OpenSSH would take."""
    kind = kind_of(blob)
    if kind.removesuffix(CERTIFICATE) != "ssh-rsa":
        return False
    # A certificate has a nonce in front; then come the exponent and the modulus.
    modulus = _parts(blob, 4 if kind.endswith(CERTIFICATE) else 3)[-1]
    return int.from_bytes(modulus, "big").bit_length() < max(_LEAST_RSA_BITS, least_bits)


def _parts(blob: bytes, count: int) -> list[bytes]:
    """Return the first strings of a blob; those that are not there are empty."""
    found = []
    for _ in range(count):
        (size,) = struct.unpack(">I", blob[:4].ljust(4, b"\0"))
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return found
