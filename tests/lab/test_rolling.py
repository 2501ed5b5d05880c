"""Three guests in batches of one: the first is fine, the second cannot be written to, the third does not come back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab import boots
from lab.controller import Controller, Run, files, values
from lab.guest import Guest, base_image

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

FINE, CLOSED, HANGS = "roll-fine", "roll-closed", "roll-hangs"
ONE_BY_ONE = {"numatune_serial": "1"}
REBOOT_TIMEOUT = 60
SLEEPS_AT_BOOT = {"tune_kernel_arguments_wanted": boots.HANGS, "reboot_timeout": REBOOT_TIMEOUT}


@dataclass
class Fleet:
    """The guests, what they held before, and where the hooks leave their marks."""

    controller: Controller
    guests: dict[str, Guest]
    stock: dict[str, set[str]]
    marks: Path

    def tune(self, **variables: Any) -> Run:
        """Play tune.yml on all, one by one unless the variables say otherwise."""
        hooks = {f"numatune_{name}_tasks": str(self.marks / f"{name}.yml") for name in ("drain", "undrain")}
        return self.controller.play("tune", **{**ONE_BY_ONE, **hooks, "reboot_ok": True, **variables})

    def marked(self) -> set[str]:
        """The marks since the last call."""
        found = {path.name for path in self.marks.iterdir() if path.suffix != ".yml"}
        for name in found:
            (self.marks / name).unlink()
        return found

    def is_stock(self, name: str) -> bool:
        """Whether no file is another, GRUB's own aside."""
        changed = files(self.guests[name]) ^ self.stock[name]
        return not {line for line in changed if not line.startswith("boot/grub/grubenv sha256 ")}


@pytest.fixture(scope="module")
def fleet(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    base = base_image("bookworm")
    guests = {name: Guest(name).create(base) for name in (FINE, CLOSED, HANGS)}
    try:
        for guest in guests.values():
            guest.boot(wait=False)
        for guest in guests.values():
            guest.wait()
        boots.stop_at_words(guests[HANGS])
        controller.add(guests[FINE], tune_core_isolation_mode="kernel", tune_core_isolation_pinned=True)
        controller.add(guests[CLOSED])
        controller.add(guests[HANGS], **SLEEPS_AT_BOOT)
        marks = tmp_path_factory.mktemp("marks")
        for name in ("drain", "undrain"):
            (marks / f"{name}.yml").write_text(
                f"- name: Mark\n  ansible.builtin.file:\n    path: {marks}/{name} {{{{ inventory_hostname }}}}\n"
                "    state: touch\n    mode: '0644'\n  delegate_to: localhost\n  become: false\n"
            )
        yield Fleet(controller, guests, {name: files(guest) for name, guest in guests.items()}, marks)
    finally:
        for guest in guests.values():
            guest.remove()


def test_a_run_is_stopped_taken_up_and_finished(fleet: Fleet) -> None:
    fine, closed, hangs = (fleet.guests[name] for name in (FINE, CLOSED, HANGS))

    LOG.info("the second host's /etc is read-only")
    closed.ssh("mount --bind /etc /etc && mount -o remount,ro,bind /etc")
    stopped = fleet.tune()
    states = stopped.states()
    assert stopped.code != 0
    assert {name: state for name, (state, _reason) in states.items()} == {
        FINE: "tuned",
        CLOSED: "failed",
        HANGS: "not reached",
    }, stopped.out
    assert "read-only" in states[CLOSED][1].lower(), states
    LOG.info("  %s", states)
    # The first went through a reboot of tune.yml's own and a trial boot; read without numatune.
    now = values(fine)
    assert now["sys/devices/system/cpu/isolated"] == now["sys/devices/system/cpu/nohz_full"] == "1,3"
    assert now["proc/sys/kernel/numa_balancing"] == "0"
    assert "isolcpus" in fine.read("grep -m1 linux.*/vmlinuz /boot/grub/grub.cfg")
    # The second was refused before its first write, the third not touched.
    assert fleet.is_stock(CLOSED)
    assert closed.ssh("test -e /var/lib/numatune", check=False).returncode != 0
    assert values(closed)["proc/sys/kernel/numa_balancing"] == "1"
    assert fleet.is_stock(HANGS)
    assert fleet.marked() == {f"drain {FINE}", f"undrain {FINE}"}

    LOG.info("it can be written to again; the third host stops in its trial boot")
    closed.ssh("umount /etc")
    before = fine.boot_id()
    late = fleet.tune()
    states = late.states()
    assert late.code != 0
    assert states[FINE][0] == states[CLOSED][0] == "tuned", late.out
    assert states[HANGS][0] == "failed", late.out
    assert f"timeout={REBOOT_TIMEOUT}" in states[HANGS][1], states
    LOG.info("  %s", states)
    assert late.recap(FINE)["changed"] == 0
    assert fine.boot_id() == before
    assert fleet.marked() == {f"drain {CLOSED}", f"undrain {CLOSED}", f"drain {HANGS}"}

    LOG.info("a power cycle brings it back on the old entry; it is not tried again, and half a batch may fail")
    hangs.cut()
    fleet.controller.add(hangs.boot(), **SLEEPS_AT_BOOT)
    back = hangs.boot_id()
    assert "lab_trial=" not in values(hangs)["proc/cmdline"]
    assert "next_entry=numatune" not in hangs.read("grub-editenv list")
    refused = fleet.tune(
        numatune_hosts=f"{HANGS}:{FINE}:{CLOSED}", numatune_serial="2", numatune_max_fail_percentage="60"
    )
    states = refused.states()
    assert refused.code != 0
    assert {name: state for name, (state, _reason) in states.items()} == {
        HANGS: "failed",
        FINE: "tuned",
        CLOSED: "tuned",
    }, refused.out
    assert "not tried again" in states[HANGS][1], states
    # The last one is in the batch after the one that failed by half.
    assert refused.recap(CLOSED)["ok"] > 0
    assert hangs.boot_id() == back
    LOG.info("  %s", states)
    assert not fleet.marked()

    LOG.info("its argument is taken out of the inventory, and a last run finishes")
    fleet.controller.add(hangs)
    finished = fleet.tune()
    assert finished.code == 0, finished.out
    assert {state for state, _reason in finished.states().values()} == {"tuned"}, finished.out
    assert finished.recap(FINE)["changed"] == finished.recap(CLOSED)["changed"] == 0
    assert "lab_trial" not in hangs.read("cat /boot/grub/grub.cfg")

    LOG.info("the host that hung is reverted")
    reverted = fleet.controller.play("revert", "--limit", HANGS)
    assert reverted.code == 0, reverted.out
    assert fleet.is_stock(HANGS)
