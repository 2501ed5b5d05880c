"""A guest of the lab: started from an overlay of a base image, reached over ssh on loopback, ended by its pid."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.machine import KVM, TCG, Machine, acpi_table, qemu_command

ROOT = Path(__file__).parents[2]
LAB = ROOT / "build/lab"
BOOT_SECONDS = 300
"""A guest boots in 25 s on two quiet cores under emulation, and in 140 s on a crowded machine."""

_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


class LabError(Exception):
    """The lab itself failed: one line that says what, where and what to look at."""


def base_image(suite: str) -> Path:
    """The base image of a Debian release, made when there is none for today's recipe."""
    done = subprocess.run([ROOT / "tools/lab-image", suite], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise LabError(f"tools/lab-image {suite} failed: its messages are above")
    return Path(done.stdout.strip())


class Guest:
    """One guest, whose files are in build/lab/guests/NAME and outlive this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = LAB / "guests" / name

    # Its life

    def create(self, base: Path, machine: Machine | None = None) -> Guest:
        """Make a new disk over `base`; what was there under that name goes."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._keep({**asdict(machine or Machine()), "port": _free_port()})
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(self.disk))
        return self

    def copy(self, other: Guest) -> Guest:
        """Make a new disk over that of `other`, which must be off and stay as it is."""
        settings = json.loads((other.folder / "machine.json").read_text())
        del settings["port"]
        return self.create(other.disk, Machine(**settings))

    def as_cut(self, other: Guest) -> Guest:
        """Take the disk of `other` as a power cut at this instant would leave it; `other` goes on."""
        pid = other._pid()
        if pid is None:
            raise LabError(f"{other.name} does not run")
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        settings = json.loads((other.folder / "machine.json").read_text())
        self._keep({**settings, "port": _free_port()})
        # What QEMU has written by now is what a killed one would leave.
        os.kill(pid, signal.SIGSTOP)
        try:
            _run("cp", "--reflink=auto", "--sparse=always", str(other.disk), str(self.disk))
        finally:
            os.kill(pid, signal.SIGCONT)
        return self

    def boot(self, wait: bool = True, accelerator: str | None = None, seconds: float = BOOT_SECONDS) -> Guest:
        """Switch it on, and wait until it answers over ssh."""
        if self.running:
            raise LabError(f"{self.name} runs already")
        settings = self._settings()
        port = settings.pop("port")
        machine = Machine(**settings)
        table = _table(machine.cpus)
        for path in (self.folder / "pid", self.folder / "serial.log"):
            path.unlink(missing_ok=True)
        command = qemu_command(machine, accelerator or find_accelerator(), self.folder, table, port)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and "hostfwd" in done.stderr:  # somebody took the port since it was found free
            self._keep({**settings, "port": _free_port()})
            return self.boot(wait, accelerator, seconds)
        if done.returncode:
            raise LabError(f"{self.name} did not start: {done.stderr.strip().splitlines()[-1]}")
        host_key = (LAB / "host_key.pub").read_text().strip()
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}\n")
        return self.wait(seconds=seconds) if wait else self

    def wait(self, not_boot: str = "", seconds: float = BOOT_SECONDS) -> Guest:
        """Wait until it answers over ssh; with `not_boot`, until its boot id is another."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise LabError(f"{self.name} ended by itself; see {self.folder}/serial.log")
            # The kernel says so where it stays as it is; one that was told to reboot after a panic comes back.
            if "---[ end Kernel panic" in (self.folder / "serial.log").read_text(errors="replace"):
                raise LabError(f"{self.name}: its kernel panicked; see {self.folder}/serial.log")
            if self._greets():
                try:
                    done = self.ssh(_BOOT_ID, check=False, timeout=30)
                except subprocess.TimeoutExpired:  # it went down after its greeting
                    continue
                if done.returncode == 0 and done.stdout.strip() != not_boot:
                    return self
            time.sleep(0.3)
        raise LabError(f"{self.name} did not answer within {seconds:.0f} s; see {self.folder}/serial.log")

    def reboot(self) -> Guest:
        """Reboot it by its own systemd, with no help of numatune's, and wait for the new boot."""
        before = self.boot_id()
        self.ssh("systemctl reboot", check=False)
        return self.wait(not_boot=before)

    def power_off(self) -> None:
        """Shut it down by its own systemd."""
        self.ssh("systemctl poweroff", check=False)
        self._await_end(120)

    def cut(self) -> None:
        """Take its power away: nothing that it had not flushed is on its disk."""
        pid = self._pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            self._await_end(20)

    def stop(self) -> None:
        """End it, whatever it does; its disk stays."""
        self.cut()

    def remove(self) -> None:
        """End it and forget it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What it says and takes

    def ssh(
        self,
        command: str,
        check: bool = True,
        timeout: float = 600,
        user: str = "root",
        stdin: Any = subprocess.DEVNULL,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it."""
        done = subprocess.run(
            [*self.ssh_command(user), command],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{self.name}: `{command}` ended with {done.returncode}: {said}")
        return done

    def read(self, command: str) -> str:
        """What a shell command in it prints, stripped."""
        return self.ssh(command).stdout.strip()

    def send(self, source: Path, to: str) -> None:
        """Unpack a folder's contents there."""
        pack = ["tar", "-C", str(source), "--exclude=__pycache__", "-cf", "-", "."]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
            self.ssh(f"mkdir -p {to} && tar -C {to} -xof -", stdin=tar.stdout)
        if tar.returncode:
            raise LabError(f"{source} could not be packed for {self.name}")

    def ssh_command(self, user: str = "root") -> list[str]:
        """The words that come before a command to be run in it."""
        options = [
            *("BatchMode=yes", "IdentitiesOnly=yes", "LogLevel=ERROR", "ConnectTimeout=10", "ServerAliveInterval=10"),
            *("StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.known_hosts}"),
        ]
        words = ["ssh", "-F", "none", "-i", str(LAB / "key"), "-p", str(self.port)]
        return [*words, *(word for option in options for word in ("-o", option)), f"{user}@127.0.0.1"]

    def boot_id(self) -> str:
        return self.read(_BOOT_ID)

    def variables(self, user: str = "root") -> dict[str, Any]:
        """What Ansible must know of it."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(LAB / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes "
            "-o StrictHostKeyChecking=yes",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    # What is kept on disk

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def port(self) -> int:
        return int(self._settings()["port"])

    @property
    def running(self) -> bool:
        return self._pid() is not None

    def _settings(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "machine.json").read_text()))
        except FileNotFoundError:
            raise LabError(f"there is no guest {self.name}; `tools/lab start {self.name}` makes one") from None

    def _keep(self, settings: Mapping[str, Any]) -> None:
        (self.folder / "machine.json").write_text(json.dumps(settings) + "\n")

    def _pid(self) -> int | None:
        """Its QEMU's pid, if that still is its QEMU: a pid is given away again."""
        try:
            pid = int((self.folder / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if f"{self.folder}/pid".encode() in command else None

    def _await_end(self, seconds: float) -> None:
        pid = self._pid()
        if pid is None:
            return
        watched = os.pidfd_open(pid)
        try:
            if not select.select([watched], [], [], seconds)[0]:
                raise LabError(f"{self.name} still runs after {seconds:.0f} s; see {self.folder}/serial.log")
        finally:
            os.close(watched)

    def _greets(self) -> bool:
        """Whether sshd greets: QEMU itself takes the connection before the guest listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def find_accelerator() -> str:
    """KVM where it boots a guest whose drivers work, else emulation; tried once a boot of this machine."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    note = LAB / "accelerator.json"
    host = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if note.exists() and json.loads(note.read_text()).get("boot") == host:
        return str(json.loads(note.read_text())["accelerator"])
    images = sorted(LAB.glob("*-????????????.qcow2"))
    if not images:
        return TCG  # the first boot of the first base image, with which there is nothing to try
    found = _try_kvm(images[0])
    note.write_text(json.dumps({"boot": host, "accelerator": found}) + "\n")
    return found


def _try_kvm(image: Path) -> str:
    probe = Guest("kvm-probe").create(image)
    try:
        probe.boot(accelerator=KVM, seconds=90)
        works = probe.ssh("test -e /sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", check=False).returncode == 0
    except LabError:
        works = False
    finally:
        probe.remove()
    return KVM if works else TCG


def _table(cpus: int) -> Path:
    """The compiled ACPI table for that many CPUs."""
    made = LAB / f"acpi-{cpus}.aml"
    source = made.with_suffix(".dsl")
    text = acpi_table(cpus)
    if not made.exists() or source.read_text() != text:
        source.write_text(text)
        _run("iasl", "-p", str(made.with_suffix("")), str(source))
    return made


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
