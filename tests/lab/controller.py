"""The control node: an inventory of guests, ansible-playbook as a user runs it, what guests say without numatune."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.guest import ROOT, Guest

_VALUES = (Path(__file__).parent / "values.sh").read_text()
_FILES = (Path(__file__).parent / "files.sh").read_text()


@dataclass(frozen=True)
class Run:
    """What ansible-playbook said."""

    code: int
    out: str

    def recap(self, host: str) -> dict[str, int]:
        """A host's counts."""
        line = re.search(rf"^{re.escape(host)} +: (.*)$", self.out, flags=re.M)
        assert line, self.out
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line[1])}

    def states(self) -> dict[str, tuple[str, str]]:
        """Host -> (state, reason), as tune.yml's last table shows them."""
        table = self.out.rpartition("TASK [Show the state of every host]")[2].partition("TASK [")[0]
        words = "tuned|failed|unreachable|not reached|incomplete|pending_reboot|lost|would change"
        found = re.findall(rf"^ +(\S+) +({words})\b *(.*)$", table, flags=re.M)
        return {host: (state, " ".join(reason.split())) for host, state, reason in found}


class Controller:
    """A folder with an inventory, and ansible-playbook run from the repository's root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        self.reports.mkdir()
        self._hosts: dict[str, Any] = {}

    def add(self, guest: Guest, user: str = "root", **variables: Any) -> None:
        """Put a guest into the inventory."""
        self._hosts[guest.name] = {**guest.variables(user), **variables}
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": self._hosts}}))

    def _command(self, playbook: str, *arguments: str, variables: Mapping[str, Any] | None = None) -> list[str]:
        """The words that play a playbook of the repository."""
        words = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.folder / "inventory.json")]
        if variables:
            words += ["-e", json.dumps(variables)]
        return [*words, f"playbooks/{playbook}.yml", *arguments]

    def _environment(self) -> dict[str, str]:
        """None of the developer's own settings; no connection outlives its task."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return kept | {
            "HOME": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=no -o ControlPath=none",
            "LC_ALL": "C.UTF-8",
        }

    def start(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """Begin to play a playbook, in a session of its own."""
        return subprocess.Popen(
            self._command(playbook, *arguments, variables=variables),
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, playbook: str, *arguments: str, timeout: float = 1200, **variables: Any) -> Run:
        """Play a playbook to its end."""
        process = self.start(playbook, *arguments, **variables)
        try:
            out, _none = process.communicate(timeout=timeout)
        finally:
            stop(process)
        return Run(process.returncode, out)

    def audit(self, guest: Guest, **variables: Any) -> dict[str, dict[str, Any]]:
        """Setting -> its finding, by audit.yml's JSON."""
        return {finding["setting"]: finding for finding in self.report(guest, **variables)["findings"]}

    def report(self, guest: Guest, **variables: Any) -> dict[str, Any]:
        """What audit.yml writes of a guest: its status, facts, findings and notes."""
        path = self.reports / f"{guest.name}.json"
        path.unlink(missing_ok=True)
        run = self.play("audit", "--limit", guest.name, audit_report_dir=str(self.reports), **variables)
        assert run.code == 0, run.out
        return dict(json.loads(path.read_text()))


def stop(process: subprocess.Popen[str]) -> None:
    """End a playbook that still plays, with the ssh that it started: a reboot would be waited for."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=120)


def values(guest: Guest) -> dict[str, str]:
    """Path -> what the running kernel holds, for every value that numatune can write."""
    lines = (line.partition(" ") for line in guest.read(_VALUES).splitlines())
    return {path: value for path, _space, value in lines}


def files(guest: Guest) -> set[str]:
    """Every name under /etc and /boot/grub: lines of kind, mode, owner and target, and of checksums."""
    return set(guest.read(_FILES).splitlines())
