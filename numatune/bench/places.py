"""Where a file goes: its folder held open, and no link followed that another user may have planted.

In a folder that everybody can write and nobody can clear (/tmp), a link is followed only where it belongs to this user
or to the folder's owner: what fs.protected_symlinks does in the kernel, where it is switched on. From then on the
folder is known by its descriptor, so that nothing put in its place meanwhile counts.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque

_MOST_LINKS = 40
_SHARED = stat.S_ISVTX | stat.S_IWOTH
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def opened(path: str, follow: bool = True) -> tuple[int, str]:
    """A descriptor of the folder that `path` leads to, to be closed by the caller, and the name in it.

    The name need not exist, and is no link, unless links at the end are not to be followed. Raises OSError, for a link
    of somebody else's too.
    """
    parts = deque(path.split("/"))
    folder = os.open("/" if path.startswith("/") else ".", _FOLDER)
    links = 0
    try:
        while parts:
            part = parts.popleft()
            if part in ("", "."):
                continue
            found = None if part == ".." or not (parts or follow) else _link(folder, part, bool(parts))
            if found is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                parts.extendleft(reversed(found.split("/")))
                part = "/" if found.startswith("/") else "."
            elif not parts and part != "..":
                return folder, part
            before, folder = folder, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(before)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    except BaseException:
        os.close(folder)
        raise


def _link(folder: int, name: str, must_exist: bool) -> str | None:
    """Where a link points; None for what is none, and for what does not exist unless it must."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if must_exist:
            raise
        return None
    if not stat.S_ISLNK(info.st_mode):
        return None
    around = os.fstat(folder)
    if around.st_mode & _SHARED == _SHARED and info.st_uid not in (os.geteuid(), around.st_uid):
        why = (
            f"{name} is a link of another user's in a folder that everybody can write: remove it, or name another place"
        )
        raise PermissionError(errno.EACCES, why)
    return os.readlink(name, dir_fd=folder)
