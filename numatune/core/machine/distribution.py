"""Which distribution a host has, as far as the names of files depend on it."""

from __future__ import annotations

import re
from typing import Optional

from ..model import Snapshot, State
from ..parsers import shell
from ..sources import File, Source
from .facts import kernel_release

_RELEASE = "/etc/os-release"
_VENDOR_RELEASE = "/usr/lib/os-release"
_DEBIANS = frozenset({"debian", "ubuntu"})
_OTHERS = frozenset({"rhel", "fedora", "centos", "suse", "opensuse", "amzn", "openEuler", "anolis"})
# As their packages number kernels: 5.14.0-427.el9.x86_64, 6.4.0-150600.23-default; 6.1.0-13-amd64, 5.15.0-91-generic.
_OTHER_KERNEL = re.compile(r"\.(?:el|fc|amzn|oe|an)[0-9]|-default$")
_DEBIAN_KERNEL = re.compile(r"(?:-[0-9]{1,4}|\+(?:bpo|deb[0-9]{1,2}))-[a-z]")

SOURCES: tuple[Source, ...] = (File(_RELEASE), File(_VENDOR_RELEASE))


def family(snapshot: Snapshot) -> frozenset[str]:
    """Return the ids of the distribution and of those that it is like, by os-release; none where that was not read."""
    # /etc/os-release is a link to the vendor's on most systems.
    path = next((path for path in (_RELEASE, _VENDOR_RELEASE) if snapshot.read(path).present), _RELEASE)
    words: list[str] = []
    for name in ("ID", "ID_LIKE"):
        found = shell.variable(path, snapshot.read(path).text, name)
        words += found[0].split() if found else []
    return frozenset(words)


def debian(snapshot: Snapshot) -> Optional[bool]:
    """Return whether files are named as Debian and Ubuntu do, not as Red Hat and SUSE; None where neither shows.

    Of a tree without os-release, the kernel tells whose it is.
    """
    named, release = family(snapshot), kernel_release(snapshot) or ""
    for of_debian, ids, kernel in ((False, _OTHERS, _OTHER_KERNEL), (True, _DEBIANS, _DEBIAN_KERNEL)):
        if named & ids or (not named and kernel.search(release)):
            return of_debian
    return None


def unread(snapshot: Snapshot, of_debian: str, of_others: str) -> str:
    """Return why a file or folder was not read that has two names, "" where it was: by the distribution's own name.

    By both, where the distribution is not known and neither was captured.
    """
    names = (of_debian, of_others) if debian(snapshot) else (of_others, of_debian)
    readings = [reading for reading in map(snapshot.directory, names) if reading.unread]
    neither = [reading for reading in readings if reading.state is State.NOT_CAPTURED and not reading.detail]
    if len(neither) == len(names) and debian(snapshot) is None:
        return f"{' and '.join(names)} are not in the captured tree"
    return readings[0].why() if readings else ""
