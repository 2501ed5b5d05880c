"""What an audit of a fleet costs the control node, beside other clients that fetch the same; asserts nothing.

    benchmarks/fleet.py [--hosts 1000] [--repeats 3] [--forks 50] [--only NAME…] [--sample 0.5]
                        [--replay 10000] [--server] [--profile] [--against SCRIPT]

One OpenSSH server on loopback stands for every host, each under an address of its own. Every client runs the same
script with strict keys and as many hosts at once; in each repeat all of them run one after the other, and another one
is the first. CPU is that of all of a client's processes, from the kernel's own count when they have ended, and nothing
of the server's; ratios are medians over the repeats, each within one repeat. Which client did not get every answer is
said. asyncssh and pyinfra get an environment of their own in build/fleet-clients (needs pip's index).

--replay judges one stream over and over, for the memory of a large fleet; --server measures the server's side of one
exec; --profile says where the CPU of one host goes. These three replace the comparison unless --only names clients.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fleet_parts  # noqa: E402  # it needs the line above
from fleet_clients import KEX  # noqa: E402  # after the same line

from numatune.core.collecting.collector import script  # noqa: E402  # after the same line
from tests.fleet.sshd import Sshd, addresses  # noqa: E402  # after the same line

BIN = Path(sys.executable).parent
OTHERS = ROOT / "build" / "fleet-clients"
PINS = ("asyncssh==2.24.1", "pyinfra==3.10.0")


@dataclass(frozen=True)
class Measured:
    """One run of one client; `answers` is how many hosts gave the whole script's output."""

    cpu_s: float
    wall_s: float
    peak_mb: float | None
    rss_mb: float
    answers: int
    note: str = ""


class Fleet:
    """The server, the hosts' addresses, and the files that the clients are given."""

    def __init__(self, folder: Path, server: Sshd, hosts: int, forks: int, sample_s: float) -> None:
        self.folder = folder
        self.server = server
        self.forks = forks
        self.sample_s = sample_s
        self.hosts = [[f"host-{number:05}", address] for number, address in enumerate(addresses(hosts))]
        server.known(address for _, address in self.hosts)
        self.script = folder / "script.sh"
        self.script.write_text(script())
        self.inventory = folder / "inventory.json"
        common = server.variables("")
        del common["ansible_host"]
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        common["ansible_python_interpreter"] = python
        entries = {alias: {"ansible_host": address} for alias, address in self.hosts}
        self.inventory.write_text(json.dumps({"all": {"hosts": entries, "vars": common}}))

    def job(self, **more: Any) -> dict[str, Any]:
        """Return the job of a client of fleet_clients.py."""
        return {
            "hosts": self.hosts,
            "port": self.server.port,
            "user": self.server.user,
            "key": str(self.server.key),
            "known_hosts": str(self.server.known_hosts),
            "script": str(self.script),
            "forks": self.forks,
            **more,
        }

    def run(self, command: list[str], environment: dict[str, str] | None = None) -> tuple[dict[str, Any], Path, Path]:
        """Run a client under the meter; return what it used, its standard output and its errors."""
        report, out, errors = (self.folder / name for name in ("meter.json", "stdout", "stderr"))
        meter = [sys.executable, str(ROOT / "benchmarks/fleet_meter.py"), str(report), str(self.sample_s), *command]
        # PYTHON…: an installed package has its bytecode, which PYTHONDONTWRITEBYTECODE would keep from this checkout.
        own = ("ANSIBLE_", "SSH_AUTH", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        mine = {"HOME": str(self.server.home), "XDG_STATE_HOME": str(self.folder / "state"), "LC_ALL": "C.UTF-8"}
        with out.open("wb") as stdout, errors.open("wb") as stderr:
            subprocess.run(
                meter, stdout=stdout, stderr=stderr, cwd=self.folder, env={**kept, **mine, **(environment or {})},
                check=True,
            )  # fmt: skip
        return json.loads(report.read_text()), out, errors


# --- the clients ---


def audit(fleet: Fleet) -> Measured:
    """The whole of `numatune audit`: inventory, strict keys, parsing, judging, storing, the report."""
    store = fleet.folder / "store.sqlite"
    store.unlink(missing_ok=True)
    used, out, errors = fleet.run(
        [sys.executable, "-m", "numatune", "audit", "-i", str(fleet.inventory), "--format", "json", "--store",
         str(store), "--forks", str(fleet.forks)],
        {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        hosts = json.loads(out.read_text())["hosts"]
    except ValueError:
        return _measured(used, 0, errors)
    release = os.uname().release
    judged = [host for host in hosts if host["status"] != "unreachable" and host["facts"]["kernel"] == release]
    bad = next((str(host["error"]) for host in hosts if host["status"] == "unreachable"), "")
    return _measured(used, len({host["name"] for host in judged}), errors, bad)


def _client(name: str, python: Path) -> Callable[[Fleet], Measured]:
    def client(fleet: Fleet) -> Measured:
        job, out = fleet.folder / "job.json", fleet.folder / "answers"
        job.write_text(json.dumps(fleet.job(out=str(out))))
        out.unlink(missing_ok=True)
        used, _, errors = fleet.run([str(python), str(ROOT / "benchmarks/fleet_clients.py"), name, str(job)])
        rows = [line.split("\t") for line in out.read_text().splitlines()] if out.exists() else []
        whole = {alias for alias, size, end in rows if end == "@end" and int(size) > 10_000}
        bad = next((end for _, _, end in rows if end != "@end"), "")
        return _measured(used, len(whole), errors, bad)

    return client


def ansible_shell(fleet: Fleet) -> Measured:
    """`ansible -m shell` with the script."""
    # `{#` of the shell begins a comment of Jinja's.
    words = json.dumps({"cmd": "{% raw %}" + fleet.script.read_text() + "{% endraw %}"})
    used, out, errors = _ansible(fleet, "shell", "-a", words)
    return _measured(used, _count(out, "@end\n"), errors, _first(out, "UNREACHABLE!", "FAILED"))


def ansible_setup(fleet: Fleet) -> Measured:
    """`ansible -m setup`, the facts that a playbook gathers."""
    used, out, errors = _ansible(fleet, "setup")
    return _measured(used, _count(out, '"ansible_kernel":'), errors, _first(out, "UNREACHABLE!", "FAILED"))


def _ansible(fleet: Fleet, module: str, *arguments: str) -> tuple[dict[str, Any], Path, Path]:
    # No master connection: with pipelining each host needs one connection, and a master would outlive the run.
    ssh = f"-o KexAlgorithms={KEX} -o ControlMaster=no -o ControlPath=none"
    return fleet.run(
        [str(BIN / "ansible"), "all", "-i", str(fleet.inventory), "-f", str(fleet.forks), "-m", module, *arguments],
        {
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": ssh,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(fleet.folder / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(fleet.folder / "ansible/tmp"),
        },
    )


def _count(path: Path, words: str) -> int:
    return path.read_text(errors="replace").count(words)


def _first(path: Path, *words: str) -> str:
    with path.open(errors="replace") as lines:
        return next((line.strip() for line in lines if any(word in line for word in words)), "")


def _measured(used: dict[str, Any], answers: int, errors: Path, bad: str = "") -> Measured:
    said = errors.read_text(errors="replace").strip().splitlines()
    note = bad or (said[-1] if said else "")
    if used["processes_ended"]:
        note = f"{used['processes_ended']} of its processes had to be ended; {note}"
    return Measured(used["cpu_s"], used["wall_s"], used["peak_mb"], used["largest_rss_mb"], answers, note[:160])


CLIENTS: dict[str, Callable[[Fleet], Measured]] = {
    "audit": audit,
    "transport": _client("transport", Path(sys.executable)),
    "asyncssh": _client("asyncssh", OTHERS / "bin/python"),
    "openssh": _client("openssh", Path(sys.executable)),
    "pyinfra": _client("pyinfra", OTHERS / "bin/python"),
    "shell": ansible_shell,
    "setup": ansible_setup,
}
NAMES = {
    "audit": "numatune audit (whole)",
    "transport": "numatune's transport alone",
    "asyncssh": "asyncssh",
    "openssh": f"OpenSSH in a pool, {KEX}",
    "pyinfra": "pyinfra fact",
    "shell": "ansible -m shell",
    "setup": "ansible -m setup",
}
WANTED = (
    ("audit", "shell", 1 / 8, "1/8"),
    ("audit", "setup", 1 / 12, "1/12"),
    ("audit", "pyinfra", 1 / 2, "1/2"),
    ("audit", "openssh", 0.8, "0.8"),
    ("transport", "asyncssh", 1.3, "1.3"),
)
MOST_MB = 150


# --- the table ---


def compare(fleet: Fleet, names: list[str], repeats: int) -> None:
    """Run every client in every repeat, and print the table and the ratios."""
    runs: dict[str, list[Measured]] = {name: [] for name in names}
    for repeat in range(repeats):
        turned = names[repeat % len(names) :] + names[: repeat % len(names)]
        for name in turned:
            runs[name].append(CLIENTS[name](fleet))
            one = runs[name][-1]
            print(f"  {repeat + 1}/{repeats} {name}: {one.cpu_s:.1f} s of CPU, {one.wall_s:.0f} s", file=sys.stderr)
    count = len(fleet.hosts)
    print(f"{'':36} {'CPU ms a host':>22} {'peak MB':>8} {'wall s':>7}  answers")
    for name, measured in runs.items():
        each = [1000 * one.cpu_s / count for one in measured]
        peak = max(one.peak_mb or one.rss_mb for one in measured)
        wall = statistics.median(one.wall_s for one in measured)
        spread = f"{statistics.median(each):.2f} ({min(each):.2f}–{max(each):.2f})"
        got = min(one.answers for one in measured)
        print(f"{NAMES[name]:36} {spread:>22} {peak:8.0f} {wall:7.1f}  {got} of {count}")
    for name, measured in runs.items():
        for one in measured:
            if one.answers != count:
                print(f"NOT WHOLE: {NAMES[name]}: {one.answers} of {count} answers; {one.note}")
                break
    print()
    whole = {name for name, measured in runs.items() if all(one.answers == count for one in measured)}
    for mine, theirs, bound, word in WANTED:
        if runs.get(mine) and runs.get(theirs):
            ratios = [one.cpu_s / other.cpu_s for one, other in zip(runs[mine], runs[theirs], strict=True)]
            middle = statistics.median(ratios)
            print(
                f"{mine} / {theirs}: {middle:.3f} ({min(ratios):.3f}–{max(ratios):.3f}), wanted: at most {word}"
                f"{'' if middle <= bound else '   MISSED'}{'' if {mine, theirs} <= whole else '   NOT OF WHOLE RUNS'}"
            )
    if runs.get("audit"):
        peak = max(one.peak_mb or one.rss_mb for one in runs["audit"])
        print(f"audit's peak memory: {peak:.0f} MB, wanted: at most {MOST_MB}{'' if peak <= MOST_MB else '   MISSED'}")


def prepare_others() -> None:
    """Make the environment of asyncssh and pyinfra, if it is not there as pinned."""
    stamp = OTHERS / "pins"
    if stamp.exists() and stamp.read_text() == " ".join(PINS):
        return
    subprocess.run([sys.executable, "-m", "venv", str(OTHERS)], check=True)
    subprocess.run([OTHERS / "bin/pip", "install", "-q", "--disable-pip-version-check", *PINS], check=True)
    stamp.write_text(" ".join(PINS))


def main() -> None:
    """Do what was asked."""
    # `timeout` ends with SIGTERM: the servers and folders go then as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=list(CLIENTS), metavar="NAME", help=", ".join(CLIENTS))
    parser.add_argument("--sample", type=float, default=0.5, metavar="S", help="look at memory every so often (0: not)")
    parser.add_argument("--replay", type=int, metavar="N", help="memory of an audit of N replayed hosts")
    parser.add_argument("--server", action="store_true", help="CPU of the server's side of one exec")
    parser.add_argument("--profile", action="store_true", help="where the CPU of one host goes")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="SCRIPT",
        help="with --server or --profile: beside another version's script, from its `numatune collect --print-script`",
    )
    args = parser.parse_args()
    parts = bool(args.replay or args.server or args.profile)
    names = args.only or ([] if parts else list(CLIENTS))
    if {"asyncssh", "pyinfra"} & set(names):
        prepare_others()
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0]
    versions = ", ".join(f"{name} {version(name)}" for name in ("paramiko", "ansible-core"))
    print(f"{os.cpu_count()} CPUs, load {load}; Python {sys.version.split()[0]}, {versions}, {', '.join(PINS)}, {said}")
    print(f"{args.hosts} hosts, {args.forks} at once, {args.repeats} repeats\n", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="numatune-fleet-") as name,
        Sshd(Path(name) / "sshd", log_level="ERROR") as server,
    ):
        fleet = Fleet(Path(name), server, args.hosts, args.forks, args.sample)
        if names:
            compare(fleet, names, args.repeats)
        if args.replay:
            fleet_parts.replay(fleet, args.replay)
        if args.server:
            fleet_parts.server(fleet, args.against)
        if args.profile:
            fleet_parts.profile(fleet, args.against)


if __name__ == "__main__":
    main()
