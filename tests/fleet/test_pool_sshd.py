"""The pool over real connections: hosts on loopback addresses, directly and through a gateway, by both transports."""

from __future__ import annotations

import json
from datetime import date

import pytest
from fleet.sshd import Sshd, addresses

from numatune.core.profile import builtin
from numatune.fleet import pool
from numatune.fleet.events import Done
from numatune.fleet.work import Work
from numatune.transport.endpoint import Endpoint, Target
from numatune.transport.limits import Limits

JUDGE = Work("judge", builtin("inference-latency"), date(2026, 11, 24))


def endpoint(server: Sshd, alias: str, address: str, *jumps: Endpoint) -> Endpoint:
    return Endpoint(
        alias,
        address,
        port=server.port,
        user=server.user,
        identity_files=(str(server.key),),
        identities_only=True,
        use_agent=False,
        jumps=jumps,
        known_hosts=(str(server.known_hosts),),
        ssh_args=tuple(server.ssh()[1:]),
    )


@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_hosts_are_judged_by_either_transport_and_a_strange_one_is_refused(sshd: Sshd, transport: str) -> None:
    *known, strange = addresses(7, network=71)
    sshd.known(known)
    targets = [Target(endpoint(sshd, f"alias{number}", address)) for number, address in enumerate(known)]
    targets.append(Target(endpoint(sshd, "strange", strange)))
    events = pool.run(targets, JUDGE, forks=4, limits=Limits(), transport=transport)
    done = {event.alias: event for event in events if isinstance(event, Done)}
    assert len(done) == 7
    refused = done.pop("strange")
    assert refused.failure is not None
    assert refused.failure["phase"] == "hostkey"
    for alias, event in done.items():
        assert event.failure is None
        assert json.loads(event.payload or b"")["name"] == alias


def test_hosts_behind_a_gateway_share_its_connection(sshd: Sshd) -> None:
    gate, *behind = addresses(13, network=72)
    sshd.known([gate, *behind])
    before = sshd.log.read_text().count(f"on {gate} port")
    jump = endpoint(sshd, "gate", gate)
    targets = [Target(endpoint(sshd, address, address, jump)) for address in behind]
    events = list(pool.run(targets, JUDGE, forks=12, limits=Limits(), per_jump=4))
    done = [event for event in events if isinstance(event, Done)]
    assert [event.failure for event in done] == [None] * 12
    assert sshd.log.read_text().count(f"on {gate} port") == before + 1
