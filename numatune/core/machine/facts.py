"""What a host is: kernel release, architecture, virtualisation, shape."""

from __future__ import annotations

import re
from typing import Any, Optional

from ..derived import once
from ..model import Snapshot
from ..parsers import cmdline
from ..sources import Command, Extract, File, Source
from ..text import lines
from .container import SOURCES as CONTAINER
from .container import container
from .topology import Topology

_CAPTURED_UNAME = "/sos_commands/kernel/uname_-a"
_PCI = "/proc/bus/pci/devices"

# The shell reads what it can from the kernel's files: a program costs a hundred times more.
_MACHINE = r"""# The architecture, which the kernel tells since Linux 6.1.
read -r answer </proc/sys/kernel/arch || answer=$(uname -m)
machine=$answer"""
_USER = r"""# The user that this runs as: the second number of "Uid:" is the effective one.
while read -r key real effective others; do
  if [ "$key" = Uid: ]; then
    answer=$effective
    break
  fi
done </proc/self/status
[ -n "$answer" ] || answer=$(id -u)"""
# As systemd's own detect_vm() would answer, where that is certain: the kernel's clock for guests of KVM is there by
# CPUID's signature of KVM alone, and counts where DMI does not name a cloud that systemd tells apart. That there is no
# hypervisor is never certain from what a shell can read: a guest may hide CPUID's flag and show its host's maker, and
# then a bit of SMBIOS alone gives it away. (The kernel looks for that signature only where it sees CPUID's flag.)
_VIRTUAL = r"""# Whether this is a virtual machine: the clock of a KVM guest tells it without a program.
vendor=
clocks=
if [ -d /sys/class/dmi/id ]; then
  read -r vendor </sys/class/dmi/id/sys_vendor || vendor=unknown
fi
read -r clocks </sys/devices/system/clocksource/clocksource0/available_clocksource
case $vendor,$clocks in
  QEMU,*kvm-clock*|,*kvm-clock*) answer=kvm;;
  *) answer=$(systemd-detect-virt --vm);;
esac
[ -n "$answer" ] || absent=yes"""

SOURCES: tuple[Source, ...] = (
    File("/proc/cmdline"),
    File("/proc/version"),
    File("/proc/sys/kernel/osrelease"),
    File("/proc/sys/kernel/random/boot_id"),
    Extract("/proc/cpuinfo", first_paragraph=True, captured_too=r"^processor\b"),
    File("/sys/hypervisor/type"),
    File("/sys/class/dmi/id/sys_vendor"),
    File("/sys/class/dmi/id/product_name"),
    File(_CAPTURED_UNAME, captured_only=True),
    File(_PCI, captured_only=True),
    *CONTAINER,
    Command("uname", _MACHINE, starts=("uname",), early=True, shown="uname -m"),
    Command("virt", _VIRTUAL, starts=("systemd-detect-virt",), early=True, shown="systemd-detect-virt --vm"),
    Command("uid", _USER, starts=("id",), early=True, shown="id -u"),
)

_ARCHES = r"x86_64|aarch64|ppc64le|ppc64|s390x|riscv64|i[3-6]86|armv7l|armv6l"
# Devices that a hypervisor alone has, by vendor and device; and what DMI names no machine but a guest's.
_DEVICES = (("80eebeef", "oracle"), ("80eecafe", "oracle"), ("15ad0405", "vmware"), ("58530001", "xen"))
_GUESTS = (("VirtualBox", "oracle"), ("VMware Virtual", "vmware"), ("HVM domU", "xen"))
_HYPERVISORS = (("QEMU", "kvm"), ("KVM", "kvm"), ("Google", "google"), ("VMware", "vmware"), ("Xen", "xen"))


_LONGEST = 128
_SIGNS = (
    (r"^vendor_id[ \t]*: *IBM/S390", "s390x"),
    (r"^(?:arch|vendor)[ \t]*: *(?:IA-64|GenuineIntel$)", "ia64"),
    (r"^cpu[ \t]*: *(?:POWER[4-7]|PPC970|Cell)", "ppc64"),
    (r"^isa[ \t]*: *rv64", "riscv64"),
)


def facts(snapshot: Snapshot, topology: Topology) -> dict[str, Any]:
    """Return the facts of one host as the audit's JSON has them; what the snapshot does not determine is None."""
    nodes = topology.nodes
    return {
        "kernel": kernel_release(snapshot),
        "arch": architecture(snapshot),
        "virtualization": virtualization(snapshot),
        "cpu_model": _cpu_model(snapshot),
        "topology": {
            "online": None if topology.online is None else str(topology.online),
            "packages": topology.packages,
            "cores": None if topology.coreless else len(topology.cores) or None,
            "threads_per_core": topology.threads_per_core,
            "nodes": None
            if nodes is None
            else {str(ident): {"cpus": str(node.cpus), "memory_kib": node.memory_kib} for ident, node in nodes.items()},
        },
    }


def read_by_root(snapshot: Snapshot) -> bool:
    """Return whether root read the host; False where the snapshot does not say, as a captured tree does not."""
    return snapshot.command("uid").text.strip() == "0"


@once
def kernel_release(snapshot: Snapshot) -> Optional[str]:
    """Return the running kernel's release, from the first source that has it."""
    found = _release(snapshot)
    # The kernel holds at most 64 characters (utsname); anything longer is no release.
    return found if found and len(found) <= _LONGEST else None


def _release(snapshot: Snapshot) -> Optional[str]:
    release = snapshot.read("/proc/sys/kernel/osrelease")
    if release.present:
        return release.text.strip() or None
    for path in ("/proc/version", _CAPTURED_UNAME):
        words = snapshot.read(path).text.split()
        # "Linux version 6.1.0 (…)" and "Linux name 6.1.0 #1 …"
        if len(words) > 2 and words[0] == "Linux":
            return words[2]
    image = cmdline.last(snapshot.read("/proc/cmdline").text, "BOOT_IMAGE") or ""
    match = re.search(r"vmlinuz-(\S+)$", image)
    return match[1] if match else None


@once
def architecture(snapshot: Snapshot) -> Optional[str]:
    """Return the machine's architecture in uname's words."""
    machine = snapshot.command("uname")
    if machine.present and machine.text.strip():
        return machine.text.strip()
    named = re.search(rf"\b({_ARCHES})\b", snapshot.read(_CAPTURED_UNAME).text) or re.search(
        rf"(?:\b|\.)({_ARCHES})\b", kernel_release(snapshot) or ""
    )
    if named:
        return named[1]
    return _of_cpuinfo(snapshot.read("/proc/cpuinfo").text)


def _of_cpuinfo(info: str) -> Optional[str]:
    """Return the architecture by the words that each one's kernel writes to /proc/cpuinfo."""
    flags = re.search(r"^flags[ \t]*:(.*)$", info, re.M)
    if flags:
        return "x86_64" if "lm" in flags[1].split() else "i686"
    for sign, name in _SIGNS:
        if re.search(sign, info, re.M):
            return name
    # "ARMv7 Processor rev 5 (v7l)": older kernels say the rest behind all CPUs, which is not kept.
    named = re.search(r"^(?:Processor|model name)[ \t]*:.*\((aarch64|v[5-9][lb])\)[ \t]*$", info, re.M)
    if named:
        return named[1] if named[1] == "aarch64" else f"arm{named[1]}"
    match = re.search(r"^CPU architecture[ \t]*: *(?:AArch)?(\d{1,2})", info, re.M)
    if match:
        return "aarch64" if match[1] in ("8", "64") else f"armv{match[1]}l"
    return None


@once
def virtualization(snapshot: Snapshot) -> str:
    """Return "none", the hypervisor's name in systemd's words, "vm" for an unnamed one, or "unknown"."""
    detected = snapshot.command("virt")
    if detected.present and detected.text.strip():
        return lines(detected.text.strip())[-1]
    contained = container(snapshot)
    if contained:
        return contained
    xen = snapshot.read("/sys/hypervisor/type").text.strip()
    if xen:
        return xen
    maker = snapshot.read("/sys/class/dmi/id/sys_vendor").text + snapshot.read("/sys/class/dmi/id/product_name").text
    info = snapshot.read("/proc/cpuinfo").text
    flags = re.search(r"^flags\s*:(.*)$", info, re.M)
    guest = bool(flags and " hypervisor" in flags[1])
    for sign, name in _GUESTS:
        if sign in maker:
            return name
    pci = [line.split()[1] for line in lines(snapshot.read(_PCI).text) if len(line.split()) > 1]
    for sign, name in _DEVICES:
        if sign in pci:
            return name
    for sign, name in _HYPERVISORS:
        if sign in maker and (guest or not flags):
            return name
    if guest:
        return "vm"
    return "none" if flags else "unknown"


def _cpu_model(snapshot: Snapshot) -> Optional[str]:
    match = re.search(r"^(?:model name|cpu|Processor)\s*:\s*(\S.*)$", snapshot.read("/proc/cpuinfo").text, re.M)
    return match[1].strip() if match else None
