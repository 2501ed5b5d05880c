"""Power cuts in two narrow windows: while a trial boot is being armed, and while its arguments are made permanent.

Both are as long as grub-mkconfig runs: the boot entry's sources are written, and its menu is not. A script in
/etc/grub.d makes that longer, and copies of the disk are taken meanwhile, each as a power cut would leave it. Every
copy is booted: the audit must tell the truth, tune.yml must converge by itself, and revert.yml must be exact.

NUMATUNE_WINDOW_CUTS is how many copies of each window are taken (3), NUMATUNE_CUTS_SEED where the instants come from.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from lab.controller import Controller
from lab.guest import Guest, base_image
from lab.powercuts import Tuning, check_grub, controller_of, generations, lines_of

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

CUTS = int(os.environ.get("NUMATUNE_WINDOW_CUTS", "3"))
SEED = int(os.environ.get("NUMATUNE_CUTS_SEED", "1"))
WORKERS = min(4, os.cpu_count() or 1)
# An argument that a kernel takes without another effect, and none of its defaults.
WANTED = {"tune_kernel_arguments_wanted": {"skew_tick": "1"}}
# What else tune.yml does is cut elsewhere, and would take longer.
TAGS = ("--tags", "kernel_arguments,reboot")
# Window -> what is written when it begins.
BEGINS = {"arming": "/etc/grub.d/zz_numatune", "permanence": "/etc/default/grub.d/zz-numatune.cfg"}
# Long enough for every copy; what asks for it lies in /run, and is gone after the boot.
SLOW_SECONDS = 20 + 4 * CUTS
SLOW = f"""cat >/etc/grub.d/06_lab <<'SCRIPT'
#!/bin/sh
[ ! -e /run/lab-slow ] || sleep {SLOW_SECONDS}
SCRIPT
chmod 755 /etc/grub.d/06_lab && update-grub && sync"""


class Windows:
    """A stock guest whose menu takes long to make, and the disks of copies that were cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stock = Guest("window-stock").create(base_image("bookworm")).boot()
        self.stock.ssh(SLOW)
        self.files = lines_of(self.stock)
        self.stock.power_off()

    def cut(self, window: str) -> None:
        """Play tune.yml up to that window, and take the copies in it."""
        guest = Guest(f"window-{window}").copy(self.stock).boot()
        try:
            controller, path = controller_of(self.folder, guest), BEGINS[window]
            if window == "permanence":
                armed = controller.play("tune", *TAGS, **WANTED)
                assert armed.states()[guest.name][0] == "pending_reboot", armed.out
                assert "skew_tick=1" in guest.reboot().read("cat /proc/cmdline")
            guest.ssh("touch /run/lab-slow")
            drawn = random.Random(f"{SEED}/{window}")
            with Tuning(controller, guest, WANTED, *TAGS) as tuning:
                tuning.await_path(path)
                for number in range(CUTS):
                    copy_of(window, number).as_cut(guest)
                    time.sleep(drawn.uniform(0.2, 3))  # what is drawn: there is no event to wait for
                guest.cut()
        finally:
            guest.remove()

    def survive(self, window: str, number: int) -> None:
        """Boot one copy, and hold what must be true of it."""
        began, guest = time.monotonic(), copy_of(window, number)
        try:
            controller = controller_of(self.folder, guest.boot())
            check_grub(guest)
            assert "skew_tick" not in guest.read("cat /proc/cmdline"), "the old entry boots"
            assert [item["state"] for item in generations(guest).values()][-1] == "recorded", "the cut met the window"
            self._truth(controller, guest)
            self._converges(controller, guest)
        finally:
            guest.remove()
        LOG.info("%s %d: true, tuned, reverted; %.0f s", window, number, time.monotonic() - began)

    def _truth(self, controller: Controller, guest: Guest) -> None:
        report = controller.report(guest, **WANTED)
        finding = next(item for item in report["findings"] if item["setting"] == "kernel_arguments")
        assert finding["status"] in ("wrong", "pending_reboot"), finding
        for untrue in ("panicked", "to try them once", "another entry was chosen", "another loader"):
            assert untrue not in finding["reason"], finding
        assert any("interrupted" in note for note in report["notes"]), report["notes"]

    def _converges(self, controller: Controller, guest: Guest) -> None:
        run = controller.play("tune", *TAGS, reboot_ok=True, **WANTED)
        assert (run.code, run.states()[guest.name][0]) == (0, "tuned"), run.out
        assert "skew_tick=1" in guest.read("cat /proc/cmdline")
        again = controller.play("tune", *TAGS, reboot_ok=True, **WANTED)
        assert again.recap(guest.name)["changed"] == 0, again.out
        assert again.states()[guest.name][0] == "tuned", again.out
        reverted = controller.play("revert")
        assert reverted.code == 0, reverted.out
        left = lines_of(guest)
        assert left == self.files, sorted(left ^ self.files)
        check_grub(guest)


def copy_of(window: str, number: int) -> Guest:
    """The guest that boots one copy."""
    return Guest(f"window-{window}-{number}")


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, int], Future[None]]]:
    """All copies' futures: as many guests at a time as there are cores."""
    pool, windows = ThreadPoolExecutor(WORKERS), Windows(tmp_path_factory.mktemp("windows"))
    keys = [(window, number) for window in BEGINS for number in range(CUTS)]
    try:
        cut = {window: pool.submit(windows.cut, window) for window in BEGINS}
        for window in BEGINS:
            cut[window].result()
        yield {key: pool.submit(windows.survive, *key) for key in keys}
    finally:
        pool.shutdown(cancel_futures=True)
        for key in keys:
            copy_of(*key).remove()
        windows.stock.remove()


@pytest.mark.parametrize("number", range(CUTS))
@pytest.mark.parametrize("window", BEGINS)
def test_a_cut_in_a_window_is_survived(cuts: dict[tuple[str, int], Future[None]], window: str, number: int) -> None:
    cuts[window, number].result()
