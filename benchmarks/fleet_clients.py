"""The clients that benchmarks/fleet.py measures, each a process of its own: `fleet_clients.py NAME JOB.json`.

A job says where the hosts are ({"hosts": [[alias, address], …], "port", "user", "key", "known_hosts", "script",
"forks", "out"}); a client writes one line per host to `out`: alias, a tab, and the answer's length and last line. Keys
are strict everywhere. numatune's own environment has no asyncssh and no pyinfra: what a client needs is imported in it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEX = "curve25519-sha256"


class Answers:
    """What the hosts answered, one line each."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("w")  # noqa: SIM115  # `close` closes it
        self._lock = threading.Lock()

    def add(self, alias: str, text: str, size: int | None = None) -> None:
        """Keep one answer's length (`size` where `text` is only its end) and its last line."""
        end = text[-200:].rstrip().rpartition("\n")[2]
        with self._lock:
            self._file.write(f"{alias}\t{len(text) if size is None else size}\t{end}\n")

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def openssh(job: dict[str, Any], answers: Answers) -> None:
    """`ssh`, one process per host, in a pool of threads."""
    script = Path(job["script"]).read_bytes()
    command = [
        "ssh", "-F", "none", "-p", str(job["port"]), "-l", job["user"], "-i", job["key"], "-o", "BatchMode=yes",
        "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", f"UserKnownHostsFile={job['known_hosts']}",
        "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", f"KexAlgorithms={KEX}",
    ]  # fmt: skip

    def one(host: list[str]) -> None:
        done = subprocess.run([*command, host[1], "exec sh -s"], input=script, capture_output=True, check=False)
        answers.add(host[0], done.stdout.decode("utf-8", "replace"))

    with ThreadPoolExecutor(job["forks"]) as pool:
        list(pool.map(one, job["hosts"]))


def asyncssh(job: dict[str, Any], answers: Answers) -> None:
    """asyncssh, its usual way: one connection and one `run` per host, as many at once as there are forks."""
    import asyncssh as library

    script = Path(job["script"]).read_text()
    options = library.SSHClientConnectionOptions(
        username=job["user"],
        client_keys=[library.read_private_key(job["key"])],
        known_hosts=library.read_known_hosts(job["known_hosts"]),
        agent_path=None,
        config=[],
        kex_algs=[KEX],
        connect_timeout=10,
        login_timeout=30,
    )

    async def everything() -> None:
        room = asyncio.Semaphore(job["forks"])

        async def one(host: list[str]) -> None:
            async with room:
                try:
                    async with library.connect(host[1], job["port"], options=options) as connection:
                        done = await connection.run("exec sh -s", input=script)
                except (OSError, library.Error) as error:
                    answers.add(host[0], f"failed: {error}")
                else:
                    answers.add(host[0], str(done.stdout))

        await asyncio.gather(*(one(host) for host in job["hosts"]))

    asyncio.run(everything())


def pyinfra(job: dict[str, Any], answers: Answers) -> None:
    """pyinfra's API without its command line: connect to all, then one fact that runs the script."""
    # As its command line does first of all: without it one thread after the other waits.
    from gevent import monkey

    monkey.patch_all()

    from pyinfra.api import Config, Inventory, State
    from pyinfra.api.connect import connect_all
    from pyinfra.api.facts import get_facts
    from pyinfra.facts.server import Command

    data = {
        "ssh_port": job["port"],
        "ssh_user": job["user"],
        "ssh_key": job["key"],
        "ssh_known_hosts_file": job["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_config_file": "/dev/null",
    }
    hosts = [(alias, {**data, "ssh_hostname": address}) for alias, address in job["hosts"]]
    state = State(Inventory((hosts, {})), Config(PARALLEL=job["forks"], CONNECT_TIMEOUT=30))
    connect_all(state)
    found = get_facts(state, Command, args=(Path(job["script"]).read_text(),))
    for host, text in found.items():
        answers.add(host.name, text if isinstance(text, str) else "\n".join(text or []))
    for host in state.inventory:
        host.disconnect()


def transport(job: dict[str, Any], answers: Answers) -> None:
    """numatune's pool and transport alone: no inventory, no judging, no compression, no store."""
    sys.path.insert(0, str(ROOT))
    from numatune.fleet import pool
    from numatune.fleet.events import Done
    from numatune.fleet.work import Made, Work
    from numatune.transport.limits import Limits

    class Bare(Work):
        """Keeps of a stream what `Answers` does."""

        def make(self, alias: str, stream: str) -> Made:
            return Made("ok", f"{len(stream)}\t{stream[-200:]}".encode())

    for event in pool.run(targets(job), Bare("collect"), forks=job["forks"], limits=Limits()):
        if isinstance(event, Done) and event.payload:
            size, _, end = event.payload.decode().partition("\t")
            answers.add(event.alias, end, int(size))
        elif isinstance(event, Done):
            answers.add(event.alias, f"failed: {event.failure}")


def targets(job: dict[str, Any]) -> list[Any]:
    """Return a job's hosts as numatune's transports take them."""
    from numatune.transport.endpoint import Endpoint, Target

    return [
        Target(
            Endpoint(
                alias=alias,
                hostname=address,
                port=job["port"],
                user=job["user"],
                identity_files=(job["key"],),
                identities_only=True,
                use_agent=False,
                known_hosts=(job["known_hosts"],),
            )
        )
        for alias, address in job["hosts"]
    ]


def replay(job: dict[str, Any], answers: Answers) -> None:
    """The whole audit, its transport replaced by one stream that stands for every host; `arguments` are its own."""
    sys.path.insert(0, str(ROOT))
    from numatune.cli import main as numatune
    from numatune.fleet import transports

    opener = transports.Replay(Path(job["stream"]))
    transports.find = lambda name, targets: opener
    code = numatune(job["arguments"])
    answers.add("replay", f"exit code {code}")


CLIENTS: dict[str, Callable[[dict[str, Any], Answers], None]] = {
    "openssh": openssh,
    "asyncssh": asyncssh,
    "pyinfra": pyinfra,
    "transport": transport,
    "replay": replay,
}


def main() -> None:
    """Run one client."""
    job = json.loads(Path(sys.argv[2]).read_text())
    answers = Answers(job["out"])
    try:
        CLIENTS[sys.argv[1]](job, answers)
    finally:
        answers.close()


if __name__ == "__main__":
    main()
