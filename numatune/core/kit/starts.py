"""What the next kernel starts with, before user space configures anything: arguments, build options, defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable, NamedTuple, Optional

from ..host import Host
from ..model import Reading
from ..parsers import cmdline
from ..sources import KERNEL_CONFIG, BuildOption, Source
from ..status import Plane
from .said import Right, Said, said, unread


class Start(NamedTuple):
    """One thing that decides what a kernel starts with, and what it must be read from beside the boot entry.

    `of` says the value that it sets, with NONE where it sets nothing.
    """

    of: Callable[[Host, Right], Said]
    sources: tuple[Source, ...] = ()


def first(*starts: Start) -> Start:
    """Return the start that is the first of these which says anything; one that is not known ends the search."""

    def of(host: Host, right: Right) -> Said:
        found = (start.of(host, right) for start in starts)
        return next((item for item in found if item.plane is not Plane.NONE), Said(Plane.NONE))

    return Start(of, tuple(dict.fromkeys(source for start in starts for source in start.sources)))


def always(value: str, since: tuple[int, int] = (0, 0)) -> Start:
    """Return the kernel's own default, where it is the same on every machine; older kernels than `since` differ."""

    def of(host: Host, right: Right) -> Said:
        before = older(next_release(host), since) if since > (0, 0) else False
        if before is not False:
            this = f"this is {next_release(host)}" if before else "this one's release is not known"
            return unread(f"the default of kernels before {since[0]}.{since[1]} is another, and {this}")
        return said(value, right)

    return Start(of)


def argument(key: str, read: Callable[[str], Optional[str]]) -> Start:
    """Return what a kernel argument sets: `read` makes of its word the value, None of one that sets nothing."""

    def of(host: Host, right: Right) -> Said:
        boot = host.next_boot
        if boot.arguments is None:
            return unread(boot.reason)
        word = cmdline.last(boot.arguments, key)
        value = read(word) if word else None
        return Said(Plane.NONE) if value is None else said(value, right, boot.where)

    return Start(of)


def sysctl_argument(key: str, read: Callable[[str], Optional[str]]) -> Start:
    """Return what `sysctl.KEY=` sets: the kernel applies it just before it starts init, after its own switches.

    It takes each word in turn, whichever way the key is spelled, and passes over a value that is none.
    """
    spellings = tuple(f"sysctl.{name}=" for name in (key, key.replace(".", "/")))

    def of(host: Host, right: Right) -> Said:
        boot = host.next_boot
        if boot.arguments is None:
            return unread(boot.reason)
        words = [word.partition("=")[2] for word in cmdline.tokens(boot.arguments) if word.startswith(spellings)]
        valid = [word for word in words if read(word) is not None]
        return said(valid[-1], right, boot.where) if valid else Said(Plane.NONE)

    return Start(of)


def build_option(words: Mapping[str, str], where: str = "") -> Start:
    """Return what the kernel was built with: `words` maps options, of which one is "y", to the value.

    They are looked for on hosts that have the path `where`.
    """

    def of(host: Host, right: Right) -> Said:
        config = kernel_config(host)
        value = next((value for name, value in words.items() if built(config, name)), None)
        if value is None:
            why = f"{config.path} names none of its options" if config.present else config.why()
            return unread(f"the kernel's default is not known: {why}")
        return said(value, right)

    return Start(of, tuple(BuildOption(name, where) for name in words))


def next_release(host: Host) -> Optional[str]:
    """Return the release of the kernel that boots next (else of the running one)."""
    where = host.next_boot.where
    image = re.search(r"vmlinuz-(\S+)", where.text) if where else None
    return image[1] if image else host.kernel


def older(release: Optional[str], than: tuple[int, int]) -> Optional[bool]:
    """Return whether a kernel's release is older, None where it is not known."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release or "")
    return None if match is None else (int(match[1]), int(match[2])) < than


def kernel_config(host: Host) -> Reading:
    """Return the build options of the kernel that boots next (else of the running one): those that are declared.

    A setting declares each option that it looks for there, by `sources.BuildOption`.
    """
    release = next_release(host)
    if release:
        reading = host.snapshot.read(f"/boot/config-{release}")
        if reading.present:
            return reading
    running = host.snapshot.command(KERNEL_CONFIG)
    if running.present and release == host.kernel:
        return running._replace(path="/proc/config.gz")
    return host.snapshot.read(f"/boot/config-{release or '(release not known)'}")


def built(config: Reading, option: str) -> bool:
    """Return whether a kernel build option is "y"."""
    return f"{option}=y" in config.text.split()
