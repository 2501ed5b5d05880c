"""Debian's own TuneD beside numatune: what it holds is left to it, another governor is refused or written over."""

from __future__ import annotations

import logging
import time

import pytest
from lab.conftest import Start
from lab.controller import Controller, files, values
from lab.guest import LAB, Guest

pytestmark = pytest.mark.lab
LOG = logging.getLogger("lab")

SERVING, KEEPING = (1, 3), (0, 2)
APPLIED = "grep -c 'static tuning from profile .* applied' /var/log/tuned/tuned.log"
# What is asked of all CPUs now, and whether TuneD's process is among those who ask.
LATENCY = 'python3 -c \'import struct; print(*struct.unpack("i", open("/dev/cpu_dma_latency", "rb").read(4)))\''
HOLDS_LATENCY = "ls -l /proc/$(systemctl show -p MainPID --value tuned)/fd | grep -q /dev/cpu_dma_latency"


class TunedHost:
    """A guest with TuneD, what its kernel holds, and the seconds that each step took."""

    def __init__(self, guest: Guest, controller: Controller) -> None:
        self.guest = guest
        self.controller = controller
        self._began = time.monotonic()
        controller.add(guest)

    def step(self, text: str) -> None:
        """Say what comes next, and how long it took to come here."""
        LOG.info("%4.0f s: %s", time.monotonic() - self._began, text)

    def install(self) -> None:
        """Install TuneD as it is in Debian: it starts, and picks a profile by itself."""
        self.guest.send(LAB / "debs-bookworm", "/root/debs")
        # gawk must find these two set up before it is unpacked.
        self.guest.ssh("cd /root/debs && dpkg -i libmpfr6_*.deb libsigsegv2_*.deb && dpkg -i *.deb")
        assert self.guest.read("systemctl is-enabled tuned; systemctl is-active tuned") == "enabled\nactive"

    def tuned(self, command: str) -> None:
        """Run a command that lets TuneD apply a profile, and wait until it has, and what waits for it too."""
        self.guest.ssh(
            f"before=$({APPLIED}); {command} && until [ $({APPLIED}) -gt $before ]; do sleep 0.2; done", timeout=120
        )
        self.guest.ssh('until [ -z "$(systemctl list-jobs --no-legend)" ]; do sleep 0.2; done', timeout=120)

    def reboot(self) -> None:
        """Reboot, and wait until all is started and TuneD has applied its profile."""
        before = self.guest.read(APPLIED)
        self.guest.reboot()
        self.guest.ssh(f"until [ $({APPLIED}) -gt {before} ]; do sleep 0.2; done", timeout=120)
        self.guest.ssh("systemctl is-system-running --wait", check=False, timeout=180)

    def governors(self, cpus: tuple[int, ...]) -> set[str]:
        """The governors of CPUs, by the kernel."""
        now = values(self.guest)
        return {now[f"sys/devices/system/cpu/cpufreq/policy{cpu}/scaling_governor"] for cpu in cpus}

    def balancing(self) -> str:
        """Automatic NUMA balancing, by the kernel."""
        return self.guest.read("cat /proc/sys/kernel/numa_balancing")

    def now(self) -> tuple[set[str], set[str], str]:
        """The governors of the serving CPUs and of the others, and NUMA balancing."""
        return self.governors(SERVING), self.governors(KEEPING), self.balancing()

    def check_latency_performance(self, balancing: str) -> None:
        """What the profile sets, read without numatune and TuneD."""
        assert self.governors((*SERVING, *KEEPING)) == {"performance"}
        assert self.guest.read("cat /proc/sys/vm/swappiness /proc/sys/vm/dirty_ratio") == "10\n10"
        assert self.guest.read(LATENCY) == "1"
        self.guest.ssh(HOLDS_LATENCY)
        assert self.balancing() == balancing


@pytest.fixture(scope="module")
def host(start: Start, controller: Controller) -> TunedHost:
    made = TunedHost(start("tuned"), controller)
    made.install()
    made.tuned("tuned-adm profile latency-performance")
    return made


def test_what_tuned_holds_is_right_and_the_rest_is_tuned(host: TunedHost) -> None:
    guest = host.guest
    host.step("TuneD holds latency-performance")
    host.check_latency_performance(balancing="1")

    findings = host.controller.audit(guest)
    host.step("audited: " + ", ".join(f"{name} {finding['status']}" for name, finding in findings.items()))
    assert findings["numa_balancing"]["status"] == "wrong"
    assert findings["cpu_governor"]["status"] == "ok"
    assert "TuneD holds it" in findings["cpu_governor"]["reason"]
    # Right now, but by a file that a process holds open: numatune asks for each CPU by itself.
    assert findings["cpu_idle"]["status"] == "lost_at_reboot"
    assert "TuneD (force_latency=" in findings["cpu_idle"]["reason"]
    assert "/usr/lib/tuned/latency-performance/tuned.conf line" in findings["cpu_idle"]["reason"]

    run = host.controller.play("tune")
    assert run.code == 0, run.out
    assert run.states()[guest.name][0] == "tuned", run.out
    host.step("tuned")
    host.check_latency_performance(balancing="0")
    assert guest.ssh("test -e /etc/numatune/apply.d/cpu_governor.conf", check=False).returncode == 1

    host.tuned("systemctl restart tuned")
    host.step("TuneD was restarted")
    host.check_latency_performance(balancing="0")

    host.reboot()
    host.step("rebooted")
    host.check_latency_performance(balancing="0")
    again = host.controller.play("tune")
    assert again.states()[guest.name][0] == "tuned", again.out
    assert again.recap(guest.name)["changed"] == 0, again.out


def test_another_governor_of_tuneds_is_refused_or_written_after(host: TunedHost) -> None:
    guest = host.guest
    host.tuned("tuned-adm profile balanced")
    host.step("TuneD holds balanced")
    assert host.governors((*SERVING, *KEEPING)) == {"conservative"}
    assert host.balancing() == "0"

    before = files(guest)
    refused = host.controller.play("tune")
    state, reason = refused.states()[guest.name]
    host.step(f"{state}: {reason}")
    assert refused.code != 0
    assert state == "failed", refused.out
    assert "tuned.service" in reason, reason
    assert "profile balanced" in reason, reason
    assert files(guest) == before
    assert host.governors(SERVING) == {"conservative"}

    after = {"tune_cpu_governor_tuned": "after"}
    run = host.controller.play("tune", **after)
    assert run.code == 0, run.out
    assert run.states()[guest.name][0] == "tuned", run.out
    host.step("tuned, after TuneD")
    ours, tuneds = {"performance"}, {"conservative"}  # TuneD keeps the CPUs that keep house
    assert host.now() == (ours, tuneds, "0")

    host.tuned("systemctl restart tuned")
    host.step("TuneD was restarted")
    assert host.now() == (ours, tuneds, "0")

    # A switch of profiles starts no unit, so that nothing comes after it: the audit must say so, and be right.
    host.tuned("tuned-adm profile balanced")
    assert host.now() == (tuneds, tuneds, "0")
    finding = host.controller.audit(guest, **after)["cpu_governor"]
    host.step(f"the profile was switched: {finding['status']}: {finding['reason']}")
    assert finding["status"] == "pending_reboot", finding

    host.reboot()
    host.step("rebooted")
    assert host.now() == (ours, tuneds, "0")
    again = host.controller.play("tune", **after)
    assert again.states()[guest.name][0] == "tuned", again.out
    assert again.recap(guest.name)["changed"] == 0, again.out
    host.step("nothing is left to do")
