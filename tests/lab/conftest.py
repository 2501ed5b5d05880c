"""Guests with real kernels for the tests of `make lab`; each test removes its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from lab.controller import Controller
from lab.guest import Guest, base_image
from lab.machine import Machine


class Start(Protocol):
    """Make a guest and wait until it answers."""

    def __call__(self, name: str, suite: str = "bookworm", machine: Machine | None = None) -> Guest: ...


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail("the lab needs root, to make its images; run `make lab` with sudo")


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """What starts guests for one module's tests, and ends them all."""
    started: list[Guest] = []

    def begin(name: str, suite: str = "bookworm", machine: Machine | None = None) -> Guest:
        guest = Guest(name)
        started.append(guest)
        return guest.create(base_image(suite), machine).boot()

    yield begin
    for guest in started:
        guest.remove()


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """A control node without hosts."""
    folder: Path = tmp_path_factory.mktemp("controller")
    return Controller(folder)
