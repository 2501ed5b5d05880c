"""Servers of our own for the tests of the fleet; `from fleet.sshd import Sshd` makes further ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet.sshd import Sshd, SshdError


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Run one ordinary server on all of 127.0.0.0/8, for tests that only want to log in."""
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    try:
        server.start()
    except SshdError as error:
        pytest.fail(str(error))
    try:
        yield server
    finally:
        server.stop()
