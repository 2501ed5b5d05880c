"""What numatune's own SSH session costs beside paramiko's `Transport` as it comes, and which hosts each survives.

    benchmarks/ssh_session.py [--blocks 8] [--block 25] [--threads 25] [--script FILE] [--hostile]

One OpenSSH server on loopback answers at an address for each connection. Both clients do the same: numatune's own
connect, its check of the host's key, one key that is read once, one exec of the collector, all output. "stock" is
`paramiko.Transport` with every timeout that it has; "stock, AES-GCM" takes the session's ciphers and MACs too. Each
client is one process that runs a block of connections in turn, the order turns round from block to block, and its CPU
is getrusage(RUSAGE_SELF) around the block: user and system, of all its threads, and nothing of the server's. A ratio is
the median over the blocks; its interval is that of the median, distribution-free, at 95 % or more.

--hostile puts one host of each kind of tests/fleet/faults.py, and three that misbehave after the key exchange,
before each client, in a process of its own: when it ended, by how much its memory grew, what it said, and which of its
threads ran on a second later. A process that has not ended after three times its limit is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import paramiko  # noqa: E402  # it needs the line above
from paramiko.message import Message  # noqa: E402  # after the same line
from ssh_session_clients import CLIENTS, SHORT  # noqa: E402  # after the same line

from numatune.core.collecting.collector import script  # noqa: E402  # after the same line
from tests.fleet.canned import Canned  # noqa: E402  # after the same line
from tests.fleet.faults import EXPECTED, GOOD, MORE, Faults  # noqa: E402  # after the same line
from tests.fleet.sshd import Sshd, addresses  # noqa: E402  # after the same line


class Child:
    """One client in a process of its own."""

    def __init__(self, name: str, job: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks/ssh_session_clients.py"), name, str(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "SSH_AUTH_SOCK": ""},
        )  # fmt: skip

    def ask(self, hosts: list[list[str]]) -> None:
        """Let it run these hosts."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(hosts) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds: float | None = None) -> dict[str, Any] | None:
        """Return what it says; None where it has not answered after so many seconds."""
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self.process.kill) if seconds else None
        if timer:
            timer.start()
        line = self.process.stdout.readline()
        if timer:
            timer.cancel()
        return json.loads(line) if line else None

    def run(self, hosts: list[list[str]]) -> dict[str, Any]:
        """Run these hosts and return what it says."""
        self.ask(hosts)
        found = self.answer()
        assert found is not None
        return found

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


# --- the two tables ---


def compare(job: dict[str, Any], folder: Path, hosts: list[list[str]], blocks: int) -> None:
    """Print CPU and memory of each client, and the ratios within each block."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    names, size = list(CLIENTS), len(hosts)
    children = {name: Child(name, path) for name in names}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    try:
        # What is imported, read and allocated once.
        warm = {name: each.run(hosts) for name, each in children.items()}
        for block in range(blocks):
            turn = names if block % 2 == 0 else names[::-1]
            for name in turn:
                runs[name].append(children[name].run(hosts))
    finally:
        for each in children.values():
            each.close()
    print(f"{'client':16} {'CPU ms a host':>20} {'peak MB':>8} {'grew by':>8}  hosts")
    for name, found in runs.items():
        cpu = [1000 * one["cpu_s"] / size for one in found]
        said = next((one["said"] for one in found if one["said"]), "")
        spread = f"{statistics.median(cpu):.2f} ({min(cpu):.2f}–{max(cpu):.2f})"
        peak, failed = found[-1]["rss_mb"], f"  FAILED: {said}" if said else ""
        grew = peak - warm[name]["rss_mb"] + warm[name]["grown_mb"]
        print(f"{name:16} {spread:>20} {peak:8.1f} {grew:8.1f}  {size * len(found)}{failed}")
    for name in names[1:]:
        ratios = [mine["cpu_s"] / other["cpu_s"] for mine, other in zip(runs[names[0]], runs[name], strict=True)]
        low, high = _interval(ratios)
        print(f"{names[0]} / {name}: {statistics.median(ratios):.3f} ({low:.3f}–{high:.3f})")


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the narrowest pair of order statistics that hold the median with 95 %; the extremes where none do."""
    ordered, count = sorted(values), len(values)
    cut = 0
    while cut + 1 < count // 2 and 2 * sum(math.comb(count, below) for below in range(cut + 2)) / 2**count <= 0.05:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


def hostile(job: dict[str, Any], folder: Path) -> None:
    """Print what each kind of host that goes wrong does to each client."""
    kinds = [kind for kind in (*EXPECTED, *MORE) if kind not in (GOOD, "failing_sudo")]
    print(f"limit of a host: {SHORT.total_s:.0f} s; seconds, memory grown, what it said")
    with contextlib.ExitStack() as stack:
        faults = stack.enter_context(Faults(folder / "servers", kinds))
        hosts = [(host.kind, host.address, host.port) for host in faults.hosts(len(kinds), dict.fromkeys(kinds, 1))]
        for kind, options in _CANNED.items():
            server = stack.enter_context(Canned(**options))
            with faults.known_hosts.open("a") as known:
                known.write(server.known_line)
            hosts.append((kind, "127.0.0.1", server.port))
        path = folder / "job.json"
        same = {**job, "user": faults.good.user, "key": str(faults.good.key), "known_hosts": str(faults.known_hosts)}
        for kind, address, port in hosts:
            path.write_text(json.dumps({**same, "port": port, "short": True, "threads": 1}))
            for name in ("session", "stock"):
                print(f"{kind:18} {name:8} {_survived(Child(name, path), kind, address)}", flush=True)


def _survived(alone: Child, kind: str, address: str) -> str:
    try:
        alone.ask([[kind, address]])
        found = alone.answer(3 * SHORT.total_s)
    finally:
        alone.close()
    if found is None:
        return f"NOT ENDED after {3 * SHORT.total_s:.0f} s"
    late = "LATE" if found["took_s"] > SHORT.total_s * 1.1 else ""
    said = found["said"][:70] or "took it for a good host"
    return f"{found['took_s']:5.1f} s {late:4} {found['grown_mb']:6.1f} MB  {said!r} {found['left']}"


def _many_extensions(transport: paramiko.Transport) -> None:
    message = Message()
    message.add_byte(b"\x07")
    message.add_int(0xFFFFFFFF)
    transport._send_message(message)  # type: ignore[attr-defined]  # a server that says what it may not


def _ignores(transport: paramiko.Transport) -> None:
    while transport.is_active():
        transport.send_ignore(30_000)


def _other_key(transport: paramiko.Transport, channel: paramiko.Channel) -> None:
    other = paramiko.RSAKey.generate(2048)
    transport.server_key_dict["rsa-sha2-512"] = transport.server_key_dict["rsa-sha2-256"] = other
    transport.renegotiate_keys()
    channel.sendall(b"of somebody else\n")
    channel.close()


_CANNED: dict[str, dict[str, Any]] = {
    "many_extensions": {"after_kex": _many_extensions},
    "endless_ignores": {"after_kex": _ignores},
    "other_host_key": {"on_exec": _other_key},
}


def main() -> None:
    """Do what was asked."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--block", type=int, default=25, help="connections of one block")
    parser.add_argument("--threads", type=int, default=25, help="connections at once")
    parser.add_argument("--script", type=Path, help="run this in place of the collector")
    parser.add_argument("--hostile", action="store_true", help="hosts that go wrong, in place of the comparison")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="numatune-session-") as name:
        folder = Path(name)
        text = folder / "script.sh"
        text.write_text(args.script.read_text() if args.script else script())
        if args.hostile:
            hostile({"script": str(text)}, folder)
            return
        with Sshd(folder / "sshd", log_level="ERROR") as server:
            hosts = [[f"host-{number:05}", address] for number, address in enumerate(addresses(args.block))]
            server.known(address for _, address in hosts)
            job = {"port": server.port, "user": server.user, "key": str(server.key), "script": str(text),
                   "known_hosts": str(server.known_hosts), "threads": args.threads}  # fmt: skip
            compare(job, folder, hosts, args.blocks)


if __name__ == "__main__":
    main()
