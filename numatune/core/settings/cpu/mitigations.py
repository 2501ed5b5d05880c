"""Mitigations of CPU vulnerabilities, which make each entry into the kernel dearer: reported, never changed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Optional

from ...host import Host, Option, Setting
from ...kit.starts import always, argument, first
from ...kit.value import Value, setting_of
from ...kit.words import evidence, sentence
from ...model import Finding, Reading, State
from ...parsers import cmdline
from ...sources import File

_FOLDER = "/sys/devices/system/cpu/vulnerabilities"
# `auto` may take more words: nosmt, and what an attacker is not expected to be (Linux 6.17).
_WORD = re.compile(r"(?:auto|off)(?:[,;].*)?")
# As Linux 6.17 has them.
_KNOWN = (
    *("gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "l1tf", "mds", "meltdown"),
    *("mmio_stale_data", "old_microcode", "reg_file_data_sampling", "retbleed", "spec_rstack_overflow"),
    *("spec_store_bypass", "spectre_v1", "spectre_v2", "srbds", "tsa", "tsx_async_abort", "vmscape"),
)


def _shown(host: Host) -> Reading:
    reading = host.snapshot.read("/proc/cmdline")
    return reading._replace(text=cmdline.last(reading.text, "mitigations") or "auto")


def _none(host: Host, reading: Reading) -> bool:
    return host.snapshot.read(f"{_FOLDER}/spectre_v2").state is State.ABSENT


def _mitigations(text: str) -> Optional[str]:
    return text if _WORD.fullmatch(text) else None


VALUE = Value(
    setting="mitigations",
    path=f"{_FOLDER}/spectre_v2",
    wanted="auto",
    keeper=None,
    starts=first(argument("mitigations", _mitigations), always("auto")),
    harm="the running kernel has other mitigations than are expected",
    absent="this kernel tells of no vulnerabilities (it is older than 4.15, or of an architecture without them)",
    read=_mitigations,
    shows=_shown,
    missing=_none,
)


def judge(host: Host) -> Finding:
    """Judge whether the next boot has the mitigations of this one (or those that are expected), and name them."""
    now = _shown(host).text
    finding = replace(VALUE, wanted=_mitigations(now) or "auto").judge(host)
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
    options={"expected": Option(str, "the mitigations= that are expected (default: those of the running kernel)")},
)
