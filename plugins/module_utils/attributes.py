# Copyright: the numatune maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a file has beside its content: owner, mode, ACLs, capabilities and other extended attributes, raw.

Not taken along: security.evm, a keyed hash over the very inode, which the kernel makes for each file itself.
security.ima is the content's hash or signature: it comes back with the content. Where the kernel wants a hash it makes
that itself, so one that it does not let be set is no failure.
"""

from __future__ import annotations

import errno
import os

from .core.undo.journal import Seen

ACL = "system.posix_acl_access"
_LABEL = "security.selinux"
_SIGNED = "security.ima"
_OF_THE_SYSTEM = (_LABEL, _SIGNED, "security.evm")
_NONE = (errno.ENOTSUP, errno.ENOSYS)
"""A filesystem that has no extended attributes."""


def of(path: str) -> tuple[tuple[str, bytes], ...]:
    """Return a file's extended attributes but its label, sorted by name."""
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(_names(path))
        if name == _SIGNED or name not in _OF_THE_SYSTEM
    )


def label(path: str) -> str | None:
    """Return a file's security label, None where it has none."""
    try:
        return os.getxattr(path, _LABEL, follow_symlinks=False).decode()
    except OSError:
        return None


def give(descriptor: int, seen: Seen) -> None:
    """Give an open file, which nobody else may read yet, what was seen of another; what is not known stays."""
    # First the owner, for a new one takes capabilities away; the ACL before the mode, whose group bits are the ACL's
    # mask: without it they would be the group's right.
    if seen.uid is not None and seen.gid is not None:
        os.fchown(descriptor, seen.uid, seen.gid)
    if seen.xattrs is not None:
        wanted = dict(seen.xattrs)
        # What the file has already it got from its directory: a default ACL.
        for name in _names(descriptor):
            if name not in wanted and name not in _OF_THE_SYSTEM:
                os.removexattr(descriptor, name)
        for name, value in wanted.items():
            try:
                os.setxattr(descriptor, name, value)
            except OSError:
                if name != _SIGNED:
                    raise
    os.fchmod(descriptor, int(seen.mode or "0600", 8))
    if seen.label is not None:
        os.setxattr(descriptor, _LABEL, seen.label.encode())


def _names(file: int | str) -> list[str]:
    try:
        return os.listxattr(file) if isinstance(file, int) else os.listxattr(file, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NONE:
            return []
        raise
