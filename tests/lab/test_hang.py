"""Trial boots that do not come up: one that gives up comes back by itself, one that hangs at the next power cycle."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import pytest
from lab.boots import GIVES_UP, HANGS, stop_at_words
from lab.conftest import Start
from lab.controller import Controller, Run, files
from lab.guest import Guest

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

# A guest that is well answers within seconds of its shutdown; the module adds what the shutdown itself takes.
REBOOT_TIMEOUT = 60

# GRUB itself writes it when it boots an entry once; what is in it is checked.
BY_GRUB = "boot/grub/grubenv sha256 "


class Trials:
    """A guest that is given arguments that do not boot, and what it had before."""

    def __init__(self, guest: Guest, controller: Controller) -> None:
        self.guest = guest
        self.controller = controller
        controller.add(guest)
        self.stock = self.files()
        self.arguments = self.cmdline()

    def tune(self, wanted: dict[str, str], **more: Any) -> Run:
        """Tune the kernel arguments alone, with a reboot where one is needed."""
        # What else tune.yml does is shown elsewhere, and would take longer.
        tags = ("--tags", "kernel_arguments,reboot")
        return self.controller.play("tune", *tags, tune_kernel_arguments_wanted=wanted, reboot_ok=True, **more)

    def revert(self) -> Run:
        """Put back what was there."""
        return self.controller.play("revert")

    def files(self) -> set[str]:
        """Every file under /etc and /boot/grub, GRUB's own aside."""
        return {line for line in files(self.guest) if not line.startswith(BY_GRUB)}

    def cmdline(self) -> str:
        """The running kernel's arguments."""
        return self.guest.read("cat /proc/cmdline")

    def next_entry(self) -> str:
        """What GRUB is to boot once, "" for nothing."""
        shown = self.guest.read("grub-editenv /boot/grub/grubenv list")
        found = re.search(r"^next_entry=(.*)$", shown, re.M)
        return found[1] if found else ""

    def check_failed(self, wanted: dict[str, str]) -> None:
        """The old entry runs, the trial that failed is named, and neither tune.yml nor a reboot tries it again."""
        said = "{}={}".format(*next(iter(wanted.items())))
        assert self.cmdline() == self.arguments
        assert self.next_entry() == ""
        self.guest.ssh("grub-script-check /boot/grub/grub.cfg")

        finding = self.controller.audit(self.guest, tune_kernel_arguments_wanted=wanted)["kernel_arguments"]
        assert finding["status"] == "wrong", finding
        assert "rebooted to try them once" in finding["reason"], finding
        assert said in finding["reason"], finding

        boot, before = self.guest.boot_id(), self.files()
        again = self.tune(wanted)
        state, reason = again.states()[self.guest.name]
        assert (again.code, state) == (2, "failed"), again.out
        assert "not tried again" in reason, again.out
        assert again.recap(self.guest.name)["changed"] == 0, again.out
        assert (self.guest.boot_id(), self.next_entry()) == (boot, "")
        assert self.files() == before

    def check_reverted(self) -> None:
        """Revert takes the trial entry away; all is as before, and nothing is left to put back."""
        run = self.revert()
        assert run.code == 0, run.out
        assert self.files() == self.stock
        assert self.next_entry() == ""
        assert self.revert().recap(self.guest.name)["changed"] == 0


def say(what: str, began: float) -> None:
    """Tell a step's time."""
    LOG.info("%s after %.0f s", what, time.monotonic() - began)


@pytest.fixture(scope="module")
def trials(start: Start, controller: Controller) -> Trials:
    """A stock guest."""
    return Trials(stop_at_words(start("cut-hang")), controller)


def test_a_trial_that_gives_up_comes_back_by_itself(trials: Trials) -> None:
    began, boot = time.monotonic(), trials.guest.boot_id()
    run = trials.tune(GIVES_UP)
    say("the trial came back by itself", began)
    state, reason = run.states()[trials.guest.name]
    assert (run.code, state) == (2, "failed"), run.out
    assert "lab_trial=gives_up" in reason, run.out
    assert trials.guest.boot_id() != boot
    trials.check_failed(GIVES_UP)
    trials.check_reverted()
    say("named, not tried again, and reverted", began)


def test_a_trial_that_hangs_comes_back_at_a_power_cycle(trials: Trials) -> None:
    began = time.monotonic()
    run = trials.tune(HANGS, reboot_timeout=REBOOT_TIMEOUT)
    say("the trial was given up", began)
    state, reason = run.states()[trials.guest.name]
    assert (run.code, state) == (2, "failed"), run.out
    assert f"timeout={REBOOT_TIMEOUT}" in reason, run.out
    assert trials.guest.running
    assert trials.guest.ssh("true", check=False, timeout=60).returncode == 255, "the guest answers: it does not hang"

    trials.guest.cut()
    trials.controller.add(trials.guest.boot())
    say("back after its power was cut", began)
    trials.check_failed(HANGS)
    trials.check_reverted()
    say("named, not tried again, and reverted", began)
