"""Core isolation: what its modes plan, what they refuse, what is left of them, and that nothing is ok too early."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from core.grub_cfg import debian
from core.machine import Machine

from numatune.core.kit import boot_service
from numatune.core.model import Reading, Snapshot, State

SLICE = "sys/fs/cgroup/numatune.slice"
CONF = "etc/numatune/apply.d/core_isolation.conf"
UNIT_SLICE = "etc/systemd/system/numatune.slice"
PLACE = "etc/systemd/system/infer.service.d/zz-numatune-slice.conf"
NAME = "core_isolation"


def machine(**options: Any) -> Machine:
    host = Machine({**debian(), "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory\n"}, {NAME: options})
    # What the collector lists as a folder.
    host.files["etc/numatune/apply.d/other.conf"] = "# none\n"
    return host


def partition(host: Machine, kind: str = "root", cpus: str = "1,3,5,7", populated: str = "1") -> None:
    """Show what a boot with numatune's slice shows."""
    host.files[f"{SLICE}/cpuset.cpus.partition"] = f"{kind}\n"
    host.files[f"{SLICE}/cpuset.cpus.effective"] = f"{cpus}\n"
    host.files[f"{SLICE}/infer.service/cgroup.events"] = f"populated {populated}\nfrozen 0\n"
    host.reboot()


def tuned(**options: Any) -> Machine:
    host = machine(mode="partition", unit="infer.service", **options)
    host.tune(NAME)
    return host


def test_partition_is_made_by_the_next_boot() -> None:
    host = machine(mode="partition", unit="infer.service")
    assert host.status(NAME) == "wrong"
    done = host.tune(NAME)
    assert [path for _, path in done[:3]] == [f"/{UNIT_SLICE}", f"/{PLACE}", f"/{CONF}"]
    assert "service" not in [kind for kind, _ in done], "now, it would squeeze the unit onto the other CPUs"
    assert "AllowedCPUs=1,3,5,7\n" in host.files[UNIT_SLICE]
    assert "[Service]\nSlice=numatune.slice\n" in host.files[PLACE]
    assert "partition numatune.slice root infer.service\n" in host.files[CONF]
    assert host.status(NAME) == "pending_reboot"
    partition(host)
    assert (host.status(NAME), host.plan(NAME).changes) == ("ok", ())


def test_threads_that_are_pinned_get_a_partition_without_balancing() -> None:
    host = tuned(pinned=True)
    assert "partition numatune.slice isolated infer.service\n" in host.files[CONF]
    partition(host, "isolated")
    assert host.status(NAME) == "ok"


NOT_OK = {
    "another kind": ({"kind": "isolated"}, "no root partition", "pending_reboot"),
    "member": ({"kind": "member"}, "no root partition", "pending_reboot"),
    "invalid": ({"kind": "root invalid (x)"}, "root invalid (x)", "pending_reboot"),
    "fewer CPUs": ({"cpus": "1,3,5"}, "numatune.slice has CPUs 1,3,5", "pending_reboot"),
    "the unit is elsewhere": ({"populated": "0"}, "infer.service does not run in numatune.slice", "pending_reboot"),
}


@pytest.mark.parametrize(("made", "words", "status"), NOT_OK.values(), ids=NOT_OK)
def test_partition_that_is_not_the_wanted_one_is_not_ok(made: dict[str, str], words: str, status: str) -> None:
    host = tuned()
    partition(host, **made)
    assert (host.status(NAME), words in host.judge(NAME).reason) == (status, True)


GONE: dict[str, tuple[str, str | None, str]] = {
    "the unit's place": (PLACE, None, "lost_at_reboot"),
    "another place": (PLACE, "[Service]\nSlice=other.slice\n", "lost_at_reboot"),
    "a second place": ("etc/systemd/system/b.service.d/zz-numatune-slice.conf", "x\n", "lost_at_reboot"),
    "the slice": (UNIT_SLICE, None, "lost_at_reboot"),
    "the line": (CONF, None, "lost_at_reboot"),
    "the link": (boot_service.LINK_PATH[1:], None, "lost_at_reboot"),
    "another unit's line": (CONF, "partition numatune.slice root other.service\n", "lost_at_reboot"),
    "a line too much": (
        CONF,
        "partition numatune.slice root infer.service\npartition b.slice root c\n",
        "lost_at_reboot",
    ),
    "the script": (boot_service.SCRIPT_PATH[1:], "#!/bin/sh\n", "unknown"),
}


@pytest.mark.parametrize(("path", "text", "status"), GONE.values(), ids=GONE)
def test_partition_that_the_next_boot_does_not_make_is_not_ok(path: str, text: str | None, status: str) -> None:
    host = tuned()
    partition(host)
    assert host.status(NAME) == "ok"
    host.files.pop(path, None)
    if text is not None:
        host.files[path] = text
    assert host.status(NAME) == status


@pytest.mark.parametrize("argument", ["isolcpus=1,3,5,7", "nohz_full=1", "nohz_full=all"])
def test_partition_of_cpus_that_the_kernel_will_isolate_is_not_ok(argument: str) -> None:
    host = tuned()
    partition(host)
    host.files["boot/grub/grub.cfg"] = host.files["boot/grub/grub.cfg"].replace("quiet", f"quiet {argument}")
    assert host.status(NAME) == ("unknown" if "all" in argument else "lost_at_reboot")


def test_partition_without_a_next_boot_that_is_known_is_not_ok() -> None:
    host = tuned()
    partition(host)
    del host.files["boot/grub/grub.cfg"]
    assert host.status(NAME) == "unknown"


@pytest.mark.parametrize("unit", ["", "infer", "infer.slice", "a b.service", "../x.service"])
def test_partition_needs_the_unit_that_serves(unit: str) -> None:
    host = machine(mode="partition", **({"unit": unit} if unit else {}))
    assert "name the unit that serves (tune_core_isolation_unit)" in host.conflict(NAME)


def test_foreign_files_are_conflicts() -> None:
    for path in (UNIT_SLICE, PLACE, CONF):
        host = machine(mode="partition", unit="infer.service")
        host.files[path] = "# mine\n"
        assert f"/{path} exists and is not numatune's" in host.conflict(NAME)
        assert host.status(NAME) == "wrong"


CONTROLLERS = "sys/fs/cgroup/cgroup.controllers"
RELEASE = "proc/sys/kernel/osrelease"
CANNOT: dict[str, tuple[dict[str, str | None], dict[str, str], str]] = {
    "no cpuset": ({CONTROLLERS: "cpu io\n"}, {}, f"/{CONTROLLERS} lists no cpuset"),
    "cgroup v1": ({CONTROLLERS: None, "sys/fs/cgroup/cpuset.cpus.isolated": "\n"}, {}, "is not there (cgroup v1)"),
    "an old systemd": ({}, {"systemd": "systemd 239 (239-82.el8)\n+PAM\n"}, "systemd 239 knows no AllowedCPUs="),
    "an old kernel": ({RELEASE: "5.15.0-100-generic\n"}, {}, "kernel 5.15.0-100-generic makes no isolated partition"),
    "an older kernel": ({RELEASE: "4.18.0-553.el8.x86_64\n"}, {}, "makes no isolated partition"),
}
CAN: dict[str, tuple[dict[str, str | None], dict[str, str]]] = {
    "RHEL 9": ({RELEASE: "5.14.0-570.12.1.el9_6.x86_64\n"}, {}),
    "6.1": ({RELEASE: "6.1.0\n"}, {}),
    "a newer systemd": ({}, {"systemd": "systemd 244 (x)\n"}),
    "a version in other words": ({}, {"systemd": "x\n"}),
    "a version of 5000 digits": ({}, {"systemd": "systemd " + "1" * 5000 + " (x)\n"}),
    "a kernel of 5000 digits": ({RELEASE: "6." + "1" * 5000 + "\n"}, {}),
    "no cgroups seen": ({CONTROLLERS: None}, {}),
}


class Shown(Machine):
    """A machine whose commands answer too."""

    commands: dict[str, str]

    def snapshot(self) -> Snapshot:
        shown = {name: Reading(name, State.PRESENT, text) for name, text in self.commands.items()}
        return replace(super().snapshot(), commands=shown)


def shown(files: dict[str, str | None], commands: dict[str, str], **options: Any) -> Shown:
    host = Shown.__new__(Shown)
    host.__dict__.update(machine(mode="partition", unit="infer.service", **options).__dict__)
    for path, text in files.items():
        host.files.pop(path, None)
        if text is not None:
            host.files[path] = text
    host.commands = commands
    return host


@pytest.mark.parametrize(("files", "commands", "words"), CANNOT.values(), ids=CANNOT)
def test_partition_that_cannot_work_is_refused(
    files: dict[str, str | None], commands: dict[str, str], words: str
) -> None:
    message = shown(files, commands, pinned=True).conflict(NAME)
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(("files", "commands"), CAN.values(), ids=CAN)
def test_partition_that_can_work_or_may_is_planned(files: dict[str, str | None], commands: dict[str, str]) -> None:
    assert shown(files, commands, pinned=True).changes(NAME)


def test_partition_that_balances_needs_no_new_kernel() -> None:
    assert shown({RELEASE: "5.15.0-100-generic\n"}, {}).changes(NAME)


def test_another_partition_over_the_same_cpus_is_a_conflict() -> None:
    host = machine(mode="partition", unit="infer.service")
    host.files["sys/fs/cgroup/own.slice/cpuset.cpus.partition"] = "isolated\n"
    host.files["sys/fs/cgroup/own.slice/cpuset.cpus.effective"] = "1,3\n"
    assert "already makes a partition of CPUs 1,3" in host.conflict(NAME)
    host.files["sys/fs/cgroup/own.slice/cpuset.cpus.effective"] = "2\n"
    host.tune(NAME)


@pytest.mark.parametrize("options", [{"mode": "none"}, {"mode": "kernel", "pinned": True}], ids=["none", "kernel"])
def test_what_is_left_of_a_partition_goes_with_its_mode(options: dict[str, Any]) -> None:
    host = tuned()
    partition(host)
    host.settings[NAME] = options
    assert host.status(NAME) == "wrong"
    assert f"/{CONF} is left of mode partition" in host.judge(NAME).reason
    changes = host.changes(NAME)
    for count in range(len(changes)):
        cut = deepcopy(host)
        for change in changes[:count]:
            cut.apply(change)
        assert cut.status(NAME) not in ("ok", "not_applicable")
        cut.tune(NAME)
        assert {UNIT_SLICE, PLACE, CONF} & cut.files.keys() == set()
    host.tune(NAME)
    for path in [path for path in host.files if path.startswith(SLICE)]:
        del host.files[path]
    host.reboot()
    assert host.status(NAME) == ("ok" if options["mode"] == "none" else "wrong")


def test_another_unit_leaves_the_slice_to_the_new_one() -> None:
    host = tuned()
    host.settings[NAME]["unit"] = "other.service"
    assert host.status(NAME) == "wrong"
    host.tune(NAME)
    assert PLACE not in host.files
    assert "etc/systemd/system/other.service.d/zz-numatune-slice.conf" in host.files


@pytest.mark.parametrize("options", [{}, {"pinned": True}], ids=["root", "isolated"])
def test_every_stop_half_way_is_finished(options: dict[str, Any]) -> None:
    whole = machine(mode="partition", unit="infer.service", **options)
    changes = whole.changes(NAME)
    end = deepcopy(whole)
    end.tune(NAME)
    for count in range(len(changes)):
        host = deepcopy(whole)
        for change in changes[:count]:
            host.apply(change)
        assert host.status(NAME) == "wrong"
        host.tune(NAME)
        assert host.files == end.files


def kernel(running: str, isolated: str = "1,3,5,7", nohz: str = "1,3,5,7") -> Machine:
    host = machine(mode="kernel", pinned=True)
    host.files["proc/cmdline"] = f"ro {running}\n"
    host.files["sys/devices/system/cpu/isolated"] = f"{isolated}\n"
    host.files["sys/devices/system/cpu/nohz_full"] = f"{nohz}\n"
    host.files["boot/grub/grub.cfg"] = host.files["boot/grub/grub.cfg"].replace("quiet", f"quiet {running}")
    return host


WHOLE = "isolcpus=managed_irq,domain,1,3,5,7 nohz_full=1,3,5,7 rcu_nocbs=1,3,5,7"
KERNEL = {
    "whole": (WHOLE, "ok"),
    "two halves, of which the kernel keeps the first": (
        "isolcpus=domain,1,3,5,7 nohz_full=1,3 nohz_full=5,7",
        "lost_at_reboot",
    ),
    "a second list": (f"isolcpus=1 {WHOLE}", "lost_at_reboot"),
    "managed interrupts alone": ("isolcpus=managed_irq,1,3,5,7 nohz_full=1,3,5,7", "lost_at_reboot"),
    "no tick left": ("isolcpus=domain,1,3,5,7", "lost_at_reboot"),
    "in words": ("isolcpus=domain,1,3,5,7 nohz_full=all rcu_nocbs=1,3,5,7", "unknown"),
    "for init": (f"-- {WHOLE}", "lost_at_reboot"),
}


@pytest.mark.parametrize(("arguments", "status"), KERNEL.values(), ids=KERNEL)
def test_kernel_mode_counts_what_the_kernel_keeps(arguments: str, status: str) -> None:
    assert kernel(arguments).status(NAME) == status


def test_kernel_mode_does_not_take_two_lists_of_callbacks_for_both() -> None:
    arguments = "isolcpus=domain,1,3,5,7 rcu_nocbs=1,3,5,7 rcu_nocbs=1"
    host = kernel(arguments, nohz="")
    assert host.status(NAME) == "wrong"


def test_kernel_mode_is_planned_by_the_kernel_arguments_alone() -> None:
    host = machine(mode="kernel", pinned=True)
    assert host.plan(NAME).changes == ()
    assert [item.setting for item in host.plan(NAME).left] == [NAME]
    assert host.tune("kernel_arguments")
    assert host.status(NAME) == "pending_reboot"
