"""Whether a host is a container: its /proc and /sys show its host's kernel, which nothing in it can configure."""

from __future__ import annotations

import re
from typing import Optional

from ..derived import once
from ..model import Snapshot
from ..sources import Command, File, Source

_SYSTEMD = "/run/systemd/container"
_ENVIRONMENT = "/proc/1/environ"
_MARKS = {"/run/.containerenv": "podman", "/.dockerenv": "docker"}
_SECOND = "/proc/2/comm"
_REPORTS = ("/sos_commands/host", "/sos_commands/systemd")
# Of the environment, which may hold secrets, this one variable; where systemd runs in a container, it says so itself.
_VARIABLE = rf"""# Whether this is a container: by one variable of its first process; systemd says it elsewhere.
if [ ! -d /run/systemd/system ] && [ -r {_ENVIRONMENT} ]; then
  variables=$newline$(tr '\0' '\n' <{_ENVIRONMENT})$newline
  case $variables in
    *"$newline"container=?*)
      answer=${{variables#*"$newline"container=}}
      answer=${{answer%%"$newline"*}};;
  esac
fi
[ -n "$answer" ] || absent=yes"""

SOURCES: tuple[Source, ...] = (
    File(_SYSTEMD),
    *(File(path) for path in _MARKS),
    File(_SECOND),
    File(_ENVIRONMENT, captured_only=True),
    *(File(f"{folder}/hostnamectl*", captured_only=True) for folder in _REPORTS),
    Command("container", _VARIABLE, needs="tr", shown="container= in /proc/1/environ"),
)


@once
def container(snapshot: Snapshot) -> Optional[str]:
    """Return the container's kind in systemd's words (lxc, docker, systemd-nspawn …), None for no sign."""
    said = snapshot.read(_SYSTEMD).text or snapshot.command("container").text
    if said.strip():
        return _word(said.split()[0])
    for variable in snapshot.read(_ENVIRONMENT).text.split("\0"):
        if variable.startswith("container=") and variable.strip() != "container=":
            return _word(variable.partition("=")[2].strip())
    # A machine's image may have been made of a container's: there the kernel's own threads are seen.
    if snapshot.read(_SECOND).text.strip() != "kthreadd":
        for path, name in _MARKS.items():
            if snapshot.read(path).present:
                return name
    for folder in _REPORTS:
        for path in snapshot.below(folder):
            text = snapshot.read(path).text if path.rpartition("/")[2].startswith("hostnamectl") else ""
            found = re.search(r"^ *Virtualization: *(\S+)$", text, re.M)
            chassis = re.search(r"^ *Chassis: *container\b", text, re.M)
            if chassis or (found and found[1] in _KINDS):
                return found[1] if found else "container-other"
    return None


_KINDS = frozenset("lxc lxc-libvirt docker podman systemd-nspawn rkt wsl openvz proot pouch container-other".split())


def _word(text: str) -> str:
    return text if text in _KINDS else "container-other"
