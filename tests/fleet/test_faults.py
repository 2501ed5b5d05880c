"""Hosts that go wrong in ten ways among good ones: each is classed rightly, and the run ends within its bound."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from fleet.faults import EXPECTED, GOOD, MORE, Faults
from fleet.sshd import SshdError

from numatune.core.profile import builtin
from numatune.fleet import pool
from numatune.fleet.events import Done
from numatune.fleet.work import Work
from numatune.transport.limits import Limits

FORKS = 20
LIMITS = Limits(connect_s=1, banner_s=3, kex_s=6, auth_s=6, channel_s=6, total_s=9, output_bytes=4 << 20)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """Run every server of the module."""
    try:
        with Faults(tmp_path_factory.mktemp("faults"), [*EXPECTED, *MORE]) as servers:
            yield servers
    except SshdError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_every_host_is_classed_by_what_it_did_and_the_run_ends_in_time(
    faults: Faults, transport: str, tmp_path: Path
) -> None:
    hosts = faults.hosts(40, {kind: 2 for kind in EXPECTED if kind != GOOD})
    work = Work("judge", builtin("inference-latency"), date(2026, 1, 1))
    found: dict[str, Done] = {}
    started = time.monotonic()
    for event in pool.run(faults.targets(hosts), work, forks=FORKS, limits=LIMITS, transport=transport):
        if isinstance(event, Done):
            assert event.alias not in found
            found[event.alias] = event
    took = time.monotonic() - started

    wrong = defaultdict(list)
    for host in hosts:
        done = found[host.alias]
        phase = done.failure["phase"] if done.failure else ""
        if phase not in EXPECTED[host.kind]:
            wrong[host.kind].append(done.failure)
        assert (done.status == "unreachable") == (done.failure is not None)
    assert not wrong
    assert took <= LIMITS.total_s * math.ceil(len(hosts) / FORKS) * 1.1


def test_servers_that_are_none_are_classed_as_well(faults: Faults) -> None:
    hosts = faults.hosts(len(MORE), dict.fromkeys(MORE, 1))
    events = pool.run(faults.targets(hosts), Work("collect"), forks=FORKS, limits=LIMITS)
    kinds = {host.alias: host.kind for host in hosts}
    found = {kinds[event.alias]: event for event in events if isinstance(event, Done)}

    # What is collected unjudged is taken as it came; that it was cut is seen when it is judged.
    phases = {kind: done.failure and done.failure["phase"] for kind, done in found.items() if kind != "cut_stream"}
    assert {kind: phase for kind, phase in phases.items() if phase not in MORE[kind]} == {}
    for done in found.values():
        assert done.failure is None or done.failure["message"].isprintable()
