"""What --diff shows of changes: equal ones once, new files by their start, files that change as a difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import host, write
from transaction_host import Target

from plugins.module_utils.core.change import Change
from plugins.module_utils.differences import differences, places

GOVERNOR = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
IRQ = "/proc/irq/{}/smp_affinity_list"


def change(kind: str, path: str, content: str | None, before: str | None = None) -> Change:
    return Change("x", kind, path, content, before, "why")


def told(*changes: Change) -> list[str]:
    """Return the lines of what is no ordinary difference."""
    return [item["prepared"].rstrip("\n") for item in differences(changes) if "prepared" in item]


def test_cpus_with_one_value_are_one_line() -> None:
    values = [change("runtime", GOVERNOR.format(cpu), "performance\n", "powersave\n") for cpu in (1, 2, 3, 7)]
    values += [change("runtime", GOVERNOR.format(5), "performance\n", "schedutil\n")]
    assert told(*values) == [
        "~ /sys/devices/system/cpu/cpu[1-3,7]/cpufreq/scaling_governor: powersave -> performance",
        "~ /sys/devices/system/cpu/cpu5/cpufreq/scaling_governor: schedutil -> performance",
    ]


def test_interrupts_with_many_values_are_told_by_the_value_that_they_get() -> None:
    values = [
        change("runtime", IRQ.format(number), "0,4" if number % 2 else "8", str(number)) for number in range(30, 50)
    ]
    assert told(*values)[:2] == [
        "~ /proc/irq/30/smp_affinity_list: 30 -> 8",
        "~ /proc/irq/31/smp_affinity_list: 31 -> 0,4",
    ]
    assert told(*values)[3:] == [
        "~ /proc/irq/[33,35,37,39,41,43,45,47,49]/smp_affinity_list: other values -> 0,4",
        "~ /proc/irq/[34,36,38,40,42,44,46,48]/smp_affinity_list: other values -> 8",
    ]


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (change("file", "/etc/a", "# why\na\nb\n"), "+ /etc/a: a; b"),
        (change("file", "/etc/a", "# why\n"), "+ /etc/a: empty"),
        (change("file", "/etc/a", "#!/bin/sh\n" + "line\n" * 30), "+ /etc/a: line; … (31 lines)"),
        (change("file", "/etc/a", None, "a\n"), "- /etc/a"),
        (change("link", "/etc/a", "/etc/b"), "+ /etc/a: link to /etc/b"),
        (change("link", "/etc/a", None, "/etc/b"), "- /etc/a"),
        (change("service", "irqbalance.service", "stopped", "active"), "~ irqbalance.service: active -> stopped"),
        (change("once", "/boot/grubenv:next_entry", "numatune"), "~ /boot/grubenv:next_entry: nothing -> numatune"),
        (change("runtime", "/proc/sys/kernel/x", "0\n", "1\n"), "~ /proc/sys/kernel/x: 1 -> 0"),
    ],
)  # fmt: skip
def test_each_kind_is_one_line(made: Change, line: str) -> None:
    assert told(made) == [line]


def test_a_file_that_changes_is_an_ordinary_difference() -> None:
    (one,) = differences([change("file", "/etc/default/irqbalance", "# a\nb\n", "# a")])
    assert one == {
        "before_header": "/etc/default/irqbalance",
        "after_header": "/etc/default/irqbalance",
        "before": "# a\n",
        "after": "# a\nb\n",
    }


def test_a_host_of_many_cpus_is_a_few_lines(tmp_path: Path) -> None:
    files = host(112, 2, numa_balancing="1", sysctl={}, governor="powersave", driver="intel_pstate", irqs=300)
    write(files, tmp_path / "root")
    (tmp_path / "root/var/lib").mkdir(parents=True)
    plan = Target(tmp_path / "root").look()
    assert len(plan.changes) > 400
    shown = differences(plan.changes)
    assert len(shown) <= 25
    names = "".join(item["prepared"] for item in shown)
    assert all(change.path in names for change in plan.changes if change.kind == "file")


def test_paths_of_several_cpus_are_one() -> None:
    paths = [GOVERNOR.format(3), "/etc/a", GOVERNOR.format(4), IRQ.format(7)]
    assert places(paths) == ["/sys/devices/system/cpu/cpu[3-4]/cpufreq/scaling_governor", "/etc/a", IRQ.format(7)]
