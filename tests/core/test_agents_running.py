"""Whether a unit runs, told by the processes of a host where systemd does not answer."""

from __future__ import annotations

import pytest

from numatune.core.machine import agents
from numatune.core.model import Reading, Snapshot, State

RUNNING = [
    ("ksmtuned.service", "/proc/9/comm:ksmtuned\n", True),
    ("ksmtuned.service", "/proc/9/comm:tuned\n", False),
    ("power-profiles-daemon.service", "/proc/9/comm:power-profiles-\n", True),
    # No process of this name is looked for: the unit's program ends at once.
    ("ksm.service", "", None),
]


@pytest.mark.parametrize(("unit", "listed", "running"), RUNNING)
def test_a_program_that_is_not_looked_for_is_not_said_to_be_stopped(
    unit: str, listed: str, running: bool | None
) -> None:
    snapshot = Snapshot({}, commands={"daemons": Reading("daemons", State.PRESENT, listed)})
    assert agents.unit(snapshot, unit).active is running
