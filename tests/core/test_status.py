"""The truth table of `core.status`, cell by cell."""

from __future__ import annotations

from itertools import product

import pytest

from numatune.core.model import Status
from numatune.core.status import Plane, combine, outcome

R, W, N, U = Plane.RIGHT, Plane.WRONG, Plane.NONE, Plane.UNREAD

# persisted, next boot -> what the host comes to
OUTCOMES = {
    (R, R): R,
    (R, W): R,
    (R, N): R,
    (R, U): R,
    (W, R): W,
    (W, W): W,
    (W, N): W,
    (W, U): W,
    (N, R): R,
    (N, W): W,
    (N, N): U,
    (N, U): U,
    (U, R): U,
    (U, W): U,
    (U, N): U,
    (U, U): U,
}

# running, after the next boot, masked -> status
STATUSES = {
    (R, R, False): "ok",
    (R, W, False): "lost_at_reboot",
    (R, U, False): "unknown",
    (W, R, False): "pending_reboot",
    (W, W, False): "wrong",
    (W, U, False): "wrong",
    (U, R, False): "unknown",
    (U, W, False): "lost_at_reboot",
    (U, U, False): "unknown",
    (R, W, True): "masked",
    (W, W, True): "masked",
    (U, W, True): "masked",
}


@pytest.mark.parametrize(("persisted", "boot"), list(product((R, W, N, U), repeat=2)))
def test_outcome(persisted: Plane, boot: Plane) -> None:
    assert outcome(persisted, boot) is OUTCOMES[persisted, boot]


@pytest.mark.parametrize("cell", STATUSES)
def test_status(cell: tuple[Plane, Plane, bool]) -> None:
    assert combine(*cell) is Status(STATUSES[cell])


def test_only_all_right_is_ok() -> None:
    right = [cell for cell in product((R, W, U), (R, W, U), (False, True)) if combine(*cell) is Status.OK]
    assert right == [(R, R, False)]
