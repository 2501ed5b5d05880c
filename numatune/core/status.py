"""The truth table: how the three planes of a setting make one status.

- runtime: what the kernel does now;
- persisted: what the configuration on disk says, with the line that wins;
- next boot: what the entry that boots next, or the kernel's own default, starts with.

What user space configures comes after what the kernel starts with, so a persisted value decides the outcome of
the next boot, and the boot plane only where nothing is persisted. Settings that live in kernel arguments alone
have no such later word: their outcome is the boot plane.
"""

from __future__ import annotations

from enum import Enum

from .model import Status


class Plane(str, Enum):
    """What one plane says of the wanted value."""

    RIGHT = "right"
    WRONG = "wrong"
    NONE = "none"
    """Read, and nothing is said there."""
    UNREAD = "unread"


def outcome(persisted: Plane, next_boot: Plane) -> Plane:
    """Return what the host comes to after the next boot, for a setting that user space may set.

    A configuration that could not be read may set anything, so the outcome is unread, whatever the boot entry
    says; a next boot of which nothing is known is unread too.
    """
    if persisted is not Plane.NONE:
        return persisted
    return Plane.UNREAD if next_boot is Plane.NONE else next_boot


def combine(runtime: Plane, after: Plane, masked: bool = False) -> Status:
    """Return the status: `runtime` is never NONE, `after` is the outcome, `masked` as the resolver found.

    In falling precedence: wrong, masked, lost_at_reboot, pending_reboot, unknown, ok. A plane that could not be
    read turns only a would-be ok into unknown; a running value that is read and wrong stays wrong unless a plane
    that was read proves pending_reboot or masked.
    """
    if masked:
        return Status.MASKED
    if runtime is Plane.WRONG:
        return Status.PENDING_REBOOT if after is Plane.RIGHT else Status.WRONG
    if after is Plane.WRONG:
        return Status.LOST_AT_REBOOT
    if runtime is Plane.RIGHT and after is Plane.RIGHT:
        return Status.OK
    return Status.UNKNOWN
