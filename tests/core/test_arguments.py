"""Kernel arguments as text: what may be asked for, what a command line comes to, GRUB's environment block."""

from __future__ import annotations

import re
from typing import Any

import pytest

from numatune.core.errors import InputError
from numatune.core.loaders.arguments import check, edited, held, join, merged, missing, quoted, shown
from numatune.core.parsers import grub

TAKEN = {
    "a value": ({"isolcpus": "managed_irq,domain,1-3"}, {"isolcpus": "managed_irq,domain,1-3"}),
    "a number": ({"skew_tick": 1}, {"skew_tick": "1"}),
    "bare": ({"nosmt": None, "threadirqs": ""}, {"nosmt": "", "threadirqs": ""}),
    "a module's": ({"intel_idle.max_cstate": "1"}, {"intel_idle.max_cstate": "1"}),
    "a value with =": ({"foo": "bar=1"}, {"foo": "bar=1"}),
}
REFUSED = {
    "security": ({"mitigations": "off"}, "changes no security setting"),
    "security, other spelling": ({"spectre-v2": "off"}, "changes no security setting"),
    "security, bare": ({"nokaslr": None}, "changes no security setting"),
    "SELinux": ({"selinux": 0}, "changes no security setting"),
    "exact": ({"rodata": "off"}, "changes no security setting"),
    "the IOMMU": ({"intel_iommu": "off"}, "changes no security setting"),
    "branch history": ({"nospectre-bhb": None}, "changes no security setting"),
    "a sysctl": ({"sysctl.kernel.yama.ptrace_scope": 0}, "changes no security setting"),
    "a processor's feature": ({"arm64.nobti": None}, "changes no security setting"),
    "a module of KVM's": ({"kvm-intel.vmentry_l1d_flush": "never"}, "changes no security setting"),
    "allocator checks": ({"slub_debug": "-"}, "changes no security setting"),
    "memory": ({"mem": "4G"}, "does not own this argument"),
    "CPUs": ({"maxcpus": 1}, "does not own this argument"),
    "no CPUs": ({"nosmp": None}, "does not own this argument"),
    "root": ({"root": "/dev/sda1"}, "does not own this argument"),
    "panic": ({"panic": 5}, "does not own this argument"),
    "stands several times": ({"crashkernel": "1G"}, "does not own this argument"),
    "the initramfs's": ({"rd.lvm.lv": "vg/root"}, "does not own this argument"),
    "systemd's": ({"systemd.unit": "x"}, "does not own this argument"),
    "a key with =": ({"a=b": "c"}, "is no kernel argument's name"),
    "a key with a blank": ({"a b": "c"}, "is no kernel argument's name"),
    "no text": ({1: "c"}, "is no kernel argument's name"),
    "twice": ({"a-b": "1", "a_b": "2"}, "named twice"),
    "true": ({"a": True}, "a text or a number is wanted"),
    "a list": ({"a": [1]}, "a text or a number is wanted"),
    "a blank": ({"a": "b c"}, "would need quotes for"),
    "a quote": ({"a": 'b"c'}, "would need quotes for"),
    "another": ({"a": "b'"}, "would need quotes for"),
    "a variable": ({"a": "$b"}, "would need quotes for"),
    "a command": ({"a": "`b`"}, "would need quotes for"),
    "a line": ({"a": "b\nc"}, "would need quotes for"),
    "a backslash": ({"a": "b\\"}, "would need quotes for"),
    "a semicolon": ({"a": "b;c"}, "would need quotes for"),
}
MORE = (
    "tsx noexec cfi l1d_flush its iommu amd_iommu iommu.passthrough no_hash_pointers no-hash-pointers kvm_amd.sev"
    " arm64.nomte sysctl.vm.swappiness nr_cpus memmap dis_ucode_ldr no_file_caps"
).split()


@pytest.mark.parametrize("key", MORE)
def test_more_that_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=r"changes no security setting|does not own this argument"):
        check({key: "x"}, "here")


@pytest.mark.parametrize("key", ["slab_nomerge", "memtest", "itself", "kvm.halt_poll_ns", "nosmt", "debugfs"])
def test_what_only_looks_like_them_may_be_asked_for(key: str) -> None:
    assert check({key: None}, "here") == {key: ""}


@pytest.mark.parametrize(("asked", "found"), TAKEN.values(), ids=TAKEN)
def test_what_may_be_asked_for(asked: dict[str, Any], found: dict[str, str]) -> None:
    assert check(asked, "here") == found


@pytest.mark.parametrize(("asked", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(asked: dict[Any, Any], words: str) -> None:
    with pytest.raises(InputError, match="here") as caught:
        check(asked, "here")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


A = {"a": "1"}
MERGED = {
    "empty": ("", A, "a=1"),
    "added": ("ro quiet", A, "ro quiet a=1"),
    "replaced": ("ro a=2 quiet", A, "ro quiet a=1"),
    "replaced, all of them": ("a=2 ro a=3 a", A, "ro a=1"),
    "the last": ("ro a=2", A, "ro a=1"),
    "alone": ("a=2", A, "a=1"),
    "a longer key stays": ("ab=2 a.b=3 ba=4", A, "ab=2 a.b=3 ba=4 a=1"),
    "dash and underscore": ("x-y=1 x_y=2", {"x-y": "3"}, "x-y=3"),
    "bare": ("ro a=1", {"a": ""}, "ro a"),
    "two": ("b=0 ro", {"a": "1", "b": "2"}, "ro a=1 b=2"),
    "for init": ("ro a=2 -- a=3", A, "ro a=1 -- a=3"),
    "for init alone": ("-- a=3", A, "a=1 -- a=3"),
    "Ubuntu's": ("ro splash $vt_handoff", A, "ro splash a=1 $vt_handoff"),
    "quotes stay": ('dyndbg="file a.c +p" a=2', A, 'dyndbg="file a.c +p" a=1'),
    "quoted value": ('ro a="2 3" quiet', A, "ro quiet a=1"),
    "quoted whole": ('ro "a=2 3" quiet', A, "ro quiet a=1"),
    "single quotes": ("ro 'a=2' quiet", A, "ro quiet a=1"),
    "inside quotes": ('x="b a=2 c"', A, 'x="b a=2 c" a=1'),
    "an apostrophe": ("x=it's a=2 y", A, "x=it's y a=1"),
    "white space stays": ("ro  quiet\tx", A, "ro  quiet\tx a=1"),
    "as grub-mkconfig joins": ("ro  ", A, "ro  a=1"),
    "a variable": ("$kernelopts $tuned_params", A, "$kernelopts $tuned_params a=1"),
    "nothing": ("ro  quiet ", {}, "ro  quiet "),
}


@pytest.mark.parametrize(("line", "wanted", "found"), MERGED.values(), ids=MERGED)
def test_merged(line: str, wanted: dict[str, str], found: str) -> None:
    assert merged(line, wanted) == found
    assert merged(found, wanted) == found


def test_what_is_dropped_is_dropped_with_its_value_only() -> None:
    assert merged("ro a=1 a=2 b", {}, ["a=1", "b"]) == "ro a=2"
    assert merged("ro  quiet a=1", {}, ["a=1"]) == "ro  quiet"
    assert merged("ro  a=1", {}, ["a=1"]) == "ro  "
    assert merged("a=1 -- a=1", {}, ["a=1"]) == "-- a=1"


def test_line_that_holds_them_in_another_order_stays() -> None:
    assert edited("a=1 ro b", A) == "a=1 ro b"
    assert edited("a=1 ro a=1", A) == "ro a=1"
    assert edited("a=1 ro b", A, ["b"]) == "ro a=1"
    assert edited("ro", A) == "ro a=1"


HELD = {
    "so": ("ro a=1", True),
    "not": ("ro", False),
    "another value": ("a=2", False),
    "bare": ("a", False),
    "twice": ("a=1 a=1", False),
    "another too": ("a=2 a=1", False),
    "for init": ("ro -- a=1", False),
    "quoted": ('"a=1"', True),
    "inside another": ('x="b a=1"', False),
}


@pytest.mark.parametrize(("line", "found"), HELD.values(), ids=HELD)
def test_held(line: str, found: bool) -> None:
    assert held(line, A) is found
    assert (missing(line, A) == "") is found


def test_words_for_people() -> None:
    assert shown("a=1 b a=2", ["a", "b", "c"]) == "a=1 a=2 b"
    assert shown("ro", ["a"]) == "none of them"
    assert join({"a": "1", "b": ""}) == "a=1 b"
    assert quoted('x="b a=2"', A) == "a"
    assert quoted('x="b" a=2', A) == ""


def block(text: str, size: int = 1024) -> str:
    return text + "#" * (size - len(text))


HEAD = "# GRUB Environment Block\n"
SET = {
    "empty": (block(HEAD), "b", block(HEAD + "x=b\n")),
    "no file": ("", "b", block(HEAD + "x=b\n")),
    "others stay": (block(HEAD + "xx=1\ny=2\n"), "b", block(HEAD + "xx=1\ny=2\nx=b\n")),
    "replaced in its place": (block(HEAD + "x=1\ny=2\n"), "b", block(HEAD + "x=b\ny=2\n")),
    "taken out": (block(HEAD + "x=1\ny=2\n"), None, block(HEAD + "y=2\n")),
    "emptied": (block(HEAD + "x=1\n"), "", block(HEAD + "x=\n")),
    "was not there": (block(HEAD + "y=2\n"), None, block(HEAD + "y=2\n")),
    "ends with #": (block(HEAD + "y=a#\n"), "b", block(HEAD + "y=a#\nx=b\n")),
    "a line end at the end": (block(HEAD + "y=2\n") + "\n", "b", block(HEAD + "y=2\nx=b\n", 1025)),
    "not padded": (HEAD + "y=2\n", None, block(HEAD + "y=2\n")),
    "larger": (block(HEAD, 2048), "b", block(HEAD + "x=b\n", 2048)),
}


@pytest.mark.parametrize(("text", "value", "found"), SET.values(), ids=SET)
def test_environment_block_keeps_its_size(text: str, value: str | None, found: str) -> None:
    assert grub.with_variable(text, "x", value) == found
    assert grub.environment(found).get("x") == value


@pytest.mark.parametrize("value", ["a\\b", "a\\\\", "two\nlines", "x=y z", "#", "root=UUID=1 ro"])
def test_what_was_set_is_read_back(value: str) -> None:
    text = grub.with_variable(grub.with_variable(block(HEAD + "y=1\n"), "x", value), "z", "2")
    assert grub.environment(text) == {"y": "1", "x": value, "z": "2"}
    assert grub.environment(grub.with_variable(text, "x", None)) == {"y": "1", "z": "2"}


def test_full_environment_block_is_refused() -> None:
    full = block(HEAD + "y=" + "a" * 990 + "\n")
    assert len(grub.with_variable(full, "x", "1")) == 1024
    with pytest.raises(InputError, match="x does not fit into GRUB's environment block of 1024 bytes"):
        grub.with_variable(full, "x", "12345")


def test_bytes_are_counted_not_letters() -> None:
    assert len(grub.with_variable(block(HEAD), "x", "ü").encode()) == 1024


WEAKENING = (
    "intremap=off stack_guard_gap=0 initcall_blacklist=x efi=no_disable_early_pci_dma debug_boot_weak_hash "
    "firmware_class.path=/tmp pcie_acs_override=downstream vfio.enable_unsafe_noiommu_mode=1 module.sig_enforce=0 "
    "spectre_bhi=off random.trust_cpu=on ia32_emulation=on usbcore.authorized_default=1 pci=disable_acs_redir=x "
    "netconsole=@/eth0 lsm.debug nordrand vdso32=2"
)
STOPPING = (
    "break=init blacklist=nvme acpi_rsdp=1 boot=live fsck.mode=skip dm_mod.create=x mount.usr=x noefi bootconfig "
    "elfcorehdr=1 reboot=cold panic_on_warn=1 S md=0 swiotlb=noforce"
)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        *((word, "numatune changes no security setting") for word in WEAKENING.split()),
        *((word, "numatune does not own this argument") for word in STOPPING.split()),
    ],
)
def test_what_weakens_security_or_stops_the_boot_is_refused_by_name(argument: str, words: str) -> None:
    key, _, value = argument.partition("=")
    with pytest.raises(InputError, match=f"wanted.{re.escape(key)}: {words}"):
        check({key: value}, "wanted")


USED = (
    "skew_tick=1 nosmt idle=poll nohz=on processor.max_cstate=1 intel_pstate=disable mce=off pci=realloc tsc=reliable"
)


@pytest.mark.parametrize("argument", [*USED.split(), "kfence.sample_interval=0", "split_lock_detect=off", "quiet"])
def test_what_latency_guides_advise_is_accepted(argument: str) -> None:
    key, _, value = argument.partition("=")
    assert check({key: value}, "wanted") == {key: value}
