"""Every parser on the text of its kind of source, one table each."""

from __future__ import annotations

import pytest

from numatune.core.errors import InputError
from numatune.core.numbers import c_integer, natural
from numatune.core.parsers import bls, cmdline, grub, interrupts, shell, sysctl, tmpfiles, tuned

TOKENS = [
    ("ro quiet\n", ["ro", "quiet"]),
    ("  a   b\t c \0", ["a", "b", "c"]),
    ('dyndbg="file a +p" x', ["dyndbg=file a +p", "x"]),
    ('"isolcpus=1, 2" ro', ["isolcpus=1, 2", "ro"]),
    ("ro -- numa_balancing=disable", ["ro"]),
    ("a=-- b", ["a=--", "b"]),
    ("", []),
]
LAST = [
    ("numa_balancing=enable numa_balancing=disable", "numa_balancing", "disable"),
    ("numa-balancing=disable", "numa_balancing", "disable"),
    ("intel_idle.max_cstate=1", "intel-idle.max-cstate", "1"),
    ("nosmt", "nosmt", ""),
    ("numa_balancing_x=1 xnuma_balancing=1", "numa_balancing", None),
    ("root=UUID=1=2", "root", "UUID=1=2"),
    ("ro -- idle=poll", "idle", None),
]
ISOLCPUS = [
    ("2-3", {"domain"}, "2-3"),
    ("managed_irq,0-4,11-79", {"managed_irq"}, "0-4,11-79"),
    ("nohz,domain,managed_irq,2-3", {"nohz", "domain", "managed_irq"}, "2-3"),
    ("domain", {"domain"}, ""),
]
CPUS = [
    ("isolcpus=2-3 isolcpus=5", "isolcpus", "2-3,5"),
    ("isolcpus=managed_irq,2 rcu_nocbs=7", "isolcpus", "2"),
    ("rcu_nocbs=1,x nohz_full=4", "rcu_nocbs", ""),
    ("irqaffinity=0-1", "irqaffinity", "0-1"),
    ("", "irqaffinity", ""),
]


@pytest.mark.parametrize(("text", "wanted"), TOKENS)
def test_cmdline_is_split_as_the_kernel_does(text: str, wanted: list[str]) -> None:
    assert cmdline.tokens(text) == wanted


@pytest.mark.parametrize(("text", "key", "wanted"), LAST)
def test_cmdline_last_value(text: str, key: str, wanted: str | None) -> None:
    assert cmdline.last(text, key) == wanted


@pytest.mark.parametrize(("value", "flags", "cpus"), ISOLCPUS)
def test_isolcpus_flags_and_cpus(value: str, flags: set[str], cpus: str) -> None:
    found = cmdline.isolcpus(value)
    assert (set(found[0]), str(found[1])) == (flags, cpus)


def test_isolcpus_that_holds_no_list_is_refused() -> None:
    with pytest.raises(InputError):
        cmdline.isolcpus("domain,x-3")


@pytest.mark.parametrize(("text", "key", "wanted"), CPUS)
def test_cmdline_cpus(text: str, key: str, wanted: str) -> None:
    assert str(cmdline.cpus(text, key)) == wanted


KEY = "kernel.numa_balancing"
ASSIGNMENTS = [
    ("kernel.numa_balancing = 0", [("0", 1)]),
    ("\n# x\nkernel.numa_balancing=1\nkernel.numa_balancing=0", [("1", 3), ("0", 4)]),
    ("-kernel.numa_balancing = 0", [("0", 1)]),
    ("  kernel/numa_balancing\t=\t0  ", [("0", 1)]),
    ("kernel.numa_* = 1", [("1", 1)]),
    ("#kernel.numa_balancing = 0\n;kernel.numa_balancing = 0", []),
    ("kernel.numa_balancing", []),
    ("kernel.numa_balancing_promote_rate_limit_MBps = 0\nnuma_balancing = 0", []),
    ("kernel.numa_balancing = 0 # off", [("0 # off", 1)]),
    ("kernel.numa_balancing =", [("", 1)]),
]
INTEGERS = [
    ("0", 0),
    (" 2\n", 2),
    ("0 # off", 0),
    ("0x1", 1),
    ("", None),
    ("off", None),
    ("0#off", None),
]
ORDERS = [
    (
        ["/etc/sysctl.d/10-a.conf", "/usr/lib/sysctl.d/50-b.conf"],
        ["/etc/sysctl.d/10-a.conf", "/usr/lib/sysctl.d/50-b.conf"],
    ),
    (["/usr/lib/sysctl.d/50-a.conf", "/etc/sysctl.d/50-a.conf"], ["/etc/sysctl.d/50-a.conf"]),
    (["/run/sysctl.d/9.conf", "/etc/sysctl.d/10.conf"], ["/etc/sysctl.d/10.conf", "/run/sysctl.d/9.conf"]),
    (["/run/sysctl.d/a.conf", "/usr/lib/sysctl.d/a.conf"], ["/run/sysctl.d/a.conf"]),
    (["/etc/sysctl.d/a.conf.bak", "/etc/sysctl.d/README"], []),
]
LISTING = "kernel.numa = 7\nkernel.numa_balancing = 1\nkernel.osrelease = 5.4\n"


@pytest.mark.parametrize(("text", "wanted"), ASSIGNMENTS)
def test_sysctl_assignments(text: str, wanted: list[tuple[str, int]]) -> None:
    found = sysctl.assignments("/etc/sysctl.d/a.conf", text, KEY)
    assert [(item.value, item.where.line) for item in found] == wanted
    assert {item.where.path for item in found} <= {"/etc/sysctl.d/a.conf"}


@pytest.mark.parametrize(("text", "wanted"), INTEGERS)
def test_sysctl_integer(text: str, wanted: int | None) -> None:
    assert sysctl.integer(text) == wanted


@pytest.mark.parametrize(("paths", "wanted"), ORDERS)
def test_sysctl_files_are_ordered_by_name_and_hidden_by_directory(paths: list[str], wanted: list[str]) -> None:
    assert sysctl.files_in_order(paths) == wanted


def test_sysctl_listing() -> None:
    assert sysctl.listing(LISTING, KEY) == "1"
    assert sysctl.listing(LISTING, "kernel.numa_bal") is None


MENU = """\
function load_video {
  insmod all_video
}
if [ x$feature = xy ]; then
  set x=y
fi
menuentry 'Debian' --class debian $menuentry_id_option 'simple-1' {
\tload_video
\tif [ x = y ]; then
\t  search --hint {
\t  }
\tfi
\tlinux\t/boot/vmlinuz-6.1 root=/dev/sda1 ro quiet
\tinitrd\t/boot/initrd
}
submenu "Advanced" $menuentry_id_option 'advanced-1' {
\tmenuentry 'Debian 6.1' --id=x --id 'a-6.1' {
\t\tlinux16 /boot/vmlinuz-6.1 ro a
\t}
\tmenuentry 'Debian 5.10' ${menuentry_id_option} "a-5.10" {
\t\tlinuxefi /boot/vmlinuz-5.10 ro b
\t}
}
# menuentry 'Commented' {
menuentry Firmware {
\tfwsetup
}
"""


def test_grub_menu_keeps_nesting_ids_and_lines() -> None:
    top = grub.entries("/boot/grub/grub.cfg", MENU)
    assert [(e.title, e.ident, e.submenu) for e in top] == [
        ("Debian", "simple-1", False),
        ("Advanced", "advanced-1", True),
        ("Firmware", "", False),
    ]
    assert [(e.title, e.linux and e.linux.line) for e in top[1].children] == [("Debian 6.1", 18), ("Debian 5.10", 21)]
    assert top[1].children[1].ident == "a-5.10"
    assert top[0].linux is not None
    assert (top[0].linux.line, grub.arguments(top[0].linux)) == (13, "root=/dev/sda1 ro quiet")
    assert top[2].linux is None


PICKS = [
    ("0", "Debian"),
    ("Debian", "Debian"),
    ("simple-1", "Debian"),
    ("1", "Debian 6.1"),
    ("1>1", "Debian 5.10"),
    ("advanced-1>a-5.10", "Debian 5.10"),
    ("Advanced>Debian 5.10", "Debian 5.10"),
    ("2", "Firmware"),
    ("9", "Debian"),
    ("gone", "Debian"),
    ("1>gone", "Debian 6.1"),
]


@pytest.mark.parametrize(("name", "wanted"), PICKS)
def test_grub_pick(name: str, wanted: str) -> None:
    entry = grub.pick(grub.entries("grub.cfg", MENU), name)
    assert entry is not None
    assert entry.title == wanted


def test_grub_pick_from_an_empty_menu() -> None:
    assert grub.pick([], "0") is None


SAVED = 'if [ "${next_entry}" ] ; then\n set default="${next_entry}"\nelse\n set default="${saved_entry}"\nfi'
DEFAULTS = [
    ('set default="2"', {}, "2"),
    ("set default=1>2", {}, "1>2"),
    ("  set default='x y'", {}, "x y"),
    ("", {}, "0"),
    ('set default="0"\nset default="3"', {}, "3"),
    ('set default="0"', {"saved_entry": "5"}, "0"),
    (SAVED, {}, "0"),
    (SAVED, {"saved_entry": "a"}, "a"),
    (SAVED, {"saved_entry": "a", "next_entry": "b"}, "b"),
    (SAVED, {"saved_entry": "a", "next_entry": ""}, "a"),
]


@pytest.mark.parametrize(("text", "env", "wanted"), DEFAULTS)
def test_grub_default_name(text: str, env: dict[str, str], wanted: str) -> None:
    assert grub.default_name(text, env) == wanted


def test_grub_environment() -> None:
    text = "# GRUB Environment Block\nsaved_entry=a=b\nkernelopts=root=x ro\nempty=\n#####"
    assert grub.environment(text) == {"saved_entry": "a=b", "kernelopts": "root=x ro", "empty": ""}


EXPANDED = [
    ("a $kernelopts b", {"kernelopts": "ro x"}, "a ro x b", []),
    ("a ${kernelopts}", {}, "a ", ["kernelopts"]),
    ("root=UUID=1 ro", {}, "root=UUID=1 ro", []),
]


@pytest.mark.parametrize(("text", "env", "wanted", "missing"), EXPANDED)
def test_grub_expand(text: str, env: dict[str, str], wanted: str, missing: list[str]) -> None:
    assert grub.expand(text, env) == (wanted, missing)


BLS = [
    ("title A\nversion 6.1\noptions root=x ro\n", ("6.1", "root=x ro", 3)),
    ("title\tA\nversion\t6.1\noptions\troot=x ro\n", ("6.1", "root=x ro", 3)),
    ("version   6.1\noptions   a\noptions b\n", ("6.1", "a b", 3)),
    ("title A\n# options x\n", ("", "", 0)),
]


@pytest.mark.parametrize(("text", "wanted"), BLS)
def test_bls_entry(text: str, wanted: tuple[str, str, int]) -> None:
    entry = bls.parse("/boot/loader/entries/id-6.1.conf", text)
    assert entry.ident == "id-6.1"
    assert (entry.version, entry.options.text, entry.options.line) == wanted


VERSIONS = [
    (["5.9", "5.10"], ["5.10", "5.9"]),
    (["5.14.0-70.el9", "5.14.0-162.el9", "0-rescue-abc"], ["5.14.0-162.el9", "5.14.0-70.el9", "0-rescue-abc"]),
    (["6.1", "6.1.3"], ["6.1.3", "6.1"]),
    (["6.9", "6." + "1" * 5000, "6.010"], ["6." + "1" * 5000, "6.010", "6.9"]),
]


@pytest.mark.parametrize(("versions", "wanted"), VERSIONS)
def test_bls_newest_first(versions: list[str], wanted: list[str]) -> None:
    found = [bls.parse(f"/e/{number}.conf", f"version {version}\n") for number, version in enumerate(versions)]
    assert [entry.version for entry in bls.newest_first(found)] == wanted


def test_bls_without_version_is_sorted_by_id() -> None:
    found = [bls.parse(f"/e/id-{version}.conf", "options x") for version in ("5.9", "5.10")]
    assert [entry.ident for entry in bls.newest_first(found)] == ["id-5.10", "id-5.9"]


GOVERNOR = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
WRITES = [
    (f"w {GOVERNOR} - - - - performance", ["performance"]),
    (f"w! {GOVERNOR} - - - - performance", ["performance"]),
    (f"w+ {GOVERNOR} - - - - performance", ["performance"]),
    (f"  w {GOVERNOR} - - - - performance", ["performance"]),
    (f"w {GOVERNOR} - - - - a\nw {GOVERNOR} - - - - b", ["a", "b"]),
    (f"w {GOVERNOR} - - - -", []),
    (f"#w {GOVERNOR} - - - - performance", []),
    (f"f {GOVERNOR} - - - - performance", []),
    (f"wx {GOVERNOR} - - - - performance", []),
    # As systemd 252 was seen to write them: the argument is the rest of the line, as it stands.
    (f"w {GOVERNOR} - - - - 'open", ["'open"]),
    (f"w {GOVERNOR} - - - - 'performance'", ["'performance'"]),
    (f"w {GOVERNOR} - - - - performance # why", ["performance # why"]),
    (f"w {GOVERNOR} - - - - a   b  ", ["a   b"]),
    (f"w {GOVERNOR} - - - - a\\tb\\x41 100%%", ["a\tbA 100%"]),
    (f"'w' \"{GOVERNOR}\" '-' - - \"-\" x", ["x"]),
    (f"w '{GOVERNOR} - - - - x", []),
    (f"; w {GOVERNOR} - - - - x", []),
]


@pytest.mark.parametrize(("text", "wanted"), WRITES)
def test_tmpfiles_writes(text: str, wanted: list[str]) -> None:
    assert [write.value for write in tmpfiles.writes("/etc/tmpfiles.d/a.conf", text)] == wanted


def test_tmpfiles_write_covers_what_its_pattern_names() -> None:
    write = tmpfiles.writes("/etc/tmpfiles.d/a.conf", f"\nw {GOVERNOR} - - - - performance")[0]
    assert write.where.line == 2
    assert write.covers(GOVERNOR.replace("*", "17"))
    assert not write.covers("/sys/devices/system/cpu/cpufreq/policy17/scaling_governor")


VARIABLES = [
    ("A=1", "1"),
    ("A=1\nA=2", "2"),
    ("A='1 2'", "1 2"),
    ('export A="x"', "x"),
    ("A=", ""),
    ("A=1 # why", "1"),
    ("#A=1", None),
    ("AB=1", None),
    ("A='open", "'open"),
]


@pytest.mark.parametrize(("text", "wanted"), VARIABLES)
def test_shell_variable(text: str, wanted: str | None) -> None:
    found = shell.variable("/etc/default/x", text, "A")
    assert (found and found[0]) == wanted


def test_shell_variable_has_the_line_that_wins() -> None:
    found = shell.variable("/etc/default/x", "A=1\n\n A=2\n", "A")
    assert found is not None
    assert (found[1].line, found[1].text) == (3, "A=2")


def test_interrupts_actions() -> None:
    text = "           CPU0\n  24: PCI-MSI 524288-edge eth0-TxRx-0\n   9: IO-APIC 9-fasteoi acpi\nNMI: 3 x\n 25:\n"
    assert interrupts.actions(text) == {24: "PCI-MSI 524288-edge eth0-TxRx-0", 9: "IO-APIC 9-fasteoi acpi", 25: ""}


MANAGED = [
    ("PCI-MSI 1-edge nvme0q1", True),
    ("nvme12q34", True),
    ("nvme0q0", False),
    ("virtio3-req.0", True),
    ("virtio3-request", True),
    ("virtio3-config", False),
    ("virtio3-control", False),
    ("smartpqi", True),
    ("mpi3mr0-msix0", False),
    ("mpi3mr0-msix12", True),
    ("qla2xxx1_default", False),
    ("qla2xxx1_qpair2", True),
    ("pm80xx0-0", False),
    ("pm80xx0-3", True),
    ("megasas0-msix3", True),
    ("mpt3sas0-msix1", True),
    ("eth0-TxRx-0", False),
    ("", False),
]


@pytest.mark.parametrize(("action", "wanted"), MANAGED)
def test_interrupts_that_look_managed(action: str, wanted: bool) -> None:
    assert interrupts.looks_managed(action) is wanted


# Rows of arm64, RISC-V and Xen machines, and of x86.
ROWS = {
    " 11: GICv3  27 Level     arch_timer": True,
    "  9: GICv3  23 Level     arm-pmu": True,
    " 12: GIC-0  30 Level     arch_timer": True,
    " 13: GICv3 1057 Level     x": True,
    " 14: GICv3  32 Level     uart-pl011": False,
    " 15: GICv3 1031 Level     x": False,
    "  5: RISC-V INTC   5 Edge      riscv-timer": True,
    " 72: xen-percpu    -virq      timer0": True,
    " 73: xen-percpu    -ipi       resched0": True,
    " 90: xen-dyn    -event     eth0-q0-tx": False,
    " 24: PCI-MSI 16-edge      eth0-TxRx-0": False,
    "  0: IO-APIC   2-edge      timer": False,
    "NMI: GICv3 27 x": False,
}


@pytest.mark.parametrize("row", ROWS)
def test_interrupts_of_each_cpu_by_their_chip(row: str) -> None:
    assert bool(interrupts.per_cpu(f"           CPU0\n{row}\n")) is ROWS[row]


@pytest.mark.parametrize("action", ["arch_timer", "arm-pmu", "kvm guest vtimer", "IPI", "resched12", "irqwork0"])
def test_interrupts_of_each_cpu_by_their_action(action: str) -> None:
    assert interrupts.looks_per_cpu(action)
    assert not interrupts.looks_per_cpu(f"eth0,{action}")


def test_interrupts_that_were_kept() -> None:
    assert interrupts.kept("24\n\n 31 \nx\n") == {24, 31}


TUNED = [
    ("[cpu]\ngovernor = performance\n", ("performance", 2)),
    ("[cpu]\ngovernor=a\ngovernor=b # why\n", ("b", 3)),
    ("[cpu]\n# governor=a\n; x\ngovernor=a#b\n", ("a#b", 4)),
    ("[cpu]\ngovernor=a\n  b\n", ("a\nb", 2)),
    ("[cpu]\ngovernor=a\n[disk]\nx=>1\n[cpu]\ny=2\n", ("a", 2)),
    ("governor=a\n", None),
    ("[cpu]\ngovernor\n", None),
]


@pytest.mark.parametrize(("text", "wanted"), TUNED)
def test_tuned_sections(text: str, wanted: tuple[str, int] | None) -> None:
    found = tuned.sections("/a", text)
    value = found and found["cpu"]["governor"]
    assert (value and (value.text, value.where.line)) == wanted


NATURALS = {"0": 0, " 12\n": 12, "": None, "-1": None, "+1": None, "²": None, "٣": None, "9" * 19: None, "1_0": None}
C_INTEGERS = {"0": 0, "-3": -3, "0x10": 16, "010": 8, "08": None, "0b1": None, "0_0": None, "1e3": None, "": None}


@pytest.mark.parametrize("text", NATURALS)
def test_natural(text: str) -> None:
    assert natural(text) == NATURALS[text]


@pytest.mark.parametrize("text", C_INTEGERS)
def test_c_integer(text: str) -> None:
    assert c_integer(text) == C_INTEGERS[text]


# A pattern's signs do not reach over a separator, and "-key" keeps patterns off.
REACHES = {
    "kernel.numa_* = 0": True,
    "kernel/numa_* = 0": True,
    "kernel.numa_balanc?ng = 0": True,
    "kernel* = 0": False,
    "* = 0": False,
    "*.* = 0": True,
}


@pytest.mark.parametrize("line", REACHES)
def test_sysctl_patterns_stay_within_a_component(line: str) -> None:
    assert bool(sysctl.assignments("/a", line, "kernel.numa_balancing")) is REACHES[line]


def test_sysctl_exclusion() -> None:
    assert sysctl.excludes("a = 1\n-kernel.numa_balancing\n", "kernel.numa_balancing")
    assert not sysctl.excludes("-kernel.numa_balancing = 1\n", "kernel.numa_balancing")


def test_results_are_kept_for_short_texts_with_few_of_them_alone() -> None:
    """What a host can make its reader keep is bounded: results are larger than the lines that they are made from."""
    line = "kernel.numa_balancing = 0\n"

    def again(text: str) -> bool:
        found = sysctl.assignments("/etc/sysctl.d/a.conf", text, KEY)
        assert len(found) == text.count(line)
        return sysctl.assignments("/etc/sysctl.d/a.conf", text, KEY) is found

    assert again(line)
    assert not again(line * 100)
    assert not again(line + "#" * 5000)
