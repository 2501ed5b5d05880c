"""Mitigations of CPU vulnerabilities, which make each entry into the kernel dearer: reported, never changed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Optional

from ...host import Host
from ...kit.said import Right, Said, said, unread
from ...kit.starts import Start
from ...kit.value import Value, setting_of
from ...kit.words import evidence, sentence
from ...model import Finding, Reading, State, Status
from ...parsers import cmdline
from ...setting import Option, Setting
from ...sources import File

_FOLDER = "/sys/devices/system/cpu/vulnerabilities"
# `auto` may take more words: nosmt, and what an attacker is not expected to be (Linux 6.17). The switches of single
# mitigations follow.
_WORDS = re.compile(r"(?:auto|off)(?:[,;]\S*)?(?: .*)?")
_SWITCHES = (
    *("gather_data_sampling", "indirect_target_selection", "kpti", "kvm.nx_huge_pages", "l1d_flush", "l1tf", "mds"),
    *("kvm-intel.vmentry_l1d_flush", "mmio_stale_data", "nobp", "nospectre_bhb", "nospectre_v1", "pti"),
    *("reg_file_data_sampling", "retbleed", "spec_rstack_overflow", "spec_store_bypass_disable", "spectre_bhi"),
    *("spectre_v2", "spectre_v2_user", "srbds", "ssbd", "tsa", "tsx_async_abort", "vmscape"),
    *("no_entry_flush", "no_rfi_flush", "no_stf_barrier", "no_uaccess_flush"),
)
# Another name for a switch's "off".
_OFF = {"pti": "nopti", "spectre_v2": "nospectre_v2", "spec_store_bypass_disable": "nospec_store_bypass_disable"}
# As Linux 6.17 has them.
_KNOWN = (
    *("gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "l1tf", "mds", "meltdown"),
    *("mmio_stale_data", "old_microcode", "reg_file_data_sampling", "retbleed", "spec_rstack_overflow"),
    *("spec_store_bypass", "spectre_v1", "spectre_v2", "srbds", "tsa", "tsx_async_abort", "vmscape"),
)


def _shown(host: Host) -> Reading:
    reading = host.snapshot.read("/proc/cmdline")
    return reading._replace(text=_given(reading.text)) if reading.present else reading


def _given(arguments: str) -> str:
    """Return what a command line says of mitigations: mitigations=, then each switch of a single one that is given."""
    found = [cmdline.last(arguments, "mitigations") or "auto"]
    for name in _SWITCHES:
        value = cmdline.last(arguments, name)
        short = _OFF.get(name)
        if short and cmdline.last(arguments, short) is not None:
            # Which of two wins is the kernel's to say: both are named.
            found += [f"{name}=off"] if value in (None, "off") else [short]
        if value is not None and f"{name}=off" not in found:
            found.append(f"{name}={value}" if value else name)
    return " ".join(found)


def _of_the_next(host: Host, right: Right) -> Said:
    boot = host.next_boot
    if boot.arguments is None:
        return unread(boot.reason)
    # The kernel passes over a mitigations= that it does not know.
    head, *switches = _given(boot.arguments).split(" ")
    value = " ".join([head if _mitigations(head) else "auto", *switches])
    return said(value, right, boot.where if value != "auto" else None)


def _none(host: Host, reading: Reading) -> bool:
    return host.snapshot.read(f"{_FOLDER}/spectre_v2").state is State.ABSENT


def _mitigations(text: str) -> Optional[str]:
    return text if _WORDS.fullmatch(text) else None


VALUE = Value(
    setting="mitigations",
    path=f"{_FOLDER}/spectre_v2",
    wanted="auto",
    keeper=None,
    starts=Start(_of_the_next),
    harm="the running kernel has other mitigations than are expected",
    absent="this kernel tells of no vulnerabilities (it is older than 4.15, or of an architecture without them)",
    read=_mitigations,
    shows=_shown,
    missing=_none,
)


def judge(host: Host) -> Finding:
    """Judge whether the next boot has the mitigations of this one (or those that are expected), and name them."""
    now = _shown(host)
    finding = replace(VALUE, wanted=_mitigations(now.text) or "auto").judge(host)
    if not now.present and host.option(VALUE.setting, "expected") is None and finding.bad:
        # Without those of the running kernel, nothing is known that the next one's could differ from.
        finding = replace(finding, status=Status.UNKNOWN, expected=None, remedy="")
        finding = replace(finding, reason=f"the running kernel's mitigations: {now.why()}")
    readings = {name: host.snapshot.read(f"{_FOLDER}/{name}") for name in _KNOWN}
    states = {name: reading.text.strip() for name, reading in readings.items() if reading.present}
    active = ", ".join(name for name, text in states.items() if text.startswith("Mitigation"))
    open_ = ", ".join(name for name, text in states.items() if text.startswith("Vulnerable"))
    return replace(
        finding,
        reason=sentence(
            finding.reason,
            f"mitigated, at a cost for each entry into the kernel: {active}" if active else "",
            f"vulnerable: {open_}" if open_ else "",
        ),
        evidence=evidence(
            host.snapshot.read("/proc/cmdline"),
            *(readings[name] for name in states if not states[name].startswith("Not affected")),
            host.next_boot.where,
        ),
    )


_SETTING = setting_of(
    VALUE,
    title="Mitigations of CPU vulnerabilities",
    why="Mitigations flush buffers and branch predictions at each entry into the kernel and each switch of "
    "processes, so a request that makes system calls or takes interrupts costs more, and by how much depends on the "
    "CPU and the kernel. They protect the host: numatune names them, so that hosts can be compared, says where the "
    "next boot has others, and never changes them.",
    remedy="None by numatune. Whether a host may do without them is its owner's decision on security.",
    references=(
        "https://docs.kernel.org/admin-guide/hw-vuln/index.html",
        "https://docs.kernel.org/admin-guide/kernel-parameters.html",
    ),
)

MITIGATIONS: Setting = replace(
    _SETTING,
    judge=judge,
    sources=(File("/proc/cmdline"), *(File(f"{_FOLDER}/{name}") for name in _KNOWN)),
    options={
        "expected": Option(
            str,
            "the mitigations= that are expected, and after it the switches of single ones, as the audit shows them",
            default="those of the running kernel",
        )
    },
)
