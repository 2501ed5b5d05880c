"""The clients that benchmarks/ssh_session.py measures: `ssh_session_clients.py NAME JOB.json`, hosts on standard input.

A job is that of fleet_clients.py without "hosts" and "out"; "threads" is how many connections run at once, and "short"
takes the limits for hosts that go wrong.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fleet_clients  # noqa: E402  # it needs the line above
import paramiko  # noqa: E402  # after the same line

from numatune.transport.endpoint import Target  # noqa: E402  # after the same line
from numatune.transport.host_keys.known_hosts import KnownHosts  # noqa: E402  # after the same line
from numatune.transport.limits import Deadline, Limits  # noqa: E402  # after the same line
from numatune.transport.ssh import collect  # noqa: E402  # after the same line
from numatune.transport.ssh.connect import connect  # noqa: E402  # after the same line
from numatune.transport.ssh.hostkeys import StrictKeys, algorithms  # noqa: E402  # after the same line
from numatune.transport.ssh.session import CIPHERS, MACS  # noqa: E402  # after the same line

Known = Callable[[tuple[str, ...]], KnownHosts]
Client = Callable[[Target, str, Limits, Known], str]
SHORT = Limits(connect_s=1, banner_s=1, kex_s=2, auth_s=2, channel_s=2, total_s=4, output_bytes=4 << 20)
"""The limits for hosts that go wrong."""

_PIECE = 64 << 10


def stock(target: Target, text: str, limits: Limits, known: Known, gcm: bool = False) -> str:
    """Return the script's output by `paramiko.Transport`, its own thread and all the timeouts that it offers."""
    end, total = target.endpoint, limits.start()
    sock = connect(end, limits, total)
    transport = paramiko.Transport(sock)
    try:
        transport.banner_timeout, transport.handshake_timeout = limits.banner_s, limits.kex_s
        transport.auth_timeout, transport.channel_timeout = limits.auth_s, limits.channel_s
        options, keys = transport.get_security_options(), known(end.known_hosts)
        options.key_types = algorithms(end, keys, tuple(options.key_types))
        if gcm:
            options.ciphers, options.digests = CIPHERS, MACS
        deadline = total.within(limits.banner_s + limits.kex_s)
        transport.start_client(timeout=deadline.left())
        # It returns when its timeout has passed as well, without an error.
        if not transport.initial_kex_done:
            raise TimeoutError("key exchange")
        StrictKeys(end, keys).missing_host_key(paramiko.SSHClient(), end.key_name, transport.get_remote_server_key())
        transport.auth_publickey(end.user, _key(end.identity_files[0]))
        channel = transport.open_session(timeout=limits.channel_s)
        channel.settimeout(max(0.001, total.left()))
        channel.exec_command("exec sh -s")
        channel.sendall(text.encode())
        channel.shutdown_write()
        return _output(channel, limits, total)
    finally:
        transport.close()
        sock.close()


def _output(channel: paramiko.Channel, limits: Limits, total: Deadline) -> str:
    data = bytearray()
    while True:
        channel.settimeout(max(0.001, total.left()))
        piece = channel.recv(_PIECE)
        if not piece:
            return data.decode("utf-8", "backslashreplace")
        data += piece
        if len(data) > limits.output_bytes:
            raise ValueError("more output than the limit")


_keys: dict[str, paramiko.PKey] = {}
_reading = threading.Lock()


def _key(path: str) -> paramiko.PKey:
    with _reading:
        if path not in _keys:
            _keys[path] = paramiko.Ed25519Key.from_private_key_file(path)
        return _keys[path]


def _session(target: Target, text: str, limits: Limits, known: Known) -> str:
    return collect(target, text, limits, known)


def _stock_gcm(target: Target, text: str, limits: Limits, known: Known) -> str:
    return stock(target, text, limits, known, gcm=True)


CLIENTS: dict[str, Client] = {"session": _session, "stock": stock, "stock, AES-GCM": _stock_gcm}


def _left() -> str:
    """Return what of the connection works on a second later, when its client has given up."""
    before = time.process_time()
    time.sleep(1)
    used = time.process_time() - before
    threads = sum(isinstance(thread, paramiko.Transport) for thread in threading.enumerate())
    return f"LEFT: {threads} thread, {100 * used:.0f} % of a CPU" if threads else ""


def serve(name: str, job: dict[str, Any]) -> None:
    """Run one block of hosts for each line of standard input; answer each with a line of JSON."""
    client, text = CLIENTS[name], Path(job["script"]).read_text()
    limits = SHORT if job.get("short") else Limits()
    index = KnownHosts((job["known_hosts"],))
    index.key_types("localhost", 22)

    def one(target: Target) -> str:
        try:
            found = client(target, text, limits, lambda _files: index)
        except Exception as error:  # what a host causes is what this measures
            return f"{type(error).__name__}: {error}"[:120]
        return "" if job.get("short") or found.endswith("@end\n") else "not whole"

    with ThreadPoolExecutor(job["threads"]) as pool:
        for line in sys.stdin:
            targets = fleet_clients.targets({**job, "hosts": json.loads(line)})
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            said = list(pool.map(one, targets))
            took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            grown = (after.ru_maxrss - before.ru_maxrss) / 1024
            answer = {
                "cpu_s": cpu,
                "took_s": took,
                "rss_mb": after.ru_maxrss / 1024,
                "grown_mb": grown,
                "said": next(filter(None, said), ""),
                "left": _left() if job.get("short") else "",
            }
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
