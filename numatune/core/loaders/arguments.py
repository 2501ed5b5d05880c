"""Kernel arguments as a set that is wanted: which a user may ask for, how they go into a command line, what holds them.

A key that is wanted is owned: every other assignment of it is taken out, because of two `isolcpus=` with different
CPUs the kernel keeps the first, and of others the last (kernel-parameters.rst).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .. import withheld
from ..errors import InputError
from ..parsers import cmdline

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_VALUE = re.compile(r"[A-Za-z0-9_.,:/@+*=-]*")
# One argument as a boot entry writes it, its quotes kept, with the white space behind it.
_WRITTEN = re.compile(r"""((?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|\S)+)\s*""")
# What the wanted arguments must stand before: "--" gives the rest to init, Ubuntu's menu ends its lines by the other.
_LAST = ("--", "$vt_handoff")

# What decides whether the host comes up at all, or may rightly stand several times.
_NOT_OURS = frozenset(
    "root rootflags rootfstype ro rw init rdinit initrd console earlycon resume BOOT_IMAGE panic systemd.unit"
    " hugepages hugepagesz crashkernel nfsroot ip modprobe.blacklist module_blacklist single emergency rescue"
    " mem memmap maxcpus nr_cpus possible_cpus nosmp noapic nolapic acpi noinitrd"
    # Of the initramfs: a shell instead of a boot, a module that is kept out, a disk that is not found.
    " break blacklist boot netboot nfsopts cryptopts cryptdevice luks rootdelay rootwait resume_offset noresume"
    " md raid roothash verity autorelabel forcefsck fastboot s S"
    # Of the firmware, of a crash kernel, of what brings further arguments.
    " acpi_rsdp acpi_osi acpi_rev_override acpi_os_name noefi initrdmem bootconfig elfcorehdr reset_devices"
    " disable_cpu_apicid disableapic swiotlb vmalloc reboot oops panic_on_warn panic_on_taint panic_on_oops".split()
)
_NOT_OURS_BEGIN = ("rd.", "systemd.", "ostree", "fsck.", "dm_mod.", "mount.usr")
# numatune never turns these off, and by arguments they are turned off only; as the kernel compares them.
_SECURITY = frozenset(
    "mitigations nopti pti kpti nospectre_v1 nospectre_v2 spectre_v2 spectre_v2_user spectre_bhi"
    " spec_store_bypass_disable nospec_store_bypass_disable l1tf mds tsx_async_abort mmio_stale_data retbleed srbds"
    " gather_data_sampling reg_file_data_sampling spec_rstack_overflow nosmap nosmep nokaslr selinux enforcing apparmor"
    " lsm security lockdown module.sig_enforce ima_appraise evm audit kvm.nx_huge_pages ssbd fips kaslr norandmaps"
    " indirect_target_selection its tsa vmscape init_on_alloc init_on_free randomize_kstack_offset vsyscall"
    " tsx nospectre_bhb nospec spectre_bhb noibrs noibpb nobp no_stf_barrier no_entry_flush no_uaccess_flush"
    " no_rfi_flush l1d_flush clearcpuid nofsgsbase unsafe_fsgsbase dis_ucode_ldr microcode mem_encrypt"
    " rodata noexec noexec32 cfi ibt nousershstk nopku hardened_usercopy iomem no_hash_pointers hash_pointers"
    " slub_debug slab_debug slab_merge slub_merge no_file_caps checkreqprot kgdboc kgdbwait sysrq_always_enabled"
    " iommu intel_iommu amd_iommu intremap pcie_acs_override stack_guard_gap initcall_blacklist debug_boot_weak_hash"
    " nordrand vdso vdso32 ia32_emulation init_mlocked_on_free page_poison ca_keys audit_backlog_limit"
    " kgdbcon kgdb kgdbdbgp ekgdboc netconsole prot_virt TOMOYO_loader TOMOYO_trigger"
    " usbcore.authorized_default".split()
)
# Whole families: a sysctl by argument may be any of the kernel's own switches.
_SECURITY_BEGIN = (
    "sysctl. arm64. kvm_intel. kvm_amd. kvm.nx_huge_pages kvm.mitigate iommu. intel_iommu. amd_iommu. arm_smmu."
    " vfio ima_ evm. integrity_ apparmor. selinux. yama. lockdown. microcode. random. proc_mem. dm_verity. efi spectre_"
    " nospectre_ spec_ firmware_class. module. lsm. loadpin. tomoyo. trusted. syscall. rng_core. netconsole."
).split()
# Of an argument with many meanings, those that let devices past their isolation.
_SECURITY_VALUES = {"pci": ("disable_acs_redir", "config_acs")}


def check(wanted: Mapping[Any, object], where: str) -> dict[str, str]:
    """Return what a user asked for as key -> value ("" for a bare key).

    Raises InputError for a key or value that a boot entry cannot hold unquoted, that decides how the host boots,
    or that weakens its security.
    """
    found: dict[str, str] = {}
    for key, value in wanted.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InputError(f"{where}: {str(key)[:40]!r} is no kernel argument's name")
        name = _name(key)
        if name in map(_name, found):
            raise InputError(f"{where}.{key}: named twice, for the kernel reads - and _ alike")
        if name in _SECURITY or name.startswith(tuple(_SECURITY_BEGIN)):
            raise InputError(f"{where}.{key}: numatune changes no security setting; set it by hand if you must")
        weakening = [part for part in _SECURITY_VALUES.get(name, ()) if part in str(value)]
        if weakening:
            raise InputError(f"{where}.{key}: numatune changes no security setting ({weakening[0]}); set it by hand")
        if name in _NOT_OURS or name.startswith(_NOT_OURS_BEGIN):
            raise InputError(
                f"{where}.{key}: numatune does not own this argument; set it in the boot loader's own file"
            )
        if withheld.text(f"{key}=x") != f"{key}=x" or withheld.text(f"{key}={value}") != f"{key}={value}":
            raise InputError(
                f"{where}.{key}: its value looks like a secret, which numatune does not read, so it could not be "
                "judged; set it in the boot loader's own file"
            )
        if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
            raise InputError(f"{where}.{key}: a text or a number is wanted, or nothing for a bare argument")
        text = "" if value is None else str(value)
        if not _VALUE.fullmatch(text):
            raise InputError(f"{where}.{key}: {text[:40]!r} holds what a boot entry would need quotes for")
        found[key] = text
    return found


def join(wanted: Mapping[str, str]) -> str:
    """Return the arguments as a boot entry holds them."""
    return " ".join(f"{key}={value}" if value else key for key, value in wanted.items())


def merged(line: str, wanted: Mapping[str, str], drop: Iterable[str] = ()) -> str:
    """Return a command line with every argument of an owned key taken out and the wanted ones at its end.

    Arguments of `drop` go only where key and value are the same. All others stay as they are written, quotes and
    white space too; what follows "--" is for init and stays last.
    """
    owned, gone = {_name(key) for key in wanted}, frozenset(drop)
    start = next((found.start() for found in _WRITTEN.finditer(line) if found[1] in _LAST), len(line))
    head, tail = line[:start], line[start:].rstrip()

    def kept(found: re.Match[str]) -> str:
        plain = re.sub(r"""["'\\]""", "", found[1])
        return "" if _name(plain.partition("=")[0]) in owned or plain in gone else found[0]

    text = _WRITTEN.sub(kept, head)
    if text != head and re.search(r"\S\s$", text):
        text = text[:-1]
    for more in (join(wanted), tail):
        if more:
            text += ("" if not text or text[-1].isspace() else " ") + more
    return text


def edited(line: str, wanted: Mapping[str, str], drop: Iterable[str] = ()) -> str:
    """Return what `merged` does; a line that holds all of it already stays as it is, in whatever order."""
    gone = list(drop)
    as_wanted = held(line, wanted) and not set(gone) & set(cmdline.tokens(line))
    return line if as_wanted else merged(line, wanted, gone)


def held(line: str, wanted: Mapping[str, str]) -> bool:
    """Return whether a command line holds each argument, once and with the wanted value."""
    return all(cmdline.values(line, key) == [value] for key, value in wanted.items())


def shown(line: str, keys: Iterable[str]) -> str:
    """Return what a command line holds of some keys."""
    found = [f"{key}={value}" if value else key for key in keys for value in cmdline.values(line, key)]
    return " ".join(found) or "none of them"


def missing(line: str, wanted: Mapping[str, str]) -> str:
    """Return the arguments that a command line does not hold so, as it should hold them."""
    return join({key: value for key, value in wanted.items() if cmdline.values(line, key) != [value]})


def quoted(line: str, wanted: Mapping[str, str]) -> str:
    """Return the key that a quoted argument with blanks names in a command line, "" for none.

    A shell that splits the line at blanks would take it for an argument of its own.
    """
    for found in _WRITTEN.finditer(line):
        words = re.sub(r"""["'\\]""", " ", found[1]).split()
        for key in wanted:
            if len(found[1].split()) > 1 and any(_name(word.partition("=")[0]) == _name(key) for word in words):
                return key
    return ""


def _name(key: str) -> str:
    """Return a key as the kernel compares it: "-" and "_" are one."""
    return key.replace("-", "_")
